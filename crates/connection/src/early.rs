//! Candidates of peers that we do not know yet. The portal announces a peer before its candidates, but nobody promises it.

use std::{collections::BTreeMap, time::Instant};

use model::{Deadline, PeerId};

use crate::limits::{EARLY_CANDIDATES_LIFETIME, EARLY_PEERS, REMOTE_CANDIDATES};

/// Candidates that wait for their peer. Full: new ones are dropped.
#[derive(Debug, Default)]
pub(crate) struct EarlyCandidates(BTreeMap<PeerId, Waiting>);

#[derive(Debug)]
struct Waiting {
    candidates: Vec<String>,
    until: Instant,
}

impl EarlyCandidates {
    pub(crate) fn keep(&mut self, peer: PeerId, candidates: &[String], now: Instant) {
        if self.0.len() >= EARLY_PEERS && !self.0.contains_key(&peer) {
            return;
        }
        let until = now + EARLY_CANDIDATES_LIFETIME;
        let waiting = self.0.entry(peer).or_insert_with(|| Waiting { candidates: Vec::new(), until });
        let room = REMOTE_CANDIDATES.saturating_sub(waiting.candidates.len());
        waiting.candidates.extend(candidates.iter().take(room).cloned());
        waiting.until = until;
    }

    pub(crate) fn withdraw(&mut self, peer: PeerId, candidates: &[String]) {
        if let Some(waiting) = self.0.get_mut(&peer) {
            waiting.candidates.retain(|kept| !candidates.contains(kept));
        }
    }

    /// The candidates of a peer that we know now.
    pub(crate) fn take(&mut self, peer: PeerId) -> Vec<String> {
        self.0.remove(&peer).map(|waiting| waiting.candidates).unwrap_or_default()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.0.retain(|_, waiting| waiting.until > now);
    }

    /// What must never be the case, if it is.
    pub(crate) fn broken_invariant(&self) -> Option<&'static str> {
        let is_too_much =
            self.0.len() > EARLY_PEERS || self.0.values().any(|it| it.candidates.len() > REMOTE_CANDIDATES);
        is_too_much.then_some("too many candidates wait for their peer")
    }

    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        self.0.values().map(|waiting| Deadline { at: waiting.until, reason: "early candidates" }).min()
    }
}
