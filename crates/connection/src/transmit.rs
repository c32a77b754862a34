//! Datagrams to be sent.

use std::net::{IpAddr, SocketAddr};

use ip_packet::Ecn;

/// One UDP datagram, or a batch of them for the same destination.
#[derive(Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The source address to use; `None` leaves the choice to the routing table.
    pub source: Option<IpAddr>,
    /// The destination address.
    pub destination: SocketAddr,
    /// Congestion notification bits of the outer packet.
    pub ecn: Ecn,
    /// Bytes of each datagram in `payload`; the last may be shorter. Equal to the length of `payload` unless this is a
    /// batch.
    pub segment: usize,
    /// The payloads of the datagrams, concatenated: at most 64 of them, which fit into one IP packet together.
    pub payload: Vec<u8>,
}

impl Transmit {
    /// One datagram that carries no IP packet, and so no congestion notification.
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
