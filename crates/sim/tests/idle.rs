//! Events that end the idleness of a connection, and events that do not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use connection::{Event, Sealed};

use sim::{CLIENT, GATEWAY, World, gateway, packet, secs};

const NEW_ADDRESS: &str = "candidate:1 1 udp 2130706175 192.0.2.99 52625 typ host";

/// A world in which the client has been idle for a while.
fn idle() -> World {
    let mut world = World::new(1).with_relays().connected();
    world.run_for(secs(60));
    assert!(!is_awake(&mut world));
    world
}

/// Whether the client checks its paths as often as one does that is in use.
fn is_awake(world: &mut World) -> bool {
    let before = world.net.departed[CLIENT];
    world.run_for(secs(10));
    let checks = world.net.departed[CLIENT] - before;
    assert!(!(11..=14).contains(&checks), "cannot tell from {checks} datagrams");
    checks > 12
}

#[test]
fn sent_packet_ends_idleness() {
    let mut world = idle();
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
    assert!(is_awake(&mut world));
}

#[test]
fn received_packet_ends_idleness() {
    let mut world = idle();
    assert_eq!(world.send(GATEWAY, packet(1)), Sealed::Sent);
    world.run_for(secs(1));
    assert_eq!(world.hosts[CLIENT].received, [packet(1)]);
    assert!(is_awake(&mut world));
}

#[test]
fn change_of_remote_candidates_ends_idleness() {
    let mut world = idle();
    let now = world.net.now;
    world.hosts[CLIENT].node.add_remote_candidates(gateway(), &[NEW_ADDRESS.to_owned()], now);
    assert!(is_awake(&mut world));
    world.run_for(secs(60));
    assert!(!is_awake(&mut world));
    let now = world.net.now;
    world.hosts[CLIENT].node.remove_remote_candidates(gateway(), &[NEW_ADDRESS.to_owned()], now);
    assert!(is_awake(&mut world));
}

#[test]
fn new_local_candidate_ends_idleness() {
    let mut world = idle();
    world.net.relays[0].forget_clients();
    // The relay is missing from the list, so it is probed, and allocates another address.
    let now = world.net.now;
    world.hosts[CLIENT].node.update_relays(&[], &[], now);
    world.run_for(secs(1));
    assert!(is_awake(&mut world));
}

#[test]
fn repeated_authorization_ends_idleness() {
    let mut world = idle();
    let (params, now) = (world.params(CLIENT), world.net.now);
    world.hosts[CLIENT].node.upsert(gateway(), params, now).unwrap();
    assert!(is_awake(&mut world));
}

#[test]
fn rekeying_and_keepalives_do_not_end_idleness() {
    let mut world = idle();
    let before = world.path(CLIENT).unwrap().last_handshake;
    for _ in 0..30 {
        assert!(!is_awake(&mut world));
    }
    assert_ne!(world.path(CLIENT).unwrap().last_handshake, before, "there was a new session meanwhile");
    assert!(!world.hosts[CLIENT].events.iter().any(|event| matches!(event, Event::Failed(..))));
}

/// A handshake without response may be the only sign of a dead path.
#[test]
fn handshake_without_response_ends_idleness() {
    let mut world = idle();
    world.net.forbidden = Some(is_handshake_response);
    // The session ends after 180 s, and the first initiation of the next is repeated 5 s later.
    let age = world.net.now - world.path(CLIENT).unwrap().last_handshake.unwrap();
    world.run_for(secs(187) - age);
    assert!(is_awake(&mut world));
}

/// A WireGuard handshake response.
fn is_handshake_response(datagram: &[u8]) -> bool {
    datagram.len() == 92 && datagram.starts_with(&[2, 0, 0, 0])
}
