//! Two tunnels and virtual time.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use model::{PresharedKey, PublicKey};
use rand::{SeedableRng as _, rngs::StdRng};

use super::{
    Addressee, Attempt, Identity, Number, Opened, Refused, Tunnel,
    message::{COOKIE_REPLY, DATA, INITIATION, RESPONSE},
};
use crate::testing::epoch;

const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));
const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 8));
const PACKET: &[u8] = b"a packet";

/// One end of a tunnel.
pub(crate) struct Side {
    pub(crate) identity: Identity,
    pub(crate) tunnel: Tunnel,
    pub(crate) rng: StdRng,
    pub(crate) now: Instant,
}

/// What a message turned out to be.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Arrived {
    Packet(Vec<u8>),
    Answer(Vec<u8>),
    Nothing,
}

impl Side {
    pub(crate) fn new(seed: u64, peer: &PublicKey, psk: &PresharedKey, now: Instant, unix_now: Duration) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let identity = Identity::new(&mut rng, now, unix_now);
        let number = Number::random(&mut rng, |_| false);
        let tunnel = Tunnel::new(&identity, peer, psk, number, &mut rng, now);
        Self { identity, tunnel, rng, now }
    }

    pub(crate) fn initiate(&mut self) -> Option<Vec<u8>> {
        self.tunnel.initiate(&mut self.identity, &mut self.rng, self.now)
    }

    pub(crate) fn send(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        self.tunnel.seal(packet, &mut message, self.now).then_some(message)
    }

    pub(crate) fn receive(&mut self, message: &[u8]) -> Result<Arrived, Refused> {
        self.receive_from(FROM, message)
    }

    fn receive_from(&mut self, from: IpAddr, message: &[u8]) -> Result<Arrived, Refused> {
        let Self { identity, tunnel, rng, now } = self;
        match identity.addressee(from, message, rng, *now)? {
            Addressee::CookieReply(reply) => Ok(Arrived::Answer(reply)),
            Addressee::Introduced(who) => tunnel.answer(*who, rng, *now).map(Arrived::Answer),
            Addressee::Number(_) => match tunnel.open(&mut message.to_vec(), identity, rng, *now)? {
                Opened::Packet(packet) => Ok(Arrived::Packet(packet.to_vec())),
                Opened::Answer(answer) => Ok(Arrived::Answer(answer)),
                Opened::Control => Ok(Arrived::Nothing),
            },
        }
    }

    /// Whether the gate lets a message pass without a cookie. Nothing else happens to it.
    pub(crate) fn is_calm_about(&mut self, message: &[u8]) -> bool {
        let addressee = self.identity.addressee(ELSEWHERE, message, &mut self.rng, self.now);
        !matches!(addressee, Ok(Addressee::CookieReply(_)))
    }

    /// Lets time pass until the tunnel has something to send by itself.
    pub(crate) fn advance_to_next_message(&mut self) -> Vec<u8> {
        loop {
            self.now = self.tunnel.poll_timeout().unwrap().at;
            let (attempt, mut messages) = self.wake();
            assert_ne!(attempt, Attempt::GivenUp);
            if let Some(message) = messages.pop() {
                assert!(messages.is_empty());
                return message;
            }
        }
    }

    /// Does everything that is due.
    fn wake(&mut self) -> (Attempt, Vec<Vec<u8>>) {
        let mut messages = Vec::new();
        loop {
            let (attempt, message) = self.tunnel.handle_timeout(&mut self.identity, &mut self.rng, self.now);
            messages.extend(message);
            match attempt {
                Attempt::Going => {
                    assert!(self.tunnel.poll_timeout().unwrap().at > self.now, "a deadline that has passed");
                    return (attempt, messages);
                }
                Attempt::GivenUp => return (attempt, messages),
                Attempt::Initiate | Attempt::SignOfLife => {}
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

/// The initiator-to-be, and the other.
fn pair(seed: u64) -> [Side; 2] {
    pair_with(seed, [[7; 32]; 2])
}

fn pair_with(seed: u64, preshared_keys: [[u8; 32]; 2]) -> [Side; 2] {
    let start = epoch();
    let unix = secs(1_800_000_000);
    let [mut one, mut other] =
        [0, 1].map(|n| Side::new(seed * 2 + n, &PublicKey([9; 32]), &PresharedKey::from([0; 32]), start, unix));
    let keys = [&one, &other].map(|side| side.identity.public_key());
    for (side, (peer, psk)) in
        [&mut one, &mut other].into_iter().zip([(keys[1], preshared_keys[0]), (keys[0], preshared_keys[1])])
    {
        let number = Number::random(&mut side.rng, |_| false);
        side.tunnel = Tunnel::new(&side.identity, &peer, &psk.into(), number, &mut side.rng, start);
    }
    [one, other]
}

/// One side begins a handshake, and both complete it.
fn shake_hands(one: &mut Side, other: &mut Side) {
    let initiation = one.initiate().unwrap();
    complete(one, other, &initiation);
}

fn complete(one: &mut Side, other: &mut Side, initiation: &[u8]) {
    let Ok(Arrived::Answer(response)) = other.receive(initiation) else { panic!("refused") };
    assert_eq!(response[0], RESPONSE);
    let Ok(Arrived::Answer(keepalive)) = one.receive(&response) else { panic!("refused") };
    assert_eq!(other.receive(&keepalive), Ok(Arrived::Nothing));
}

fn send(one: &mut Side, other: &mut Side) {
    let message = one.send(PACKET).unwrap();
    assert_eq!(other.receive(&message), Ok(Arrived::Packet(PACKET.to_vec())));
}

fn both_at(sides: [&mut Side; 2], now: Instant) {
    for side in sides {
        side.now = now;
    }
}

#[test]
fn a_responder_is_silent_until_the_initiator_has_said_something() {
    let [mut one, mut other] = pair(1);
    let initiation = one.initiate().unwrap();
    let Ok(Arrived::Answer(response)) = other.receive(&initiation) else { panic!("refused") };
    assert!(other.send(PACKET).is_none());
    let Ok(Arrived::Answer(keepalive)) = one.receive(&response) else { panic!("refused") };
    assert_eq!((keepalive[0], keepalive.len()), (DATA, 32), "an empty message at once");
    assert_eq!(other.receive(&keepalive), Ok(Arrived::Nothing));
    send(&mut other, &mut one);
}

#[test]
fn a_wrong_preshared_key_gives_no_session_and_20_seconds_of_patience() {
    let [mut one, mut other] = pair_with(2, [[1; 32], [2; 32]]);
    let start = one.now;
    let mut initiation = one.initiate().unwrap();
    loop {
        let Ok(Arrived::Answer(response)) = other.receive(&initiation) else { panic!("refused") };
        assert_eq!(one.receive(&response), Err(Refused::Forged));
        one.now = one.tunnel.poll_timeout().unwrap().at;
        other.now = one.now;
        let (attempt, mut messages) = one.wake();
        if attempt == Attempt::GivenUp {
            break;
        }
        initiation = messages.pop().unwrap();
    }
    assert_eq!(one.after(start), secs(20));
}

#[test]
fn initiations_are_repeated_after_5_seconds_and_a_little() {
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
fn a_repeated_initiation_is_a_new_one_and_is_answered() {
    let [mut one, mut other] = pair(3);
    let first = one.initiate().unwrap();
    assert!(one.initiate().is_none(), "one at a time");
    let second = one.advance_to_next_message();
    other.now = one.now;
    complete(&mut one, &mut other, &second);
    assert_eq!(other.receive(&first), Err(Refused::Replayed), "late, and older than the one that was accepted");
    assert_eq!(other.receive(&second), Err(Refused::Replayed));
    send(&mut one, &mut other);
}

#[test]
fn a_late_response_to_an_initiation_that_was_repeated_is_still_good() {
    let [mut one, mut other] = pair(4);
    let first = one.initiate().unwrap();
    let Ok(Arrived::Answer(response)) = other.receive(&first) else { panic!("refused") };
    let _lost = one.advance_to_next_message();
    let Ok(Arrived::Answer(keepalive)) = one.receive(&response) else { panic!("refused") };
    assert_eq!(other.receive(&keepalive), Ok(Arrived::Nothing));
    send(&mut one, &mut other);
    assert_eq!(one.receive(&response), Err(Refused::Unasked), "once");
}

#[test]
fn two_initiations_at_the_same_time_both_complete() {
    let [mut one, mut other] = pair(5);
    let (from_one, from_other) = (one.initiate().unwrap(), other.initiate().unwrap());
    let Ok(Arrived::Answer(to_one)) = other.receive(&from_one) else { panic!("refused") };
    let Ok(Arrived::Answer(to_other)) = one.receive(&from_other) else { panic!("refused") };
    let Ok(Arrived::Answer(first)) = one.receive(&to_one) else { panic!("refused") };
    let Ok(Arrived::Answer(second)) = other.receive(&to_other) else { panic!("refused") };
    assert_eq!(other.receive(&first), Ok(Arrived::Nothing));
    assert_eq!(one.receive(&second), Ok(Arrived::Nothing));
    for _ in 0..3 {
        send(&mut one, &mut other);
        send(&mut other, &mut one);
    }
}

#[test]
fn timestamps_increase_from_one_tunnel_to_the_next_while_time_stands_still() {
    let [mut one, mut other] = pair(6);
    shake_hands(&mut one, &mut other);
    for _ in 0..5 {
        let number = Number::random(&mut one.rng, |_| false);
        let peer = other.identity.public_key();
        one.tunnel = Tunnel::new(&one.identity, &peer, &[7; 32].into(), number, &mut one.rng, one.now);
        shake_hands(&mut one, &mut other);
        send(&mut one, &mut other);
    }
}

#[test]
fn an_initiator_that_sends_renews_the_session_after_120_seconds() {
    let [mut one, mut other] = pair(7);
    let start = one.now;
    shake_hands(&mut one, &mut other);
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
fn an_initiator_that_only_receives_renews_the_session_after_165_seconds() {
    let [mut one, mut other] = pair(8);
    let start = one.now;
    shake_hands(&mut one, &mut other);
    send(&mut other, &mut one);
    assert_eq!(one.advance_to_next_message()[0], DATA, "a sign of life");
    assert_eq!(one.after(start), secs(10));
    assert_eq!(one.advance_to_next_message()[0], INITIATION);
    let after = one.after(start);
    assert!(after >= secs(165) && after <= Duration::from_millis(165_333), "{after:?}");
}

#[test]
fn a_responder_does_not_renew_a_session_that_is_used() {
    let [mut one, mut other] = pair(9);
    let start = one.now;
    shake_hands(&mut one, &mut other);
    for second in (1..175).step_by(5) {
        both_at([&mut one, &mut other], start + secs(second));
        assert_eq!(other.wake(), (Attempt::Going, Vec::new()));
        if second < 170 {
            send(&mut one, &mut other);
        }
        send(&mut other, &mut one);
    }
}

#[test]
fn an_unused_session_is_replaced_by_its_initiator_when_it_ends() {
    let [mut one, mut other] = pair(10);
    let start = one.now;
    shake_hands(&mut one, &mut other);
    assert_eq!(one.advance_to_next_message()[0], INITIATION);
    let after = one.after(start);
    assert!(after >= secs(180) && after <= Duration::from_millis(180_333), "{after:?}");
    other.now = one.now;
    assert_eq!(other.wake(), (Attempt::Going, Vec::new()));
    assert!(other.send(PACKET).is_none());
}

#[test]
fn who_hears_nothing_for_15_seconds_doubts_the_session() {
    for talker_is_initiator in [true, false] {
        let [mut one, mut other] = pair(11);
        shake_hands(&mut one, &mut other);
        let [talker, listener] = if talker_is_initiator { [&mut one, &mut other] } else { [&mut other, &mut one] };
        let later = talker.now + secs(30);
        both_at([talker, listener], later);
        assert_eq!(talker.wake(), (Attempt::Going, Vec::new()));
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
fn who_only_receives_gives_a_sign_of_life_every_10_seconds() {
    let [mut one, mut other] = pair(12);
    let start = one.now;
    shake_hands(&mut one, &mut other);
    for n in 1..=30 {
        both_at([&mut one, &mut other], start + secs(n));
        assert_eq!(one.wake(), (Attempt::Going, Vec::new()), "nobody doubts");
        send(&mut one, &mut other);
        let (_, messages) = other.wake();
        assert_eq!(messages.len(), usize::from(n % 11 == 0), "second {n}");
        for message in messages {
            assert_eq!(one.receive(&message), Ok(Arrived::Nothing));
        }
    }
}

#[test]
fn nothing_is_sent_by_the_initiator_between_170_seconds_and_the_new_session() {
    let [mut one, mut other] = pair(13);
    let start = one.now;
    shake_hands(&mut one, &mut other);
    both_at([&mut one, &mut other], start + secs(169));
    send(&mut one, &mut other);
    both_at([&mut one, &mut other], start + secs(170));
    assert!(one.send(PACKET).is_none());
    send(&mut other, &mut one);
    shake_hands(&mut one, &mut other);
    send(&mut one, &mut other);
}

#[test]
fn a_session_is_gone_after_180_seconds_and_the_tunnel_after_540() {
    let [mut one, mut other] = pair(14);
    let start = one.now;
    shake_hands(&mut one, &mut other);
    one.now = start + secs(169);
    let late = one.send(PACKET).unwrap();
    other.now = start + secs(179);
    assert!(other.tunnel.can_seal(other.now - secs(1)) && !other.tunnel.can_seal(other.now));
    other.now = start + secs(180);
    assert_eq!(other.receive(&late), Err(Refused::NoSession));
    let given_up = loop {
        other.now = other.tunnel.poll_timeout().unwrap().at;
        let (attempt, messages) = other.wake();
        assert!(messages.is_empty(), "the responder waits");
        if attempt == Attempt::GivenUp {
            break other.now;
        }
    };
    assert_eq!(given_up - start, secs(540));
}

#[test]
fn many_handshakes_do_not_push_the_session_in_use_away() {
    let [mut one, mut other] = pair(15);
    shake_hands(&mut one, &mut other);
    let before = one.send(PACKET).unwrap();
    for _ in 0..30 {
        // Initiations whose responses are lost.
        let index = one.tunnel.initiate(&mut one.identity, &mut one.rng, one.now).unwrap();
        assert!(matches!(other.receive(&index), Ok(Arrived::Answer(_))));
        let number = Number::random(&mut one.rng, |_| false);
        let fresh =
            Tunnel::new(&one.identity, &other.identity.public_key(), &[7; 32].into(), number, &mut one.rng, one.now);
        one.tunnel = fresh;
    }
    assert_eq!(other.receive(&before), Ok(Arrived::Packet(PACKET.to_vec())));
    assert!(other.send(PACKET).is_some());
}

#[test]
fn a_busy_node_wants_a_cookie_and_is_calm_again_a_second_later() {
    let [mut one, mut other] = pair(16);
    let initiation = one.initiate().unwrap();
    let admitted = std::iter::from_fn(|| other.is_calm_about(&initiation).then_some(())).count();
    assert_eq!(admitted, 100);
    let Ok(Arrived::Answer(reply)) = other.receive(&initiation) else { panic!("no cookie") };
    assert_eq!(reply[0], COOKIE_REPLY);
    assert_eq!(one.receive(&reply), Ok(Arrived::Nothing));

    let with_cookie = one.advance_to_next_message();
    other.now = one.now;
    while other.is_calm_about(&initiation) {}
    let from_elsewhere = other.receive_from(ELSEWHERE, &with_cookie);
    assert!(matches!(from_elsewhere, Ok(Arrived::Answer(reply)) if reply[0] == COOKIE_REPLY), "bound to the address");
    complete(&mut one, &mut other, &with_cookie);

    other.now += secs(1);
    assert!(other.is_calm_about(&initiation));
}

#[test]
fn a_responder_that_is_asked_for_a_cookie_brings_it_with_its_next_answer() {
    let [mut one, mut other] = pair(17);
    let initiation = one.initiate().unwrap();
    let Ok(Arrived::Answer(response)) = other.receive(&initiation) else { panic!("refused") };
    while one.is_calm_about(&response) {}
    let Ok(Arrived::Answer(reply)) = one.receive(&response) else { panic!("no cookie") };
    assert_eq!(other.receive(&reply), Ok(Arrived::Nothing));
    let initiation = one.advance_to_next_message();
    other.now = one.now;
    while one.is_calm_about(&response) {}
    complete(&mut one, &mut other, &initiation);
}

#[test]
fn a_cookie_that_nobody_asked_for_is_refused() {
    let [mut one, mut other] = pair(18);
    let initiation = one.initiate().unwrap();
    while other.is_calm_about(&initiation) {}
    let Ok(Arrived::Answer(reply)) = other.receive(&initiation) else { panic!("no cookie") };
    let mut forged = reply.clone();
    forged[40] ^= 1;
    assert_eq!(one.receive(&forged), Err(Refused::Forged));
    let _next = one.advance_to_next_message();
    assert_eq!(one.receive(&reply), Err(Refused::Unasked), "an answer to an older message");
}

#[test]
fn initiations_of_others_are_refused() {
    let [mut one, mut other] = pair(19);
    let [mut stranger, _] = pair(20);
    let number = Number::random(&mut stranger.rng, |_| false);
    let peer = other.identity.public_key();
    stranger.tunnel = Tunnel::new(&stranger.identity, &peer, &[7; 32].into(), number, &mut stranger.rng, stranger.now);
    let initiation = stranger.initiate().unwrap();
    assert_eq!(other.receive(&initiation), Err(Refused::Forged), "not the peer of this tunnel");
    let initiation = one.initiate().unwrap();
    for byte in 0..initiation.len() - 16 {
        let mut changed = initiation.clone();
        changed[byte] ^= 1;
        assert!(other.receive(&changed).is_err(), "byte {byte}");
    }
    complete(&mut one, &mut other, &initiation);
}

#[test]
fn with_a_key_of_low_order_no_message_is_made_and_the_tunnel_is_given_up() {
    let now = epoch();
    let mut side = Side::new(21, &PublicKey([0; 32]), &[7; 32].into(), now, secs(1));
    assert!(side.initiate().is_none());
    side.now = now + secs(20);
    assert_eq!(side.wake().0, Attempt::GivenUp);
}

#[test]
fn nothing_secret_is_printed() {
    let [mut one, mut other] = pair(22);
    shake_hands(&mut one, &mut other);
    let text = format!("{:?} {:?}", one.identity, one.tunnel);
    let public = format!("{:?}", one.identity.public_key());
    assert!(text.contains(&public) && !text.contains("[7, 7"), "{text}");
    assert!(!text.contains("chain") && !text.contains("private") && !text.contains("preshared"), "{text}");
}
