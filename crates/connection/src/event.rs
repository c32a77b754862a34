//! What a node reports to its owner.

use model::PeerId;

/// What a node reports to its owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Announce these candidates of ours to the peer.
    Candidates {
        /// The recipient.
        peer: PeerId,
        /// The candidates, best first.
        candidates: Vec<String>,
    },
    /// Tell the peer that these candidates of ours are no longer valid.
    InvalidateCandidates {
        /// The recipient.
        peer: PeerId,
        /// The candidates.
        candidates: Vec<String>,
    },
    /// The connection has a path and a session for the first time.
    Established(PeerId),
    /// The connection was removed because it failed.
    Failed(PeerId, Failure),
    /// Connections with this gateway failed several times in a row, and only a new key can help. Follows
    /// [`Failed`](Self::Failed) and requests a [`reset`](crate::node::Node::reset) with new sockets. If that did not help, it
    /// is not repeated for a while.
    NewKeyNeeded(PeerId),
    /// The connection was removed on request.
    Closed(PeerId),
    /// Packets that were answered with [`Sealed::NotYet`](crate::params::Sealed::NotYet) can be sent now.
    SessionReady(PeerId),
    /// No relay is left: the portal should be asked for others.
    NoRelays,
}

/// Why a connection failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The peer announced no address.
    NoRemoteCandidates,
    /// No relay reported an address of ours.
    NoLocalCandidates,
    /// No path is left.
    NoPath,
    /// The peer does not complete handshakes.
    HandshakeTimeout,
}
