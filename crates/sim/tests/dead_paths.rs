//! Direct paths that silently stop working under traffic.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use std::time::Duration;

use connection::{Event, PathKind, Sealed};

use sim::{CLIENT, GATEWAY, World, gateway, packet, secs};

fn path_kind(world: &World) -> PathKind {
    world.hosts[CLIENT].node.path(gateway()).unwrap().kind
}

/// Sends ten packets per second in both directions. Returns the longest time without a received packet for the client and
/// the gateway.
fn talk_for(world: &mut World, duration: Duration) -> [Duration; 2] {
    let end = world.net.now + duration;
    let (mut last, mut longest) = ([world.net.now; 2], [Duration::ZERO; 2]);
    while world.net.now < end {
        for side in [CLIENT, GATEWAY] {
            assert_eq!(world.send(side, packet(1)), Sealed::Sent, "the session is not lost");
        }
        world.run_for(Duration::from_millis(100));
        for side in [CLIENT, GATEWAY] {
            if std::mem::take(&mut world.hosts[side].received).is_empty() {
                longest[side] = longest[side].max(world.net.now - last[side]);
            } else {
                last[side] = world.net.now;
            }
        }
    }
    longest
}

fn nothing_failed(world: &World) -> bool {
    !world.hosts.iter().any(|host| host.events.iter().any(|event| matches!(event, Event::Failed(..))))
}

#[test]
fn dead_direct_path_is_replaced_by_the_relay_and_restored_later() {
    for seed in 0..20 {
        let mut world = World::new(seed).with_relays().connected();
        talk_for(&mut world, secs(seed));
        assert_eq!(path_kind(&world), PathKind::Direct);
        world.net.direct = false;
        let longest = talk_for(&mut world, secs(14));
        println!("{longest:?}");
        assert!(longest.iter().all(|gap| *gap < secs(9)), "{longest:?} with seed {seed}");
        assert!(matches!(path_kind(&world), PathKind::Relay(_)));

        let longest = talk_for(&mut world, secs(90));
        assert!(longest.iter().all(|gap| *gap < secs(1)), "{longest:?} with seed {seed}");
        world.net.direct = true;
        let longest = talk_for(&mut world, secs(60));
        assert!(longest.iter().all(|gap| *gap < secs(1)), "{longest:?} with seed {seed}");
        assert_eq!(path_kind(&world), PathKind::Direct, "seed {seed}");
        assert!(nothing_failed(&world));
    }
}

#[test]
fn complete_network_outage_does_not_suspend_the_direct_path() {
    let mut world = World::new(1).with_relays().connected();
    talk_for(&mut world, secs(3));
    world.hosts[CLIENT].events.clear();
    world.net.dark = true;
    talk_for(&mut world, secs(8));
    world.net.dark = false;
    talk_for(&mut world, secs(3));
    assert_eq!(path_kind(&world), PathKind::Direct);
    assert!(!world.hosts[CLIENT].events.iter().any(|event| matches!(event, Event::InvalidateCandidates { .. })));
}

#[test]
fn connection_after_idleness_gets_the_full_silence_timeout() {
    let mut world = World::new(2).with_relays().connected();
    world.run_for(secs(120));
    world.hosts[CLIENT].events.clear();
    talk_for(&mut world, secs(10));
    assert_eq!(path_kind(&world), PathKind::Direct);
    assert!(!world.hosts[CLIENT].events.iter().any(|event| matches!(event, Event::InvalidateCandidates { .. })));
}
