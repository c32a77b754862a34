//! Executes the effects of the session and returns their results as inputs.

use std::time::Duration;

use portal::ApiUrl;
use tokio::sync::mpsc;

use super::{MARK, host_task::HostTask, name_addresses::NameAddresses, outbox::Outbox};
use crate::identity::Identity;
use bus::DnsRequest;
use dataplane::{Dataplane, Statistics, Tun, TunError};
use portal_link::Link;
use session::{
    Account, HostConfig, Input, PortalCommand, PortalEvent, Reason, TunnelCommand, TunnelEvent, portal_outcome,
};

/// The packet thread, the link to the portal and the host.
#[derive(Debug)]
pub(super) struct EffectRunner {
    portal: ApiUrl,
    /// How long the tunnel continues without the portal.
    max_partition_time: Option<Duration>,
    identity: Identity,
    host: HostTask,
    tunnel: Option<OpenTunnel>,
    link: Option<OpenLink>,
    names: NameAddresses,
    /// The data plane publishes its statistics here.
    statistics: Statistics,
}

#[derive(Debug)]
struct OpenTunnel {
    commands: Outbox<dataplane::Command>,
    dataplane: Dataplane,
    /// Whether it was told to end.
    is_closing: bool,
}

#[derive(Debug)]
struct OpenLink {
    commands: Outbox<portal_link::Command>,
    link: Link,
}

impl EffectRunner {
    pub(super) fn new(
        portal: ApiUrl,
        max_partition_time: Option<Duration>,
        identity: Identity,
        host: HostTask,
        statistics: Statistics,
    ) -> Self {
        Self {
            portal,
            max_partition_time,
            identity,
            host,
            tunnel: None,
            link: None,
            names: NameAddresses::default(),
            statistics,
        }
    }

    /// Executes a command for the packet thread. Returns the result if there is one at once; later ones come from
    /// [`Self::next`].
    pub(super) fn run_tunnel_command(&mut self, command: TunnelCommand) -> Option<Input> {
        match command {
            TunnelCommand::Open(account) => return Some(self.open_tunnel(&account).into()),
            TunnelCommand::Close => return self.close_tunnel().map(Input::from),
            TunnelCommand::Reset => self.send_to_tunnel(dataplane::Command::Reset),
            TunnelCommand::Portal(message) => self.send_to_tunnel(dataplane::Command::Portal(message)),
            TunnelCommand::SetResolvers(resolvers) => {
                self.send_to_tunnel(dataplane::Command::SystemResolvers(resolvers));
            }
            TunnelCommand::SetInternetResource(is_on) => {
                self.send_to_tunnel(dataplane::Command::InternetResource(is_on));
            }
        }
        None
    }

    /// Executes a command for the link to the portal.
    pub(super) fn run_portal_command(&mut self, command: PortalCommand) {
        match command {
            PortalCommand::Open { token, public_key, resolvers } => {
                let login = self.identity.login(self.portal.clone(), token);
                let link = Link::start(login, public_key, resolvers, MARK, self.max_partition_time);
                self.link = Some(OpenLink { commands: Outbox::new(link.commands.clone()), link });
            }
            PortalCommand::Close => self.link = None,
            PortalCommand::Reconnect(public_key) => self.send_to_link(portal_link::Command::Reconnect { public_key }),
            PortalCommand::SetResolvers(resolvers) => self.send_to_link(portal_link::Command::Resolvers(resolvers)),
            PortalCommand::Send(message) => self.send_to_link(portal_link::Command::Send(message)),
        }
    }

    /// Brings the host in line with a configuration.
    pub(super) fn configure_host(&mut self, config: HostConfig) {
        let dataplane = self.tunnel.as_ref().map(|tunnel| tunnel.commands.sender().clone());
        self.host.configure(config, dataplane);
    }

    /// Passes a request about names on. It does not change the session, so the session need not know. Without a tunnel, a
    /// question is dropped unanswered.
    pub(super) fn run_dns_request(&mut self, request: DnsRequest) {
        match request {
            DnsRequest::GetStatus(reply) => self.send_to_tunnel(dataplane::Command::Names(reply)),
            DnsRequest::Explain(name, reply) => self.send_to_tunnel(dataplane::Command::Explain(name, reply)),
            DnsRequest::Flush(reply) => {
                self.send_to_tunnel(dataplane::Command::FlushNames);
                self.host.flush_caches();
                // The caller may be gone.
                let _gone = reply.send(());
            }
            DnsRequest::Reapply(reply) => {
                self.host.reapply();
                let _gone = reply.send(());
            }
        }
    }

    /// The next input. Cancel-safe: one receive, or a queue that only moves when it succeeds.
    pub(super) async fn next(&mut self) -> Input {
        loop {
            let tunnel_is_full = self.tunnel.as_ref().is_some_and(|tunnel| tunnel.commands.is_full());
            let link_is_full = self.link.as_ref().is_some_and(|link| link.commands.is_full());
            let (tunnel_commands, tunnel_events) = OpenTunnel::halves(&mut self.tunnel);
            let (link_commands, link_events) = OpenLink::halves(&mut self.link);
            tokio::select! {
                biased;
                () = flush(tunnel_commands) => {}
                () = flush(link_commands) => {}
                event = receive(tunnel_events), if !link_is_full => {
                    if let Some(event) = self.tunnel_event(event) {
                        return event.into();
                    }
                }
                event = receive(link_events), if !tunnel_is_full => return self.link_event(event).into(),
                event = self.host.next() => return event.into(),
            }
        }
    }

    fn open_tunnel(&mut self, account: &Account) -> TunnelEvent {
        // The old packet thread holds the interface.
        self.tunnel = None;
        let tun = match Tun::open(host::INTERFACE) {
            Ok(tun) => tun,
            Err(error) => {
                let reason = if matches!(error, TunError::Busy(_)) { Reason::TunBusy } else { Reason::TunUnavailable };
                tracing::error!("{:#}", anyhow::Error::from(error));
                return TunnelEvent::OpenFailed(reason);
            }
        };
        match Dataplane::start(tun, self.names.for_session(account), MARK, self.statistics.publisher()) {
            Ok(dataplane) => {
                let public_key = dataplane.public_key;
                let commands = Outbox::new(dataplane.commands.clone());
                self.tunnel = Some(OpenTunnel { commands, dataplane, is_closing: false });
                TunnelEvent::Opened(public_key)
            }
            Err(error) => {
                tracing::error!("{:#}", anyhow::Error::from(error));
                TunnelEvent::OpenFailed(Reason::TunUnavailable)
            }
        }
    }

    fn close_tunnel(&mut self) -> Option<TunnelEvent> {
        match &mut self.tunnel {
            Some(tunnel) => {
                tunnel.is_closing = true;
                tunnel.commands.push(dataplane::Command::Stop);
                None
            }
            None => Some(TunnelEvent::Closed),
        }
    }

    fn tunnel_event(&mut self, event: Option<dataplane::Event>) -> Option<TunnelEvent> {
        match event {
            Some(dataplane::Event::Tunnel(event)) => {
                if matches!(event, tunnel::Event::Resources(_)) {
                    // A cached name may be that of a resource now, or the reverse.
                    self.host.flush_caches();
                }
                from_tunnel(event)
            }
            Some(dataplane::Event::Stopped { names }) => {
                self.names.store(names);
                self.tunnel = None;
                Some(TunnelEvent::Closed)
            }
            Some(dataplane::Event::Died { error, names }) => {
                self.names.store(names);
                tracing::error!("the packet thread died: {error:#}");
                self.tunnel = None;
                Some(TunnelEvent::Died)
            }
            None => {
                let was_closing = self.tunnel.take().is_some_and(|tunnel| tunnel.is_closing);
                Some(if was_closing { TunnelEvent::Closed } else { TunnelEvent::Died })
            }
        }
    }

    fn link_event(&mut self, event: Option<portal_link::Event>) -> PortalEvent {
        match event {
            Some(portal_link::Event::Joined) => PortalEvent::Joined,
            Some(portal_link::Event::Disconnected { error, retry }) => {
                tracing::debug!(error = error.code(), retry_in = ?retry.after, "the portal is unreachable");
                portal_outcome::disconnected(error)
            }
            Some(portal_link::Event::Message(message)) => PortalEvent::Message(message),
            Some(portal_link::Event::Ended(end)) => {
                self.link = None;
                portal_outcome::ended(end)
            }
            // A link that ends without an event has panicked. The session opens a new one.
            None => {
                tracing::error!("the connection to the portal died");
                self.link = None;
                PortalEvent::Ended(Reason::PortalUnreachable)
            }
        }
    }

    fn send_to_tunnel(&mut self, command: dataplane::Command) {
        if let Some(tunnel) = &mut self.tunnel {
            tunnel.commands.push(command);
        }
    }

    fn send_to_link(&mut self, command: portal_link::Command) {
        if let Some(link) = &mut self.link {
            link.commands.push(command);
        }
    }
}

impl OpenTunnel {
    fn halves(
        this: &mut Option<Self>,
    ) -> (Option<&mut Outbox<dataplane::Command>>, Option<&mut mpsc::Receiver<dataplane::Event>>) {
        match this {
            Some(this) => (Some(&mut this.commands), Some(&mut this.dataplane.events)),
            None => (None, None),
        }
    }
}

impl OpenLink {
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

fn from_tunnel(event: tunnel::Event) -> Option<TunnelEvent> {
    Some(match event {
        tunnel::Event::Interface(interface) => TunnelEvent::InterfaceChanged(interface),
        tunnel::Event::Resources(resources) => TunnelEvent::ResourcesChanged(resources),
        tunnel::Event::Devices(devices) => TunnelEvent::DevicesChanged(devices),
        tunnel::Event::ToPortal(message) => TunnelEvent::ToPortal(message),
        tunnel::Event::GatewaysOffline(resource) => TunnelEvent::GatewaysOffline(resource),
        tunnel::Event::GatewayVersionMismatch(resource) => TunnelEvent::GatewayVersionMismatch(resource),
        tunnel::Event::NewKeyNeeded => TunnelEvent::NewKeyNeeded,
        tunnel::Event::NewPublicKey(key) => TunnelEvent::NewPublicKey(key),
        // Answered by the packet thread itself.
        tunnel::Event::Decided { .. } => return None,
    })
}
