//! Peers that keep sending on a dead path, and their recovery.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use std::time::Duration;

use connection::{Event, Failure, PathKind, Sealed};

use sim::{CLIENT, GATEWAY, NatKind, World, gateway, packet, secs};

/// A WireGuard handshake response.
fn is_handshake_response(datagram: &[u8]) -> bool {
    datagram.len() == 92 && datagram.starts_with(&[2, 0, 0, 0])
}

/// Both sides send ten packets per second. Returns the time since the last packet of the gateway arrived.
fn talk_for(world: &mut World, duration: Duration) -> Duration {
    let end = world.net.now + duration;
    let mut last = world.net.now;
    while world.net.now < end {
        for side in [CLIENT, GATEWAY] {
            let _outcome = world.send(side, packet(1));
        }
        world.run_for(Duration::from_millis(100));
        if !std::mem::take(&mut world.hosts[CLIENT].received).is_empty() {
            last = world.net.now;
        }
    }
    world.net.now - last
}

/// Authorizes the connection three times; it fails each time.
fn fail_three_times(world: &mut World) {
    for _ in 0..3 {
        world.authorize();
        world.run_for(secs(30));
    }
}

fn asked_for_a_new_key(world: &World) -> usize {
    world.hosts[CLIENT].events.iter().filter(|event| matches!(event, Event::NewKeyNeeded(_))).count()
}

#[test]
fn one_way_direct_path_is_replaced_by_the_relay() {
    for mute in [CLIENT, GATEWAY] {
        let mut world = World::new(1).with_relays().connected();
        assert!(talk_for(&mut world, secs(3)) < secs(1));
        world.net.mute = Some(mute);
        assert!(talk_for(&mut world, secs(20)) < secs(1), "nothing comes back, mute: {mute}");
        assert!(matches!(world.path(CLIENT).unwrap().kind, PathKind::Relay(_) | PathKind::PeerRelay));
        world.net.mute = None;
        assert!(talk_for(&mut world, secs(60)) < secs(1));
        assert!(world.is_direct(CLIENT), "mute: {mute}");
        assert_eq!(world.failures(CLIENT), []);
    }
}

/// The gateway keeps using the old mapping, whose loss is not known at first.
#[test]
fn candidate_of_a_forgotten_mapping_is_withdrawn() {
    let mut world = World::new(2).behind(CLIENT, NatKind::PortRestricted).with_relays().connected();
    assert!(world.is_direct(CLIENT));
    world.net.nats[0].reboot();
    assert!(talk_for(&mut world, secs(40)) < secs(1), "nothing comes back");
    assert!(talk_for(&mut world, secs(90)) < secs(1), "nothing comes back");
    assert_eq!(world.failures(CLIENT), []);
}

#[test]
fn dead_path_of_an_idle_connection_is_replaced() {
    for seed in 0..5 {
        let mut world = World::new(seed).with_relays().connected();
        world.run_for(secs(30 + seed));
        world.net.direct = false;
        world.run_for(secs(400));
        assert_eq!(world.failures(CLIENT), [], "seed {seed}");
        assert!(talk_for(&mut world, secs(10)) < secs(1), "seed {seed}");
    }
}

#[test]
fn stale_candidates_of_an_earlier_connection_are_withdrawn() {
    let mut world = World::new(3).behind(CLIENT, NatKind::PortRestricted).with_relays().connected();
    let old = world.path(GATEWAY).unwrap().remote;
    let now = world.net.now;
    world.hosts[CLIENT].node.remove(gateway(), now);
    world.net.nats[0].reboot();
    // The relay reports another mapped address.
    world.run_for(secs(30));
    world.hosts[CLIENT].events.clear();
    world.authorize();
    world.run_for(secs(5));
    let withdrawn = world.hosts[CLIENT].events.iter().any(|event| match event {
        Event::InvalidateCandidates { candidates, .. } => {
            candidates.iter().any(|it| it.contains(&format!(" {} ", old.port())))
        }
        _ => false,
    });
    assert!(withdrawn, "{old} is not taken back: {:?}", world.hosts[CLIENT].events);
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [packet(1)]);
}

#[test]
fn new_key_is_requested_after_three_consecutive_failures() {
    let mut world = World::new(4).with_relays();
    let key = world.hosts[CLIENT].node.public_key();
    world.net.forbidden = Some(is_handshake_response);
    for failures in 1..3 {
        world.authorize();
        world.run_for(secs(30));
        assert_eq!(world.failures(CLIENT).len(), failures);
        assert_eq!(asked_for_a_new_key(&world), 0);
    }
    world.authorize();
    world.run_for(secs(30));
    assert_eq!(world.failures(CLIENT), [Failure::HandshakeTimeout; 3]);
    assert_eq!(asked_for_a_new_key(&world), 1);
    assert_ne!(world.hosts[CLIENT].node.public_key(), key);

    world.net.forbidden = None;
    world.authorize();
    world.run_for(secs(3));
    assert!(world.has(CLIENT, &Event::Established(gateway())));
}

#[test]
fn new_key_is_not_requested_again_within_1000_seconds() {
    let mut world = World::new(5).with_relays();
    world.net.forbidden = Some(is_handshake_response);
    fail_three_times(&mut world);
    fail_three_times(&mut world);
    assert_eq!(asked_for_a_new_key(&world), 1);
    world.run_for(secs(1_000));
    fail_three_times(&mut world);
    assert_eq!(asked_for_a_new_key(&world), 2);
}

#[test]
fn success_resets_the_failures_that_request_a_new_key() {
    let mut world = World::new(6).with_relays();
    for _ in 0..3 {
        world.net.forbidden = Some(is_handshake_response);
        world.authorize();
        world.run_for(secs(30));
        world.net.forbidden = None;
        world.authorize();
        world.run_for(secs(3));
        assert!(world.has(CLIENT, &Event::Established(gateway())));
        let now = world.net.now;
        world.hosts[CLIENT].node.remove(gateway(), now);
    }
    assert_eq!(world.failures(CLIENT).len(), 3);
    assert_eq!(asked_for_a_new_key(&world), 0);
}

#[test]
fn direct_path_that_carries_only_checks_is_replaced_by_the_relay() {
    let mut world = World::new(7).with_relays();
    world.net.checks_only = true;
    world.authorize();
    let established = |world: &World| world.has(CLIENT, &Event::Established(gateway()));
    let took = world.run_until(secs(20), established);
    assert!(took > secs(5), "{took:?}");
    assert!(matches!(world.path(CLIENT).unwrap().kind, PathKind::Relay(_)));
    // The direct path is not retried soon.
    for _ in 0..10 {
        assert!(talk_for(&mut world, secs(60)) < secs(1));
    }
    assert_eq!(world.failures(CLIENT), []);
}
