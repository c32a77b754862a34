//! The session and the conversation with the portal together, told in virtual time: hours of them in a millisecond.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use dbus_api::State;
use model::PublicKey;
use portal::{
    Action, Connection, ConnectionError, DialError, Event, Login, Rejection, Socket, UserAgent, user_agent::SystemInfo,
};
use serde_json::{Value, json};
use tunnel::InterfaceConfig;

use super::{Account, Effect, Input, Mode, Reply, Request, Session};
use crate::{host_config::HostConfig, portal_outcome};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What answers when somebody dials.
#[derive(Clone, Copy)]
enum OutThere {
    /// There is no network.
    Nothing,
    /// There is a network, but the portal is down.
    NoPortal,
    /// Something answers with this status and code.
    Refusal(u16, Option<&'static str>),
    /// The portal.
    Portal,
}

/// One machine, and what is out there.
struct World {
    session: Session,
    now: Instant,
    out_there: OutThere,
    line: Option<Connection>,
    socket: Option<Socket>,
    /// What answers a heartbeat is still there.
    is_alive: bool,
    /// When it dialled.
    dials: Vec<Instant>,
    /// Whom it said it is, at each dial.
    tokens: Vec<String>,
    keys: u8,
    /// What happened to the data plane and the host.
    below: Vec<&'static str>,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "some instant has to be the first")]
    fn new(mode: Mode, out_there: OutThere) -> Self {
        let now = Instant::now();
        Self {
            session: Session::new(mode, false, now),
            now,
            out_there,
            line: None,
            socket: None,
            is_alive: true,
            dials: Vec::new(),
            tokens: Vec::new(),
            keys: 0,
            below: Vec::new(),
        }
    }

    /// A machine with a token of its own, just started.
    fn service(out_there: OutThere) -> Self {
        let mut world = Self::new(Mode::Service, out_there);
        world.feed(Input::Begin(account("token")));
        world
    }

    /// Somebody has signed in.
    fn user(out_there: OutThere) -> Self {
        let mut world = Self::new(Mode::User, out_there);
        world.feed(Input::Request(Request::SignIn(account("token"), Reply::new().0)));
        world
    }

    fn connected(mode: Mode) -> Self {
        let mut world = match mode {
            Mode::User => Self::user(OutThere::Portal),
            Mode::Service => Self::service(OutThere::Portal),
        };
        assert_eq!(world.seen(), (State::Connected, ""));
        world.below.clear();
        world
    }

    fn seen(&self) -> (State, &'static str) {
        let snapshot = self.session.snapshot();
        (snapshot.state.clone(), snapshot.reason_code())
    }

    fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.session.handle(input, self.now);
            self.obey(&mut inputs);
            self.converse(&mut inputs);
        }
    }

    /// Carries out what the session wants.
    fn obey(&mut self, inputs: &mut VecDeque<Input>) {
        while let Some(effect) = self.session.poll_effect() {
            match effect {
                Effect::OpenTunnel(_) => {
                    self.below.push("open tunnel");
                    inputs.push_back(Input::TunnelOpened(self.new_key()));
                }
                Effect::CloseTunnel => {
                    self.below.push("close tunnel");
                    inputs.push_back(Input::TunnelClosed);
                }
                Effect::ResetTunnel => {
                    self.below.push("reset tunnel");
                    inputs.push_back(Input::NewPublicKey(self.new_key()));
                }
                Effect::OpenLink { token, public_key, .. } => {
                    self.tokens.push(token.expose().to_owned());
                    self.line = Some(Connection::new(login(token), public_key, self.now, 8123));
                }
                Effect::CloseLink => {
                    self.line = None;
                    self.socket = None;
                }
                Effect::Reconnect(key) => {
                    if let Some(line) = &mut self.line {
                        line.reconnect(key, self.now);
                    }
                }
                Effect::LinkResolvers(_) => {
                    if let Some(line) = &mut self.line {
                        line.retry_now(self.now);
                    }
                }
                Effect::ToTunnel(model::FromPortal::Init(_)) => inputs.push_back(Input::Interface(interface())),
                Effect::Host(wish) => {
                    self.below.push(if wish == HostConfig::default() { "restore host" } else { "configure host" });
                    inputs.push_back(Input::HostApplied { wish, warnings: Vec::new() });
                }
                _ => {}
            }
        }
    }

    /// Lets the link and what is out there talk until neither has anything to say.
    fn converse(&mut self, inputs: &mut VecDeque<Input>) {
        let Some(line) = &mut self.line else { return };
        loop {
            if let Some(action) = line.poll_action() {
                match action {
                    Action::Dial { socket, .. } => {
                        self.dials.push(self.now);
                        match self.out_there {
                            OutThere::Nothing => line.handle_lost(socket, DialError::NameNotResolved.into(), self.now),
                            OutThere::NoPortal => line.handle_lost(socket, DialError::Unreachable.into(), self.now),
                            OutThere::Refusal(status, code) => {
                                line.handle_lost(socket, ConnectionError::Rejected(rejection(status, code)), self.now);
                            }
                            OutThere::Portal => {
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
            inputs.push_back(match event {
                Event::Joined => Input::Joined,
                Event::Disconnected { error, .. } => portal_outcome::lost(error),
                Event::Message(message) => Input::FromPortal(message),
                Event::Ended(end) => Input::Ended(portal_outcome::end(end)),
            });
        }
    }

    /// The portal says this on the open socket.
    fn hear(&mut self, event: &str, payload: &Value) {
        let frame = json!({ "topic": "client", "event": event, "payload": payload, "ref": null }).to_string();
        let socket = self.socket.unwrap();
        self.line.as_mut().unwrap().handle_text(socket, &frame, self.now);
        self.settle();
    }

    /// The connection breaks.
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

    /// Time passes, and everybody is woken when they asked to be.
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

    /// Everybody looks at the clock.
    fn wake(&mut self) {
        if let Some(line) = &mut self.line {
            line.handle_timeout(self.now);
        }
        self.settle();
        if self.session.poll_timeout().is_some_and(|at| at <= self.now) {
            self.feed(Input::TimeIsUp);
        }
    }

    fn new_key(&mut self) -> PublicKey {
        self.keys += 1;
        PublicKey([self.keys; 32])
    }

    /// How far apart the attempts since then were, at least.
    fn closest_dials(&self, since: Instant) -> Duration {
        let dials: Vec<_> = self.dials.iter().filter(|at| **at >= since).collect();
        dials.windows(2).map(|pair| *pair[1] - *pair[0]).min().unwrap_or(Duration::MAX)
    }
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

fn interface() -> InterfaceConfig {
    let upstream = dns::Upstream::Do53("192.0.2.53:53".parse().unwrap());
    InterfaceConfig {
        ipv4: Ipv4Addr::new(100, 64, 0, 1),
        ipv6: Ipv6Addr::LOCALHOST,
        sentinels: vec![(IpAddr::V4(Ipv4Addr::new(100, 100, 111, 1)), upstream)],
        search_domain: None,
        routes: model::address_plan::ranges().into_iter().collect(),
    }
}

#[test]
fn a_boot_without_network_waits_as_long_as_it_takes_and_connects_at_once_when_there_is_one() {
    let mut world = World::new(Mode::Service, OutThere::Nothing);
    world.feed(Input::NetworkLost);
    world.feed(Input::Begin(account("token")));
    assert_eq!(world.seen(), (State::WaitingForNetwork, "no_network"));
    let start = world.now;
    for _ in 0..48 {
        world.pass(HOUR);
        assert_eq!(world.seen(), (State::WaitingForNetwork, "no_network"));
    }
    assert!(world.closest_dials(start + HOUR) >= MINUTE, "and is quiet about it");
    assert_eq!(world.below, ["open tunnel"], "nothing was taken down, and nothing changed on the host");

    world.out_there = OutThere::Portal;
    world.feed(Input::NetworkChanged);
    assert_eq!(world.seen(), (State::Connected, ""));
    assert_eq!(world.tokens, ["token"]);
}

#[test]
fn a_portal_that_is_down_for_an_hour_costs_nothing_but_news_and_is_found_at_once() {
    for news in [Input::NetworkChanged, Input::ResolversChanged(vec![IpAddr::V4(Ipv4Addr::LOCALHOST).into()])] {
        let mut world = World::connected(Mode::User);
        let start = world.now;
        world.out_there = OutThere::NoPortal;
        world.cut();
        world.pass(HOUR);
        assert_eq!(world.seen(), (State::Reconnecting, "portal_unreachable"));
        assert_eq!(world.below, [""; 0], "the data plane goes on, the host stays as it is");
        assert!(world.closest_dials(start + 10 * MINUTE) >= MINUTE);

        world.out_there = OutThere::Portal;
        let before = world.dials.len();
        world.feed(news);
        assert_eq!(world.seen(), (State::Connected, ""), "without any time passing");
        assert_eq!(world.dials.len(), before + 1);
    }
}

#[test]
fn two_clients_with_one_identity_push_each_other_out_and_people_are_told_why() {
    let mut worlds = [World::connected(Mode::User), World::connected(Mode::User)];
    worlds[0].hear("disconnect", &json!({ "reason": "token_expired" }));
    assert_eq!(worlds[0].seen(), (State::SignedOut, "token_expired"));
    assert_eq!(worlds[0].below, ["close tunnel", "restore host"]);
    let told = portal::TokenRejection::TokenExpired.to_string();
    assert!(told.contains("another device with the same identity"), "{told}");
    for world in &mut worlds {
        world.pass(DAY);
    }
    assert_eq!(worlds[0].seen(), (State::SignedOut, "token_expired"), "there is no fight: one has left");
    assert_eq!(worlds[1].seen(), (State::Connected, ""));
}

#[test]
fn two_services_with_one_identity_do_not_fight_every_minute() {
    let mut worlds = [World::connected(Mode::Service), World::connected(Mode::Service)];
    let mut evictions = 0;
    worlds[0].hear("disconnect", &json!({ "reason": "token_expired" }));
    assert_eq!(worlds[0].seen(), (State::Connecting, "token_expired"));
    for _ in 0..24 * 60 {
        for (one, other) in [(0, 1), (1, 0)] {
            let before = worlds[one].dials.len();
            worlds[one].pass(MINUTE);
            if worlds[one].dials.len() > before && worlds[other].socket.is_some() {
                worlds[other].hear("disconnect", &json!({ "reason": "token_expired" }));
                evictions += 1;
            }
        }
    }
    assert!((10..150).contains(&evictions), "{evictions} in a day");
}

#[test]
fn a_token_that_expires_ends_a_persons_session_and_a_fresh_one_begins_another() {
    let mut world = World::connected(Mode::User);
    world.hear("disconnect", &json!({ "reason": "token_expired" }));
    world.pass(DAY);
    assert_eq!(world.seen(), (State::SignedOut, "token_expired"));
    assert_eq!(world.dials.len(), 1);
    world.feed(Input::Request(Request::SignIn(account("fresh"), Reply::new().0)));
    assert_eq!(world.seen(), (State::Connected, ""));
    assert_eq!(world.tokens, ["token", "fresh"]);
}

#[test]
fn a_service_whose_token_expires_stays_asks_slowly_and_takes_the_next_token() {
    let mut world = World::connected(Mode::Service);
    world.out_there = OutThere::Refusal(401, Some("invalid_token"));
    world.hear("disconnect", &json!({ "reason": "token_expired" }));
    assert_eq!(world.below, ["close tunnel", "restore host"], "what is over leaves nothing behind");
    let start = world.now;
    world.pass(DAY);
    assert_eq!(world.seen(), (State::Connecting, "invalid_token"));
    assert!(world.closest_dials(start + HOUR) >= 15 * MINUTE);

    world.out_there = OutThere::Portal;
    world.feed(Input::Begin(account("fresh")));
    assert_eq!(world.seen(), (State::Connected, ""), "SIGHUP does not wait");
    assert_eq!(world.tokens.last().unwrap(), "fresh");
}

#[test]
fn a_captive_portal_costs_no_token() {
    for refusal in
        [OutThere::Refusal(401, None), OutThere::Refusal(401, Some("log_in_here")), OutThere::Refusal(403, None)]
    {
        let mut world = World::user(refusal);
        let start = world.now;
        world.pass(HOUR);
        assert_eq!(world.seen(), (State::Connecting, "portal_rejected"));
        assert!(world.closest_dials(start + 10 * MINUTE) >= MINUTE / 2, "haste does not help");
        world.out_there = OutThere::Portal;
        world.pass(2 * MINUTE);
        assert_eq!(world.seen(), (State::Connected, ""));
        assert_eq!(world.tokens, ["token"], "and nobody had to sign in again");
    }
}

#[test]
fn a_captive_portal_in_the_middle_of_a_session_leaves_the_tunnel_alone() {
    let mut world = World::connected(Mode::User);
    world.out_there = OutThere::Refusal(401, None);
    world.cut();
    world.pass(HOUR);
    assert_eq!(world.seen(), (State::Reconnecting, "portal_rejected"));
    assert_eq!(world.below, [""; 0]);
}

#[test]
fn a_clock_that_jumps_by_a_day_is_a_long_sleep_and_no_more() {
    // Somebody tells us of the new network after waking up.
    let mut world = World::connected(Mode::User);
    world.now += DAY;
    world.is_alive = false;
    world.feed(Input::NetworkChanged);
    assert_eq!(world.seen(), (State::Connected, ""));
    assert_eq!(world.below, ["reset tunnel"]);

    // Nobody does: the silence is noticed, and what is connected goes on meanwhile.
    let mut world = World::connected(Mode::User);
    world.now += DAY;
    world.is_alive = false;
    world.wake();
    assert_eq!(world.seen(), (State::Connected, ""));
    world.pass(MINUTE);
    assert_eq!((world.seen(), world.dials.len()), ((State::Connected, ""), 2), "it has come back by itself");
    assert_eq!(world.below, [""; 0]);

    // While waiting for a token to be forgiven.
    let mut world = World::service(OutThere::Refusal(401, Some("invalid_token")));
    let before = world.dials.len();
    world.now += DAY;
    world.wake();
    assert_eq!(world.dials.len(), before + 1, "what was missed is not made up for");
}
