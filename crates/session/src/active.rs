//! The state with a tunnel: connecting, connected or reconnecting.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use dbus_api::{PortalState, State};
use model::{DeviceView, FromPortal, PublicKey, ResourceView};
use portal::Rejection;
use tunnel::InterfaceConfig;

use crate::{
    Account, Addresses, DaemonEvent, DnsConfig, Effect, HostConfig, HostEvent, Input, Mode, PortalCommand, PortalEvent,
    Reason, Request, Snapshot, TunnelCommand, TunnelEvent,
    context::Context,
    next::{Attempt, Next},
    warnings::Warnings,
};

/// After this time in good order, earlier failures no longer count. Without the limit, two devices with the same identity,
/// which disconnect each other whenever one of them connects, would do so every minute for ever.
const STABLE_AFTER: Duration = Duration::from_secs(60 * 60);

/// A session, and what its tunnel has reported.
#[derive(Debug)]
pub(super) struct Active {
    account: Account,
    stage: Stage,
    /// The number of failed attempts in a row before this one.
    failures: u32,
    /// When the session became connected for the first time.
    connected_since: Option<Instant>,
    /// The key that the portal knows, or will know; `None` while there is no tunnel.
    key: Option<PublicKey>,
    is_joined: bool,
    /// Why the portal was lost last.
    portal_error: Option<Reason>,
    /// The configuration that the host should have; `None` until the tunnel knows its addresses.
    host_config: Option<HostConfig>,
    /// Whether the host has a tunnel configuration of this session.
    is_configured: bool,
    resources: Arc<[ResourceView]>,
    devices: Arc<[DeviceView]>,
    warnings: Warnings,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The tunnel, the portal or the host is not ready yet.
    Connecting,
    /// The portal is joined and the host is configured.
    Connected,
    /// The portal is unreachable. The tunnel and the host configuration stay, so existing connections keep working.
    Reconnecting,
}

impl Active {
    pub(super) fn new(attempt: Attempt) -> Self {
        let Attempt { account, failures, last_failure } = attempt;
        Self {
            account,
            stage: Stage::Connecting,
            failures,
            connected_since: None,
            key: None,
            is_joined: false,
            portal_error: last_failure,
            host_config: None,
            is_configured: false,
            resources: Arc::default(),
            devices: Arc::default(),
            warnings: Warnings::default(),
        }
    }

    /// Returns what follows if the session ends.
    pub(super) fn handle(&mut self, input: Input, cx: &mut Context) -> Option<Next> {
        let next = match input {
            Input::Daemon(event) => self.handle_daemon(event, cx),
            Input::Request(_, request) => self.handle_request(request, cx),
            Input::Tunnel(event) => self.handle_tunnel(event, cx),
            Input::Portal(event) => self.handle_portal(event, cx),
            Input::Host(event) => {
                self.handle_host(event, cx);
                None
            }
            Input::Timeout => None,
        };
        self.update_stage(cx.now);
        next
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    pub(super) fn has_tunnel(&self) -> bool {
        self.key.is_some()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let state = match self.stage {
            Stage::Connecting => State::Connecting,
            Stage::Connected => State::Connected,
            Stage::Reconnecting => State::Reconnecting,
        };
        let reason = if self.is_joined { None } else { self.portal_error.clone() };
        let portal = match (self.is_joined, self.key) {
            (true, _) => PortalState::Joined,
            (false, Some(_)) => PortalState::Connecting,
            (false, None) => PortalState::Away,
        };
        let addresses = self.host_config.as_ref().and_then(|config| config.addresses.as_ref());
        Snapshot {
            state,
            reason,
            account_slug: self.account.slug.clone(),
            actor_name: self.account.actor.clone(),
            tunnel: addresses.map(|it| (it.v4, it.v6)),
            portal,
            portal_error: self.portal_error.clone(),
            warnings: self.warnings.list(&self.resources),
            resources: Arc::clone(&self.resources),
            devices: Arc::clone(&self.devices),
            ..Snapshot::default()
        }
    }

    fn handle_daemon(&mut self, event: DaemonEvent, cx: &mut Context) -> Option<Next> {
        match event {
            DaemonEvent::Start(account) => self.replace_with(account),
            DaemonEvent::Reset => {
                self.reset(cx);
                None
            }
            DaemonEvent::Stop => Some(Next::Stop),
        }
    }

    fn handle_request(&mut self, request: Request, cx: &mut Context) -> Option<Next> {
        match request {
            Request::SignIn { account, .. } => return self.replace_with(account),
            Request::SignOut { .. } => return Some(Next::SignedOut(None)),
            Request::Reset => self.reset(cx),
            Request::SetInternetResource(is_on) => cx.emit(Effect::Tunnel(TunnelCommand::SetInternetResource(is_on))),
        }
        None
    }

    fn handle_tunnel(&mut self, event: TunnelEvent, cx: &mut Context) -> Option<Next> {
        match event {
            TunnelEvent::Opened(key) => self.open_link(key, cx),
            TunnelEvent::OpenFailed(reason) => return Some(self.retry_without_tunnel(reason, cx.now)),
            TunnelEvent::Closed | TunnelEvent::Died => {
                return Some(self.retry_without_tunnel(Reason::TunnelFailed, cx.now));
            }
            TunnelEvent::NewKeyNeeded => self.reset(cx),
            TunnelEvent::NewPublicKey(key) => {
                self.key = Some(key);
                self.is_joined = false;
                cx.emit(Effect::Portal(PortalCommand::Reconnect(key)));
            }
            TunnelEvent::InterfaceChanged(interface) => self.configure_host(&interface, cx),
            TunnelEvent::ResourcesChanged(resources) => {
                self.warnings.update_resources(&resources);
                self.resources = resources.into();
            }
            TunnelEvent::DevicesChanged(devices) => self.devices = devices.into(),
            TunnelEvent::GatewaysOffline(resource) => self.warnings.add_offline(resource),
            TunnelEvent::GatewayVersionMismatch(resource) => self.warnings.add_version_mismatch(resource),
            TunnelEvent::ToPortal(message) => cx.emit(Effect::Portal(PortalCommand::Send(message))),
        }
        None
    }

    fn handle_portal(&mut self, event: PortalEvent, cx: &mut Context) -> Option<Next> {
        match event {
            PortalEvent::Joined => {
                self.is_joined = true;
                self.portal_error = None;
                self.warnings.set_rejection(None);
            }
            PortalEvent::Lost(reason) => {
                self.is_joined = false;
                self.portal_error = Some(reason);
                self.warnings.set_rejection(None);
            }
            PortalEvent::Rejected(rejection) => self.reject(rejection),
            PortalEvent::Message(message) => self.pass_to_tunnel(message, cx),
            PortalEvent::Ended(reason) => return Some(self.give_up(reason, cx)),
        }
        None
    }

    fn handle_host(&mut self, event: HostEvent, cx: &mut Context) {
        match event {
            HostEvent::Applied { config, warnings } => {
                if self.host_config.as_ref() == Some(&config) {
                    self.is_configured = true;
                    self.warnings.set_host(warnings);
                }
            }
            HostEvent::NetworkChanged => self.reset(cx),
            // The user has signed in to the network: no need to wait for the next attempt.
            HostEvent::CaptivePortal(false) if !self.is_joined => self.reset(cx),
            HostEvent::NetworkLost | HostEvent::CaptivePortal(_) | HostEvent::Sleeping(_) => {}
            HostEvent::ResolversChanged(resolvers) => {
                if self.has_tunnel() {
                    cx.emit(Effect::Tunnel(TunnelCommand::SetResolvers(resolvers.clone())));
                    cx.emit(Effect::Portal(PortalCommand::SetResolvers(resolvers)));
                }
            }
        }
    }

    fn update_stage(&mut self, now: Instant) {
        self.stage = match self.stage {
            Stage::Connecting if !(self.is_joined && self.is_configured) => Stage::Connecting,
            Stage::Connected | Stage::Reconnecting if !self.is_joined => Stage::Reconnecting,
            Stage::Connecting | Stage::Connected | Stage::Reconnecting => Stage::Connected,
        };
        if self.stage == Stage::Connected {
            self.connected_since.get_or_insert(now);
        }
    }

    /// Replaces the session unless it has the same token.
    fn replace_with(&self, account: Account) -> Option<Next> {
        (account.token != self.account.token).then(|| Next::Connect(Attempt::first(account)))
    }

    fn open_link(&mut self, key: PublicKey, cx: &mut Context) {
        self.key = Some(key);
        cx.emit(Effect::Tunnel(TunnelCommand::SetResolvers(cx.resolvers.clone())));
        cx.emit(Effect::Tunnel(TunnelCommand::SetInternetResource(cx.internet_resource)));
        cx.emit(Effect::Portal(PortalCommand::Open {
            token: self.account.token.clone(),
            public_key: key,
            resolvers: cx.resolvers.clone(),
        }));
    }

    /// The packet thread creates new sockets and a new key, and with that key the link reconnects without back-off (see
    /// `NewPublicKey`). What the portal says until then belongs to the previous connection.
    fn reset(&mut self, cx: &mut Context) {
        if self.has_tunnel() {
            self.is_joined = false;
            cx.emit(Effect::Tunnel(TunnelCommand::Reset));
        }
    }

    /// The portal's explanation becomes a warning. A rate limit of a second is not worth one.
    fn reject(&mut self, rejection: Rejection) {
        self.is_joined = false;
        if !rejection.is_rate_limit() {
            let needs_administrator = rejection.needs_administrator();
            let reason = if needs_administrator { Reason::PortalRejected } else { Reason::PortalUnreachable };
            self.portal_error = Some(reason);
            self.warnings.set_rejection(Some(rejection));
        }
    }

    fn pass_to_tunnel(&mut self, message: FromPortal, cx: &mut Context) {
        // Only a joined portal sends messages. What a superseded connection has left in the queue is void.
        if self.is_joined {
            cx.emit(Effect::Tunnel(TunnelCommand::Portal(message)));
        }
    }

    fn configure_host(&mut self, interface: &InterfaceConfig, cx: &mut Context) {
        let sentinels: Vec<IpAddr> = interface.sentinels.iter().map(|(ip, _)| *ip).collect();
        let dns = (!sentinels.is_empty()).then(|| DnsConfig {
            servers: sentinels.clone(),
            port: None,
            search_domain: interface.search_domain.clone(),
        });
        let config = HostConfig {
            addresses: Some(Addresses { v4: interface.ipv4, v6: interface.ipv6, sentinels }),
            routes: interface.routes.clone(),
            dns,
        };
        if self.host_config.as_ref() != Some(&config) {
            cx.emit(Effect::Host(config.clone()));
            self.host_config = Some(config);
        }
    }

    /// The link has given up. Only the portal's verdict on the token ends a user's session for good.
    fn give_up(&self, reason: Reason, cx: &mut Context) -> Next {
        match cx.mode {
            Mode::User if reason.condemns_token() => {
                cx.asked_by = None;
                Next::SignedOut(Some(reason))
            }
            Mode::User | Mode::Service => self.retry(reason, cx.now),
        }
    }

    fn retry_without_tunnel(&mut self, reason: Reason, now: Instant) -> Next {
        self.key = None;
        self.retry(reason, now)
    }

    fn retry(&self, reason: Reason, now: Instant) -> Next {
        let is_stable = |since| now.saturating_duration_since(since) >= STABLE_AFTER;
        let failures = if self.connected_since.is_some_and(is_stable) { 0 } else { self.failures };
        Next::Wait { account: self.account.clone(), reason, failures }
    }
}
