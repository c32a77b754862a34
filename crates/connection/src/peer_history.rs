//! What is kept about a peer from one connection to the next.
//!
//! Equal keys result in equal credentials, so a peer that kept its side of a connection does not notice that ours is a new
//! one. It still has the candidates of the previous connection and may send there for a quarter of an hour (see
//! `direct_path_monitor`). A new connection therefore withdraws the candidates that its predecessors announced and that are
//! no longer valid. If connections keep failing nevertheless, only a new key helps, because the peer starts over with it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use model::{IceCredentials, PeerId};

use crate::{
    event::Failure,
    ice::agent::Announcement,
    limits::{MAX_ANNOUNCED_CANDIDATES, MAX_PEER_RECORDS, push_bounded},
    params::Params,
};

/// Consecutive failures after which a new key is requested.
const MAX_FAILURES: u32 = 3;
/// Minimum time between requests for a new key. After this time a gateway gives up every path that is silent.
const KEY_REQUEST_INTERVAL: Duration = Duration::from_secs(1_000);

/// The records of all former peers, the most recent last.
#[derive(Debug, Default)]
pub(crate) struct PeerHistory(VecDeque<PeerRecord>);

#[derive(Debug)]
struct PeerRecord {
    peer: PeerId,
    /// Our credentials and the peer's. With other credentials the peer does not know what was announced.
    credentials: Option<[IceCredentials; 2]>,
    announced: VecDeque<Announcement>,
    failures: u32,
    /// When a new key was last requested because of this peer, unless it was reached since then.
    key_requested_at: Option<Instant>,
}

impl PeerHistory {
    /// A connection was removed; these candidates were announced to its peer.
    pub(crate) fn connection_ended(&mut self, peer: PeerId, params: &Params, announced: VecDeque<Announcement>) {
        let credentials = credentials(params);
        let mut record = self.take(peer);
        if record.credentials.as_ref() != Some(&credentials) {
            record.announced.clear();
        }
        record.credentials = Some(credentials);
        for announcement in announced {
            record.announced.retain(|known| known.text != announcement.text);
            push_bounded(&mut record.announced, announcement, MAX_ANNOUNCED_CANDIDATES);
        }
        push_bounded(&mut self.0, record, MAX_PEER_RECORDS);
    }

    /// The candidates that the peer may still have from former connections with these parameters.
    pub(crate) fn announced(&self, peer: PeerId, params: &Params) -> Vec<Announcement> {
        let credentials = credentials(params);
        let record = self.0.iter().find(|it| it.peer == peer && it.credentials.as_ref() == Some(&credentials));
        record.map(|record| record.announced.iter().cloned().collect()).unwrap_or_default()
    }

    /// A connection with the peer failed. Returns whether only a new key can help.
    pub(crate) fn connection_failed(&mut self, peer: PeerId, why: Failure, now: Instant) -> bool {
        // Without candidates of either side the peer cannot have stale ones.
        if !matches!(peer, PeerId::Gateway(_)) || !matches!(why, Failure::NoPath | Failure::HandshakeTimeout) {
            return false;
        }
        let mut record = self.take(peer);
        record.failures += 1;
        let has_waited = record.key_requested_at.is_none_or(|at| now.duration_since(at) >= KEY_REQUEST_INTERVAL);
        let is_needed = record.failures >= MAX_FAILURES && has_waited;
        if is_needed {
            (record.failures, record.key_requested_at) = (0, Some(now));
        }
        push_bounded(&mut self.0, record, MAX_PEER_RECORDS);
        is_needed
    }

    /// The peer was reached.
    pub(crate) fn connection_established(&mut self, peer: PeerId) {
        if let Some(record) = self.0.iter_mut().find(|record| record.peer == peer) {
            (record.failures, record.key_requested_at) = (0, None);
        }
    }

    /// Our key is new: to peers this is another node. Only the times of the key requests are kept.
    pub(crate) fn clear(&mut self) {
        self.0.retain(|record| record.key_requested_at.is_some());
        for record in &mut self.0 {
            (record.credentials, record.failures) = (None, 0);
            record.announced.clear();
        }
    }

    /// The first broken invariant.
    pub(crate) fn broken_invariant(&self) -> Option<&'static str> {
        let exceeds_limit =
            self.0.len() > MAX_PEER_RECORDS || self.0.iter().any(|it| it.announced.len() > MAX_ANNOUNCED_CANDIDATES);
        exceeds_limit.then_some("too many peer records")
    }

    fn take(&mut self, peer: PeerId) -> PeerRecord {
        let known = self.0.iter().position(|record| record.peer == peer).and_then(|index| self.0.remove(index));
        known.unwrap_or_else(|| PeerRecord {
            peer,
            credentials: None,
            announced: VecDeque::new(),
            failures: 0,
            key_requested_at: None,
        })
    }
}

fn credentials(params: &Params) -> [IceCredentials; 2] {
    [params.local_ice.clone(), params.remote_ice.clone()]
}
