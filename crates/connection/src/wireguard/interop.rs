//! Our session layer against an engine of others. That one looks at the system's clocks, so nothing here waits.

use std::{net::IpAddr, sync::Arc, time::Duration};

use boringtun::{
    noise::{Tunn, TunnResult, rate_limiter::RateLimiter},
    x25519,
};
use model::{PresharedKey, PublicKey};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{
    message::{COOKIE_REPLY, DATA, INITIATION, RESPONSE},
    tests::{Arrived, Side},
};
use crate::testing::epoch;

const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));
/// An IPv4 packet without content.
const PACKET: [u8; 20] = [0x45, 0, 0, 20, 0, 0, 0x40, 0, 64, 17, 0, 0, 100, 64, 0, 1, 100, 64, 0, 2];

struct Other {
    engine: Tunn,
}

/// Our side, and theirs; `limit` handshakes are looked at without a cookie.
fn pair(seed: u64, limit: u64, preshared_keys: [[u8; 32]; 2]) -> (Side, Other) {
    let mut rng = StdRng::seed_from_u64(seed);
    let private = x25519::StaticSecret::from(rng.random::<[u8; 32]>());
    let public = x25519::PublicKey::from(&private);
    let [ours, theirs] = preshared_keys;
    let unix = std::time::UNIX_EPOCH.elapsed().unwrap();
    let side = Side::new(seed + 1, &PublicKey(*public.as_bytes()), &PresharedKey::from(ours), epoch(), unix);
    let gate = Arc::new(RateLimiter::new(&public, limit));
    let key = x25519::PublicKey::from(side.identity.public_key().0);
    let engine = Tunn::new(private, key, Some(theirs), None, 77, Some(gate));
    (side, Other { engine })
}

impl Other {
    fn initiate(&mut self) -> Vec<u8> {
        let mut buffer = [0; 2_000];
        let TunnResult::WriteToNetwork(message) = self.engine.format_handshake_initiation(&mut buffer, true) else {
            panic!("no initiation")
        };
        message.to_vec()
    }

    fn send(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = [0; 2_000];
        match self.engine.encapsulate(packet, &mut buffer) {
            TunnResult::WriteToNetwork(message) => Some(message.to_vec()),
            _ => None,
        }
    }

    /// The packet inside, or the answer.
    fn receive(&mut self, message: &[u8]) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let mut buffer = [0; 2_000];
        match self.engine.decapsulate(Some(FROM), message, &mut buffer) {
            TunnResult::WriteToTunnelV4(packet, _) => (Some(packet.to_vec()), None),
            TunnResult::WriteToNetwork(answer) => (None, Some(answer.to_vec())),
            TunnResult::Done => (None, None),
            other => panic!("{other:?}"),
        }
    }
}

fn talk(ours: &mut Side, theirs: &mut Other) {
    for _ in 0..20 {
        let message = ours.send(&PACKET).unwrap();
        assert_eq!(theirs.receive(&message).0.as_deref(), Some(PACKET.as_slice()));
        let message = theirs.send(&PACKET).unwrap();
        assert_eq!(message[0], DATA);
        assert_eq!(ours.receive(&message), Ok(Arrived::Packet(PACKET.to_vec())));
    }
}

/// We begin a handshake, they answer.
fn begin(ours: &mut Side, theirs: &mut Other) {
    let initiation = ours.initiate().unwrap();
    assert_eq!(initiation[0], INITIATION);
    let response = theirs.receive(&initiation).1.unwrap();
    assert_eq!(response[0], RESPONSE);
    let Ok(Arrived::Answer(keepalive)) = ours.receive(&response) else { panic!("response refused") };
    assert_eq!((keepalive[0], keepalive.len()), (DATA, 32));
    assert_eq!(theirs.receive(&keepalive), (None, None));
}

/// They begin a handshake, we answer.
fn be_begun_with(ours: &mut Side, theirs: &mut Other) {
    let initiation = theirs.initiate();
    let Ok(Arrived::Answer(response)) = ours.receive(&initiation) else { panic!("initiation refused") };
    assert!(!ours.tunnel.can_seal(ours.now) || ours.tunnel.last_handshake().is_some());
    let keepalive = theirs.receive(&response).1.unwrap();
    assert_eq!(ours.receive(&keepalive), Ok(Arrived::Nothing));
}

#[test]
fn packets_travel_after_our_handshake_with_another_engine() {
    let (mut ours, mut theirs) = pair(1, u64::MAX, [[7; 32]; 2]);
    begin(&mut ours, &mut theirs);
    talk(&mut ours, &mut theirs);
}

#[test]
fn packets_travel_after_a_handshake_that_another_engine_began() {
    let (mut ours, mut theirs) = pair(2, u64::MAX, [[7; 32]; 2]);
    be_begun_with(&mut ours, &mut theirs);
    talk(&mut ours, &mut theirs);
}

#[test]
fn sessions_with_another_engine_are_renewed_from_both_sides() {
    let (mut ours, mut theirs) = pair(3, u64::MAX, [[7; 32]; 2]);
    for _ in 0..5 {
        begin(&mut ours, &mut theirs);
        talk(&mut ours, &mut theirs);
        be_begun_with(&mut ours, &mut theirs);
        talk(&mut ours, &mut theirs);
        ours.now += Duration::from_secs(1);
    }
}

#[test]
fn another_engine_with_another_preshared_key_does_not_get_a_session() {
    let (mut ours, mut theirs) = pair(4, u64::MAX, [[7; 32], [8; 32]]);
    let initiation = ours.initiate().unwrap();
    let response = theirs.receive(&initiation).1.unwrap();
    assert_eq!(ours.receive(&response), Err(super::Refused::Forged));
    assert!(ours.send(&PACKET).is_none());
}

#[test]
fn a_busy_engine_of_others_gets_its_cookie_with_the_next_initiation() {
    let (mut ours, mut theirs) = pair(5, 0, [[7; 32]; 2]);
    let initiation = ours.initiate().unwrap();
    let reply = theirs.receive(&initiation).1.unwrap();
    assert_eq!(reply[0], COOKIE_REPLY);
    assert_eq!(ours.receive(&reply), Ok(Arrived::Nothing));
    let initiation = ours.advance_to_next_message();
    let response = theirs.receive(&initiation).1.unwrap();
    assert_eq!(response[0], RESPONSE, "the cookie was accepted");
    let Ok(Arrived::Answer(keepalive)) = ours.receive(&response) else { panic!("response refused") };
    assert_eq!(theirs.receive(&keepalive), (None, None));
    talk(&mut ours, &mut theirs);
}

#[test]
fn another_engine_brings_our_cookie_when_we_are_busy() {
    let (mut ours, mut theirs) = pair(6, u64::MAX, [[7; 32]; 2]);
    let initiation = theirs.initiate();
    while ours.is_calm_about(&initiation) {}
    let Ok(Arrived::Answer(reply)) = ours.receive(&initiation) else { panic!("no cookie") };
    assert_eq!(reply[0], COOKIE_REPLY);
    assert_eq!(theirs.receive(&reply), (None, None));
    be_begun_with(&mut ours, &mut theirs);
    talk(&mut ours, &mut theirs);
}
