//! A toy network: two nodes, relays, and a clock that only moves when it is told to.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test may fail loudly")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::disallowed_methods, reason = "some instant has to be the first")]

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use connection::{Event, Node, Params, Sealed};
use ip_packet::{Ecn, IpPacket};
use model::{ClientId, GatewayId, IceCredentials, PeerId, PresharedKey, PublicKey, RelayId, message::IceRole};

pub mod relay;

use relay::ToyRelay;

pub const CLIENT: usize = 0;
pub const GATEWAY: usize = 1;

pub struct World {
    pub start: Instant,
    pub now: Instant,
    pub relays: Vec<ToyRelay>,
    pub hosts: Vec<Host>,
    /// Whether datagrams between the two hosts arrive.
    pub direct: bool,
    /// Whether nothing at all arrives.
    pub dark: bool,
    /// Whether what a host says about candidates reaches the other.
    pub portal: bool,
    pub latency: Duration,
    pub delivered: u64,
    wire: VecDeque<(Instant, SocketAddr, SocketAddr, Ecn, Vec<u8>)>,
}

pub struct Host {
    pub node: Node,
    pub addresses: Vec<SocketAddr>,
    pub peer: PeerId,
    pub events: Vec<Event>,
    pub received: Vec<IpPacket>,
    /// Packets that could not be sent yet.
    pub kept: VecDeque<IpPacket>,
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn gateway() -> PeerId {
    PeerId::Gateway(GatewayId::from_u128(7))
}

pub fn client() -> PeerId {
    PeerId::Client(ClientId::from_u128(8))
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn packet(n: u16) -> IpPacket {
    let (source, destination) = ("100.64.0.1".parse().unwrap(), "100.64.0.2".parse().unwrap());
    udp_packet(source, destination, n, Ecn::Ect0)
}

/// A UDP packet whose source port is `n`.
fn udp_packet(source: std::net::Ipv4Addr, destination: std::net::Ipv4Addr, n: u16, ecn: Ecn) -> IpPacket {
    let payload = [0xAB; 32];
    let length = 20 + 8 + payload.len();
    let mut bytes = vec![0x45, ecn.bits(), 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0];
    bytes[2..4].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
    bytes.extend(source.octets());
    bytes.extend(destination.octets());
    let checksum = !bytes.chunks(2).map(|it| u32::from(u16::from_be_bytes([it[0], it[1]]))).sum::<u32>();
    let sum = !checksum;
    let folded = !u16::try_from((sum & 0xFFFF) + (sum >> 16)).unwrap();
    bytes[10..12].copy_from_slice(&folded.to_be_bytes());
    bytes.extend(n.to_be_bytes());
    bytes.extend(9_u16.to_be_bytes());
    bytes.extend(u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    IpPacket::parse(&bytes).unwrap()
}

/// What the portal tells one side about a peer with this key.
pub fn credentials_of(side: usize, peer: PublicKey) -> Params {
    let credentials = |name: &str| IceCredentials {
        username: name.to_owned(),
        password: format!("{name}-password-{}", "0".repeat(10)).as_str().into(),
    };
    let (local, remote, role) = match side {
        CLIENT => ("orrr", "lesk", IceRole::Controlling),
        _ => ("lesk", "orrr", IceRole::Controlled),
    };
    Params {
        public_key: peer,
        preshared_key: PresharedKey::from([7; 32]),
        local_ice: credentials(local),
        remote_ice: credentials(remote),
        role,
    }
}

impl World {
    /// A client and a gateway, both with one address, and one relay.
    pub fn new(seed: u8) -> Self {
        let start = Instant::now() + secs(1_000_000);
        let unix = secs(1_800_000_000);
        let host = |n: u8, peer| Host {
            node: Node::new(start, unix, [seed ^ n; 32]),
            addresses: vec![address(&format!("192.0.2.{n}:52625"))],
            peer,
            events: Vec::new(),
            received: Vec::new(),
            kept: VecDeque::new(),
        };
        let mut hosts = vec![host(10, gateway()), host(20, client())];
        hosts[GATEWAY].node = Node::new(start, unix, [seed ^ 20; 32]).with_gateway_timing();
        Self {
            start,
            now: start,
            relays: vec![ToyRelay::new(1, vec![address("203.0.113.1:3478")])],
            hosts,
            direct: true,
            dark: false,
            portal: true,
            latency: Duration::from_millis(10),
            delivered: 0,
            wire: VecDeque::new(),
        }
    }

    pub fn dual_stack(mut self) -> Self {
        self.hosts[CLIENT].addresses.push(address("[2001:db8::10]:52625"));
        self.hosts[GATEWAY].addresses.push(address("[2001:db8::20]:52625"));
        self.relays[0].addresses.push(address("[2001:db8:1::1]:3478"));
        self
    }

    pub fn relay_only(mut self) -> Self {
        self.direct = false;
        self
    }

    pub fn relay_entries(&self) -> Vec<model::Relay> {
        self.relays.iter().map(ToyRelay::entry).collect()
    }

    /// Tells both hosts about all relays and waits until they are ready.
    pub fn with_relays(mut self) -> Self {
        self.introduce_relays(&[]);
        self.run_for(secs(1));
        self
    }

    pub fn introduce_relays(&mut self, gone: &[RelayId]) {
        let entries = self.relay_entries();
        for host in &mut self.hosts {
            host.node.update_relays(gone, &entries, self.now);
        }
    }

    pub fn params(&self, of: usize) -> Params {
        credentials_of(of, self.hosts[1 - of].node.public_key())
    }

    /// Authorises the connection on both sides, the gateway first, as the portal does.
    pub fn authorize(&mut self) {
        for side in [GATEWAY, CLIENT] {
            let (peer, params) = (self.hosts[side].peer, self.params(side));
            self.hosts[side].node.upsert(peer, params, self.now).unwrap();
        }
    }

    pub fn connected(mut self) -> Self {
        self.authorize();
        self.run_for(secs(3));
        for side in [CLIENT, GATEWAY] {
            assert!(self.has(side, &Event::Established(self.hosts[side].peer)), "{:?}", self.hosts[side].events);
        }
        self
    }

    /// Sends a packet from one host to the other, or keeps it for later.
    pub fn send(&mut self, side: usize, packet: IpPacket) -> Sealed {
        let host = &mut self.hosts[side];
        let sealed = host.node.seal(host.peer, &packet, self.now);
        if sealed == Sealed::NotYet {
            host.kept.push_back(packet);
        }
        self.collect(side);
        sealed
    }

    pub fn has(&self, side: usize, event: &Event) -> bool {
        self.hosts[side].events.contains(event)
    }

    /// Runs until nothing is under way and no deadline lies within `duration`.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            for side in 0..self.hosts.len() {
                self.collect(side);
            }
            let arrival = self.wire.iter().map(|it| it.0).min();
            let due = self.hosts.iter().filter_map(|host| host.node.poll_timeout()).map(|due| due.at).min();
            let next = [arrival, due].into_iter().flatten().min().filter(|next| *next <= end);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            self.deliver();
            self.wake();
        }
        self.now = end;
    }

    fn wake(&mut self) {
        for host in &mut self.hosts {
            if host.node.poll_timeout().is_some_and(|due| due.at <= self.now) {
                host.node.handle_timeout(self.now);
                let due = host.node.poll_timeout();
                assert!(due.is_none_or(|due| due.at > self.now), "a deadline that has passed: {due:?}");
            }
        }
    }

    fn deliver(&mut self) {
        while let Some(index) = self.wire.iter().position(|it| it.0 <= self.now) {
            let Some((_, from, to, ecn, payload)) = self.wire.remove(index) else { return };
            if self.dark {
                continue;
            }
            self.delivered += 1;
            if let Some(relay) = self.relays.iter_mut().find(|relay| relay.owns(to.ip())) {
                for (from, to, payload) in relay.handle(from, to, &payload, self.now) {
                    self.transmit(from, to, ecn, payload);
                }
                continue;
            }
            let Some(side) = self.hosts.iter().position(|host| host.addresses.contains(&to)) else { continue };
            let is_direct = self.hosts.iter().any(|host| host.addresses.contains(&from));
            if is_direct && !self.direct {
                continue;
            }
            let host = &mut self.hosts[side];
            let mut payload = payload;
            if let Some((peer, packet)) = host.node.open(to, from, ecn, &mut payload, self.now) {
                assert_eq!(peer, host.peer);
                host.received.push(packet);
            }
            self.collect(side);
        }
    }

    fn transmit(&mut self, from: SocketAddr, to: SocketAddr, ecn: Ecn, payload: Vec<u8>) {
        self.wire.push_back((self.now + self.latency, from, to, ecn, payload));
    }

    /// Takes away what a host has to send and to say.
    pub fn collect(&mut self, side: usize) {
        loop {
            while let Some(transmit) = self.hosts[side].node.poll_transmit() {
                let to = transmit.destination;
                let own = |wanted: Option<IpAddr>| {
                    let mut all = self.hosts[side].addresses.iter();
                    all.find(|it| it.is_ipv4() == to.is_ipv4() && wanted.is_none_or(|wanted| wanted == it.ip()))
                        .copied()
                };
                let Some(from) = own(transmit.source) else { continue };
                for segment in transmit.payload.chunks(transmit.segment) {
                    self.transmit(from, to, transmit.ecn, segment.to_vec());
                }
            }
            let Some(event) = self.hosts[side].node.poll_event() else { break };
            self.carry(side, &event);
            self.hosts[side].events.push(event);
        }
    }

    /// What the portal and the tunnel do with an event.
    fn carry(&mut self, side: usize, event: &Event) {
        let other = &mut self.hosts[1 - side];
        match event {
            Event::Candidates { candidates, .. } if self.portal => {
                other.node.add_remote_candidates(other.peer, candidates, self.now);
            }
            Event::InvalidateCandidates { candidates, .. } if self.portal => {
                other.node.remove_remote_candidates(other.peer, candidates, self.now);
            }
            Event::SessionReady(_) => {
                for packet in std::mem::take(&mut self.hosts[side].kept) {
                    // Something may have happened to the connection since; then it is kept, or lost with it.
                    let _outcome = self.send(side, packet);
                }
            }
            _ => {}
        }
    }

    /// Counts of what each relay was asked.
    pub fn asked(&self, relay: usize) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for request in &self.relays[relay].seen {
            *counts.entry(*request).or_default() += 1;
        }
        counts
    }
}
