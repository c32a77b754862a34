//! How a peer is reached, for status displays.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use model::RelayId;

/// The present path to a peer with its measurements.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathInfo {
    /// Whether a relay is involved.
    pub kind: PathKind,
    /// Our address: one of this host, or one allocated on a relay.
    pub local: SocketAddr,
    /// The peer's address: one of its host or NAT, or one allocated on a relay.
    pub remote: SocketAddr,
    /// When the last WireGuard handshake was completed.
    pub last_handshake: Option<Instant>,
    /// Round-trip time of the last connectivity check on this path; `None` before the first response.
    pub round_trip: Option<Duration>,
    /// Bytes of IP packets sent to the peer.
    pub sent: u64,
    /// Bytes of IP packets received from the peer.
    pub received: u64,
}

/// Whether a path leads through a relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathKind {
    /// From our host to the peer's host, possibly through NATs.
    Direct,
    /// Through a relay of the peer; on our side like [`PathKind::Direct`].
    PeerRelay,
    /// Through a relay of ours.
    Relay(RelayId),
}
