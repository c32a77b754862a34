//! Random events.

use std::time::Duration;

use ip_packet::Ecn;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    link::Link,
    nat::{Kind as NatKind, Nat},
    packets::packet,
    relay::Relay,
    units::{address, ms, secs},
    world::{CLIENT, Side, World},
};

/// Maximum number of NATs in a world.
const MAX_NATS: usize = 64;

/// A random event.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Op {
    /// Time passes.
    Advance(Duration),
    /// A host sends a packet.
    Packet(Side),
    /// The portal authorizes the connection, possibly again.
    Authorize,
    /// A firewall between the hosts opens or closes.
    Direct(bool),
    /// The portal becomes available or unavailable.
    Portal(bool),
    /// A link is replaced.
    Cable(Side, Link),
    /// A relay forgets its clients.
    RelayForgets(usize),
    /// A relay is restarted in place.
    RelayRestarts(usize, u128),
    /// A relay stops or starts responding.
    RelayUp(usize, bool),
    /// All nonces of a relay expire.
    NoncesChange(usize),
    /// A relay runs out of addresses, or has some again.
    RelayFull(usize, bool),
    /// A relay is removed.
    RelayVanishes,
    /// A relay is added; the hosts do not know it yet.
    RelayAppears(u128),
    /// The portal lists its relays.
    RelaysNamed,
    /// The last NAT loses its mappings.
    RouterReboots,
    /// The client moves to another network, with or without a NAT.
    Moves(u16, Option<NatKind>),
    /// One side removes the connection without notifying the other.
    Forgets(Side),
    /// One side closes the connection.
    Closes(Side),
    /// Random bytes arrive, with a relay or the peer as source.
    Noise(Side, u64),
}

impl Op {
    /// A random event. `step` makes names unique.
    pub fn random(rng: &mut StdRng, step: u32) -> Self {
        let side = rng.random_range(0..2);
        let relay = rng.random_range(0..4);
        match rng.random_range(0..100) {
            0..40 => Self::Advance(ms(rng.random_range(0..60))),
            40..44 => Self::Advance(ms(rng.random_range(0..2_000))),
            44 => Self::Advance(secs(rng.random_range(0..30))),
            45 if rng.random_bool(0.1) => Self::Advance(secs(rng.random_range(0..900))),
            45..68 => Self::Packet(side),
            68..74 => Self::Authorize,
            74..77 => Self::Direct(rng.random()),
            77..79 => Self::Portal(rng.random_bool(0.8)),
            79..81 => {
                Self::Cable(side, if rng.random() { Link::bad() } else { Link::good(ms(rng.random_range(1..50))) })
            }
            81 => Self::RelayForgets(relay),
            82 => Self::RelayRestarts(relay, u128::from(step) + 1_000),
            83..85 => Self::RelayUp(relay, rng.random_bool(0.8)),
            85 => Self::NoncesChange(relay),
            86 => Self::RelayFull(relay, rng.random_bool(0.3)),
            87 => Self::RelayVanishes,
            88 => Self::RelayAppears(u128::from(step) + 1_000),
            89..91 => Self::RelaysNamed,
            91 => Self::RouterReboots,
            92 => Self::Moves(rng.random(), random_kind(rng)),
            93 => Self::Forgets(side),
            94 => Self::Closes(side),
            _ => Self::Noise(side, rng.random()),
        }
    }

    /// Applies the event.
    pub fn apply(self, world: &mut World, step: u32) {
        let now = world.net.now;
        match self {
            Self::Advance(duration) => world.run_for(duration),
            Self::Packet(side) => {
                let number = u16::try_from(step % 65_536).expect("below");
                let _outcome = world.send(side, packet(number));
            }
            Self::Authorize => {
                world.try_to_authorize();
            }
            Self::Direct(open) => world.net.direct = open,
            Self::Portal(up) => world.portal.up = up,
            Self::Cable(side, link) => world.net.sites[side].link = link,
            Self::RelayForgets(index) => on_relay(world, index, Relay::forget_clients),
            Self::RelayRestarts(index, id) => on_relay(world, index, |relay| relay.restart(id)),
            Self::RelayUp(index, up) => on_relay(world, index, |relay| relay.is_up = up),
            Self::NoncesChange(index) => on_relay(world, index, Relay::change_nonces),
            Self::RelayFull(index, full) => {
                on_relay(world, index, |relay| relay.capacity = if full { 0 } else { 1_000 })
            }
            Self::RelayVanishes => drop(world.net.relays.pop()),
            Self::RelayAppears(id) if world.net.relays.len() < 4 => {
                world.add_relay(id, &[&format!("203.0.113.{}:3478", 100 + id % 100)]);
            }
            Self::RelayAppears(_) => {}
            Self::RelaysNamed => world.introduce_relays(&[]),
            Self::RouterReboots => world.net.nats.last_mut().into_iter().for_each(Nat::reboot),
            Self::Moves(number, kind) => {
                let [high, low] = number.to_be_bytes();
                world.client_moves_to(vec![address(&format!("100.{}.{high}.{low}:52625", 65 + step % 60))]);
                if let Some(kind) = kind.filter(|_| world.net.nats.len() < MAX_NATS) {
                    world.put_behind(CLIENT, kind);
                }
            }
            Self::Forgets(side) => {
                let peer = world.hosts[side].peer;
                world.hosts[side].node.remove(peer, now);
            }
            Self::Closes(side) => {
                let peer = world.hosts[side].peer;
                world.hosts[side].node.close(peer, &ip_packet::control::goodbye(), now);
            }
            Self::Noise(side, seed) => make_noise(world, side, seed),
        }
    }
}

fn random_kind(rng: &mut StdRng) -> Option<NatKind> {
    use NatKind::{AddressRestricted, FullCone, PortRestricted, Symmetric};
    [None, Some(FullCone), Some(AddressRestricted), Some(PortRestricted), Some(Symmetric)][rng.random_range(0..5)]
}

fn on_relay(world: &mut World, index: usize, act: impl FnOnce(&mut Relay)) {
    if let Some(relay) = world.net.relays.get_mut(index) {
        act(relay);
    }
}

fn make_noise(world: &mut World, side: Side, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let relay = world.net.relays.first().map_or(address("198.51.100.1:3478"), |relay| relay.addresses[0]);
    let from = if rng.random() { relay } else { world.hosts[1 - side].addresses[0] };
    let mut noise: Vec<u8> = (0..rng.random_range(0..200)).map(|_| rng.random()).collect();
    if let Some(first) = noise.first_mut()
        && rng.random()
    {
        *first = [0, 1, 2, 3, 4, 0x40, 0x4F][rng.random_range(0..7)];
    }
    let local = world.hosts[side].addresses[0];
    let opened = world.hosts[side].node.open(local, from, Ecn::Ce, &mut noise, world.net.now);
    assert!(opened.is_none(), "random bytes were accepted as a packet");
}
