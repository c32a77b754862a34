//! Random events, and what has to be true after each of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use std::time::Duration;

use connection::{Event, Sealed};
use model::RelayId;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

mod toy;

use toy::{CLIENT, GATEWAY, World, address, gateway, packet, relay::ToyRelay, secs};

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Nothing, for a while. The toy network checks that no deadline is left in the past.
    Advance(Duration),
    Packet(usize),
    Authorize,
    DirectPath(bool),
    Portal(bool),
    RelayReboots(usize),
    RelayVanishes,
    RelayAppears,
    PortalNamesRelays,
    ClientMoves,
    PeerForgets(usize),
    Noise(usize),
}

fn random_op(rng: &mut StdRng) -> Op {
    let side = rng.random_range(0..2);
    match rng.random_range(0..20) {
        0..=3 => Op::Advance(Duration::from_millis(rng.random_range(0..500))),
        4 => Op::Advance(secs(rng.random_range(0..40))),
        5 => Op::Advance(secs(rng.random_range(0..400))),
        6..=8 => Op::Packet(side),
        9..=10 => Op::Authorize,
        11 => Op::DirectPath(rng.random()),
        12 => Op::Portal(rng.random_bool(0.8)),
        13 => Op::RelayReboots(rng.random_range(0..4)),
        14 => Op::RelayVanishes,
        15 => Op::RelayAppears,
        16 => Op::PortalNamesRelays,
        17 => Op::ClientMoves,
        18 => Op::PeerForgets(side),
        _ => Op::Noise(side),
    }
}

fn apply(world: &mut World, op: Op, step: u16, rng: &mut StdRng) {
    let now = world.now;
    match op {
        Op::Advance(duration) => world.run_for(duration),
        Op::Packet(side) => {
            let _outcome = world.send(side, packet(step));
        }
        Op::Authorize => try_to_authorize(world),
        Op::DirectPath(open) => world.direct = open,
        Op::Portal(up) => world.portal = up,
        Op::RelayReboots(index) => {
            if let Some(relay) = world.relays.get_mut(index) {
                relay.reboot();
            }
        }
        Op::RelayVanishes => {
            world.relays.pop();
        }
        Op::RelayAppears if world.relays.len() < 4 => {
            let id = u128::from(step) + 100;
            world.relays.push(ToyRelay::new(id, vec![address(&format!("203.0.113.{}:3478", 100 + step % 100))]));
        }
        Op::RelayAppears => {}
        Op::PortalNamesRelays => world.introduce_relays(&[]),
        Op::ClientMoves => {
            world.hosts[CLIENT].node.reset(now);
            world.hosts[CLIENT].addresses = vec![address(&format!("198.51.100.{}:52625", 1 + step % 250))];
        }
        Op::PeerForgets(side) => {
            let peer = world.hosts[side].peer;
            world.hosts[side].node.remove(peer, now);
        }
        Op::Noise(side) => {
            let from = world.relays.first().map_or(address("198.51.100.1:3478"), |relay| relay.addresses[0]);
            let mut noise: Vec<u8> = (0..rng.random_range(0..200)).map(|_| rng.random()).collect();
            let local = world.hosts[side].addresses[0];
            assert!(world.hosts[side].node.open(local, from, ip_packet::Ecn::Ce, &mut noise, now).is_none());
        }
    }
}

fn try_to_authorize(world: &mut World) {
    for side in [GATEWAY, CLIENT] {
        let (peer, params) = (world.hosts[side].peer, world.params(side));
        if world.hosts[side].node.upsert(peer, params, world.now).is_err() {
            return;
        }
    }
}

/// When everything is well again, asking once more is enough.
fn recover(world: &mut World, seed: u64) {
    (world.direct, world.portal) = (true, true);
    let gone: Vec<_> = (0..1_000).map(RelayId::from_u128).collect();
    world.relays = vec![ToyRelay::new(5_000, vec![address("203.0.113.50:3478")])];
    world.introduce_relays(&gone);
    world.run_for(secs(2));
    for _ in 0..3 {
        try_to_authorize(world);
        world.run_for(secs(40));
    }
    let established = |world: &World| world.hosts[CLIENT].node.path(gateway()).is_some();
    assert!(established(world), "seed {seed}: {:?}", world.hosts[CLIENT].events.last());
    world.hosts[GATEWAY].received.clear();
    assert_ne!(world.send(CLIENT, packet(9_999)), Sealed::Unknown);
    world.run_for(secs(30));
    assert!(world.hosts[GATEWAY].received.contains(&packet(9_999)), "seed {seed}");
}

#[test]
fn random_events_do_no_lasting_harm() {
    for seed in 0..16 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = World::new(u8::try_from(seed).unwrap()).with_relays();
        for step in 0..150 {
            let op = random_op(&mut rng);
            apply(&mut world, op, step, &mut rng);
        }
        recover(&mut world, seed);
    }
}

#[test]
fn every_connection_is_established_or_fails() {
    for seed in 100..116 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = World::new(u8::try_from(seed).unwrap()).with_relays();
        for step in 0..60 {
            let op = random_op(&mut rng);
            apply(&mut world, op, step, &mut rng);
        }
        world.hosts[CLIENT].events.clear();
        let now = world.now;
        world.hosts[CLIENT].node.remove(gateway(), now);
        let params = world.params(CLIENT);
        if world.hosts[CLIENT].node.upsert(gateway(), params, now).is_err() {
            continue;
        }
        world.run_for(secs(60));
        let outcomes = [Event::Established(gateway()), Event::Failed(gateway())];
        assert!(outcomes.iter().any(|event| world.has(CLIENT, event)), "seed {seed}");
    }
}
