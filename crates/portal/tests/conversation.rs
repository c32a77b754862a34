//! The life of a connection as stories in virtual time.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test may fail it")]

use std::time::{Duration, Instant};

use model::{FromPortal, GatewayId, PeerId, PublicKey, ResourceId, ToPortal};
use portal::{
    Action, Connection, DialError, End, Event, Login, Lost, Outage, Rejection, Request, Retry, Socket, UserAgent,
    Verdict, user_agent::Facts,
};
use serde_json::{Value, json};

/// A connection, a clock, and what was said and done.
struct World {
    connection: Connection,
    now: Instant,
    /// The attempt or socket that is to be served.
    socket: Option<Socket>,
    request: Option<Request>,
    closed: Vec<Socket>,
    events: Vec<Event>,
    said: Vec<Value>,
    /// The socket takes no bytes.
    is_blocked: bool,
    /// Each heartbeat is answered.
    is_alive: bool,
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn key(byte: u8) -> PublicKey {
    PublicKey([byte; 32])
}

fn world() -> World {
    let login = Login {
        portal: "wss://api.example.net/".parse().unwrap(),
        token: ".SFMyNTY.x.y".into(),
        external_id: "my-box".to_owned(),
        name: "My box".to_owned(),
        user_agent: UserAgent::new(&Facts::default(), "0.1.0"),
        device_serial: None,
        device_uuid: None,
    };
    #[expect(clippy::disallowed_methods, reason = "a story has to begin at some instant")]
    let now = Instant::now();
    let mut world = World {
        connection: Connection::new(login, key(1), now, 8123),
        now,
        socket: None,
        request: None,
        closed: Vec::new(),
        events: Vec::new(),
        said: Vec::new(),
        is_blocked: false,
        is_alive: true,
    };
    world.settle();
    world
}

/// A world in which the join has just been answered.
fn joined_world() -> World {
    let mut world = world();
    world.join();
    world
}

impl World {
    /// Carries out everything that the machine wants.
    fn settle(&mut self) {
        loop {
            while let Some(action) = self.connection.poll_action() {
                match action {
                    Action::Dial { socket, request } => (self.socket, self.request) = (Some(socket), Some(request)),
                    Action::Close(socket) => {
                        self.closed.push(socket);
                        self.socket.take_if(|it| *it == socket);
                    }
                }
            }
            while let Some(event) = self.connection.poll_event() {
                self.events.push(event);
            }
            let Some(frame) = (!self.is_blocked).then(|| self.connection.poll_transmit(self.now)).flatten() else {
                break;
            };
            assert_eq!(Some(frame.socket), self.socket);
            let said: Value = serde_json::from_str(&frame.text).unwrap();
            self.connection.handle_written(frame.socket, self.now);
            if said["event"] == "heartbeat" && self.is_alive {
                self.hear(&json!({ "topic": "phoenix", "event": "phx_reply", "ref": said["ref"],
                    "payload": { "status": "ok", "response": {} } }));
            }
            self.said.push(said);
        }
        if let Some(due) = self.connection.poll_timeout() {
            assert!(due.at >= self.now, "a deadline in the past: {}", due.reason);
        }
    }

    /// Lets time pass, from deadline to deadline.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.connection.poll_timeout().filter(|due| due.at <= end) {
            self.now = self.now.max(due.at);
            self.connection.handle_timeout(self.now);
            self.settle();
            if let Some(next) = self.connection.poll_timeout() {
                assert!(next.at > self.now, "{} is always due", next.reason);
            }
        }
        self.now = end;
    }

    /// The upgrade succeeds.
    fn open(&mut self) {
        self.connection.handle_open(self.socket.unwrap(), self.now);
        self.settle();
    }

    fn lose(&mut self, why: Lost) {
        self.connection.handle_lost(self.socket.unwrap(), why, self.now);
        self.settle();
    }

    fn hear(&mut self, frame: &Value) {
        self.hear_on(self.socket.unwrap(), frame);
    }

    fn hear_on(&mut self, socket: Socket, frame: &Value) {
        self.connection.handle_text(socket, &frame.to_string(), self.now);
        self.settle();
    }

    fn push(&mut self, event: &str, payload: &Value) {
        self.hear(&json!({ "topic": "client", "event": event, "ref": null, "payload": payload }));
    }

    /// The portal answers what was said last.
    fn answer(&mut self, payload: &Value) {
        let said = self.said.last().unwrap().clone();
        self.hear(&json!({ "topic": said["topic"], "event": "phx_reply", "ref": said["ref"], "payload": payload }));
    }

    fn join(&mut self) {
        self.open();
        assert_eq!(self.said.last().unwrap()["event"], "phx_join");
        self.answer(&json!({ "status": "ok", "response": {} }));
    }

    fn send(&mut self, message: ToPortal) {
        self.connection.handle_send(message);
        self.settle();
    }

    /// The events since last asked.
    fn news(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Why and for how long the portal was lost, as the only news.
    fn lost(&mut self) -> (Lost, Retry) {
        match self.news().as_slice() {
            [Event::Lost { why, retry }] => (why.clone(), *retry),
            other => panic!("{other:?}"),
        }
    }

    /// The names of the events said since last asked.
    fn spoken(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said).iter().map(|frame| frame["event"].as_str().unwrap().to_owned()).collect()
    }
}

fn ask(resource: u128) -> ToPortal {
    ToPortal::RequestAuthorization {
        resource: ResourceId::from_u128(resource),
        connected_gateways: Vec::new(),
        device: None,
    }
}

fn new(candidate: &str) -> ToPortal {
    ToPortal::NewIceCandidates { peer: gateway(), candidates: vec![candidate.to_owned()] }
}

fn void(candidate: &str) -> ToPortal {
    ToPortal::InvalidateIceCandidates { peer: gateway(), candidates: vec![candidate.to_owned()] }
}

fn gateway() -> PeerId {
    PeerId::Gateway(GatewayId::from_u128(1))
}

fn rejected(status: u16, code: Option<&str>, retry_after: Option<Duration>) -> Lost {
    Lost::Rejected(Rejection { status, code: code.map(str::to_owned), detail: None, retry_after })
}

#[test]
fn the_join_comes_first_and_everything_else_waits_for_its_answer() {
    let mut world = world();
    world.open();
    world.send(ask(1));
    world.send(ToPortal::NoRelays);
    world.send(ask(2));
    world.pass(secs(4));
    assert_eq!(world.said, [json!({ "topic": "client", "event": "phx_join", "payload": null, "ref": 0 })]);
    world.answer(&json!({ "status": "ok", "response": { "anything": 1 } }));
    assert_eq!(world.spoken(), ["phx_join", "request_authorization", "no_relays", "request_authorization"]);
    assert_eq!(world.news(), [Event::Joined]);
}

#[test]
fn what_waits_already_is_not_said_twice() {
    let mut world = world();
    world.open();
    for _ in 0..3 {
        world.send(ask(1));
    }
    world.answer(&json!({ "status": "ok", "response": {} }));
    assert_eq!(world.spoken(), ["phx_join", "request_authorization"]);
}

#[test]
fn a_join_that_is_never_answered_fails_after_5_seconds() {
    let mut world = world();
    world.open();
    world.pass(Duration::from_millis(4999));
    assert_eq!(world.news(), []);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.lost().0, Lost::JoinTimedOut);
}

#[test]
fn a_join_that_is_refused_is_tried_again() {
    for reason in ["join crashed", "unmatched topic"] {
        let mut world = world();
        world.open();
        world.answer(&json!({ "status": "error", "response": { "reason": reason } }));
        assert_eq!(world.lost(), (Lost::JoinRefused, Retry { after: secs(1), outage: Outage::Brief }));
    }
}

#[test]
fn heartbeats_come_every_10_seconds_whatever_else_is_said() {
    let mut world = joined_world();
    world.said.clear();
    for second in 0..25 {
        world.pass(secs(1));
        world.send(ask(second));
    }
    assert_eq!(world.spoken().iter().filter(|event| *event == "heartbeat").count(), 2);
}

#[test]
fn heartbeats_do_not_wait_for_the_join() {
    let mut world = joined_world();
    world.pass(secs(8));
    world.send(ask(1));
    world.answer(&json!({ "status": "error", "response": { "reason": "unmatched topic" } }));
    world.said.clear();
    world.pass(secs(3));
    assert_eq!(world.spoken(), ["heartbeat"]);
}

#[test]
fn the_fourth_heartbeat_without_an_answer_is_the_last() {
    let mut world = joined_world();
    world.news();
    world.is_alive = false;
    world.pass(Duration::from_millis(39_999));
    assert_eq!(world.news(), []);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.lost().0, Lost::Silent);
    assert_eq!(world.spoken().iter().filter(|event| *event == "heartbeat").count(), 4);
}

#[test]
fn answers_to_questions_that_were_not_asked_do_not_count() {
    let mut world = joined_world();
    world.news();
    world.is_alive = false;
    for _ in 0..4 {
        world.pass(secs(10));
        if world.socket.is_some() {
            world
                .hear(&json!({ "topic": "phoenix", "event": "phx_reply", "ref": 4711, "payload": { "status": "ok" } }));
        }
    }
    assert_eq!(world.lost().0, Lost::Silent);
}

#[test]
fn a_blocked_socket_piles_up_no_heartbeats() {
    let mut world = joined_world();
    world.said.clear();
    world.is_blocked = true;
    world.pass(secs(29));
    world.is_blocked = false;
    world.settle();
    assert_eq!(world.spoken(), ["heartbeat"]);
    world.pass(secs(60));
    assert_eq!(world.spoken().len(), 6, "and it lives on");
}

#[test]
fn a_write_that_never_ends_is_given_up() {
    let mut world = joined_world();
    world.news();
    world.pass(secs(10));
    world.connection.handle_send(ask(1));
    assert!(world.connection.poll_transmit(world.now).is_some());
    assert!(world.connection.poll_transmit(world.now).is_none(), "nothing more while the first is being written");
    world.is_blocked = true;
    world.pass(secs(30));
    assert_eq!(world.lost().0, Lost::Blocked);
}

#[test]
fn an_attempt_is_given_up_after_15_seconds() {
    let mut world = world();
    let first = world.socket.unwrap();
    world.pass(Duration::from_millis(14_999));
    assert_eq!(world.news(), []);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.lost().0, Lost::ConnectTimedOut);
    assert_eq!(world.closed, [first]);
    world.pass(secs(1));
    assert!(world.socket.is_some());
}

#[test]
fn before_the_first_join_the_delays_are_even_and_the_caller_learns_when_it_takes_long() {
    let mut world = world();
    let mut brief = 0;
    for _ in 0..14 {
        world.lose(Lost::Dial(DialError::Unreachable));
        let (_, retry) = world.lost();
        assert_eq!(retry, Retry { after: secs(1), outage: Outage::Brief });
        brief += 1;
        world.pass(secs(1));
    }
    world.lose(Lost::Dial(DialError::NoAddress));
    let mut retry = world.lost().1;
    assert_eq!(retry, Retry { after: secs(1), outage: Outage::Lasting });
    assert_eq!(brief, 14);
    // A machine that boots without a network waits for it, however long that takes.
    for _ in 0..100 {
        world.pass(retry.after);
        world.lose(Lost::Dial(DialError::NoAddress));
        let why;
        (why, retry) = world.lost();
        assert!(why.looks_like_no_network());
        assert!(retry.after <= secs(60) && retry.outage == Outage::Lasting);
    }
    world.connection.hurry(world.now);
    world.settle();
    assert!(world.socket.is_some(), "news about the network cuts the waiting short");
    world.join();
    assert_eq!(world.news(), [Event::Joined]);
}

#[test]
fn a_portal_that_is_away_for_an_hour_is_not_overrun_and_found_at_once_when_the_network_changes() {
    let mut world = joined_world();
    world.news();
    world.lose(Lost::Closed(Some(1012)));
    let end = world.now + secs(3600);
    let mut attempts = 0;
    while world.now < end {
        world.pass(secs(1));
        if world.socket.is_some() {
            world.lose(Lost::Dial(DialError::Unreachable));
            attempts += 1;
        }
    }
    assert!((50..90).contains(&attempts), "{attempts}");
    world.connection.reconnect(key(1), world.now);
    world.settle();
    assert!(world.socket.is_some());
    world.news();
    world.lose(Lost::Dial(DialError::NoAddress));
    assert!(
        world.lost().1.after <= secs(1),
        "right after waking up names often fail once; that must not cost a minute"
    );
}

#[test]
fn a_portal_that_is_away_for_longer_than_allowed_ends_the_session_and_keeps_the_token() {
    let mut world = joined_world();
    world.connection = world.connection.with_limit(Some(secs(600)));
    world.lose(Lost::Broken);
    world.pass(secs(2));
    world.join();
    world.news();
    let start = world.now;
    let mut ended = None;
    while ended.is_none() {
        world.lose(Lost::Dial(DialError::Unreachable));
        ended = world.news().into_iter().find_map(|event| if let Event::Ended(end) = event { Some(end) } else { None });
        while ended.is_none() && world.socket.is_none() {
            world.pass(secs(1));
        }
    }
    assert_eq!(ended, Some(End::Away));
    assert!(!End::Away.requires_sign_in());
    assert!((secs(530)..secs(700)).contains(&(world.now - start)), "{:?}", world.now - start);
}

#[test]
fn a_join_resets_the_delays_but_a_mere_connection_does_not() {
    let mut world = joined_world();
    world.news();
    for _ in 0..20 {
        world.lose(Lost::Broken);
        let retry = world.lost().1;
        world.pass(retry.after);
        world.open();
    }
    world.lose(Lost::Broken);
    let retry = world.lost().1;
    assert_eq!(retry.after, secs(60));
    world.pass(retry.after);
    world.join();
    world.news();
    world.lose(Lost::Broken);
    assert!(world.lost().1.after <= secs(1));
}

#[test]
fn refusals_are_retried_and_retry_after_is_obeyed() {
    for (status, retry_after, expected) in [
        (400, None, 1),
        (402, None, 1),
        (403, None, 1),
        (404, None, 1),
        (408, None, 1),
        (409, None, 1),
        (500, None, 1),
        (301, None, 1),
        (429, Some(30), 30),
        (503, Some(60), 60),
        (503, Some(0), 1),
    ] {
        let mut world = world();
        world.lose(rejected(status, None, retry_after.map(secs)));
        assert_eq!(world.lost().1.after, secs(expected), "{status}");
        world.pass(secs(expected));
        assert!(world.socket.is_some());
    }
}

#[test]
fn the_rate_limit_is_part_of_ordinary_life() {
    let mut world = world();
    world.lose(rejected(503, Some("rate_limit"), Some(secs(1))));
    assert!(world.lost().0.is_ordinary());
}

#[test]
fn a_named_401_is_the_end_and_any_other_is_tried_again_slowly() {
    for (code, end) in [
        (Some("invalid_token"), Some(Verdict::InvalidToken)),
        (Some("missing_token"), Some(Verdict::MissingToken)),
        (Some("other"), None),
        (None, None),
    ] {
        let mut world = world();
        world.lose(rejected(401, code, None));
        match end {
            Some(verdict) => {
                assert_eq!(world.news(), [Event::Ended(End::SignInAgain(verdict))]);
                world.pass(secs(100_000));
                assert!(world.socket.is_none() && world.connection.poll_timeout().is_none());
            }
            None => {
                let retry = world.lost().1;
                assert!(retry.after >= secs(30) && retry.outage == Outage::Lasting);
            }
        }
    }
}

#[test]
fn without_a_mark_there_is_no_way_that_is_not_a_loop() {
    let mut world = world();
    world.lose(Lost::Dial(DialError::CannotMark));
    assert_eq!(world.news(), [Event::Ended(End::CannotMark)]);
    assert!(!End::CannotMark.requires_sign_in(), "and the token is as good as before");
}

#[test]
fn an_expired_session_ends_and_its_socket_is_closed() {
    let mut world = joined_world();
    let socket = world.socket.unwrap();
    world.news();
    world.push("disconnect", &json!({ "reason": "token_expired" }));
    assert_eq!(world.news(), [Event::Ended(End::SignInAgain(Verdict::TokenExpired))]);
    assert_eq!(world.closed, [socket]);
    assert!(Verdict::TokenExpired.to_string().contains("another device with the same identity"));
}

#[test]
fn other_disconnects_and_errors_are_left_to_the_socket() {
    let mut world = joined_world();
    world.news();
    world.push("disconnect", &json!({ "reason": "certificate_revoked" }));
    world.push("phx_error", &json!({}));
    world.push("phx_error", &json!({ "reason": "channel_crash" }));
    world.push("unknown event", &json!({}));
    for reason in ["disabled", "invalid_version", "unknown_message", "no idea"] {
        world.send(ask(1));
        world.answer(&json!({ "status": "error", "response": { "reason": reason } }));
    }
    world.hear(&json!({ "topic": "client", "event": "phx_reply", "ref": null, "payload": { "status": "error" } }));
    assert_eq!(world.news(), []);
    assert!(world.closed.is_empty());
}

#[test]
fn a_closed_channel_takes_its_socket_along() {
    let mut world = joined_world();
    world.news();
    world.push("phx_close", &json!({}));
    assert_eq!(world.lost().0, Lost::ChannelClosed);
    assert_eq!(world.closed.len(), 1);
}

#[test]
fn half_a_message_is_a_broken_connection() {
    let mut world = joined_world();
    world.news();
    let socket = world.socket.unwrap();
    world.connection.handle_text(socket, r#"{"topic":"client","event":"in"#, world.now);
    world.settle();
    assert_eq!(world.lost().0, Lost::Truncated);
}

#[test]
fn a_forgotten_channel_is_joined_again_on_the_same_socket() {
    let mut world = joined_world();
    world.news();
    world.said.clear();
    world.send(ask(1));
    world.answer(&json!({ "status": "error", "response": { "reason": "unmatched topic" } }));
    assert_eq!(world.spoken(), ["request_authorization", "phx_join"]);
    // Late news about what was said before the new join must not start another one.
    world.hear(&json!({ "topic": "client", "event": "phx_reply", "ref": 1,
        "payload": { "status": "error", "response": { "reason": "unmatched topic" } } }));
    world.send(new("a"));
    assert_eq!(world.spoken(), Vec::<String>::new());
    world.hear(
        &json!({ "topic": "client", "event": "phx_reply", "ref": 2, "payload": { "status": "ok", "response": {} } }),
    );
    assert_eq!(world.spoken(), ["new_gateway_ice_candidates"]);
    assert_eq!(world.news(), [Event::Joined]);
    assert!(world.closed.is_empty());
}

#[test]
fn a_superseded_socket_is_not_heard() {
    let mut world = joined_world();
    let old = world.socket.unwrap();
    world.connection.reconnect(key(2), world.now);
    world.settle();
    let expired =
        json!({ "topic": "client", "event": "disconnect", "ref": null, "payload": { "reason": "token_expired" } });
    world.hear_on(old, &expired);
    world.open();
    world.hear_on(old, &expired);
    world.connection.handle_lost(old, Lost::Broken, world.now);
    world.settle();
    assert_eq!(world.news(), [Event::Joined]);
    world.answer(&json!({ "status": "ok", "response": {} }));
    assert_eq!(world.news(), [Event::Joined]);
    assert_eq!(world.closed, [old]);
}

#[test]
fn a_socket_that_opens_too_late_is_closed() {
    let mut world = world();
    let first = world.socket.unwrap();
    world.pass(secs(15));
    world.connection.handle_open(first, world.now);
    world.settle();
    assert_eq!(world.closed, [first, first]);
}

#[test]
fn numbers_start_anew_with_each_socket_and_what_waited_is_lost() {
    let mut world = joined_world();
    world.is_blocked = true;
    world.send(ask(1));
    world.lose(Lost::Broken);
    world.send(ask(2));
    world.is_blocked = false;
    world.pass(secs(2));
    world.said.clear();
    world.join();
    world.send(ask(3));
    let numbers: Vec<_> = world.said.iter().map(|frame| frame["ref"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [0, 1]);
    assert_eq!(world.spoken(), ["phx_join", "request_authorization"]);
}

#[test]
fn candidates_are_held_while_away_and_said_once() {
    let mut world = joined_world();
    world.is_blocked = true;
    world.send(new("not yet said"));
    world.lose(Lost::Broken);
    world.is_blocked = false;
    world.send(new("added"));
    world.send(new("added and removed"));
    world.send(void("added and removed"));
    world.send(void("known"));
    world.pass(secs(2));
    world.open();
    world.send(new("while joining"));
    world.said.clear();
    world.hear(
        &json!({ "topic": "client", "event": "phx_reply", "ref": 0, "payload": { "status": "ok", "response": {} } }),
    );
    let payloads: Vec<_> =
        world.said.iter().map(|frame| (frame["event"].clone(), frame["payload"]["candidates"].clone())).collect();
    assert_eq!(
        payloads,
        [
            (json!("new_gateway_ice_candidates"), json!(["not yet said", "added", "while joining"])),
            (json!("invalidate_gateway_ice_candidates"), json!(["known"])),
        ]
    );
    world.lose(Lost::Broken);
    world.pass(secs(2));
    world.said.clear();
    world.join();
    assert_eq!(world.spoken(), ["phx_join"]);
}

#[test]
fn candidates_of_a_closed_connection_and_of_an_old_key_are_forgotten() {
    for forget in [(|world: &mut World| world.connection.forget(gateway())) as fn(&mut World), |world| {
        world.connection.reconnect(key(2), world.now)
    }] {
        let mut world = joined_world();
        world.lose(Lost::Broken);
        world.send(new("a"));
        forget(&mut world);
        world.settle();
        world.pass(secs(2));
        world.said.clear();
        world.join();
        assert_eq!(world.spoken(), ["phx_join"]);
    }
}

#[test]
fn candidates_outlive_a_reconnect_with_the_same_key() {
    let mut world = joined_world();
    world.lose(Lost::Broken);
    world.send(new("a"));
    world.connection.reconnect(key(1), world.now);
    world.settle();
    world.said.clear();
    world.join();
    assert_eq!(world.spoken(), ["phx_join", "new_gateway_ice_candidates"]);
}

#[test]
fn a_new_key_is_in_the_next_request() {
    let mut world = joined_world();
    world.connection.reconnect(key(2), world.now);
    world.settle();
    let url = world.request.as_ref().unwrap().url.to_string();
    assert!(url.ends_with("public_key=AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI%3D"), "{url}");
}

#[test]
fn an_older_portal_is_spoken_to_in_its_own_words() {
    let mut world = world();
    world.lose(rejected(404, None, None));
    world.pass(secs(1));
    assert_eq!(world.request.as_ref().unwrap().url.path(), "/client/websocket");
    world.join();
    world.send(ask(1));
    assert_eq!(world.spoken(), ["phx_join", "create_flow"]);
    world.lose(rejected(404, None, None));
    world.pass(secs(2));
    assert_eq!(world.request.as_ref().unwrap().url.path(), "/client/v2/websocket", "it may have been updated");
}

#[test]
fn a_sleep_of_a_day_costs_one_heartbeat_and_not_thousands() {
    let mut world = joined_world();
    world.said.clear();
    world.now += secs(86_400);
    world.connection.handle_timeout(world.now);
    world.settle();
    assert_eq!(world.spoken(), ["heartbeat"]);
    world.pass(secs(10));
    assert_eq!(world.spoken(), ["heartbeat"]);
}

#[test]
fn after_the_end_nothing_happens_any_more() {
    let mut world = joined_world();
    world.news();
    world.connection.close();
    world.settle();
    world.send(ask(1));
    world.connection.reconnect(key(2), world.now);
    world.connection.hurry(world.now);
    world.settle();
    world.pass(secs(100_000));
    assert_eq!(world.news(), []);
    assert!(world.socket.is_none());
    assert_eq!(world.closed.len(), 1);
}

#[test]
fn messages_for_the_tunnel_are_passed_on_in_order() {
    let mut world = joined_world();
    world.news();
    let interface = json!({ "ipv4": "100.64.0.2", "ipv6": "fd00:2021:1111::2" });
    world.push("init", &json!({ "interface": interface }));
    world.push("resource_deleted", &json!(ResourceId::from_u128(1)));
    world.push("resource_created_or_updated", &json!({ "type": "teleport" }));
    world.push("config_changed", &json!({ "interface": interface }));
    assert!(matches!(
        world.news().as_slice(),
        [
            Event::Message(FromPortal::Init(_)),
            Event::Message(FromPortal::ResourceDeleted(_)),
            Event::Message(FromPortal::ConfigChanged(_)),
        ]
    ));
}
