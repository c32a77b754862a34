//! The hosts of the simulated network.

use std::{collections::VecDeque, net::SocketAddr, time::Instant};

use connection::{Event, Node, Sealed, Transmit};
use ip_packet::{Ecn, IpPacket};
use model::{Deadline, PeerId};

/// A state machine without I/O that runs on a host.
pub trait Machine {
    /// What it reports to its owner.
    type Event;

    /// The addresses of its sockets. At most one per family is in use.
    fn addresses(&self) -> &[SocketAddr];
    /// Handles a datagram that arrived at `local`.
    fn handle_datagram(&mut self, local: SocketAddr, from: SocketAddr, ecn: Ecn, payload: &mut [u8], now: Instant);
    /// Performs everything that is due.
    fn handle_timeout(&mut self, now: Instant);
    /// When [`handle_timeout`](Self::handle_timeout) has to be called.
    fn poll_timeout(&self) -> Option<Deadline>;
    /// The next datagram to send.
    fn poll_transmit(&mut self) -> Option<Transmit>;
    /// The next event.
    fn poll_event(&mut self) -> Option<Self::Event>;
    /// The first broken invariant.
    fn broken_invariant(&self) -> Option<String>;
}

/// A host with a bare node and one peer.
#[derive(Debug)]
pub struct Host {
    /// The machine under test.
    pub node: Node,
    /// The addresses of its sockets.
    pub addresses: Vec<SocketAddr>,
    /// The other host.
    pub peer: PeerId,
    /// All events of the node, oldest first.
    pub events: Vec<Event>,
    /// All received packets, oldest first.
    pub received: Vec<IpPacket>,
    /// Packets that wait for a session. Full: the oldest is dropped, as a client does.
    pub kept: VecDeque<IpPacket>,
}

/// Maximum number of packets that wait for a session.
const MAX_KEPT: usize = 128;

impl Host {
    /// A host whose peer is `peer`.
    #[must_use]
    pub fn new(node: Node, addresses: Vec<SocketAddr>, peer: PeerId) -> Self {
        Self { node, addresses, peer, events: Vec::new(), received: Vec::new(), kept: VecDeque::new() }
    }

    /// Sends a packet to the peer, or keeps it for later.
    pub fn send(&mut self, packet: IpPacket, now: Instant) -> Sealed {
        let sealed = self.node.seal(self.peer, &packet, now);
        if sealed == Sealed::NotYet {
            self.kept.push_back(packet);
            if self.kept.len() > MAX_KEPT {
                self.kept.pop_front();
            }
        }
        sealed
    }
}

impl Machine for Host {
    type Event = Event;

    fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    fn handle_datagram(&mut self, local: SocketAddr, from: SocketAddr, ecn: Ecn, payload: &mut [u8], now: Instant) {
        if let Some((peer, packet)) = self.node.open(local, from, ecn, payload, now) {
            assert_eq!(peer, self.peer, "a packet of another peer");
            self.received.push(packet);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.node.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.node.poll_timeout()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.node.poll_transmit()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.node.poll_event()
    }

    fn broken_invariant(&self) -> Option<String> {
        self.node.broken_invariant().map(str::to_owned)
    }
}
