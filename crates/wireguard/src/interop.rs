//! Interoperability with boringtun. It reads the system's clock, so no test waits.

use std::{net::IpAddr, sync::Arc, time::Duration};

use boringtun::{
    noise::{Tunn, TunnResult, rate_limiter::RateLimiter},
    x25519,
};
use model::{PresharedKey, PublicKey};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{
    message::{COOKIE_REPLY, DATA, INITIATION, RESPONSE},
    tests::{Endpoint, Received},
};
use crate::testing::epoch;

const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));
/// An IPv4 packet without payload.
const PACKET: [u8; 20] = [0x45, 0, 0, 20, 0, 0, 0x40, 0, 64, 17, 0, 0, 100, 64, 0, 1, 100, 64, 0, 2];

struct BoringTun {
    engine: Tunn,
}

/// Our side and boringtun, which processes `limit` handshakes without a cookie.
fn pair(seed: u64, limit: u64, preshared_keys: [[u8; 32]; 2]) -> (Endpoint, BoringTun) {
    let mut rng = StdRng::seed_from_u64(seed);
    let private = x25519::StaticSecret::from(rng.random::<[u8; 32]>());
    let public = x25519::PublicKey::from(&private);
    let [ours, theirs] = preshared_keys;
    let unix = std::time::UNIX_EPOCH.elapsed().unwrap();
    let side = Endpoint::new(seed + 1, &PublicKey(*public.as_bytes()), &PresharedKey::from(ours), epoch(), unix);
    let limiter = Arc::new(RateLimiter::new(&public, limit));
    let key = x25519::PublicKey::from(side.identity.public_key().0);
    let engine = Tunn::new(private, key, Some(theirs), None, 77, Some(limiter));
    (side, BoringTun { engine })
}

impl BoringTun {
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

    /// The packet in the message, or the reply to it.
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

fn talk(ours: &mut Endpoint, theirs: &mut BoringTun) {
    for _ in 0..20 {
        let message = ours.send(&PACKET).unwrap();
        assert_eq!(theirs.receive(&message).0.as_deref(), Some(PACKET.as_slice()));
        let message = theirs.send(&PACKET).unwrap();
        assert_eq!(message[0], DATA);
        assert_eq!(ours.receive(&message), Ok(Received::Packet(PACKET.to_vec())));
    }
}

/// We initiate a handshake.
fn start_handshake(ours: &mut Endpoint, theirs: &mut BoringTun) {
    let initiation = ours.initiate().unwrap();
    assert_eq!(initiation[0], INITIATION);
    let response = theirs.receive(&initiation).1.unwrap();
    assert_eq!(response[0], RESPONSE);
    let Ok(Received::Reply(keepalive)) = ours.receive(&response) else { panic!("response rejected") };
    assert_eq!((keepalive[0], keepalive.len()), (DATA, 32));
    assert_eq!(theirs.receive(&keepalive), (None, None));
}

/// Boringtun initiates a handshake.
fn accept_handshake(ours: &mut Endpoint, theirs: &mut BoringTun) {
    let initiation = theirs.initiate();
    let Ok(Received::Reply(response)) = ours.receive(&initiation) else { panic!("initiation rejected") };
    assert!(!ours.sessions.can_send(ours.now) || ours.sessions.last_handshake().is_some());
    let keepalive = theirs.receive(&response).1.unwrap();
    assert_eq!(ours.receive(&keepalive), Ok(Received::Control));
}

#[test]
fn boringtun_responds_to_our_handshake() {
    let (mut ours, mut theirs) = pair(1, u64::MAX, [[7; 32]; 2]);
    start_handshake(&mut ours, &mut theirs);
    talk(&mut ours, &mut theirs);
}

#[test]
fn boringtun_initiates_a_handshake_with_us() {
    let (mut ours, mut theirs) = pair(2, u64::MAX, [[7; 32]; 2]);
    accept_handshake(&mut ours, &mut theirs);
    talk(&mut ours, &mut theirs);
}

#[test]
fn sessions_with_boringtun_are_renewed_by_both_sides() {
    let (mut ours, mut theirs) = pair(3, u64::MAX, [[7; 32]; 2]);
    for _ in 0..5 {
        start_handshake(&mut ours, &mut theirs);
        talk(&mut ours, &mut theirs);
        accept_handshake(&mut ours, &mut theirs);
        talk(&mut ours, &mut theirs);
        ours.now += Duration::from_secs(1);
    }
}

#[test]
fn boringtun_with_another_preshared_key_gets_no_session() {
    let (mut ours, mut theirs) = pair(4, u64::MAX, [[7; 32], [8; 32]]);
    let initiation = ours.initiate().unwrap();
    let response = theirs.receive(&initiation).1.unwrap();
    assert_eq!(ours.receive(&response), Err(crate::MessageError::Forged));
    assert!(ours.send(&PACKET).is_none());
}

#[test]
fn our_next_initiation_carries_the_cookie_of_a_busy_boringtun() {
    let (mut ours, mut theirs) = pair(5, 0, [[7; 32]; 2]);
    let initiation = ours.initiate().unwrap();
    let reply = theirs.receive(&initiation).1.unwrap();
    assert_eq!(reply[0], COOKIE_REPLY);
    assert_eq!(ours.receive(&reply), Ok(Received::Control));
    let initiation = ours.advance_to_next_message();
    let response = theirs.receive(&initiation).1.unwrap();
    assert_eq!(response[0], RESPONSE, "the cookie was accepted");
    let Ok(Received::Reply(keepalive)) = ours.receive(&response) else { panic!("response rejected") };
    assert_eq!(theirs.receive(&keepalive), (None, None));
    talk(&mut ours, &mut theirs);
}

#[test]
fn boringtun_returns_our_cookie() {
    let (mut ours, mut theirs) = pair(6, u64::MAX, [[7; 32]; 2]);
    let initiation = theirs.initiate();
    while ours.is_admitted(&initiation) {}
    let Ok(Received::Reply(reply)) = ours.receive(&initiation) else { panic!("no cookie reply") };
    assert_eq!(reply[0], COOKIE_REPLY);
    assert_eq!(theirs.receive(&reply), (None, None));
    accept_handshake(&mut ours, &mut theirs);
    talk(&mut ours, &mut theirs);
}
