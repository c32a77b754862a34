//! The connection state machine in virtual time.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test helpers may fail the test")]

use std::time::{Duration, Instant};

use model::{FromPortal, GatewayId, PeerId, PublicKey, ResourceId, ToPortal};
use portal::{
    Action, Connection, ConnectionError, DialError, Event, Login, Outage, Rejection, Request, Retry, SessionEnd,
    Socket, TokenRejection, UserAgent, user_agent::SystemInfo,
};
use serde_json::{Value, json};

/// A connection, a virtual clock, and a record of its output.
struct World {
    connection: Connection,
    now: Instant,
    /// The current attempt or socket.
    socket: Option<Socket>,
    request: Option<Request>,
    closed: Vec<Socket>,
    events: Vec<Event>,
    sent: Vec<Value>,
    /// Whether the socket accepts no data.
    is_blocked: bool,
    /// Whether heartbeats are answered.
    answers_heartbeats: bool,
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
        user_agent: UserAgent::new(&SystemInfo::default(), "0.1.0"),
        device_serial: None,
        device_uuid: None,
    };
    #[expect(clippy::disallowed_methods, reason = "the virtual clock needs a start")]
    let now = Instant::now();
    let mut world = World {
        connection: Connection::new(login, key(1), now, 8123),
        now,
        socket: None,
        request: None,
        closed: Vec::new(),
        events: Vec::new(),
        sent: Vec::new(),
        is_blocked: false,
        answers_heartbeats: true,
    };
    world.settle();
    world
}

/// A world after a successful join.
fn joined_world() -> World {
    let mut world = world();
    world.join();
    world
}

impl World {
    /// Executes all actions and collects all output.
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
            let sent: Value = serde_json::from_str(&frame.text).unwrap();
            self.connection.handle_written(frame.socket, self.now);
            if sent["event"] == "heartbeat" && self.answers_heartbeats {
                self.receive(&json!({ "topic": "phoenix", "event": "phx_reply", "ref": sent["ref"],
                    "payload": { "status": "ok", "response": {} } }));
            }
            self.sent.push(sent);
        }
        if let Some(due) = self.connection.poll_timeout() {
            assert!(due.at >= self.now, "a deadline in the past: {}", due.reason);
        }
    }

    /// Advances the clock from deadline to deadline.
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

    fn lose(&mut self, error: ConnectionError) {
        self.connection.handle_lost(self.socket.unwrap(), error, self.now);
        self.settle();
    }

    fn receive(&mut self, frame: &Value) {
        self.receive_on(self.socket.unwrap(), frame);
    }

    fn receive_on(&mut self, socket: Socket, frame: &Value) {
        self.connection.handle_text(socket, &frame.to_string(), self.now);
        self.settle();
    }

    fn push(&mut self, event: &str, payload: &Value) {
        self.receive(&json!({ "topic": "client", "event": event, "ref": null, "payload": payload }));
    }

    /// The portal replies to the last message.
    fn reply(&mut self, payload: &Value) {
        let sent = self.sent.last().unwrap().clone();
        self.receive(&json!({ "topic": sent["topic"], "event": "phx_reply", "ref": sent["ref"], "payload": payload }));
    }

    fn join(&mut self) {
        self.open();
        assert_eq!(self.sent.last().unwrap()["event"], "phx_join");
        self.reply(&json!({ "status": "ok", "response": {} }));
    }

    fn send(&mut self, message: ToPortal) {
        self.connection.handle_send(message);
        self.settle();
    }

    /// Takes the events.
    fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The error and the retry of a `Disconnected` event, which must be the only one.
    fn lost(&mut self) -> (ConnectionError, Retry) {
        match self.take_events().as_slice() {
            [Event::Disconnected { error, retry }] => (error.clone(), *retry),
            other => panic!("{other:?}"),
        }
    }

    /// Takes the event names of the sent frames.
    fn take_sent(&mut self) -> Vec<String> {
        std::mem::take(&mut self.sent).iter().map(|frame| frame["event"].as_str().unwrap().to_owned()).collect()
    }
}

fn request(resource: u128) -> ToPortal {
    ToPortal::RequestAuthorization {
        resource: ResourceId::from_u128(resource),
        connected_gateways: Vec::new(),
        device: None,
    }
}

fn new(candidate: &str) -> ToPortal {
    ToPortal::NewIceCandidates { peer: gateway(), candidates: vec![candidate.to_owned()] }
}

fn invalid(candidate: &str) -> ToPortal {
    ToPortal::InvalidateIceCandidates { peer: gateway(), candidates: vec![candidate.to_owned()] }
}

fn gateway() -> PeerId {
    PeerId::Gateway(GatewayId::from_u128(1))
}

fn rejected(status: u16, code: Option<&str>, retry_after: Option<Duration>) -> ConnectionError {
    ConnectionError::Rejected(Rejection { status, code: code.map(str::to_owned), detail: None, retry_after })
}

#[test]
fn messages_wait_for_the_join_reply() {
    let mut world = world();
    world.open();
    world.send(request(1));
    world.send(ToPortal::NoRelays);
    world.send(request(2));
    world.pass(secs(4));
    assert_eq!(world.sent, [json!({ "topic": "client", "event": "phx_join", "payload": null, "ref": 0 })]);
    world.reply(&json!({ "status": "ok", "response": { "anything": 1 } }));
    assert_eq!(world.take_sent(), ["phx_join", "request_authorization", "no_relays", "request_authorization"]);
    assert_eq!(world.take_events(), [Event::Joined]);
}

#[test]
fn duplicate_queued_messages_are_sent_once() {
    let mut world = world();
    world.open();
    for _ in 0..3 {
        world.send(request(1));
    }
    world.reply(&json!({ "status": "ok", "response": {} }));
    assert_eq!(world.take_sent(), ["phx_join", "request_authorization"]);
}

#[test]
fn unanswered_join_times_out_after_5_seconds() {
    let mut world = world();
    world.open();
    world.pass(Duration::from_millis(4999));
    assert_eq!(world.take_events(), []);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.lost().0, ConnectionError::JoinTimedOut);
}

#[test]
fn refused_join_is_retried() {
    for reason in ["join crashed", "unmatched topic"] {
        let mut world = world();
        world.open();
        world.reply(&json!({ "status": "error", "response": { "reason": reason } }));
        assert_eq!(world.lost(), (ConnectionError::JoinRefused, Retry { after: secs(1), outage: Outage::Brief }));
    }
}

#[test]
fn heartbeats_are_sent_every_10_seconds_under_traffic() {
    let mut world = joined_world();
    world.sent.clear();
    for second in 0..25 {
        world.pass(secs(1));
        world.send(request(second));
    }
    assert_eq!(world.take_sent().iter().filter(|event| *event == "heartbeat").count(), 2);
}

#[test]
fn heartbeats_do_not_wait_for_the_join() {
    let mut world = joined_world();
    world.pass(secs(8));
    world.send(request(1));
    world.reply(&json!({ "status": "error", "response": { "reason": "unmatched topic" } }));
    world.sent.clear();
    world.pass(secs(3));
    assert_eq!(world.take_sent(), ["heartbeat"]);
}

#[test]
fn connection_is_lost_after_four_unanswered_heartbeats() {
    let mut world = joined_world();
    world.take_events();
    world.answers_heartbeats = false;
    world.pass(Duration::from_millis(39_999));
    assert_eq!(world.take_events(), []);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.lost().0, ConnectionError::HeartbeatTimedOut);
    assert_eq!(world.take_sent().iter().filter(|event| *event == "heartbeat").count(), 4);
}

#[test]
fn heartbeat_replies_with_a_wrong_ref_are_ignored() {
    let mut world = joined_world();
    world.take_events();
    world.answers_heartbeats = false;
    for _ in 0..4 {
        world.pass(secs(10));
        if world.socket.is_some() {
            world.receive(
                &json!({ "topic": "phoenix", "event": "phx_reply", "ref": 4711, "payload": { "status": "ok" } }),
            );
        }
    }
    assert_eq!(world.lost().0, ConnectionError::HeartbeatTimedOut);
}

#[test]
fn blocked_socket_queues_at_most_one_heartbeat() {
    let mut world = joined_world();
    world.sent.clear();
    world.is_blocked = true;
    world.pass(secs(29));
    world.is_blocked = false;
    world.settle();
    assert_eq!(world.take_sent(), ["heartbeat"]);
    world.pass(secs(60));
    assert_eq!(world.take_sent().len(), 6, "the connection continues");
}

#[test]
fn blocked_write_times_out_after_30_seconds() {
    let mut world = joined_world();
    world.take_events();
    world.pass(secs(10));
    world.connection.handle_send(request(1));
    assert!(world.connection.poll_transmit(world.now).is_some());
    assert!(world.connection.poll_transmit(world.now).is_none(), "one frame at a time");
    world.is_blocked = true;
    world.pass(secs(30));
    assert_eq!(world.lost().0, ConnectionError::WriteTimedOut);
}

#[test]
fn attempt_times_out_after_15_seconds() {
    let mut world = world();
    let first = world.socket.unwrap();
    world.pass(Duration::from_millis(14_999));
    assert_eq!(world.take_events(), []);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.lost().0, ConnectionError::ConnectTimedOut);
    assert_eq!(world.closed, [first]);
    world.pass(secs(1));
    assert!(world.socket.is_some());
}

#[test]
fn lasting_outage_before_the_first_join_is_reported() {
    let mut world = world();
    let mut brief = 0;
    for _ in 0..14 {
        world.lose(ConnectionError::Dial(DialError::Unreachable));
        let (_, retry) = world.lost();
        assert_eq!(retry, Retry { after: secs(1), outage: Outage::Brief });
        brief += 1;
        world.pass(secs(1));
    }
    world.lose(ConnectionError::Dial(DialError::NameNotResolved));
    let mut retry = world.lost().1;
    assert_eq!(retry, Retry { after: secs(1), outage: Outage::Lasting });
    assert_eq!(brief, 14);
    // A machine that boots without a network waits for it without a limit.
    for _ in 0..100 {
        world.pass(retry.after);
        world.lose(ConnectionError::Dial(DialError::NameNotResolved));
        let error;
        (error, retry) = world.lost();
        assert_eq!(error, ConnectionError::Dial(DialError::NameNotResolved));
        assert!(retry.after <= secs(60) && retry.outage == Outage::Lasting);
    }
    world.connection.retry_now(world.now);
    world.settle();
    assert!(world.socket.is_some(), "a change of the network ends the delay");
    world.join();
    assert_eq!(world.take_events(), [Event::Joined]);
}

#[test]
fn long_outage_backs_off_and_reconnect_dials_at_once() {
    let mut world = joined_world();
    world.take_events();
    world.lose(ConnectionError::Closed(Some(1012)));
    let end = world.now + secs(3600);
    let mut attempts = 0;
    while world.now < end {
        world.pass(secs(1));
        if world.socket.is_some() {
            world.lose(ConnectionError::Dial(DialError::Unreachable));
            attempts += 1;
        }
    }
    assert!((50..90).contains(&attempts), "{attempts}");
    world.connection.reconnect(key(1), world.now);
    world.settle();
    assert!(world.socket.is_some());
    world.take_events();
    world.lose(ConnectionError::Dial(DialError::NameNotResolved));
    assert!(
        world.lost().1.after <= secs(1),
        "after resume name resolution often fails once; the delays must start small"
    );
}

#[test]
fn outage_beyond_the_limit_ends_the_session_and_keeps_the_token() {
    let mut world = joined_world();
    world.connection = world.connection.with_limit(Some(secs(600)));
    world.lose(ConnectionError::SocketFailed);
    world.pass(secs(2));
    world.join();
    world.take_events();
    let start = world.now;
    let mut ended = None;
    while ended.is_none() {
        world.lose(ConnectionError::Dial(DialError::Unreachable));
        ended = world
            .take_events()
            .into_iter()
            .find_map(|event| if let Event::Ended(end) = event { Some(end) } else { None });
        while ended.is_none() && world.socket.is_none() {
            world.pass(secs(1));
        }
    }
    assert_eq!(ended, Some(SessionEnd::PortalUnreachable));
    assert!((secs(530)..secs(700)).contains(&(world.now - start)), "{:?}", world.now - start);
}

#[test]
fn only_a_join_resets_the_delays() {
    let mut world = joined_world();
    world.take_events();
    for _ in 0..20 {
        world.lose(ConnectionError::SocketFailed);
        let retry = world.lost().1;
        world.pass(retry.after);
        world.open();
    }
    world.lose(ConnectionError::SocketFailed);
    let retry = world.lost().1;
    assert_eq!(retry.after, secs(60));
    world.pass(retry.after);
    world.join();
    world.take_events();
    world.lose(ConnectionError::SocketFailed);
    assert!(world.lost().1.after <= secs(1));
}

#[test]
fn rejections_are_retried_and_retry_after_is_honoured() {
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
fn rate_limit_rejection_is_marked_as_such() {
    let mut world = world();
    world.lose(rejected(503, Some("rate_limit"), Some(secs(1))));
    assert!(matches!(world.lost().0, ConnectionError::Rejected(rejection) if rejection.is_rate_limit()));
}

#[test]
fn only_a_401_with_a_known_code_ends_the_session() {
    for (code, end) in [
        (Some("invalid_token"), Some(TokenRejection::InvalidToken)),
        (Some("missing_token"), Some(TokenRejection::MissingToken)),
        (Some("other"), None),
        (None, None),
    ] {
        let mut world = world();
        world.lose(rejected(401, code, None));
        match end {
            Some(reason) => {
                assert_eq!(world.take_events(), [Event::Ended(SessionEnd::TokenRejected(reason))]);
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
fn failure_to_mark_sockets_ends_the_session() {
    let mut world = world();
    world.lose(ConnectionError::Dial(DialError::SocketMarkDenied));
    assert_eq!(world.take_events(), [Event::Ended(SessionEnd::SocketMarkDenied)]);
}

#[test]
fn token_expired_ends_the_session_and_closes_the_socket() {
    let mut world = joined_world();
    let socket = world.socket.unwrap();
    world.take_events();
    world.push("disconnect", &json!({ "reason": "token_expired" }));
    assert_eq!(world.take_events(), [Event::Ended(SessionEnd::TokenRejected(TokenRejection::TokenExpired))]);
    assert_eq!(world.closed, [socket]);
    assert!(TokenRejection::TokenExpired.to_string().contains("another device with the same identity"));
}

#[test]
fn other_disconnects_and_errors_keep_the_socket_open() {
    let mut world = joined_world();
    world.take_events();
    world.push("disconnect", &json!({ "reason": "certificate_revoked" }));
    world.push("phx_error", &json!({}));
    world.push("phx_error", &json!({ "reason": "channel_crash" }));
    world.push("unknown event", &json!({}));
    for reason in ["disabled", "invalid_version", "unknown_message", "no idea"] {
        world.send(request(1));
        world.reply(&json!({ "status": "error", "response": { "reason": reason } }));
    }
    world.receive(&json!({ "topic": "client", "event": "phx_reply", "ref": null, "payload": { "status": "error" } }));
    assert_eq!(world.take_events(), []);
    assert!(world.closed.is_empty());
}

#[test]
fn closed_channel_closes_the_socket() {
    let mut world = joined_world();
    world.take_events();
    world.push("phx_close", &json!({}));
    assert_eq!(world.lost().0, ConnectionError::ChannelClosed);
    assert_eq!(world.closed.len(), 1);
}

#[test]
fn truncated_frame_ends_the_connection() {
    let mut world = joined_world();
    world.take_events();
    let socket = world.socket.unwrap();
    world.connection.handle_text(socket, r#"{"topic":"client","event":"in"#, world.now);
    world.settle();
    assert_eq!(world.lost().0, ConnectionError::TruncatedFrame);
}

#[test]
fn unmatched_topic_rejoins_on_the_same_socket() {
    let mut world = joined_world();
    world.take_events();
    world.sent.clear();
    world.send(request(1));
    world.reply(&json!({ "status": "error", "response": { "reason": "unmatched topic" } }));
    assert_eq!(world.take_sent(), ["request_authorization", "phx_join"]);
    // Late replies to messages before the new join must not cause another join.
    world.receive(&json!({ "topic": "client", "event": "phx_reply", "ref": 1,
        "payload": { "status": "error", "response": { "reason": "unmatched topic" } } }));
    world.send(new("a"));
    assert_eq!(world.take_sent(), Vec::<String>::new());
    world.receive(
        &json!({ "topic": "client", "event": "phx_reply", "ref": 2, "payload": { "status": "ok", "response": {} } }),
    );
    assert_eq!(world.take_sent(), ["new_gateway_ice_candidates"]);
    assert_eq!(world.take_events(), [Event::Joined]);
    assert!(world.closed.is_empty());
}

#[test]
fn frames_of_a_superseded_socket_are_ignored() {
    let mut world = joined_world();
    let old = world.socket.unwrap();
    world.connection.reconnect(key(2), world.now);
    world.settle();
    let expired =
        json!({ "topic": "client", "event": "disconnect", "ref": null, "payload": { "reason": "token_expired" } });
    world.receive_on(old, &expired);
    world.open();
    world.receive_on(old, &expired);
    world.connection.handle_lost(old, ConnectionError::SocketFailed, world.now);
    world.settle();
    assert_eq!(world.take_events(), [Event::Joined]);
    world.reply(&json!({ "status": "ok", "response": {} }));
    assert_eq!(world.take_events(), [Event::Joined]);
    assert_eq!(world.closed, [old]);
}

#[test]
fn socket_that_opens_after_the_timeout_is_closed() {
    let mut world = world();
    let first = world.socket.unwrap();
    world.pass(secs(15));
    world.connection.handle_open(first, world.now);
    world.settle();
    assert_eq!(world.closed, [first, first]);
}

#[test]
fn refs_restart_and_queued_messages_are_dropped_on_reconnect() {
    let mut world = joined_world();
    world.is_blocked = true;
    world.send(request(1));
    world.lose(ConnectionError::SocketFailed);
    world.send(request(2));
    world.is_blocked = false;
    world.pass(secs(2));
    world.sent.clear();
    world.join();
    world.send(request(3));
    let numbers: Vec<_> = world.sent.iter().map(|frame| frame["ref"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [0, 1]);
    assert_eq!(world.take_sent(), ["phx_join", "request_authorization"]);
}

#[test]
fn candidate_changes_are_merged_while_disconnected() {
    let mut world = joined_world();
    world.is_blocked = true;
    world.send(new("not yet sent"));
    world.lose(ConnectionError::SocketFailed);
    world.is_blocked = false;
    world.send(new("added"));
    world.send(new("added and removed"));
    world.send(invalid("added and removed"));
    world.send(invalid("known"));
    world.pass(secs(2));
    world.open();
    world.send(new("while joining"));
    world.sent.clear();
    world.receive(
        &json!({ "topic": "client", "event": "phx_reply", "ref": 0, "payload": { "status": "ok", "response": {} } }),
    );
    let payloads: Vec<_> =
        world.sent.iter().map(|frame| (frame["event"].clone(), frame["payload"]["candidates"].clone())).collect();
    assert_eq!(
        payloads,
        [
            (json!("new_gateway_ice_candidates"), json!(["not yet sent", "added", "while joining"])),
            (json!("invalidate_gateway_ice_candidates"), json!(["known"])),
        ]
    );
    world.lose(ConnectionError::SocketFailed);
    world.pass(secs(2));
    world.sent.clear();
    world.join();
    assert_eq!(world.take_sent(), ["phx_join"]);
}

#[test]
fn candidates_of_an_old_key_are_discarded() {
    let mut world = joined_world();
    world.lose(ConnectionError::SocketFailed);
    world.send(new("a"));
    world.connection.reconnect(key(2), world.now);
    world.settle();
    world.pass(secs(2));
    world.sent.clear();
    world.join();
    assert_eq!(world.take_sent(), ["phx_join"]);
}

#[test]
fn candidates_survive_a_reconnect_with_the_same_key() {
    let mut world = joined_world();
    world.lose(ConnectionError::SocketFailed);
    world.send(new("a"));
    world.connection.reconnect(key(1), world.now);
    world.settle();
    world.sent.clear();
    world.join();
    assert_eq!(world.take_sent(), ["phx_join", "new_gateway_ice_candidates"]);
}

#[test]
fn new_key_is_used_in_the_next_request() {
    let mut world = joined_world();
    world.connection.reconnect(key(2), world.now);
    world.settle();
    let url = world.request.as_ref().unwrap().url.to_string();
    assert!(url.ends_with("public_key=AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI%3D"), "{url}");
}

#[test]
fn older_portal_is_detected_by_a_404() {
    let mut world = world();
    world.lose(rejected(404, None, None));
    world.pass(secs(1));
    assert_eq!(world.request.as_ref().unwrap().url.path(), "/client/websocket");
    world.join();
    world.send(request(1));
    assert_eq!(world.take_sent(), ["phx_join", "create_flow"]);
    world.lose(rejected(404, None, None));
    world.pass(secs(2));
    assert_eq!(world.request.as_ref().unwrap().url.path(), "/client/v2/websocket", "the portal may have been updated");
}

#[test]
fn one_heartbeat_is_sent_after_a_long_suspend() {
    let mut world = joined_world();
    world.sent.clear();
    world.now += secs(86_400);
    world.connection.handle_timeout(world.now);
    world.settle();
    assert_eq!(world.take_sent(), ["heartbeat"]);
    world.pass(secs(10));
    assert_eq!(world.take_sent(), ["heartbeat"]);
}

#[test]
fn closed_connection_stays_closed() {
    let mut world = joined_world();
    world.take_events();
    world.connection.close();
    world.settle();
    world.send(request(1));
    world.connection.reconnect(key(2), world.now);
    world.connection.retry_now(world.now);
    world.settle();
    world.pass(secs(100_000));
    assert_eq!(world.take_events(), []);
    assert!(world.socket.is_none());
    assert_eq!(world.closed.len(), 1);
}

#[test]
fn tunnel_messages_are_delivered_in_order() {
    let mut world = joined_world();
    world.take_events();
    let interface = json!({ "ipv4": "100.64.0.2", "ipv6": "fd00:2021:1111::2" });
    world.push("init", &json!({ "interface": interface }));
    world.push("resource_deleted", &json!(ResourceId::from_u128(1)));
    world.push("resource_created_or_updated", &json!({ "type": "teleport" }));
    world.push("config_changed", &json!({ "interface": interface }));
    assert!(matches!(
        world.take_events().as_slice(),
        [
            Event::Message(FromPortal::Init(_)),
            Event::Message(FromPortal::ResourceDeleted(_)),
            Event::Message(FromPortal::ConfigChanged(_)),
        ]
    ));
}
