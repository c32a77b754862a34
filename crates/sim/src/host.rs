//! What lives on a host of the network.

use std::{collections::VecDeque, net::SocketAddr, time::Instant};

use connection::{Event, Node, Sealed, Transmit};
use ip_packet::{Ecn, IpPacket};
use model::{Deadline, PeerId};

/// Something without I/O that has UDP sockets: it takes datagrams and deadlines, and gives datagrams and news.
pub trait Machine {
    /// What it has to say to its owner.
    type Event;

    /// The addresses of its sockets, at most one per family in use at a time.
    fn addresses(&self) -> &[SocketAddr];
    /// A datagram has arrived at `local`.
    fn handle_datagram(&mut self, local: SocketAddr, from: SocketAddr, ecn: Ecn, payload: &mut [u8], now: Instant);
    /// The announced deadline has come.
    fn handle_timeout(&mut self, now: Instant);
    /// When it wants to be woken.
    fn poll_timeout(&self) -> Option<Deadline>;
    /// What it wants to send.
    fn poll_transmit(&mut self) -> Option<Transmit>;
    /// What it has to say.
    fn poll_event(&mut self) -> Option<Self::Event>;
    /// What must never be the case, if it is.
    fn broken_invariant(&self) -> Option<String>;
}

/// A bare node with one peer, and everything that happened to it.
#[derive(Debug)]
pub struct Host {
    /// The machine under test.
    pub node: Node,
    /// Its sockets.
    pub addresses: Vec<SocketAddr>,
    /// The other one.
    pub peer: PeerId,
    /// All that the node said, oldest first.
    pub events: Vec<Event>,
    /// All that came out of the tunnel, oldest first.
    pub received: Vec<IpPacket>,
    /// Packets that could not be sent yet. Full: the oldest is dropped, as a client does it.
    pub kept: VecDeque<IpPacket>,
}

/// Packets that wait for a session.
const KEPT: usize = 128;

impl Host {
    /// A host that talks to `peer`.
    #[must_use]
    pub fn new(node: Node, addresses: Vec<SocketAddr>, peer: PeerId) -> Self {
        Self { node, addresses, peer, events: Vec::new(), received: Vec::new(), kept: VecDeque::new() }
    }

    /// Sends a packet to the peer, or keeps it for later.
    pub fn send(&mut self, packet: IpPacket, now: Instant) -> Sealed {
        let sealed = self.node.seal(self.peer, &packet, now);
        if sealed == Sealed::NotYet {
            self.kept.push_back(packet);
            if self.kept.len() > KEPT {
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
            assert_eq!(peer, self.peer, "a packet of somebody else");
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
