//! Limits of everything whose size others influence.

use std::{collections::VecDeque, time::Duration};

/// Candidate pairs that one agent checks. Beyond: pairs of the lowest priority are dropped.
pub(crate) const MAX_CANDIDATE_PAIRS: usize = 100;
/// WireGuard messages of one connection that wait for a path. Beyond: the oldest is dropped.
pub(crate) const MAX_EARLY_MESSAGES: usize = 128;
/// Peers per relay that wait for a channel. Beyond: the oldest is dropped.
pub(crate) const MAX_PENDING_BINDS: usize = 100;
/// Remembered addresses of relays that are no longer used. Beyond: the oldest is forgotten.
pub(crate) const MAX_FORMER_RELAYS: usize = 64;
/// Peers whose candidates arrived before their connection was created. Beyond: new ones are dropped.
pub(crate) const MAX_EARLY_PEERS: usize = 64;
/// Candidates per such peer, and announced candidates per connection. Beyond: new ones are dropped.
pub(crate) const MAX_REMOTE_CANDIDATES: usize = 128;
/// How long such early candidates are kept.
pub(crate) const EARLY_CANDIDATES_LIFETIME: Duration = Duration::from_secs(5);
/// Remembered candidates of ours that a peer may know. Beyond: the oldest is forgotten.
pub(crate) const MAX_ANNOUNCED_CANDIDATES: usize = 64;
/// Peers with a record after their connection. Beyond: the oldest record is forgotten.
pub(crate) const MAX_PEER_RECORDS: usize = 64;
/// Ids of removed connections. Beyond: the oldest is forgotten.
pub(crate) const MAX_RETIRED_IDS: usize = 1_024;
/// How long the id of a removed connection is not reused.
pub(crate) const RETIRED_ID_LIFETIME: Duration = Duration::from_secs(5);
/// Bytes of a UDP payload that are accepted: an IP packet of 1280 bytes, WireGuard's 32, and the 4 of a relay channel.
pub(crate) const MAX_DATAGRAM: usize = 1316;

/// Appends `item`, and drops the oldest item if there are more than `limit`.
pub(crate) fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, limit: usize) {
    if queue.len() >= limit {
        queue.pop_front();
    }
    queue.push_back(item);
}
