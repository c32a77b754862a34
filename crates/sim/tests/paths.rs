//! Finding, losing and changing paths.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use std::time::Duration;

use connection::{Event, Node, PathKind, Sealed};
use model::{ClientId, PeerId, message::IceRole};

use sim::{CLIENT, GATEWAY, Link, World, gateway, packet, secs};

fn path_kind(world: &World) -> Option<PathKind> {
    world.hosts[CLIENT].node.path(gateway()).map(|path| path.kind)
}

/// The candidates that a host announced, in order.
fn announced(world: &World, side: usize) -> Vec<String> {
    let of =
        |event: &Event| if let Event::Candidates { candidates, .. } = event { candidates.clone() } else { Vec::new() };
    world.hosts[side].events.iter().flat_map(of).collect()
}

fn has_failed(world: &World, side: usize) -> bool {
    world.hosts[side].events.iter().any(|event| matches!(event, Event::Failed(..)))
}

/// Two hosts that are both clients, of which the second controls.
fn two_clients(roles: [IceRole; 2]) -> World {
    let mut world = World::new(30);
    let unix = secs(1_800_000_000);
    for (side, id) in [(CLIENT, 8), (GATEWAY, 9)] {
        world.hosts[side].node = Node::new(world.start, unix, [id; 32]);
        world.hosts[side].peer = PeerId::Client(ClientId::from_u128(id.into()));
    }
    let mut world = world.with_relays();
    for (side, role) in [CLIENT, GATEWAY].into_iter().zip(roles) {
        let (peer, mut params) = (world.hosts[side].peer, world.params(side));
        params.role = role;
        world.hosts[side].node.upsert(peer, params, world.net.now).unwrap();
    }
    world.run_for(secs(3));
    world
}

#[test]
fn malformed_candidate_does_not_affect_the_others() {
    let mut world = World::new(31).with_relays();
    world.portal.up = false;
    world.authorize();
    world.run_for(secs(1));
    for side in [CLIENT, GATEWAY] {
        let mut candidates = vec!["candidate:nonsense".to_owned(), String::new()];
        candidates.extend(announced(&world, 1 - side));
        let (peer, now) = (world.hosts[side].peer, world.net.now);
        world.hosts[side].node.add_remote_candidates(peer, &candidates, now);
    }
    world.run_for(secs(2));
    assert_eq!(path_kind(&world), Some(PathKind::Direct));
}

#[test]
fn withdrawal_of_the_selected_candidate_switches_the_path_at_once() {
    let mut world = World::new(32).with_relays().connected();
    assert_eq!(path_kind(&world), Some(PathKind::Direct));
    let hosts: Vec<_> = announced(&world, GATEWAY).into_iter().filter(|it| it.contains("typ host")).collect();
    assert!(!hosts.is_empty());
    let now = world.net.now;
    world.hosts[CLIENT].node.remove_remote_candidates(gateway(), &hosts, now);
    assert!(path_kind(&world).is_some_and(|kind| kind != PathKind::Direct), "{:?}", path_kind(&world));
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [packet(1)]);
}

#[test]
fn withdrawn_candidate_is_used_again_after_its_announcement() {
    let mut world = World::new(33).with_relays().connected();
    let hosts: Vec<_> = announced(&world, GATEWAY).into_iter().filter(|it| it.contains("typ host")).collect();
    let now = world.net.now;
    world.hosts[CLIENT].node.remove_remote_candidates(gateway(), &hosts, now);
    world.run_for(secs(5));
    let now = world.net.now;
    world.hosts[CLIENT].node.add_remote_candidates(gateway(), &hosts, now);
    world.run_for(secs(2));
    assert_eq!(path_kind(&world), Some(PathKind::Direct));
}

#[test]
fn two_clients_connect_in_either_role() {
    for roles in [[IceRole::Controlling, IceRole::Controlled], [IceRole::Controlled, IceRole::Controlling]] {
        let mut world = two_clients(roles);
        for side in [CLIENT, GATEWAY] {
            assert!(world.has(side, &Event::Established(world.hosts[side].peer)), "{roles:?}, side {side}");
            assert_eq!(world.send(side, packet(1)), Sealed::Sent);
        }
        world.run_for(secs(1));
        for side in [CLIENT, GATEWAY] {
            assert_eq!(world.hosts[side].received, [packet(1)]);
        }
    }
}

#[test]
fn dead_peer_is_detected_on_an_idle_connection_between_clients() {
    let mut world = two_clients([IceRole::Controlling, IceRole::Controlled]);
    world.run_for(secs(120));
    assert!(!has_failed(&world, CLIENT));
    world.net.dark = true;
    world.run_for(secs(21));
    assert!(has_failed(&world, CLIENT) && has_failed(&world, GATEWAY));
}

#[test]
fn role_conflict_is_resolved() {
    for role in [IceRole::Controlling, IceRole::Controlled] {
        let world = two_clients([role, role]);
        for side in [CLIENT, GATEWAY] {
            assert!(world.hosts[side].node.path(world.hosts[side].peer).is_some(), "both {role:?}, side {side}");
        }
    }
}

#[test]
fn new_candidate_within_two_seconds_prevents_the_failure() {
    let dying = || {
        let mut world = World::new(34).with_relays().connected();
        world.net.dark = true;
        world
    };
    let mut world = dying();
    let start = world.net.now;
    while !has_failed(&world, CLIENT) {
        world.run_for(Duration::from_millis(10));
        assert!(world.net.now - start < secs(25));
    }
    let lived = world.net.now - start;
    assert!(lived > secs(16) && lived <= secs(21), "{lived:?}");

    let mut world = dying();
    world.run_for(lived - Duration::from_millis(100));
    let now = world.net.now;
    let candidate = "candidate:1 1 udp 2130706175 192.0.2.99 52625 typ host".to_owned();
    world.hosts[CLIENT].node.add_remote_candidates(gateway(), &[candidate], now);
    world.run_for(secs(5));
    assert!(!has_failed(&world, CLIENT));
}

#[test]
fn better_path_is_used_while_the_connection_stays_idle() {
    let mut world = World::new(35).relay_only().with_relays().connected();
    world.run_for(secs(40));
    world.net.direct = true;
    world.run_for(secs(60));
    assert_eq!(path_kind(&world), Some(PathKind::Direct));
    let before = world.net.delivered;
    world.run_for(secs(50));
    assert!(world.net.delivered - before < 100, "still idle: {}", world.net.delivered - before);
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [packet(1)]);
}

#[test]
fn two_consecutive_resets_equal_one() {
    let mut world = World::new(36).with_relays().connected();
    let keys = [0; 2].map(|_| {
        let now = world.net.now;
        world.hosts[CLIENT].node.reset(now);
        world.hosts[CLIENT].node.public_key()
    });
    assert_ne!(keys[0], keys[1]);
    world.run_for(secs(3));
    let closed = Event::Closed(gateway());
    assert_eq!(world.hosts[CLIENT].events.iter().filter(|event| **event == closed).count(), 1);
    world.hosts[CLIENT].events.clear();
    world.authorize();
    world.run_for(secs(3));
    assert!(world.has(CLIENT, &Event::Established(gateway())));
}

#[test]
fn path_info_contains_the_round_trip_time() {
    let [near, far] = [20, 30].map(|ms| Link::good(Duration::from_millis(ms)));
    let mut world = World::new(33).with_relays().over(CLIENT, near).over(GATEWAY, far).connected();
    world.run_for(secs(30));
    let path = world.hosts[CLIENT].node.path(gateway()).unwrap();
    // Each direction passes the link of its sender.
    assert_eq!(path.round_trip, Some(Duration::from_millis(50)));
}
