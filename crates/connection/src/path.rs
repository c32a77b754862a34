//! The way that the packets of a connection take.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use model::RelayId;

/// How a peer is reached at present, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Path {
    /// Whether a relay is between us.
    pub route: Route,
    /// Our end: an address of this host, or one that a relay lends us.
    pub local: SocketAddr,
    /// The peer's end: an address of its host or NAT, or one that a relay lends it.
    pub remote: SocketAddr,
    /// When the last WireGuard handshake was completed.
    pub last_handshake: Option<Instant>,
    /// How long the last connectivity check of this path took there and back; `None` before one was answered.
    pub round_trip: Option<Duration>,
    /// Bytes of IP packets sent to the peer.
    pub sent: u64,
    /// Bytes of IP packets received from the peer.
    pub received: u64,
}

/// Whether a relay is between us and the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// From our host to the peer's host, perhaps through NATs.
    Direct,
    /// Through a relay of the peer's; on our side like [`Route::Direct`].
    PeerRelay,
    /// Through a relay of ours.
    Relay(RelayId),
}
