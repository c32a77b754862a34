//! What leaves a node: datagrams and events.

use std::net::{IpAddr, SocketAddr};

use ip_packet::Ecn;
use model::PeerId;

use crate::Failure;

/// A UDP payload to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The source address that has to be used; `None` leaves it to the routing table.
    pub source: Option<IpAddr>,
    /// Where to.
    pub destination: SocketAddr,
    /// Congestion notification bits of the outer packet.
    pub ecn: Ecn,
    /// Length of each datagram in `payload`; the last may be shorter. Equal to the length of `payload` unless this is a
    /// batch.
    pub segment: usize,
    /// The bytes of the datagrams.
    pub payload: Vec<u8>,
}

/// Something that the owner of a node has to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The peer has to learn that we can be reached at these candidates.
    Candidates {
        /// Who has to learn it.
        peer: PeerId,
        /// The candidates, best first.
        candidates: Vec<String>,
    },
    /// The peer has to learn that we cannot be reached at these candidates any more.
    InvalidateCandidates {
        /// Who has to learn it.
        peer: PeerId,
        /// The candidates.
        candidates: Vec<String>,
    },
    /// The first time that packets can travel on this connection: there are a path and a session.
    Established(PeerId),
    /// The connection is gone because the peer could not be reached, or not any more.
    Failed(PeerId, Failure),
    /// Connections with this gateway fail again and again, and nothing but a new key can help: follows [`Failed`](Self::Failed)
    /// and asks for a [`reset`](crate::Node::reset) with new sockets. Not said again for a while if that was of no use.
    NewKeyNeeded(PeerId),
    /// The connection is gone because we wanted it.
    Closed(PeerId),
    /// Packets for which [`Sealed::NotYet`](crate::Sealed::NotYet) was the answer can be sent now.
    SessionReady(PeerId),
    /// No relay is left; the portal should be asked for others.
    NoRelays,
}

impl Transmit {
    /// One datagram that is not about the content of the tunnel, so without congestion notification.
    pub(crate) fn control(source: Option<IpAddr>, destination: SocketAddr, payload: Vec<u8>) -> Self {
        Self { source, destination, ecn: Ecn::NotEct, segment: payload.len(), payload }
    }
}

impl std::fmt::Debug for Transmit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transmit")
            .field("source", &self.source)
            .field("destination", &self.destination)
            .field("ecn", &self.ecn)
            .field("segment", &self.segment)
            .field("bytes", &self.payload.len())
            .finish()
    }
}
