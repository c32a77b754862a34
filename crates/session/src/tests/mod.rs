//! The session in virtual time, with effects as words.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use dbus_api::{State, Warning, WarningCode};
use model::{FromPortal, PublicKey, Resolver, ResourceId, ToPortal};
use tunnel::InterfaceConfig;

use crate::{
    Account, AccountToKeep, DaemonEvent, Effect, HostConfig, HostEvent, Input, Mode, PortalCommand, PortalEvent,
    Reason, Refused, Request, RequestId, Session, TunnelCommand, TunnelEvent,
};

mod network;
mod portal_events;
mod publication;
mod sign_in;
mod tunnel_events;
mod with_portal_connection;

const UID: u32 = 1000;
const RESTORED: [&str; 2] = ["close link", "restore host"];

/// A session and its clock.
struct World {
    session: Session,
    now: Instant,
    /// All effects but replies and publications, in words.
    effects: Vec<String>,
    replies: Vec<(RequestId, Result<(), Refused>)>,
    requests: u64,
    host_config: HostConfig,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "virtual time needs a starting point")]
    fn new(mode: Mode) -> Self {
        let now = Instant::now();
        Self {
            session: Session::new(mode, false, now),
            now,
            effects: Vec::new(),
            replies: Vec::new(),
            requests: 0,
            host_config: HostConfig::default(),
        }
    }

    fn user() -> Self {
        Self::new(Mode::User)
    }

    /// Signed in and connected.
    fn connected() -> Self {
        let mut world = Self::user();
        world.sign_in("token");
        world.connect();
        assert_eq!(world.state(), State::Connected);
        world.effects.clear();
        world
    }

    fn feed(&mut self, input: impl Into<Input>) {
        self.session.handle(input.into(), self.now);
        self.collect_effects();
    }

    /// Sends a request and returns the reply.
    fn request(&mut self, request: Request) -> Result<(), Refused> {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.feed(Input::Request(id, request));
        let (replied, reply) = self.replies.pop().unwrap();
        assert_eq!((replied, self.replies.len()), (id, 0));
        reply
    }

    fn sign_in(&mut self, token: &str) {
        assert_eq!(self.request(Request::SignIn { account: account(token), uid: UID }), Ok(()));
    }

    fn sign_out(&mut self) {
        assert_eq!(self.request(Request::SignOut { uid: UID }), Ok(()));
    }

    /// Tunnel, portal and host respond as expected.
    fn connect(&mut self) {
        self.feed(TunnelEvent::Opened(key(1)));
        self.feed(PortalEvent::Joined);
        self.feed(TunnelEvent::InterfaceChanged(interface()));
        self.apply_host_config();
    }

    fn apply_host_config(&mut self) {
        let config = self.host_config.clone();
        self.feed(HostEvent::Applied { config, warnings: Vec::new() });
    }

    fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now);
            self.collect_effects();
        }
        self.now = end;
    }

    fn collect_effects(&mut self) {
        while let Some(effect) = self.session.poll_effect() {
            match effect {
                Effect::Host(config) => {
                    self.effects.push(if config.is_untouched() { "restore host" } else { "configure host" }.to_owned());
                    self.host_config = config;
                }
                Effect::Reply(id, reply) => self.replies.push((id, reply)),
                Effect::Publish(_) => {}
                Effect::Tunnel(command) => self.effects.push(tunnel_command(&command)),
                Effect::Portal(command) => self.effects.push(portal_command(&command)),
            }
        }
    }

    fn state(&self) -> State {
        self.session.snapshot().state.clone()
    }

    fn reason(&self) -> &str {
        self.session.snapshot().reason_code()
    }

    fn take_effects(&mut self) -> Vec<String> {
        std::mem::take(&mut self.effects)
    }
}

fn addresses(resolvers: &[Resolver]) -> Vec<IpAddr> {
    resolvers.iter().map(|resolver| resolver.address.ip()).collect()
}

fn tunnel_command(command: &TunnelCommand) -> String {
    match command {
        TunnelCommand::Open(_) => "open tunnel".to_owned(),
        TunnelCommand::Close => "close tunnel".to_owned(),
        TunnelCommand::Reset => "reset tunnel".to_owned(),
        TunnelCommand::Portal(_) => "to tunnel".to_owned(),
        TunnelCommand::SetResolvers(resolvers) => format!("tunnel resolvers {:?}", addresses(resolvers)),
        TunnelCommand::SetInternetResource(is_on) => format!("internet resource {is_on}"),
    }
}

fn portal_command(command: &PortalCommand) -> String {
    match command {
        PortalCommand::Open { token, .. } => format!("open link as {}", token.expose()),
        PortalCommand::Close => "close link".to_owned(),
        PortalCommand::Reconnect(_) => "reconnect".to_owned(),
        PortalCommand::SetResolvers(resolvers) => format!("link resolvers {:?}", addresses(resolvers)),
        PortalCommand::Send(_) => "to portal".to_owned(),
    }
}

fn account(token: &str) -> Account {
    Account { token: token.into(), slug: Some("acme".to_owned()), actor: None }
}

fn key(number: u8) -> PublicKey {
    PublicKey([number; 32])
}

fn interface() -> InterfaceConfig {
    let sentinel = IpAddr::V4(Ipv4Addr::new(100, 100, 111, 1));
    let upstream = dns::Upstream::Do53("192.0.2.53:53".parse().unwrap());
    InterfaceConfig {
        ipv4: Ipv4Addr::new(100, 64, 0, 1),
        ipv6: Ipv6Addr::LOCALHOST,
        sentinels: vec![(sentinel, upstream)],
        search_domain: None,
        routes: model::address_plan::ranges().into_iter().collect(),
    }
}
