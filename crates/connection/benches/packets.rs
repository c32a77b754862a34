//! What a packet costs between the tunnel and the sockets: sealed, opened, and told apart from noise.
//!
//! Packets are as long as they may be, and 64 of them are taken at a time, as many as the kernel joins.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement may fail loudly")]

use std::net::SocketAddr;

use connection::{Node, PathKind, Sealed};
use divan::{Bencher, black_box, counter::BytesCount};
use ip_packet::{Ecn, IpPacket};
use sim::{CLIENT, GATEWAY, Side, World, udp_packet};

const BATCH: usize = 64;
const LENGTH: usize = 1280;
/// The header of a message that a relay forwards.
const CHANNEL_HEADER: usize = 4;

fn main() {
    divan::main();
}

/// Two nodes that are connected, one of which is looked at.
struct Pair {
    world: World,
    side: Side,
    /// Through which channel of which relay it hears the other, if not directly.
    channel: Option<(SocketAddr, [u8; 2])>,
}

#[divan::bench]
fn seal_direct(bencher: Bencher<'_, '_>) {
    seal(bencher, Pair::direct());
}

#[divan::bench]
fn seal_relayed(bencher: Bencher<'_, '_>) {
    seal(bencher, Pair::relayed());
}

#[divan::bench]
fn open_direct(bencher: Bencher<'_, '_>) {
    open(bencher, Pair::direct());
}

#[divan::bench]
fn open_relayed(bencher: Bencher<'_, '_>) {
    open(bencher, Pair::relayed());
}

/// Messages for a session that does not exist: what is told apart before anything is decrypted.
#[divan::bench]
fn refuse_unknown_sessions(bencher: Bencher<'_, '_>) {
    let mut datagram = vec![0xAB; LENGTH + 32];
    datagram[..8].copy_from_slice(&[4, 0, 0, 0, 0xAB, 0xAB, 0xAB, 0xAB]);
    refuse(bencher, &datagram);
}

/// Datagrams that are no message at all.
#[divan::bench]
fn refuse_noise(bencher: Bencher<'_, '_>) {
    refuse(bencher, &[0xAB; LENGTH + 32]);
}

fn seal(bencher: Bencher<'_, '_>, mut pair: Pair) {
    let packet = packet();
    bencher.counter(BytesCount::new(BATCH * LENGTH)).bench_local(|| {
        for _ in 0..BATCH {
            pair.seal(pair.side, &packet);
        }
        while let Some(transmit) = pair.node(pair.side).poll_transmit() {
            black_box(transmit);
        }
    });
}

fn open(bencher: Bencher<'_, '_>, pair: Pair) {
    let pair = std::cell::RefCell::new(pair);
    let packet = packet();
    bencher
        .counter(BytesCount::new(BATCH * LENGTH))
        .with_inputs(|| pair.borrow_mut().datagrams(&packet))
        .bench_local_refs(|datagrams| {
            let Pair { world, side, channel } = &mut *pair.borrow_mut();
            let (local, peer) = (world.hosts[*side].addresses[0], world.hosts[1 - *side].addresses[0]);
            let from = channel.map_or(peer, |(relay, _)| relay);
            for datagram in datagrams {
                let opened = world.hosts[*side].node.open(local, from, Ecn::NotEct, datagram, world.net.now);
                assert!(black_box(opened).is_some());
            }
        });
}

fn refuse(bencher: Bencher<'_, '_>, datagram: &[u8]) {
    let mut world = Pair::direct().world;
    let (local, from) = (world.hosts[CLIENT].addresses[0], world.hosts[GATEWAY].addresses[0]);
    let mut datagram = datagram.to_vec();
    bencher.counter(BytesCount::new(BATCH * datagram.len())).bench_local(|| {
        for _ in 0..BATCH {
            let now = world.net.now;
            assert!(world.hosts[CLIENT].node.open(local, from, Ecn::NotEct, &mut datagram, now).is_none());
        }
    });
}

fn packet() -> IpPacket {
    udp_packet([100, 64, 0, 1].into(), [100, 64, 0, 2].into(), 1, Ecn::NotEct, LENGTH - 28)
}

impl Pair {
    fn direct() -> Self {
        let world = World::new(1).with_relays().connected();
        assert!(world.is_direct(CLIENT));
        Self { world, side: CLIENT, channel: None }
    }

    fn relayed() -> Self {
        let world = World::new(1).relay_only().with_relays().connected();
        let is_relayed = |side: &Side| matches!(world.path(*side).unwrap().kind, PathKind::Relay(_));
        let side = [CLIENT, GATEWAY].into_iter().find(is_relayed).unwrap();
        let mut pair = Self { world, side, channel: None };
        pair.seal(side, &packet());
        let transmit = pair.node(side).poll_transmit().unwrap();
        pair.channel = Some((transmit.destination, [transmit.payload[0], transmit.payload[1]]));
        pair
    }

    fn node(&mut self, side: Side) -> &mut Node {
        &mut self.world.hosts[side].node
    }

    fn seal(&mut self, side: Side, packet: &IpPacket) {
        let World { hosts, net, .. } = &mut self.world;
        let peer = hosts[side].peer;
        assert_eq!(hosts[side].node.seal(peer, packet, net.now), Sealed::Sent);
    }

    /// A batch of the other node as it arrives.
    fn datagrams(&mut self, packet: &IpPacket) -> Vec<Vec<u8>> {
        let (other, channel) = (1 - self.side, self.channel);
        let is_wrapped = matches!(self.world.path(other).unwrap().kind, PathKind::Relay(_));
        for _ in 0..BATCH {
            self.seal(other, packet);
        }
        let transmits: Vec<_> = std::iter::from_fn(|| self.node(other).poll_transmit()).collect();
        let sent = transmits.iter().flat_map(|transmit| transmit.payload.chunks(transmit.segment));
        sent.map(|datagram| {
            let message = if is_wrapped { &datagram[CHANNEL_HEADER..] } else { datagram };
            let Some((_, number)) = channel else { return message.to_vec() };
            let length = u16::try_from(message.len()).unwrap().to_be_bytes();
            [&number, &length, message].concat()
        })
        .collect()
    }
}
