//! How much is remembered of everything that somebody else can make us remember.

use std::{collections::VecDeque, time::Duration};

/// Candidate pairs that one agent checks. Beyond: those of the lowest priority are dropped.
pub(crate) const CANDIDATE_PAIRS: usize = 100;
/// WireGuard messages of one connection that wait for a path. Beyond: the oldest is dropped.
pub(crate) const EARLY_MESSAGES: usize = 128;
/// Peers per relay that wait for a channel. Beyond: the oldest is dropped.
pub(crate) const BUFFERED_BINDS: usize = 100;
/// Addresses of relays that we do not use any more. Beyond: the oldest is forgotten.
pub(crate) const FORMER_RELAYS: usize = 64;
/// Peers whose candidates came before we knew of the peer. Beyond: new ones are dropped.
pub(crate) const EARLY_PEERS: usize = 64;
/// Candidates per such peer, and candidates that one peer may have. Beyond: new ones are dropped.
pub(crate) const REMOTE_CANDIDATES: usize = 128;
/// How long such candidates are kept.
pub(crate) const EARLY_CANDIDATES_LIFETIME: Duration = Duration::from_secs(5);
/// Candidates of ours of which a peer may know. Beyond: the oldest is forgotten.
pub(crate) const TOLD_CANDIDATES: usize = 64;
/// Peers of which something is remembered after their connection. Beyond: the one that is gone for longest is forgotten.
pub(crate) const FORMER_PEERS: usize = 64;
/// Numbers of removed connections. Beyond: the oldest is forgotten.
pub(crate) const RETIRED_NUMBERS: usize = 1_024;
/// How long the number of a removed connection is not given to another.
pub(crate) const RETIRED_NUMBERS_LIFETIME: Duration = Duration::from_secs(5);
/// UDP payload that we accept: an IP packet of 1280 bytes, WireGuard's 32, and the 4 of a relay channel.
pub(crate) const DATAGRAM: usize = 1316;

/// Appends, and drops the oldest if there are more than `limit`.
pub(crate) fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, limit: usize) {
    if queue.len() >= limit {
        queue.pop_front();
    }
    queue.push_back(item);
}
