//! Suspended addresses of this host, whose datagrams get lost.

use std::{net::SocketAddr, time::Instant};

use is::{Candidate, CandidateKind};

use crate::ice::{
    agent::{Agent, Announcement},
    candidates::LocalCandidate,
};

/// The candidates with one local address as base.
#[derive(Clone, Debug)]
pub(crate) struct Suspension {
    candidates: Vec<Candidate>,
}

/// What to tell the peer about a suspension.
#[derive(Debug, Default)]
pub(crate) struct Withdrawal {
    /// Addresses that the peer discovered. They have to be announced, because a withdrawal matches announced ones only.
    pub(crate) unannounced: Vec<Announcement>,
    /// Addresses to withdraw.
    pub(crate) withdrawn: Vec<Announcement>,
}

impl Agent {
    /// Removes all candidates with this base from the agent.
    pub(crate) fn suspend(&mut self, base: SocketAddr, now: Instant) -> (Suspension, Withdrawal) {
        let has_base = |it: &Candidate| it.kind() != CandidateKind::Relayed && it.local() == base;
        let mut candidates: Vec<_> = self.agent.local_candidates().filter(has_base).collect();
        let mut withdrawal = Withdrawal::default();
        for candidate in &candidates {
            if candidate.kind() == CandidateKind::PeerReflexive {
                withdrawal.unannounced.push(Announcement::of(candidate));
            }
            withdrawal.withdrawn.push(Announcement::of(candidate));
            self.agent.invalidate_candidate(candidate);
        }
        // The peer discovers these again itself.
        candidates.retain(|candidate| candidate.kind() != CandidateKind::PeerReflexive);
        self.handle_timeout(now);
        (Suspension { candidates }, withdrawal)
    }

    /// Adds the suspended candidates again. Returns the announcements.
    pub(crate) fn resume(&mut self, suspension: &Suspension) -> Vec<Announcement> {
        let mut announcements = Vec::new();
        for candidate in &suspension.candidates {
            announcements.extend(self.agent.add_local_candidate(candidate.clone()).map(Announcement::of));
        }
        self.collect_checks();
        announcements
    }

    /// Checks all paths again that were given up since then.
    pub(crate) fn probe(&mut self, suspension: &Suspension) {
        for candidate in &suspension.candidates {
            self.agent.invalidate_candidate(candidate);
        }
        self.resume(suspension);
    }
}

impl Suspension {
    /// Adds a candidate if it has the suspended base. Returns whether it has.
    pub(crate) fn absorb(&mut self, local: LocalCandidate) -> bool {
        let Some(new) = local.to_candidate().filter(|new| new.kind() != CandidateKind::Relayed) else { return false };
        let has_base = self.candidates.iter().any(|known| known.local() == new.local());
        let is_known = self.candidates.iter().any(|known| known.addr() == new.addr() && known.kind() == new.kind());
        if has_base && !is_known {
            self.candidates.push(new);
        }
        has_base
    }
}
