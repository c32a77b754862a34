//! Nodes with relays of different behaviour.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use sim::{CLIENT, GATEWAY, Habits, NatKind, World, packet, secs};

/// Whether packets arrive in both directions.
fn carries(world: &mut World) -> bool {
    let _outcome = world.send(CLIENT, packet(1));
    world.run_for(secs(2));
    let _outcome = world.send(GATEWAY, packet(2));
    world.run_for(secs(2));
    let arrived =
        world.hosts[GATEWAY].received.contains(&packet(1)) && world.hosts[CLIENT].received.contains(&packet(2));
    world.hosts.iter_mut().for_each(|host| host.received.clear());
    arrived
}

#[test]
fn allocation_needs_three_requests() {
    let world = World::new(1).with_relays();
    let relay = &world.net.relays[0];
    assert_eq!(relay.clients(), 2);
    assert_eq!(
        (relay.answered("binding", 0), relay.answered("allocate", 401), relay.answered("allocate", 0)),
        (2, 2, 2)
    );
}

#[test]
fn expired_nonces_are_replaced_without_interruption() {
    for habits in [Habits::OFFICIAL, Habits::COTURN] {
        let mut world = World::new(2).relay_only();
        world.net.relays[0].habits = habits;
        let mut world = world.with_relays().connected();
        for _ in 0..10 {
            world.net.relays[0].change_nonces();
            world.run_for(secs(301));
            assert!(carries(&mut world), "{habits:?}");
        }
        assert!(world.net.relays[0].answered("refresh", 438) > 0, "{habits:?}");
        assert_eq!(world.net.relays[0].clients(), 2);
    }
}

#[test]
fn short_lived_nonces_are_sufficient() {
    let mut world = World::new(3).relay_only();
    world.net.relays[0].limit_nonces(2);
    let mut world = world.with_relays().connected();
    assert!(carries(&mut world));
}

#[test]
fn no_channel_is_rejected_during_an_hour_on_a_relay() {
    let mut world = World::new(4).relay_only().with_relays().connected();
    for _ in 0..60 {
        world.run_for(secs(56));
        assert!(carries(&mut world), "{:?}", world.path(CLIENT));
    }
    let relay = &world.net.relays[0];
    assert_eq!(relay.answered("channel bind", 400), 0);
    assert!(relay.answered("channel bind", 0) > 10, "{:?}", relay.asked);
    assert_eq!(relay.answered("refresh", 437), 0);
}

#[test]
fn channel_is_available_after_a_long_pause() {
    let mut world = World::new(5).relay_only().with_relays().connected();
    for minutes in [6, 6, 11, 16] {
        world.run_for(secs(60 * minutes));
        assert!(carries(&mut world), "after {minutes} min: {:?}", world.path(CLIENT));
    }
    assert_eq!(world.net.relays[0].answered("channel bind", 400), 0);
}

#[test]
fn full_relay_is_retried_when_the_portal_lists_it() {
    let mut world = World::new(6);
    world.net.relays[0].capacity = 0;
    let mut world = world.with_relays();
    assert!(world.net.relays[0].answered("allocate", 508) > 0);
    assert_eq!(world.net.relays[0].clients(), 0);
    world.net.relays[0].capacity = 10;
    world.introduce_relays(&[]);
    world.run_for(secs(2));
    assert_eq!(world.net.relays[0].clients(), 2);
}

#[test]
fn restarted_relay_replaces_the_old_one_at_its_address() {
    let mut world = World::new(7).relay_only().with_relays().connected();
    let former = world.net.relays[0].id;
    world.net.relays[0].restart(99);
    world.introduce_relays(&[former]);
    world.run_for(secs(3));
    assert!(carries(&mut world), "{:?}", world.path(CLIENT));
}

#[test]
fn replaced_credentials_create_a_new_allocation_and_keep_connections() {
    let mut world = World::new(8).relay_only().with_relays().connected();
    let later = world.net.now + secs(5_000);
    world.net.relays[0].credentials_expire = Some(later);
    world.introduce_relays(&[]);
    world.run_for(secs(3));
    assert!(carries(&mut world), "{:?}", world.path(CLIENT));
}

#[test]
fn expired_credentials_make_the_relay_unusable() {
    let mut world = World::new(9);
    let soon = world.net.now + secs(200);
    world.net.relays[0].credentials_expire = Some(soon);
    let mut world = world.with_relays();
    world.run_for(secs(1_000));
    assert!(world.has(CLIENT, &connection::Event::NoRelays));
    let asked: usize = world.net.relays[0].asked.values().sum();
    world.run_for(secs(1_000));
    assert_eq!(world.net.relays[0].asked.values().sum::<usize>(), asked, "nothing more is sent");
}

#[test]
fn changed_mapped_address_leads_to_a_new_allocation() {
    let mut world = World::new(9).behind(CLIENT, NatKind::PortRestricted).with_relays();
    assert_eq!(world.net.relays[0].answered("allocate", 0), 2);
    world.net.nats[0].reboot();
    world.run_for(secs(30));
    assert_eq!(world.net.relays[0].answered("allocate", 0), 3);
}
