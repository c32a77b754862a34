//! What is remembered of a peer from one connection to the next.
//!
//! Equal keys make equal credentials, so a peer that kept its side of a connection does not notice that ours is a new one. It
//! still believes in the addresses of the former one, and may go on sending there for a quarter of an hour (see `doubt`). So
//! a new connection takes back what its predecessors announced and what is no longer true. If the peer cannot be reached
//! again and again all the same, only a new key helps: the peer begins anew with it, too.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use model::{IceCredentials, PeerId};

use crate::{
    Failure, Params,
    ice::Announcement,
    limits::{FORMER_PEERS, TOLD_CANDIDATES, push_bounded},
};

/// So many failures in a row say that a new key is needed.
const FAILURES: u32 = 3;
/// A new key that did not help is not followed by another within this time. A gateway gives up every path that is silent for
/// so long.
const PAUSE: Duration = Duration::from_secs(1_000);

/// All peers of which something is remembered, the one that was left last at the end.
#[derive(Debug, Default)]
pub(crate) struct Past(VecDeque<Former>);

#[derive(Debug)]
struct Former {
    peer: PeerId,
    /// Ours and the peer's; with others it is a stranger to what was announced.
    credentials: Option<[IceCredentials; 2]>,
    told: VecDeque<Announcement>,
    failures: u32,
    /// When we last asked for a new key because of this peer, unless it was reached since.
    asked_at: Option<Instant>,
}

impl Past {
    /// A connection is over; its peer heard these announcements.
    pub(crate) fn left(&mut self, peer: PeerId, params: &Params, told: VecDeque<Announcement>) {
        let credentials = credentials(params);
        let mut former = self.take(peer);
        if former.credentials.as_ref() != Some(&credentials) {
            former.told.clear();
        }
        former.credentials = Some(credentials);
        for announcement in told {
            former.told.retain(|known| known.text != announcement.text);
            push_bounded(&mut former.told, announcement, TOLD_CANDIDATES);
        }
        push_bounded(&mut self.0, former, FORMER_PEERS);
    }

    /// What the peer may still believe that it heard on former connections with these parameters.
    pub(crate) fn told(&self, peer: PeerId, params: &Params) -> Vec<Announcement> {
        let credentials = credentials(params);
        let former = self.0.iter().find(|it| it.peer == peer && it.credentials.as_ref() == Some(&credentials));
        former.map(|former| former.told.iter().cloned().collect()).unwrap_or_default()
    }

    /// A connection with the peer failed. Returns whether only a new key can help.
    pub(crate) fn failed(&mut self, peer: PeerId, why: Failure, now: Instant) -> bool {
        // A peer that says nothing at all has nothing to be confused about, and without an address of ours it cannot know.
        if !matches!(peer, PeerId::Gateway(_)) || !matches!(why, Failure::Unreachable | Failure::Unresponsive) {
            return false;
        }
        let mut former = self.take(peer);
        former.failures += 1;
        let has_waited = former.asked_at.is_none_or(|at| now.duration_since(at) >= PAUSE);
        let is_needed = former.failures >= FAILURES && has_waited;
        if is_needed {
            (former.failures, former.asked_at) = (0, Some(now));
        }
        push_bounded(&mut self.0, former, FORMER_PEERS);
        is_needed
    }

    /// The peer was reached.
    pub(crate) fn established(&mut self, peer: PeerId) {
        if let Some(former) = self.0.iter_mut().find(|former| former.peer == peer) {
            (former.failures, former.asked_at) = (0, None);
        }
    }

    /// We have a new key, so nobody confuses us with whom we were before.
    pub(crate) fn clear(&mut self) {
        self.0.retain(|former| former.asked_at.is_some());
        for former in &mut self.0 {
            (former.credentials, former.failures) = (None, 0);
            former.told.clear();
        }
    }

    /// What must never be the case, if it is.
    pub(crate) fn broken_invariant(&self) -> Option<&'static str> {
        let is_too_much = self.0.len() > FORMER_PEERS || self.0.iter().any(|it| it.told.len() > TOLD_CANDIDATES);
        is_too_much.then_some("too much is remembered of former peers")
    }

    fn take(&mut self, peer: PeerId) -> Former {
        let known = self.0.iter().position(|former| former.peer == peer).and_then(|index| self.0.remove(index));
        known.unwrap_or_else(|| Former { peer, credentials: None, told: VecDeque::new(), failures: 0, asked_at: None })
    }
}

fn credentials(params: &Params) -> [IceCredentials; 2] {
    [params.local_ice.clone(), params.remote_ice.clone()]
}
