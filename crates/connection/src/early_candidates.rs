//! Candidates of peers without a connection. The portal normally announces a peer before its candidates, but does not
//! guarantee it.

use std::{collections::BTreeMap, time::Instant};

use model::{Deadline, PeerId};

use crate::limits::{EARLY_CANDIDATES_LIFETIME, MAX_EARLY_PEERS, MAX_REMOTE_CANDIDATES};

/// Candidates that wait for the connection of their peer. Full: new ones are dropped.
#[derive(Debug, Default)]
pub(crate) struct EarlyCandidates(BTreeMap<PeerId, EarlyPeer>);

#[derive(Debug)]
struct EarlyPeer {
    candidates: Vec<String>,
    until: Instant,
}

impl EarlyCandidates {
    pub(crate) fn keep(&mut self, peer: PeerId, candidates: &[String], now: Instant) {
        if self.0.len() >= MAX_EARLY_PEERS && !self.0.contains_key(&peer) {
            return;
        }
        let until = now + EARLY_CANDIDATES_LIFETIME;
        let early = self.0.entry(peer).or_insert_with(|| EarlyPeer { candidates: Vec::new(), until });
        let room = MAX_REMOTE_CANDIDATES.saturating_sub(early.candidates.len());
        early.candidates.extend(candidates.iter().take(room).cloned());
        early.until = until;
    }

    pub(crate) fn withdraw(&mut self, peer: PeerId, candidates: &[String]) {
        if let Some(early) = self.0.get_mut(&peer) {
            early.candidates.retain(|early| !candidates.contains(early));
        }
    }

    /// Removes and returns the candidates of a peer.
    pub(crate) fn take(&mut self, peer: PeerId) -> Vec<String> {
        self.0.remove(&peer).map(|early| early.candidates).unwrap_or_default()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.0.retain(|_, early| early.until > now);
    }

    /// The first broken invariant.
    pub(crate) fn broken_invariant(&self) -> Option<&'static str> {
        let exceeds_limit =
            self.0.len() > MAX_EARLY_PEERS || self.0.values().any(|it| it.candidates.len() > MAX_REMOTE_CANDIDATES);
        exceeds_limit.then_some("too many candidates wait for their peer")
    }

    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        self.0.values().map(|early| Deadline { at: early.until, reason: "early candidates" }).min()
    }
}
