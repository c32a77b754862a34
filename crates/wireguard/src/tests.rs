//! Sessions between two endpoints in virtual time.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use model::{PresharedKey, PublicKey};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::{
    ConnectionId, Dispatch, Identity, MessageError, Opened, PeerSessions, TimerAction,
    message::{COOKIE_REPLY, DATA, INITIATION, RESPONSE},
    testing::epoch,
};

const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));
const OTHER_ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 8));
const PACKET: &[u8] = b"a packet";

/// One of two peers.
pub(crate) struct Endpoint {
    pub(crate) identity: Identity,
    pub(crate) sessions: PeerSessions,
    pub(crate) rng: StdRng,
    pub(crate) now: Instant,
}

/// The content of a received message.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Received {
    Packet(Vec<u8>),
    Reply(Vec<u8>),
    Control,
}

impl Endpoint {
    pub(crate) fn new(seed: u64, peer: &PublicKey, psk: &PresharedKey, now: Instant, unix_now: Duration) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let identity = Identity::new(&mut rng, now, unix_now);
        let id = ConnectionId::random(&mut rng, |_| false);
        let sessions = PeerSessions::new(&identity, peer, psk, id, &mut rng, now);
        Self { identity, sessions, rng, now }
    }

    pub(crate) fn initiate(&mut self) -> Option<Vec<u8>> {
        self.sessions.initiate(&mut self.identity, &mut self.rng, self.now)
    }

    pub(crate) fn send(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        self.sessions.seal(packet, &mut message, self.now).then_some(message)
    }

    pub(crate) fn receive(&mut self, message: &[u8]) -> Result<Received, MessageError> {
        self.receive_from(FROM, message)
    }

    fn receive_from(&mut self, from: IpAddr, message: &[u8]) -> Result<Received, MessageError> {
        let Self { identity, sessions, rng, now } = self;
        match identity.dispatch(from, message, rng, *now)? {
            Dispatch::SendCookieReply(reply) => Ok(Received::Reply(reply)),
            Dispatch::Initiation(initiation) => sessions.handle_initiation(*initiation, rng, *now).map(Received::Reply),
            Dispatch::Connection(_) => match sessions.open(&mut message.to_vec(), identity, rng, *now)? {
                Opened::Packet(packet) => Ok(Received::Packet(packet.to_vec())),
                Opened::Reply(reply) => Ok(Received::Reply(reply)),
                Opened::Control => Ok(Received::Control),
            },
        }
    }

    /// Whether the handshake limiter admits a message without a cookie. The message has no other effect.
    pub(crate) fn is_admitted(&mut self, message: &[u8]) -> bool {
        let dispatch = self.identity.dispatch(OTHER_ADDRESS, message, &mut self.rng, self.now);
        !matches!(dispatch, Ok(Dispatch::SendCookieReply(_)))
    }

    /// Advances the time until a timer sends a message.
    pub(crate) fn advance_to_next_message(&mut self) -> Vec<u8> {
        loop {
            self.now = self.sessions.poll_timeout().unwrap().at;
            let (action, mut messages) = self.run_due_actions();
            assert_ne!(action, TimerAction::GiveUp);
            if let Some(message) = messages.pop() {
                assert!(messages.is_empty());
                return message;
            }
        }
    }

    /// Performs all actions that are due.
    fn run_due_actions(&mut self) -> (TimerAction, Vec<Vec<u8>>) {
        let mut messages = Vec::new();
        loop {
            let (action, message) = self.sessions.handle_timeout(&mut self.identity, &mut self.rng, self.now);
            messages.extend(message);
            match action {
                TimerAction::Wait => {
                    assert!(self.sessions.poll_timeout().unwrap().at > self.now, "a deadline in the past");
                    return (action, messages);
                }
                TimerAction::GiveUp => return (action, messages),
                TimerAction::Initiate | TimerAction::SendKeepalive => {}
            }
        }
    }

    fn after(&self, start: Instant) -> Duration {
        self.now - start
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Two peers; the first usually initiates.
fn pair(seed: u64) -> [Endpoint; 2] {
    pair_with(seed, [[7; 32]; 2])
}

fn pair_with(seed: u64, preshared_keys: [[u8; 32]; 2]) -> [Endpoint; 2] {
    let start = epoch();
    let unix = secs(1_800_000_000);
    let [mut one, mut other] =
        [0, 1].map(|n| Endpoint::new(seed * 2 + n, &PublicKey([9; 32]), &PresharedKey::from([0; 32]), start, unix));
    let keys = [&one, &other].map(|side| side.identity.public_key());
    for (side, (peer, psk)) in
        [&mut one, &mut other].into_iter().zip([(keys[1], preshared_keys[0]), (keys[0], preshared_keys[1])])
    {
        let id = ConnectionId::random(&mut side.rng, |_| false);
        side.sessions = PeerSessions::new(&side.identity, &peer, &psk.into(), id, &mut side.rng, start);
    }
    [one, other]
}

/// `one` initiates a handshake, and both complete it.
fn handshake(one: &mut Endpoint, other: &mut Endpoint) {
    let initiation = one.initiate().unwrap();
    complete(one, other, &initiation);
}

fn complete(one: &mut Endpoint, other: &mut Endpoint, initiation: &[u8]) {
    let Ok(Received::Reply(response)) = other.receive(initiation) else { panic!("rejected") };
    assert_eq!(response[0], RESPONSE);
    let Ok(Received::Reply(keepalive)) = one.receive(&response) else { panic!("rejected") };
    assert_eq!(other.receive(&keepalive), Ok(Received::Control));
}

fn send(one: &mut Endpoint, other: &mut Endpoint) {
    let message = one.send(PACKET).unwrap();
    assert_eq!(other.receive(&message), Ok(Received::Packet(PACKET.to_vec())));
}

fn both_at(sides: [&mut Endpoint; 2], now: Instant) {
    for side in sides {
        side.now = now;
    }
}

#[test]
fn responder_sends_nothing_before_the_first_message_of_the_initiator() {
    let [mut one, mut other] = pair(1);
    let initiation = one.initiate().unwrap();
    let Ok(Received::Reply(response)) = other.receive(&initiation) else { panic!("rejected") };
    assert!(other.send(PACKET).is_none());
    let Ok(Received::Reply(keepalive)) = one.receive(&response) else { panic!("rejected") };
    assert_eq!((keepalive[0], keepalive.len()), (DATA, 32), "an empty message at once");
    assert_eq!(other.receive(&keepalive), Ok(Received::Control));
    send(&mut other, &mut one);
}

#[test]
fn different_preshared_keys_end_the_handshake_after_20_seconds() {
    let [mut one, mut other] = pair_with(2, [[1; 32], [2; 32]]);
    let start = one.now;
    let mut initiation = one.initiate().unwrap();
    loop {
        let Ok(Received::Reply(response)) = other.receive(&initiation) else { panic!("rejected") };
        assert_eq!(one.receive(&response), Err(MessageError::Forged));
        one.now = one.sessions.poll_timeout().unwrap().at;
        other.now = one.now;
        let (action, mut messages) = one.run_due_actions();
        if action == TimerAction::GiveUp {
            break;
        }
        initiation = messages.pop().unwrap();
    }
    assert_eq!(one.after(start), secs(20));
}

#[test]
fn initiation_is_repeated_after_5_seconds_plus_jitter() {
    for seed in 0..20 {
        let [mut one, _] = pair(100 + seed);
        let mut last = one.now;
        one.initiate().unwrap();
        for _ in 0..3 {
            assert_eq!(one.advance_to_next_message()[0], INITIATION);
            let pause = one.after(last);
            assert!(pause >= secs(5) && pause <= Duration::from_millis(5_333), "{pause:?}");
            last = one.now;
        }
    }
}

#[test]
fn repeated_initiation_is_accepted_and_the_older_one_rejected() {
    let [mut one, mut other] = pair(3);
    let first = one.initiate().unwrap();
    assert!(one.initiate().is_none(), "one at a time");
    let second = one.advance_to_next_message();
    other.now = one.now;
    complete(&mut one, &mut other, &second);
    assert_eq!(other.receive(&first), Err(MessageError::Replayed), "late, and older than the one that was accepted");
    assert_eq!(other.receive(&second), Err(MessageError::Replayed));
    send(&mut one, &mut other);
}

#[test]
fn late_response_to_a_repeated_initiation_is_accepted_once() {
    let [mut one, mut other] = pair(4);
    let first = one.initiate().unwrap();
    let Ok(Received::Reply(response)) = other.receive(&first) else { panic!("rejected") };
    let _lost = one.advance_to_next_message();
    let Ok(Received::Reply(keepalive)) = one.receive(&response) else { panic!("rejected") };
    assert_eq!(other.receive(&keepalive), Ok(Received::Control));
    send(&mut one, &mut other);
    assert_eq!(one.receive(&response), Err(MessageError::Unsolicited), "only once");
}

#[test]
fn simultaneous_handshakes_both_complete() {
    let [mut one, mut other] = pair(5);
    let (from_one, from_other) = (one.initiate().unwrap(), other.initiate().unwrap());
    let Ok(Received::Reply(to_one)) = other.receive(&from_one) else { panic!("rejected") };
    let Ok(Received::Reply(to_other)) = one.receive(&from_other) else { panic!("rejected") };
    let Ok(Received::Reply(first)) = one.receive(&to_one) else { panic!("rejected") };
    let Ok(Received::Reply(second)) = other.receive(&to_other) else { panic!("rejected") };
    assert_eq!(other.receive(&first), Ok(Received::Control));
    assert_eq!(one.receive(&second), Ok(Received::Control));
    for _ in 0..3 {
        send(&mut one, &mut other);
        send(&mut other, &mut one);
    }
}

#[test]
fn timestamps_increase_across_connections_at_the_same_instant() {
    let [mut one, mut other] = pair(6);
    handshake(&mut one, &mut other);
    for _ in 0..5 {
        let id = ConnectionId::random(&mut one.rng, |_| false);
        let peer = other.identity.public_key();
        one.sessions = PeerSessions::new(&one.identity, &peer, &[7; 32].into(), id, &mut one.rng, one.now);
        handshake(&mut one, &mut other);
        send(&mut one, &mut other);
    }
}

#[test]
fn sending_initiator_renews_the_session_after_120_seconds() {
    let [mut one, mut other] = pair(7);
    let start = one.now;
    handshake(&mut one, &mut other);
    send(&mut one, &mut other);
    send(&mut other, &mut one);
    let mut message = one.advance_to_next_message();
    while message[0] == DATA {
        message = one.advance_to_next_message();
    }
    let after = one.after(start);
    assert!(after >= secs(120) && after <= Duration::from_millis(120_333), "{after:?}");
}

#[test]
fn receiving_initiator_renews_the_session_after_165_seconds() {
    let [mut one, mut other] = pair(8);
    let start = one.now;
    handshake(&mut one, &mut other);
    send(&mut other, &mut one);
    assert_eq!(one.advance_to_next_message()[0], DATA, "a keepalive");
    assert_eq!(one.after(start), secs(10));
    assert_eq!(one.advance_to_next_message()[0], INITIATION);
    let after = one.after(start);
    assert!(after >= secs(165) && after <= Duration::from_millis(165_333), "{after:?}");
}

#[test]
fn responder_does_not_renew_a_session_in_use() {
    let [mut one, mut other] = pair(9);
    let start = one.now;
    handshake(&mut one, &mut other);
    for second in (1..175).step_by(5) {
        both_at([&mut one, &mut other], start + secs(second));
        assert_eq!(other.run_due_actions(), (TimerAction::Wait, Vec::new()));
        if second < 170 {
            send(&mut one, &mut other);
        }
        send(&mut other, &mut one);
    }
}

#[test]
fn initiator_replaces_an_unused_session_after_180_seconds() {
    let [mut one, mut other] = pair(10);
    let start = one.now;
    handshake(&mut one, &mut other);
    assert_eq!(one.advance_to_next_message()[0], INITIATION);
    let after = one.after(start);
    assert!(after >= secs(180) && after <= Duration::from_millis(180_333), "{after:?}");
    other.now = one.now;
    assert_eq!(other.run_due_actions(), (TimerAction::Wait, Vec::new()));
    assert!(other.send(PACKET).is_none());
}

#[test]
fn missing_reply_starts_a_handshake_after_15_seconds() {
    for talker_is_initiator in [true, false] {
        let [mut one, mut other] = pair(11);
        handshake(&mut one, &mut other);
        let [talker, listener] = if talker_is_initiator { [&mut one, &mut other] } else { [&mut other, &mut one] };
        let later = talker.now + secs(30);
        both_at([talker, listener], later);
        assert_eq!(talker.run_due_actions(), (TimerAction::Wait, Vec::new()));
        let start = talker.now;
        let _lost = talker.send(PACKET).unwrap();
        talker.now += secs(14);
        let _lost_too = talker.send(PACKET).unwrap();
        let initiation = talker.advance_to_next_message();
        assert_eq!(initiation[0], INITIATION);
        let after = talker.after(start);
        assert!(after >= secs(15) && after <= Duration::from_millis(15_333), "{after:?}");
        listener.now = talker.now;
        complete(talker, listener, &initiation);
        send(talker, listener);
    }
}

#[test]
fn receiving_side_sends_a_keepalive_after_10_seconds() {
    let [mut one, mut other] = pair(12);
    let start = one.now;
    handshake(&mut one, &mut other);
    for n in 1..=30 {
        both_at([&mut one, &mut other], start + secs(n));
        assert_eq!(one.run_due_actions(), (TimerAction::Wait, Vec::new()), "no handshake");
        send(&mut one, &mut other);
        let (_, messages) = other.run_due_actions();
        assert_eq!(messages.len(), usize::from(n % 11 == 0), "second {n}");
        for message in messages {
            assert_eq!(one.receive(&message), Ok(Received::Control));
        }
    }
}

#[test]
fn initiator_stops_sending_on_a_session_after_170_seconds() {
    let [mut one, mut other] = pair(13);
    let start = one.now;
    handshake(&mut one, &mut other);
    both_at([&mut one, &mut other], start + secs(169));
    send(&mut one, &mut other);
    both_at([&mut one, &mut other], start + secs(170));
    assert!(one.send(PACKET).is_none());
    send(&mut other, &mut one);
    handshake(&mut one, &mut other);
    send(&mut one, &mut other);
}

#[test]
fn session_ends_after_180_seconds_and_the_peer_is_given_up_after_540() {
    let [mut one, mut other] = pair(14);
    let start = one.now;
    handshake(&mut one, &mut other);
    one.now = start + secs(169);
    let late = one.send(PACKET).unwrap();
    other.now = start + secs(179);
    assert!(other.sessions.can_send(other.now - secs(1)) && !other.sessions.can_send(other.now));
    other.now = start + secs(180);
    assert_eq!(other.receive(&late), Err(MessageError::UnknownSession));
    let given_up = loop {
        other.now = other.sessions.poll_timeout().unwrap().at;
        let (action, messages) = other.run_due_actions();
        assert!(messages.is_empty(), "the responder does not start a handshake");
        if action == TimerAction::GiveUp {
            break other.now;
        }
    };
    assert_eq!(given_up - start, secs(540));
}

#[test]
fn many_handshakes_do_not_evict_the_session_in_use() {
    let [mut one, mut other] = pair(15);
    handshake(&mut one, &mut other);
    let before = one.send(PACKET).unwrap();
    for _ in 0..30 {
        // Initiations whose responses are lost.
        let index = one.sessions.initiate(&mut one.identity, &mut one.rng, one.now).unwrap();
        assert!(matches!(other.receive(&index), Ok(Received::Reply(_))));
        let id = ConnectionId::random(&mut one.rng, |_| false);
        let fresh =
            PeerSessions::new(&one.identity, &other.identity.public_key(), &[7; 32].into(), id, &mut one.rng, one.now);
        one.sessions = fresh;
    }
    assert_eq!(other.receive(&before), Ok(Received::Packet(PACKET.to_vec())));
    assert!(other.send(PACKET).is_some());
}

#[test]
fn cookie_is_required_above_100_handshakes_per_second() {
    let [mut one, mut other] = pair(16);
    let initiation = one.initiate().unwrap();
    let admitted = std::iter::from_fn(|| other.is_admitted(&initiation).then_some(())).count();
    assert_eq!(admitted, 100);
    let Ok(Received::Reply(reply)) = other.receive(&initiation) else { panic!("no cookie reply") };
    assert_eq!(reply[0], COOKIE_REPLY);
    assert_eq!(one.receive(&reply), Ok(Received::Control));

    let with_cookie = one.advance_to_next_message();
    other.now = one.now;
    while other.is_admitted(&initiation) {}
    let from_other_address = other.receive_from(OTHER_ADDRESS, &with_cookie);
    assert!(
        matches!(from_other_address, Ok(Received::Reply(reply)) if reply[0] == COOKIE_REPLY),
        "bound to the address"
    );
    complete(&mut one, &mut other, &with_cookie);

    other.now += secs(1);
    assert!(other.is_admitted(&initiation));
}

#[test]
fn response_carries_a_required_cookie() {
    let [mut one, mut other] = pair(17);
    let initiation = one.initiate().unwrap();
    let Ok(Received::Reply(response)) = other.receive(&initiation) else { panic!("rejected") };
    while one.is_admitted(&response) {}
    let Ok(Received::Reply(reply)) = one.receive(&response) else { panic!("no cookie reply") };
    assert_eq!(other.receive(&reply), Ok(Received::Control));
    let initiation = one.advance_to_next_message();
    other.now = one.now;
    while one.is_admitted(&response) {}
    complete(&mut one, &mut other, &initiation);
}

#[test]
fn unsolicited_cookie_reply_is_rejected() {
    let [mut one, mut other] = pair(18);
    let initiation = one.initiate().unwrap();
    while other.is_admitted(&initiation) {}
    let Ok(Received::Reply(reply)) = other.receive(&initiation) else { panic!("no cookie reply") };
    let mut forged = reply.clone();
    forged[40] ^= 1;
    assert_eq!(one.receive(&forged), Err(MessageError::Forged));
    let _next = one.advance_to_next_message();
    assert_eq!(one.receive(&reply), Err(MessageError::Unsolicited), "an answer to an older message");
}

#[test]
fn initiation_of_another_peer_or_with_changed_bytes_is_rejected() {
    let [mut one, mut other] = pair(19);
    let [mut stranger, _] = pair(20);
    let id = ConnectionId::random(&mut stranger.rng, |_| false);
    let peer = other.identity.public_key();
    stranger.sessions =
        PeerSessions::new(&stranger.identity, &peer, &[7; 32].into(), id, &mut stranger.rng, stranger.now);
    let initiation = stranger.initiate().unwrap();
    assert_eq!(other.receive(&initiation), Err(MessageError::Forged), "not the peer of this tunnel");
    let initiation = one.initiate().unwrap();
    for byte in 0..initiation.len() - 16 {
        let mut changed = initiation.clone();
        changed[byte] ^= 1;
        assert!(other.receive(&changed).is_err(), "byte {byte}");
    }
    complete(&mut one, &mut other, &initiation);
}

#[test]
fn peer_key_of_low_order_is_given_up_without_a_message() {
    let now = epoch();
    let mut side = Endpoint::new(21, &PublicKey([0; 32]), &[7; 32].into(), now, secs(1));
    assert!(side.initiate().is_none());
    side.now = now + secs(20);
    assert_eq!(side.run_due_actions().0, TimerAction::GiveUp);
}

#[test]
fn debug_output_contains_no_secrets() {
    let [mut one, mut other] = pair(22);
    handshake(&mut one, &mut other);
    let text = format!("{:?} {:?}", one.identity, one.sessions);
    let public = format!("{:?}", one.identity.public_key());
    assert!(text.contains(&public) && !text.contains("[7, 7"), "{text}");
    assert!(!text.contains("chain") && !text.contains("private") && !text.contains("preshared"), "{text}");
}
