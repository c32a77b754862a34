//! What the states with a tunnel have in common.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use dbus_api::PortalState;
use model::{DeviceView, FromPortal, PublicKey, Resolver, ResourceView};
use portal::Rejection;
use tunnel::InterfaceConfig;

use super::{
    Account, Context, Effect, Input, Reason, Request, State,
    ending::{Ending, Next},
    health::Health,
};
use crate::{
    host_config::{Addresses, DnsConfig, HostConfig},
    snapshot::Snapshot,
};

/// A session that was well for so long has no history of failures. Two devices that share an identity push each other out
/// whenever one of them connects; without this they would do it every minute for ever.
const WELL: Duration = Duration::from_secs(60 * 60);

/// A session with an account, and what its tunnel has told so far.
#[derive(Debug)]
pub(super) struct Live {
    account: Account,
    /// How often in a row a session of this account could not be kept.
    failures: u32,
    /// When all was well for the first time.
    well_since: Option<Instant>,
    /// The key that the portal knows, or shall know; `None` until the tunnel is open.
    key: Option<PublicKey>,
    /// Whether the portal is joined.
    joined: bool,
    /// Why the portal was lost last.
    lost: Option<Reason>,
    /// What we want of the host; `None` until the tunnel knows its end.
    wish: Option<HostConfig>,
    /// Whether the host has a tunnel configuration of this session.
    configured: bool,
    resources: Arc<[ResourceView]>,
    devices: Arc<[DeviceView]>,
    health: Health,
}

/// What came of an input that concerns every state with a tunnel.
pub(super) enum Outcome {
    /// The session goes on, possibly in another state.
    On(Live),
    /// It does not.
    Off(State),
}

impl Live {
    /// `because` is why the last session of this account could not be kept, if so.
    pub(super) fn new(account: Account, failures: u32, because: Option<Reason>) -> Self {
        Self {
            account,
            failures,
            well_since: None,
            key: None,
            joined: false,
            lost: because,
            wish: None,
            configured: false,
            resources: Arc::default(),
            devices: Arc::default(),
            health: Health::default(),
        }
    }

    pub(super) fn handle(mut self, input: Input, cx: &mut Context) -> Outcome {
        match input {
            Input::Request(request) => return self.request(request, cx),
            Input::Reset | Input::NetworkChanged | Input::NewKeyNeeded => self.reset(cx),
            Input::Stop => return self.end(Next::Stop, cx),
            Input::Begin(account) if account.token != self.account.token => {
                return self.end(Next::SignIn(account), cx);
            }
            // The way is free: no need to wait for the next attempt.
            Input::CaptivePortal(false) if !self.joined => self.reset(cx),
            Input::Begin(_) | Input::TimeIsUp | Input::NetworkLost | Input::CaptivePortal(_) | Input::Asleep(_) => {}

            Input::TunnelOpened(key) => self.opened(key, cx),
            Input::TunnelFailed(why) => return self.end_without_tunnel(why, cx),
            Input::TunnelClosed | Input::TunnelDied => return self.end_without_tunnel(Reason::TunnelFailed, cx),
            Input::NewPublicKey(key) => {
                self.key = Some(key);
                self.joined = false;
                cx.emit(Effect::Reconnect(key));
            }
            Input::Interface(interface) => self.interface(&interface, cx),
            Input::Resources(resources) => {
                self.health.resources(&resources);
                self.resources = resources.into();
            }
            Input::Devices(devices) => self.devices = devices.into(),
            Input::GatewaysOffline(resource) => self.health.offline(resource),
            Input::GatewayVersionMismatch(resource) => self.health.mismatched(resource),
            Input::ToPortal(message) => cx.emit(Effect::ToPortal(message)),

            Input::Joined => {
                self.joined = true;
                self.lost = None;
                self.health.portal(None);
            }
            Input::Lost(why) => {
                self.joined = false;
                self.lost = Some(why);
                self.health.portal(None);
            }
            Input::Rejected(rejection) => self.rejected(rejection),
            Input::FromPortal(message) => self.portal_says(message, cx),
            Input::Ended(why) => return self.ended(why, cx),

            Input::HostApplied { wish, warnings } => {
                if self.wish.as_ref() == Some(&wish) {
                    self.configured = true;
                    self.health.host(warnings);
                }
            }
            Input::ResolversChanged(resolvers) => self.resolvers(resolvers, cx),
        }
        Outcome::On(self)
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// Whether names and networks of the resources work.
    pub(super) fn is_configured(&self) -> bool {
        self.configured
    }

    pub(super) fn is_joined(&self) -> bool {
        self.joined
    }

    /// The portal is joined and the host is configured.
    pub(super) fn is_well(&mut self, cx: &Context) {
        self.well_since.get_or_insert(cx.now);
    }

    /// How often in a row this has happened: a session that was well for long enough starts from the beginning.
    fn failures(&self, cx: &Context) -> u32 {
        let was_well = self.well_since.is_some_and(|since| cx.now.saturating_duration_since(since) >= WELL);
        if was_well { 0 } else { self.failures }
    }

    pub(super) fn view(&self, state: dbus_api::State) -> Snapshot {
        let reason = if self.joined { None } else { self.lost.clone() };
        let portal = match (self.joined, self.key) {
            (true, _) => PortalState::Joined,
            (false, Some(_)) => PortalState::Connecting,
            (false, None) => PortalState::Away,
        };
        let addresses = self.wish.as_ref().and_then(|wish| wish.addresses.as_ref());
        Snapshot {
            state,
            reason,
            account_slug: self.account.slug.clone(),
            actor_name: self.account.actor.clone(),
            tunnel: addresses.map(|it| (it.v4, it.v6)),
            portal,
            portal_error: self.lost.clone(),
            warnings: self.health.warnings(&self.resources),
            resources: Arc::clone(&self.resources),
            devices: Arc::clone(&self.devices),
            ..Snapshot::default()
        }
    }

    fn request(mut self, request: Request, cx: &mut Context) -> Outcome {
        match request {
            Request::SignIn(account, reply) => {
                let asker = reply.asker();
                reply.accept();
                if account.token != self.account.token {
                    cx.asked_by = asker;
                    return self.end(Next::SignIn(account), cx);
                }
            }
            Request::SignOut(reply) => {
                reply.accept();
                return self.end(Next::SignedOut(None), cx);
            }
            Request::Reset(reply) => {
                reply.accept();
                self.reset(cx);
            }
            Request::SetInternetResource(on, reply) => {
                reply.accept();
                if cx.internet_resource != on {
                    cx.internet_resource = on;
                    cx.emit(Effect::TunnelInternetResource(on));
                }
            }
            Request::Names(request) => cx.emit(Effect::Names(request)),
        }
        Outcome::On(self)
    }

    fn opened(&mut self, key: PublicKey, cx: &mut Context) {
        self.key = Some(key);
        cx.emit(Effect::TunnelResolvers(cx.resolvers.clone()));
        cx.emit(Effect::TunnelInternetResource(cx.internet_resource));
        cx.emit(Effect::OpenLink {
            token: self.account.token.clone(),
            public_key: key,
            resolvers: cx.resolvers.clone(),
        });
    }

    /// The ground has moved: the packet thread makes new sockets and a new key, and with that key the link connects
    /// anew, back-off forgotten (see `NewPublicKey`). What the portal says until then is for the session before.
    fn reset(&mut self, cx: &mut Context) {
        if self.key.is_some() {
            self.joined = false;
            cx.emit(Effect::ResetTunnel);
        }
    }

    /// What the portal wants done about it is shown to those who may see it; that it asks for a second of patience is not
    /// worth showing to anyone.
    fn rejected(&mut self, rejection: Rejection) {
        self.joined = false;
        if !rejection.is_rate_limit() {
            let is_hopeless = rejection.needs_administrator();
            self.lost = Some(if is_hopeless { Reason::PortalRejected } else { Reason::PortalUnreachable });
            self.health.portal(Some(rejection));
        }
    }

    fn portal_says(&mut self, message: FromPortal, cx: &mut Context) {
        // Only a joined portal speaks. What a superseded connection has left in the queue is not for this one.
        if self.joined {
            cx.emit(Effect::ToTunnel(message));
        }
    }

    fn interface(&mut self, interface: &InterfaceConfig, cx: &mut Context) {
        let sentinels: Vec<IpAddr> = interface.sentinels.iter().map(|(ip, _)| *ip).collect();
        let dns = (!sentinels.is_empty()).then(|| DnsConfig {
            servers: sentinels.clone(),
            port: None,
            search_domain: interface.search_domain.clone(),
        });
        let wish = HostConfig {
            addresses: Some(Addresses { v4: interface.ipv4, v6: interface.ipv6, sentinels }),
            routes: interface.routes.clone(),
            dns,
        };
        if self.wish.as_ref() != Some(&wish) {
            cx.emit(Effect::Host(wish.clone()));
            self.wish = Some(wish);
        }
    }

    fn resolvers(&mut self, resolvers: Vec<Resolver>, cx: &mut Context) {
        if cx.learn_resolvers(resolvers) && self.key.is_some() {
            cx.emit(Effect::TunnelResolvers(cx.resolvers.clone()));
            cx.emit(Effect::LinkResolvers(cx.resolvers.clone()));
        }
    }

    /// The link has given up. Only the portal's word about the token ends a user's session for good.
    fn ended(self, why: Reason, cx: &mut Context) -> Outcome {
        let next = match cx.mode {
            super::Mode::User if why.condemns_token() => {
                cx.asked_by = None;
                Next::SignedOut(Some(why))
            }
            super::Mode::User | super::Mode::Service => Next::Wait(self.account.clone(), why, self.failures(cx)),
        };
        self.end(next, cx)
    }

    fn end(self, next: Next, cx: &mut Context) -> Outcome {
        let has_tunnel = self.key.is_some();
        Outcome::Off(Ending::begin(self.account, next, has_tunnel, cx))
    }

    fn end_without_tunnel(self, why: Reason, cx: &mut Context) -> Outcome {
        let next = Next::Wait(self.account.clone(), why, self.failures(cx));
        Outcome::Off(Ending::begin(self.account, next, false, cx))
    }
}
