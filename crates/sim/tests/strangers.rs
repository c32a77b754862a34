//! Hostile, foreign and random datagrams.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use connection::Sealed;
use ip_packet::{Ecn, IpPacket};
use model::PeerId;

use sim::{CLIENT, GATEWAY, World, address, gateway, ms, packet, secs};

const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

/// Passes a datagram to the gateway. Returns the packet inside, and whether the gateway sent anything.
fn receive(world: &mut World, from: SocketAddr, datagram: &[u8]) -> (Option<(PeerId, IpPacket)>, bool) {
    let local = world.hosts[GATEWAY].addresses[0];
    let opened = world.hosts[GATEWAY].node.open(local, from, Ecn::NotEct, &mut datagram.to_vec(), world.net.now);
    let answered = world.hosts[GATEWAY].node.poll_transmit().is_some();
    (opened, answered)
}

/// A sealed packet from the client.
fn sealed(world: &mut World, n: u16) -> Vec<u8> {
    assert_eq!(world.hosts[CLIENT].node.seal(gateway(), &packet(n), world.net.now), Sealed::Sent);
    world.hosts[CLIENT].node.poll_transmit().unwrap().payload
}

#[test]
fn peer_is_identified_by_session_index_not_by_address() {
    let mut world = World::new(1).with_relays().connected();
    let datagram = sealed(&mut world, 1);
    let (opened, _) = receive(&mut world, address("198.51.100.99:4444"), &datagram);
    assert_eq!(opened.map(|(_, it)| it), Some(packet(1)));
    // The port of relays may be a peer's port on its NAT.
    let datagram = sealed(&mut world, 2);
    let (opened, _) = receive(&mut world, address("198.51.100.99:3478"), &datagram);
    assert_eq!(opened.map(|(_, it)| it), Some(packet(2)));
    // The source address of a relay is only a hint.
    let datagram = sealed(&mut world, 3);
    let (opened, _) = receive(&mut world, address("203.0.113.1:3478"), &datagram);
    assert_eq!(opened.map(|(_, it)| it), Some(packet(3)));
}

#[test]
fn duplicated_packet_is_accepted_once() {
    let mut world = World::new(2).with_relays().connected();
    let datagram = sealed(&mut world, 1);
    let from = world.hosts[CLIENT].addresses[0];
    assert!(receive(&mut world, from, &datagram).0.is_some());
    assert!(receive(&mut world, from, &datagram).0.is_none());
    assert_eq!(world.hosts[GATEWAY].node.drops().replayed, 1);
}

#[test]
fn changed_or_truncated_packet_is_dropped_without_response() {
    let mut world = World::new(3).with_relays().connected();
    let datagram = sealed(&mut world, 1);
    let from = world.hosts[CLIENT].addresses[0];
    for length in 0..datagram.len() {
        assert_eq!(receive(&mut world, from, &datagram[..length]), (None, false), "cut at {length}");
    }
    for bit in 0..datagram.len() * 8 {
        let mut changed = datagram.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(receive(&mut world, from, &changed), (None, false), "bit {bit}");
    }
    assert!(receive(&mut world, from, &datagram).0.is_some(), "the genuine one is still good");
}

#[test]
fn too_long_datagram_is_dropped() {
    let mut world = World::new(4).with_relays().connected();
    let from = world.hosts[CLIENT].addresses[0];
    let mut datagram = vec![0; 1317];
    datagram[0] = 4;
    assert_eq!(receive(&mut world, from, &datagram), (None, false));
    assert_eq!(world.hosts[GATEWAY].node.drops().too_long, 1);
    assert_eq!(receive(&mut world, from, &datagram[..1316]), (None, false));
    assert_eq!(world.hosts[GATEWAY].node.drops().too_long, 1, "it is processed, but belongs to no connection");
}

#[test]
fn handshake_of_an_unknown_peer_gets_no_response() {
    let mut world = World::new(5).with_relays().connected();
    let from = world.hosts[CLIENT].addresses[0];
    for (kind, length) in [(1, 148), (2, 92), (3, 64), (4, 32)] {
        let mut datagram = vec![0xAB; length];
        datagram[..4].copy_from_slice(&[kind, 0, 0, 0]);
        assert_eq!(receive(&mut world, from, &datagram), (None, false), "type {kind}");
    }
}

#[test]
fn foreign_stun_message_gets_no_response() {
    let mut world = World::new(6).with_relays().connected();
    let senders = ["192.0.2.10:52625", "203.0.113.1:3478", "198.51.100.1:3478"].map(address);
    let message = |kind: u16, attributes: &[u8]| {
        let mut message = kind.to_be_bytes().to_vec();
        message.extend(u16::try_from(attributes.len()).unwrap().to_be_bytes());
        message.extend(COOKIE);
        message.extend([7; 12]);
        message.extend(attributes);
        message
    };
    let username = b"\x00\x06\x00\x09lesk:orrr\x00\x00\x00";
    for from in senders {
        for kind in [0x0001, 0x0011, 0x0101, 0x0111, 0x0003, 0x0103, 0x0113, 0x0017, 0x3FFF] {
            for attributes in [b"".as_slice(), username, b"\x00\x08\x00\x14aaaaaaaaaaaaaaaaaaaa", b"\x00\x16\xff\xff"] {
                assert_eq!(receive(&mut world, from, &message(kind, attributes)), (None, false), "{kind:#x}");
            }
        }
        for length in [0, 1, 3, 19] {
            assert_eq!(receive(&mut world, from, &message(1, b"")[..length]), (None, false));
        }
    }
}

#[test]
fn random_datagrams_are_dropped() {
    let mut world = World::new(7).with_relays().connected();
    let senders = ["192.0.2.10:52625", "203.0.113.1:3478", "198.51.100.1:9"].map(address);
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..20_000 {
        let length = usize::try_from(random() % 200).unwrap();
        let mut datagram: Vec<u8> = (0..length).map(|_| u8::try_from(random() & 0xFF).unwrap()).collect();
        // Half of the datagrams start like a valid message.
        if round % 2 == 0 && length > 8 {
            datagram[0] = [0, 1, 2, 3, 4, 0x40, 0x4F][usize::try_from(random() % 7).unwrap()];
            datagram[4..8].copy_from_slice(&COOKIE);
        }
        let from = senders[usize::try_from(random() % 3).unwrap()];
        assert_eq!(receive(&mut world, from, &datagram), (None, false));
    }
    world.run_for(secs(1));
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
}

/// The latest initiation, and how many cookies were sent.
static INITIATION: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static COOKIES: AtomicUsize = AtomicUsize::new(0);

/// Observes all datagrams without channel headers; drops none.
fn watch(message: &[u8]) -> bool {
    match message.first_chunk() {
        Some([1, 0, 0, 0]) if message.len() == 148 => *INITIATION.lock().unwrap() = message.to_vec(),
        Some([3, 0, 0, 0]) if message.len() == 64 => _ = COOKIES.fetch_add(1, Ordering::Relaxed),
        _ => {}
    }
    false
}

#[test]
fn busy_gateway_accepts_its_cookie_through_a_relay() {
    let mut world = World::new(6).relay_only();
    world.net.forbidden = Some(watch);
    let mut world = world.with_relays().connected();
    let replayed = INITIATION.lock().unwrap().clone();
    assert_eq!(replayed.len(), 148);

    // Replayed handshakes keep the gateway at its rate limit while the session has to be renewed.
    world.run_for(secs(115));
    let until = world.net.now + secs(80);
    while world.net.now < until {
        for _ in 0..101 {
            receive(&mut world, address("198.51.100.99:4444"), &replayed);
        }
        let _outcome = world.send(CLIENT, packet(1));
        world.run_for(ms(50));
    }

    assert!(COOKIES.load(Ordering::Relaxed) > 0, "the gateway was never busy");
    world.hosts[GATEWAY].received.clear();
    assert_eq!(world.send(CLIENT, packet(2)), Sealed::Sent);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [packet(2)]);
}
