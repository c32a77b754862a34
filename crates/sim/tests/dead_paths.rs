//! Direct paths that die without a word, under traffic.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use std::time::Duration;

use connection::{Event, Route, Sealed};

use sim::{CLIENT, GATEWAY, World, gateway, packet, secs};

fn route(world: &World) -> Route {
    world.hosts[CLIENT].node.path(gateway()).unwrap().route
}

/// Sends a packet both ways ten times a second. Returns the longest time without one for the client and the gateway.
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
fn a_direct_path_that_dies_under_traffic_is_left_for_the_relay_and_used_again_later() {
    for seed in 0..20 {
        let mut world = World::new(seed).with_relays().connected();
        talk_for(&mut world, secs(seed));
        assert_eq!(route(&world), Route::Direct);
        world.net.direct = false;
        let longest = talk_for(&mut world, secs(14));
        println!("{longest:?}");
        assert!(longest.iter().all(|gap| *gap < secs(9)), "{longest:?} with seed {seed}");
        assert!(matches!(route(&world), Route::Relay(_)));

        let longest = talk_for(&mut world, secs(90));
        assert!(longest.iter().all(|gap| *gap < secs(1)), "{longest:?} with seed {seed}");
        world.net.direct = true;
        let longest = talk_for(&mut world, secs(60));
        assert!(longest.iter().all(|gap| *gap < secs(1)), "{longest:?} with seed {seed}");
        assert_eq!(route(&world), Route::Direct, "seed {seed}");
        assert!(nothing_failed(&world));
    }
}

#[test]
fn a_network_that_is_silent_altogether_is_not_blamed_on_the_direct_path() {
    let mut world = World::new(1).with_relays().connected();
    talk_for(&mut world, secs(3));
    world.hosts[CLIENT].events.clear();
    world.net.dark = true;
    talk_for(&mut world, secs(8));
    world.net.dark = false;
    talk_for(&mut world, secs(3));
    assert_eq!(route(&world), Route::Direct);
    assert!(!world.hosts[CLIENT].events.iter().any(|event| matches!(event, Event::InvalidateCandidates { .. })));
}

#[test]
fn an_idle_connection_that_wakes_is_given_time_before_its_path_is_doubted() {
    let mut world = World::new(2).with_relays().connected();
    world.run_for(secs(120));
    world.hosts[CLIENT].events.clear();
    talk_for(&mut world, secs(10));
    assert_eq!(route(&world), Route::Direct);
    assert!(!world.hosts[CLIENT].events.iter().any(|event| matches!(event, Event::InvalidateCandidates { .. })));
}
