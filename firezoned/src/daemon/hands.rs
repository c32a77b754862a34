//! The hands: carry out the session's effects, and bring back what comes of them.

use std::time::Duration;

use portal::ApiUrl;
use tokio::sync::mpsc;

use super::{MARK, host_hand::HostHand, outbox::Outbox, pinned_names::PinnedNames};
use crate::identity::Identity;
use dataplane::{Dataplane, Statistics, Tun, TunError};
use portal_link::Link;
use session::{Account, Effect, Input, NamesRequest, Reason, portal_outcome};

/// Everything that the session moves.
#[derive(Debug)]
pub(super) struct Hands {
    portal: ApiUrl,
    /// How long the tunnel outlives the portal.
    max_partition_time: Option<Duration>,
    identity: Identity,
    host: HostHand,
    tunnel: Option<TunnelHand>,
    link: Option<LinkHand>,
    names: PinnedNames,
    /// The data plane publishes its statistics here.
    statistics: Statistics,
}

#[derive(Debug)]
struct TunnelHand {
    commands: Outbox<dataplane::Command>,
    dataplane: Dataplane,
    /// Whether it was asked to end.
    is_closing: bool,
}

#[derive(Debug)]
struct LinkHand {
    commands: Outbox<portal_link::Command>,
    link: Link,
}

impl Hands {
    pub(super) fn new(
        portal: ApiUrl,
        max_partition_time: Option<Duration>,
        identity: Identity,
        host: HostHand,
        statistics: Statistics,
    ) -> Self {
        Self {
            portal,
            max_partition_time,
            identity,
            host,
            tunnel: None,
            link: None,
            names: PinnedNames::default(),
            statistics,
        }
    }

    /// Carries out one effect. What it brings about later comes from [`Self::next`].
    pub(super) fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::OpenTunnel(account) => return Some(self.open_tunnel(&account)),
            Effect::CloseTunnel => return self.close_tunnel(),
            Effect::ResetTunnel => self.tell_tunnel(dataplane::Command::Reset),
            Effect::ToTunnel(message) => self.tell_tunnel(dataplane::Command::Portal(message)),
            Effect::TunnelResolvers(resolvers) => self.tell_tunnel(dataplane::Command::SystemResolvers(resolvers)),
            Effect::TunnelInternetResource(on) => self.tell_tunnel(dataplane::Command::InternetResource(on)),
            Effect::Names(request) => self.names_request(request),

            Effect::OpenLink { token, public_key, resolvers } => {
                let login = self.identity.login(self.portal.clone(), token);
                let link = Link::start(login, public_key, resolvers, MARK, self.max_partition_time);
                self.link = Some(LinkHand { commands: Outbox::new(link.commands.clone()), link });
            }
            Effect::CloseLink => self.link = None,
            Effect::Reconnect(public_key) => self.tell_link(portal_link::Command::Reconnect { public_key }),
            Effect::LinkResolvers(resolvers) => self.tell_link(portal_link::Command::Resolvers(resolvers)),
            Effect::ToPortal(message) => self.tell_link(portal_link::Command::Send(message)),

            Effect::Host(config) => {
                let ask = self.tunnel.as_ref().map(|tunnel| tunnel.commands.sender().clone());
                self.host.wish(config, ask);
            }
            Effect::Publish(_) => {}
        }
        None
    }

    /// What happens next. Cancel-safe: one receive, or a queue that only moves when it succeeds.
    pub(super) async fn next(&mut self) -> Input {
        loop {
            let tunnel_is_crowded = self.tunnel.as_ref().is_some_and(|tunnel| tunnel.commands.is_crowded());
            let link_is_crowded = self.link.as_ref().is_some_and(|link| link.commands.is_crowded());
            let (tunnel_commands, tunnel_events) = TunnelHand::halves(&mut self.tunnel);
            let (link_commands, link_events) = LinkHand::halves(&mut self.link);
            tokio::select! {
                biased;
                () = flush(tunnel_commands) => {}
                () = flush(link_commands) => {}
                event = receive(tunnel_events), if !link_is_crowded => {
                    if let Some(input) = self.tunnel_says(event) {
                        return input;
                    }
                }
                event = receive(link_events), if !tunnel_is_crowded => return self.link_says(event),
                input = self.host.next() => return input,
            }
        }
    }

    fn open_tunnel(&mut self, account: &Account) -> Input {
        // Two packet threads would fight for the interface.
        self.tunnel = None;
        let tun = match Tun::open(host::INTERFACE) {
            Ok(tun) => tun,
            Err(error) => {
                let reason = if matches!(error, TunError::Busy(_)) { Reason::TunBusy } else { Reason::TunUnavailable };
                tracing::error!("{:#}", anyhow::Error::from(error));
                return Input::TunnelFailed(reason);
            }
        };
        match Dataplane::start(tun, self.names.lend(account), MARK, self.statistics.publisher()) {
            Ok(dataplane) => {
                let public_key = dataplane.public_key;
                let commands = Outbox::new(dataplane.commands.clone());
                self.tunnel = Some(TunnelHand { commands, dataplane, is_closing: false });
                Input::TunnelOpened(public_key)
            }
            Err(error) => {
                tracing::error!("{:#}", anyhow::Error::from(error));
                Input::TunnelFailed(Reason::TunUnavailable)
            }
        }
    }

    fn close_tunnel(&mut self) -> Option<Input> {
        match &mut self.tunnel {
            Some(tunnel) => {
                tunnel.is_closing = true;
                tunnel.commands.push(dataplane::Command::Stop);
                None
            }
            None => Some(Input::TunnelClosed),
        }
    }

    fn tunnel_says(&mut self, event: Option<dataplane::Event>) -> Option<Input> {
        match event {
            Some(dataplane::Event::Tunnel(event)) => {
                if matches!(event, tunnel::Event::Resources(_)) {
                    // A name that was found elsewhere may be that of a resource now, or the reverse.
                    self.host.flush_names();
                }
                from_tunnel(event)
            }
            Some(dataplane::Event::Stopped { names }) => {
                self.names.keep(names);
                self.tunnel = None;
                Some(Input::TunnelClosed)
            }
            Some(dataplane::Event::Died { error, names }) => {
                self.names.keep(names);
                tracing::error!("the packet thread died: {error:#}");
                self.tunnel = None;
                Some(Input::TunnelDied)
            }
            None => {
                let was_asked = self.tunnel.take().is_some_and(|tunnel| tunnel.is_closing);
                Some(if was_asked { Input::TunnelClosed } else { Input::TunnelDied })
            }
        }
    }

    fn link_says(&mut self, event: Option<portal_link::Event>) -> Input {
        match event {
            Some(portal_link::Event::Joined) => Input::Joined,
            Some(portal_link::Event::Disconnected { error, retry }) => {
                tracing::debug!(error = error.code(), retry_in = ?retry.after, "the portal is unreachable");
                portal_outcome::lost(error)
            }
            Some(portal_link::Event::Message(message)) => Input::FromPortal(message),
            Some(portal_link::Event::Ended(end)) => {
                self.link = None;
                Input::Ended(portal_outcome::end(end))
            }
            // A link that ends without a word has panicked; the session makes a new one.
            None => {
                tracing::error!("the connection to the portal died");
                self.link = None;
                Input::Ended(Reason::PortalUnreachable)
            }
        }
    }

    fn names_request(&mut self, request: NamesRequest) {
        match request {
            NamesRequest::Status(reply) => self.tell_tunnel(dataplane::Command::Names(reply)),
            NamesRequest::Explain(name, reply) => self.tell_tunnel(dataplane::Command::Explain(name, reply)),
            NamesRequest::Flush(reply) => {
                self.tell_tunnel(dataplane::Command::FlushNames);
                self.host.flush_names();
                reply.accept();
            }
            NamesRequest::Reapply(reply) => {
                self.host.wish_again();
                reply.accept();
            }
        }
    }

    fn tell_tunnel(&mut self, command: dataplane::Command) {
        if let Some(tunnel) = &mut self.tunnel {
            tunnel.commands.push(command);
        }
    }

    fn tell_link(&mut self, command: portal_link::Command) {
        if let Some(link) = &mut self.link {
            link.commands.push(command);
        }
    }
}

impl TunnelHand {
    fn halves(
        this: &mut Option<Self>,
    ) -> (Option<&mut Outbox<dataplane::Command>>, Option<&mut mpsc::Receiver<dataplane::Event>>) {
        match this {
            Some(this) => (Some(&mut this.commands), Some(&mut this.dataplane.events)),
            None => (None, None),
        }
    }
}

impl LinkHand {
    fn halves(
        this: &mut Option<Self>,
    ) -> (Option<&mut Outbox<portal_link::Command>>, Option<&mut mpsc::Receiver<portal_link::Event>>) {
        match this {
            Some(this) => (Some(&mut this.commands), Some(&mut this.link.events)),
            None => (None, None),
        }
    }
}

async fn flush<T>(outbox: Option<&mut Outbox<T>>) {
    match outbox {
        Some(outbox) => outbox.flush().await,
        None => std::future::pending().await,
    }
}

async fn receive<T>(events: Option<&mut mpsc::Receiver<T>>) -> Option<T> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

fn from_tunnel(event: tunnel::Event) -> Option<Input> {
    Some(match event {
        tunnel::Event::Interface(interface) => Input::Interface(interface),
        tunnel::Event::Resources(resources) => Input::Resources(resources),
        tunnel::Event::Devices(devices) => Input::Devices(devices),
        tunnel::Event::ToPortal(message) => Input::ToPortal(message),
        tunnel::Event::GatewaysOffline(resource) => Input::GatewaysOffline(resource),
        tunnel::Event::GatewayVersionMismatch(resource) => Input::GatewayVersionMismatch(resource),
        tunnel::Event::NewKeyNeeded => Input::NewKeyNeeded,
        tunnel::Event::NewPublicKey(key) => Input::NewPublicKey(key),
        // Answered by the packet thread itself.
        tunnel::Event::Decided { .. } => return None,
    })
}
