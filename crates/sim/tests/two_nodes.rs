//! Two nodes and a relay in virtual time.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test may fail loudly")]

use connection::{Event, Failure, PathKind, Sealed};
use model::RelayId;
use sim::{CLIENT, GATEWAY, Habits, World, ms, packet, secs};

#[test]
fn direct_connection_carries_packets_in_both_directions() {
    let mut world = World::new(1).with_relays().connected();
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [packet(1)]);
    assert_eq!(world.send(GATEWAY, packet(2)), Sealed::Sent);
    world.run_for(secs(1));
    assert_eq!(world.hosts[CLIENT].received, [packet(2)]);
    let path = world.hosts[CLIENT].node.path(world.hosts[CLIENT].peer).unwrap();
    assert_eq!(path.kind, PathKind::Direct);
}

#[test]
fn relay_carries_packets_when_no_direct_path_exists() {
    let mut world = World::new(2).relay_only().with_relays().connected();
    for n in 0..100 {
        assert_eq!(world.send(CLIENT, packet(n)), Sealed::Sent);
        assert_eq!(world.send(GATEWAY, packet(n)), Sealed::Sent);
    }
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received.len(), 100);
    assert_eq!(world.hosts[CLIENT].received.len(), 100);
    let path = world.hosts[CLIENT].node.path(world.hosts[CLIENT].peer).unwrap();
    assert_ne!(path.kind, PathKind::Direct);
}

#[test]
fn ipv6_is_preferred() {
    let world = World::new(3).dual_stack().with_relays().connected();
    let path = world.hosts[CLIENT].node.path(world.hosts[CLIENT].peer).unwrap();
    assert!(path.local.is_ipv6() && path.remote.is_ipv6());
}

#[test]
fn path_is_selected_before_its_address_is_announced() {
    let mut world = World::new(14).with_relays();
    world.portal.latency = secs(1);
    for side in [GATEWAY, CLIENT] {
        let (peer, params) = (world.hosts[side].peer, world.params(side));
        world.hosts[side].node.upsert(peer, params, world.net.now).unwrap();
        world.run_for(ms(500));
    }

    // The client has received the gateway's candidates; the gateway receives the client's in half a second.
    world.run_for(ms(400));
    assert!(world.is_direct(GATEWAY), "{:?}", world.path(GATEWAY));
    let _outcome = world.send(CLIENT, packet(1));
    world.run_for(ms(50));
    assert_eq!(world.hosts[GATEWAY].received, [packet(1)]);

    world.run_for(secs(2));
    assert!(world.is_direct(GATEWAY) && world.is_direct(CLIENT));
    assert_eq!(world.send(GATEWAY, packet(2)), Sealed::Sent);
    world.run_for(ms(50));
    assert_eq!(world.hosts[CLIENT].received, [packet(2)]);
}

#[test]
fn packets_kept_until_the_session_is_ready_arrive_in_order() {
    let mut world = World::new(4).with_relays();
    world.authorize();
    for n in 0..5 {
        assert_eq!(world.send(CLIENT, packet(n)), Sealed::NotYet);
    }
    world.run_for(secs(3));
    assert_eq!(world.hosts[GATEWAY].received, (0..5).map(packet).collect::<Vec<_>>());
}

#[test]
fn connection_requires_a_response_of_a_relay() {
    let mut world = World::new(5);
    let (peer, params) = (world.hosts[CLIENT].peer, world.params(CLIENT));
    assert!(world.hosts[CLIENT].node.upsert(peer, params, world.net.now).is_err());
    let mut entries = world.relay_entries(CLIENT);
    entries[0].v4 = Some("203.0.113.99:3478".parse().unwrap());
    let now = world.net.now;
    world.hosts[CLIENT].node.update_relays(&[], &entries, now);
    world.run_for(secs(8));
    assert!(!world.has(CLIENT, &Event::NoRelays));
    world.run_for(secs(1));
    assert!(world.has(CLIENT, &Event::NoRelays));
}

#[test]
fn peer_without_candidates_fails_after_ten_seconds() {
    let mut world = World::new(6).with_relays();
    world.portal.up = false;
    world.authorize();
    let failed = Event::Failed(world.hosts[CLIENT].peer, Failure::NoRemoteCandidates);
    world.run_for(secs(9));
    assert!(!world.has(CLIENT, &failed));
    world.run_for(secs(1));
    assert!(world.has(CLIENT, &failed));
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Unknown);
}

#[test]
fn relay_that_behaves_like_coturn_is_usable() {
    let mut world = World::new(7).relay_only();
    world.net.relays[0].habits = Habits::COTURN;
    let mut world = world.with_relays().connected();
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received.len(), 1);
}

#[test]
fn connection_survives_the_loss_of_its_relay() {
    let mut world = World::new(8).relay_only().with_relays().connected();
    world.add_relay(2, &["203.0.113.2:3478"]);
    world.net.relays.remove(0);
    world.introduce_relays(&[RelayId::from_u128(1)]);
    world.run_for(secs(3));
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [packet(1)]);
}
