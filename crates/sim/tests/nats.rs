//! Nodes behind NATs of all kinds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use sim::{CLIENT, GATEWAY, Link, NatKind, World, address, ms, packet, secs};

const KINDS: [NatKind; 4] =
    [NatKind::FullCone, NatKind::AddressRestricted, NatKind::PortRestricted, NatKind::Symmetric];

/// Whether packets arrive in both directions.
fn carries(world: &mut World) -> bool {
    let _outcome = world.send(CLIENT, packet(1));
    world.run_for(secs(2));
    let _outcome = world.send(GATEWAY, packet(2));
    world.run_for(secs(2));
    world.hosts[GATEWAY].received.contains(&packet(1)) && world.hosts[CLIENT].received.contains(&packet(2))
}

#[test]
fn packets_pass_all_pairs_of_nats() {
    for client in KINDS {
        for gateway in KINDS {
            let mut world = World::new(1).behind(CLIENT, client).behind(GATEWAY, gateway).with_relays().connected();
            assert!(carries(&mut world), "{client:?} and {gateway:?}");
            let is_hard = |it| it == NatKind::Symmetric;
            let is_picky = |it| matches!(it, NatKind::Symmetric | NatKind::PortRestricted);
            let is_relayed = is_hard(client) && is_picky(gateway) || is_hard(gateway) && is_picky(client);
            assert_eq!(world.is_direct(CLIENT), !is_relayed, "{client:?} and {gateway:?}: {:?}", world.path(CLIENT));
        }
    }
}

#[test]
fn nat_on_one_side_allows_a_direct_path() {
    for kind in KINDS {
        for side in [CLIENT, GATEWAY] {
            let mut world = World::new(2).behind(side, kind).with_relays().connected();
            assert!(carries(&mut world) && world.is_direct(CLIENT), "{kind:?} before {side}");
        }
    }
}

#[test]
fn forwarded_port_allows_a_direct_path_through_a_symmetric_nat() {
    let mut world = World::new(3).behind(CLIENT, NatKind::Symmetric).behind(GATEWAY, NatKind::Symmetric);
    let inside = world.hosts[GATEWAY].addresses[0];
    world.net.nats[1].forwarded = Some((52625, inside));
    let mut world = world.with_relays().connected();
    assert!(carries(&mut world));
    world.run_for(secs(5));
    assert!(world.is_direct(CLIENT), "{:?}", world.path(CLIENT));
}

#[test]
fn idle_connection_keeps_its_nat_mappings() {
    let mut world = World::new(4).behind(CLIENT, NatKind::PortRestricted).behind(GATEWAY, NatKind::FullCone);
    world = world.with_relays().connected();
    world.run_for(secs(1_200));
    assert!(carries(&mut world), "{:?}", world.path(CLIENT));
}

#[test]
fn connection_survives_a_nat_reboot() {
    let mut world = World::new(5).behind(CLIENT, NatKind::PortRestricted).with_relays().connected();
    world.net.nats[0].reboot();
    for n in 10..60 {
        let _outcome = world.send(CLIENT, packet(n));
        world.run_for(secs(1));
    }
    assert!(carries(&mut world), "{:?}", world.path(CLIENT));
}

#[test]
fn connection_survives_loss_delay_and_reordering() {
    let mut world = World::new(6).over(CLIENT, Link::bad()).with_relays();
    world.run_for(secs(8));
    world.authorize();
    world.run_for(secs(20));
    for n in 0..600 {
        let _outcome = world.send(CLIENT, packet(n));
        world.run_for(ms(500));
    }
    let arrived = world.hosts[GATEWAY].received.len();
    assert!(arrived > 500, "{arrived} of 600");
}

#[test]
fn client_reconnects_after_moving_to_another_nat() {
    let mut world = World::new(7).behind(CLIENT, NatKind::Symmetric).with_relays().connected();
    world.client_moves_to(vec![address("100.64.9.9:52625")]);
    world.put_behind(CLIENT, NatKind::PortRestricted);
    world.introduce_relays(&[]);
    world.run_for(ms(500));
    world.authorize();
    world.run_for(secs(2));
    assert!(carries(&mut world) && world.is_direct(CLIENT), "{:?}", world.path(CLIENT));
}
