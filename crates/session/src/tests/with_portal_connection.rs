//! The session together with the connection to the portal, in virtual time.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use dbus_api::State;
use model::PublicKey;
use portal::{
    Action, Connection, ConnectionError, DialError, Event, Login, Rejection, Socket, UserAgent, user_agent::SystemInfo,
};
use serde_json::{Value, json};

use super::{UID, interface};
use crate::{
    Account, DaemonEvent, Effect, HostEvent, Input, Mode, PortalCommand, PortalEvent, Request, RequestId, Session,
    TunnelCommand, TunnelEvent, portal_outcome,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a connection attempt meets.
#[derive(Clone, Copy)]
enum Network {
    /// No network.
    Offline,
    /// A network, but the portal is down.
    NoPortal,
    /// A server that answers with this status and code.
    Refusal(u16, Option<&'static str>),
    /// The portal.
    Portal,
}

/// One machine and its network.
struct World {
    session: Session,
    now: Instant,
    network: Network,
    line: Option<Connection>,
    socket: Option<Socket>,
    /// Whether the portal answers heartbeats.
    is_alive: bool,
    /// The times of the connection attempts.
    dials: Vec<Instant>,
    /// The token of each session.
    tokens: Vec<String>,
    keys: u8,
    /// Effects on the data plane and the host.
    effects: Vec<&'static str>,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "virtual time needs a starting point")]
    fn new(mode: Mode, network: Network) -> Self {
        let now = Instant::now();
        Self {
            session: Session::new(mode, false, now),
            now,
            network,
            line: None,
            socket: None,
            is_alive: true,
            dials: Vec::new(),
            tokens: Vec::new(),
            keys: 0,
            effects: Vec::new(),
        }
    }

    /// A machine with a service token, just started.
    fn service(network: Network) -> Self {
        let mut world = Self::new(Mode::Service, network);
        world.feed(DaemonEvent::Start(account("token")));
        world
    }

    /// A user has signed in.
    fn user(network: Network) -> Self {
        let mut world = Self::new(Mode::User, network);
        world.feed(sign_in("token"));
        world
    }

    fn connected(mode: Mode) -> Self {
        let mut world = match mode {
            Mode::User => Self::user(Network::Portal),
            Mode::Service => Self::service(Network::Portal),
        };
        assert_eq!(world.state(), (State::Connected, ""));
        world.effects.clear();
        world
    }

    fn state(&self) -> (State, &str) {
        let snapshot = self.session.snapshot();
        (snapshot.state.clone(), snapshot.reason_code())
    }

    fn feed(&mut self, input: impl Into<Input>) {
        let mut inputs = VecDeque::from([input.into()]);
        while let Some(input) = inputs.pop_front() {
            self.session.handle(input, self.now);
            self.execute(&mut inputs);
            self.converse(&mut inputs);
        }
    }

    /// Executes the effects of the session.
    fn execute(&mut self, inputs: &mut VecDeque<Input>) {
        while let Some(effect) = self.session.poll_effect() {
            match effect {
                Effect::Tunnel(TunnelCommand::Open(_)) => {
                    self.effects.push("open tunnel");
                    inputs.push_back(TunnelEvent::Opened(self.new_key()).into());
                }
                Effect::Tunnel(TunnelCommand::Close) => {
                    self.effects.push("close tunnel");
                    inputs.push_back(TunnelEvent::Closed.into());
                }
                Effect::Tunnel(TunnelCommand::Reset) => {
                    self.effects.push("reset tunnel");
                    inputs.push_back(TunnelEvent::NewPublicKey(self.new_key()).into());
                }
                Effect::Portal(PortalCommand::Open { token, public_key, .. }) => {
                    self.tokens.push(token.expose().to_owned());
                    self.line = Some(Connection::new(login(token), public_key, self.now, 8123));
                }
                Effect::Portal(PortalCommand::Close) => {
                    self.line = None;
                    self.socket = None;
                }
                Effect::Portal(PortalCommand::Reconnect(key)) => {
                    if let Some(line) = &mut self.line {
                        line.reconnect(key, self.now);
                    }
                }
                Effect::Portal(PortalCommand::SetResolvers(_)) => {
                    if let Some(line) = &mut self.line {
                        line.retry_now(self.now);
                    }
                }
                Effect::Tunnel(TunnelCommand::Portal(model::FromPortal::Init(_))) => {
                    inputs.push_back(TunnelEvent::InterfaceChanged(interface()).into());
                }
                Effect::Host(config) => {
                    self.effects.push(if config.is_untouched() { "restore host" } else { "configure host" });
                    inputs.push_back(HostEvent::Applied { config, warnings: Vec::new() }.into());
                }
                _ => {}
            }
        }
    }

    /// Lets the connection and the network exchange messages until both are idle.
    fn converse(&mut self, inputs: &mut VecDeque<Input>) {
        let Some(line) = &mut self.line else { return };
        loop {
            if let Some(action) = line.poll_action() {
                match action {
                    Action::Dial { socket, .. } => {
                        self.dials.push(self.now);
                        match self.network {
                            Network::Offline => line.handle_lost(socket, DialError::NameNotResolved.into(), self.now),
                            Network::NoPortal => line.handle_lost(socket, DialError::Unreachable.into(), self.now),
                            Network::Refusal(status, code) => {
                                line.handle_lost(socket, ConnectionError::Rejected(rejection(status, code)), self.now);
                            }
                            Network::Portal => {
                                (self.socket, self.is_alive) = (Some(socket), true);
                                line.handle_open(socket, self.now);
                            }
                        }
                    }
                    Action::Close(socket) => {
                        self.socket.take_if(|open| *open == socket);
                    }
                }
            } else if let Some(frame) = line.poll_transmit(self.now) {
                line.handle_written(frame.socket, self.now);
                let said: Value = serde_json::from_str(&frame.text).unwrap();
                if self.socket != Some(frame.socket) || !self.is_alive {
                    continue;
                }
                let reply = json!({ "topic": said["topic"], "event": "phx_reply", "ref": said["ref"],
                                    "payload": { "status": "ok", "response": {} } });
                line.handle_text(frame.socket, &reply.to_string(), self.now);
                if said["event"] == "phx_join" {
                    let interface = json!({ "ipv4": "100.64.0.1", "ipv6": "fd00:2021:1111::1" });
                    let init = json!({ "topic": "client", "event": "init", "ref": null,
                                       "payload": { "interface": interface } });
                    line.handle_text(frame.socket, &init.to_string(), self.now);
                }
            } else {
                break;
            }
        }
        while let Some(event) = line.poll_event() {
            inputs.push_back(Input::Portal(match event {
                Event::Joined => PortalEvent::Joined,
                Event::Disconnected { error, .. } => portal_outcome::disconnected(error),
                Event::Message(message) => PortalEvent::Message(message),
                Event::Ended(end) => portal_outcome::ended(end),
            }));
        }
    }

    /// The portal sends this on the open socket.
    fn receive(&mut self, event: &str, payload: &Value) {
        let frame = json!({ "topic": "client", "event": event, "payload": payload, "ref": null }).to_string();
        let socket = self.socket.unwrap();
        self.line.as_mut().unwrap().handle_text(socket, &frame, self.now);
        self.settle();
    }

    /// The connection fails.
    fn cut(&mut self) {
        let socket = self.socket.take().unwrap();
        self.line.as_mut().unwrap().handle_lost(socket, ConnectionError::SocketFailed, self.now);
        self.settle();
    }

    fn settle(&mut self) {
        let mut inputs = VecDeque::new();
        self.converse(&mut inputs);
        for input in inputs {
            self.feed(input);
        }
    }

    /// Lets time pass and handles each timeout.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let line = self.line.as_ref().and_then(Connection::poll_timeout).map(|due| due.at);
            let next = [line, self.session.poll_timeout()].into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            self.wake();
        }
        self.now = end;
    }

    /// Handles the timeouts of the current time.
    fn wake(&mut self) {
        if let Some(line) = &mut self.line {
            line.handle_timeout(self.now);
        }
        self.settle();
        if self.session.poll_timeout().is_some_and(|at| at <= self.now) {
            self.feed(Input::Timeout);
        }
    }

    fn new_key(&mut self) -> PublicKey {
        self.keys += 1;
        PublicKey([self.keys; 32])
    }

    /// The shortest interval between the connection attempts since then.
    fn shortest_dial_interval(&self, since: Instant) -> Duration {
        let dials: Vec<_> = self.dials.iter().filter(|at| **at >= since).collect();
        dials.windows(2).map(|pair| *pair[1] - *pair[0]).min().unwrap_or(Duration::MAX)
    }
}

fn sign_in(token: &str) -> Input {
    Input::Request(RequestId(0), Request::SignIn { account: account(token), uid: UID })
}

fn account(token: &str) -> Account {
    Account { token: token.into(), slug: None, actor: None }
}

fn login(token: model::Secret) -> Login {
    Login {
        portal: "wss://api.example.net/".parse().unwrap(),
        token,
        external_id: "box".to_owned(),
        name: "box".to_owned(),
        user_agent: UserAgent::new(&SystemInfo::default(), "0.1.0"),
        device_serial: None,
        device_uuid: None,
    }
}

fn rejection(status: u16, code: Option<&str>) -> Rejection {
    Rejection { status, code: code.map(str::to_owned), detail: None, retry_after: None }
}

#[test]
fn boot_without_network_waits_and_connects_as_soon_as_there_is_one() {
    let mut world = World::new(Mode::Service, Network::Offline);
    world.feed(HostEvent::NetworkLost);
    world.feed(DaemonEvent::Start(account("token")));
    assert_eq!(world.state(), (State::WaitingForNetwork, "no_network"));
    let start = world.now;
    for _ in 0..48 {
        world.pass(HOUR);
        assert_eq!(world.state(), (State::WaitingForNetwork, "no_network"));
    }
    assert!(world.shortest_dial_interval(start + HOUR) >= MINUTE, "attempts are rare");
    assert_eq!(world.effects, ["open tunnel"], "the tunnel stays, and the host is unchanged");

    world.network = Network::Portal;
    world.feed(HostEvent::NetworkChanged);
    assert_eq!(world.state(), (State::Connected, ""));
    assert_eq!(world.tokens, ["token"]);
}

#[test]
fn portal_is_retried_at_once_after_a_network_or_resolver_change() {
    for event in [HostEvent::NetworkChanged, HostEvent::ResolversChanged(vec![IpAddr::V4(Ipv4Addr::LOCALHOST).into()])]
    {
        let mut world = World::connected(Mode::User);
        let start = world.now;
        world.network = Network::NoPortal;
        world.cut();
        world.pass(HOUR);
        assert_eq!(world.state(), (State::Reconnecting, "portal_unreachable"));
        assert_eq!(world.effects, [""; 0], "the tunnel and the host configuration stay");
        assert!(world.shortest_dial_interval(start + 10 * MINUTE) >= MINUTE);

        world.network = Network::Portal;
        let before = world.dials.len();
        world.feed(event);
        assert_eq!(world.state(), (State::Connected, ""), "at once");
        assert_eq!(world.dials.len(), before + 1);
    }
}

#[test]
fn user_session_ends_when_another_device_with_the_same_identity_connects() {
    let mut worlds = [World::connected(Mode::User), World::connected(Mode::User)];
    worlds[0].receive("disconnect", &json!({ "reason": "token_expired" }));
    assert_eq!(worlds[0].state(), (State::SignedOut, "token_expired"));
    assert_eq!(worlds[0].effects, ["close tunnel", "restore host"]);
    let text = portal::TokenRejection::TokenExpired.to_string();
    assert!(text.contains("another device with the same identity"), "{text}");
    for world in &mut worlds {
        world.pass(DAY);
    }
    assert_eq!(worlds[0].state(), (State::SignedOut, "token_expired"), "only one stays connected");
    assert_eq!(worlds[1].state(), (State::Connected, ""));
}

#[test]
fn services_with_the_same_identity_evict_each_other_rarely() {
    let mut worlds = [World::connected(Mode::Service), World::connected(Mode::Service)];
    let mut evictions = 0;
    worlds[0].receive("disconnect", &json!({ "reason": "token_expired" }));
    assert_eq!(worlds[0].state(), (State::Connecting, "token_expired"));
    for _ in 0..24 * 60 {
        for (one, other) in [(0, 1), (1, 0)] {
            let before = worlds[one].dials.len();
            worlds[one].pass(MINUTE);
            if worlds[one].dials.len() > before && worlds[other].socket.is_some() {
                worlds[other].receive("disconnect", &json!({ "reason": "token_expired" }));
                evictions += 1;
            }
        }
    }
    assert!((10..150).contains(&evictions), "{evictions} in a day");
}

#[test]
fn expired_token_ends_a_user_session_and_a_new_token_starts_another() {
    let mut world = World::connected(Mode::User);
    world.receive("disconnect", &json!({ "reason": "token_expired" }));
    world.pass(DAY);
    assert_eq!(world.state(), (State::SignedOut, "token_expired"));
    assert_eq!(world.dials.len(), 1);
    world.feed(sign_in("fresh"));
    assert_eq!(world.state(), (State::Connected, ""));
    assert_eq!(world.tokens, ["token", "fresh"]);
}

#[test]
fn service_retries_an_expired_token_rarely_and_uses_a_new_one_at_once() {
    let mut world = World::connected(Mode::Service);
    world.network = Network::Refusal(401, Some("invalid_token"));
    world.receive("disconnect", &json!({ "reason": "token_expired" }));
    assert_eq!(world.effects, ["close tunnel", "restore host"], "nothing is left behind");
    let start = world.now;
    world.pass(DAY);
    assert_eq!(world.state(), (State::Connecting, "invalid_token"));
    assert!(world.shortest_dial_interval(start + HOUR) >= 15 * MINUTE);

    world.network = Network::Portal;
    world.feed(DaemonEvent::Start(account("fresh")));
    assert_eq!(world.state(), (State::Connected, ""), "at once");
    assert_eq!(world.tokens.last().unwrap(), "fresh");
}

#[test]
fn captive_portal_does_not_invalidate_the_token() {
    for refusal in
        [Network::Refusal(401, None), Network::Refusal(401, Some("log_in_here")), Network::Refusal(403, None)]
    {
        let mut world = World::user(refusal);
        let start = world.now;
        world.pass(HOUR);
        assert_eq!(world.state(), (State::Connecting, "portal_rejected"));
        assert!(world.shortest_dial_interval(start + 10 * MINUTE) >= MINUTE / 2, "attempts are rare");
        world.network = Network::Portal;
        world.pass(2 * MINUTE);
        assert_eq!(world.state(), (State::Connected, ""));
        assert_eq!(world.tokens, ["token"], "without another sign-in");
    }
}

#[test]
fn captive_portal_during_a_session_keeps_the_tunnel() {
    let mut world = World::connected(Mode::User);
    world.network = Network::Refusal(401, None);
    world.cut();
    world.pass(HOUR);
    assert_eq!(world.state(), (State::Reconnecting, "portal_rejected"));
    assert_eq!(world.effects, [""; 0]);
}

#[test]
fn clock_jump_of_a_day_is_handled_like_a_long_sleep() {
    // With a notification about the new network after the wake-up.
    let mut world = World::connected(Mode::User);
    world.now += DAY;
    world.is_alive = false;
    world.feed(HostEvent::NetworkChanged);
    assert_eq!(world.state(), (State::Connected, ""));
    assert_eq!(world.effects, ["reset tunnel"]);

    // Without it: the missing heartbeat is noticed, and existing connections keep working.
    let mut world = World::connected(Mode::User);
    world.now += DAY;
    world.is_alive = false;
    world.wake();
    assert_eq!(world.state(), (State::Connected, ""));
    world.pass(MINUTE);
    assert_eq!((world.state(), world.dials.len()), ((State::Connected, ""), 2), "it reconnects by itself");
    assert_eq!(world.effects, [""; 0]);

    // While a rejected token waits for its next attempt.
    let mut world = World::service(Network::Refusal(401, Some("invalid_token")));
    let before = world.dials.len();
    world.now += DAY;
    world.wake();
    assert_eq!(world.dials.len(), before + 1, "missed attempts are not made up for");
}
