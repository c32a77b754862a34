//! Addresses of ours that are withheld for a while, because what was sent from them got lost.

use std::time::Instant;

use is::{Candidate, CandidateKind};

use super::{Agent, Announcement, LocalCandidate};

/// All that was reachable through one address of this host.
#[derive(Clone, Debug)]
pub(crate) struct Suspension {
    candidates: Vec<Candidate>,
}

/// What the peer has to hear of a suspension.
#[derive(Debug, Default)]
pub(crate) struct Withdrawal {
    /// Addresses that it has seen, but was never told. It can only forget what it was told.
    pub(crate) unsaid: Vec<Announcement>,
    /// Addresses that it has to forget.
    pub(crate) gone: Vec<Announcement>,
}

impl Agent {
    /// Withholds the address and everything that leads through it.
    pub(crate) fn suspend(&mut self, base: std::net::SocketAddr, now: Instant) -> (Suspension, Withdrawal) {
        let is_concerned = |it: &Candidate| it.kind() != CandidateKind::Relayed && it.local() == base;
        let mut candidates: Vec<_> = self.agent.local_candidates().filter(is_concerned).collect();
        let mut withdrawal = Withdrawal::default();
        for candidate in &candidates {
            if candidate.kind() == CandidateKind::PeerReflexive {
                withdrawal.unsaid.push(Announcement::of(candidate));
            }
            withdrawal.gone.push(Announcement::of(candidate));
            self.agent.invalidate_candidate(candidate);
        }
        // The peer finds these again by itself.
        candidates.retain(|candidate| candidate.kind() != CandidateKind::PeerReflexive);
        self.handle_timeout(now);
        (Suspension { candidates }, withdrawal)
    }

    /// Tries everything again that was withheld. Returns what the peer has to hear.
    pub(crate) fn resume(&mut self, suspension: &Suspension) -> Vec<Announcement> {
        let mut announcements = Vec::new();
        for candidate in &suspension.candidates {
            announcements.extend(self.agent.add_local_candidate(candidate.clone()).map(Announcement::of));
        }
        self.settle();
        announcements
    }

    /// Tries all paths once more that were given up since then.
    pub(crate) fn probe(&mut self, suspension: &Suspension) {
        for candidate in &suspension.candidates {
            self.agent.invalidate_candidate(candidate);
        }
        self.resume(suspension);
    }
}

impl Suspension {
    /// Notes one more address that leads through the same. Returns whether it does.
    pub(crate) fn absorb(&mut self, local: LocalCandidate) -> bool {
        let Some(new) = local.to_candidate().filter(|new| new.kind() != CandidateKind::Relayed) else { return false };
        let is_concerned = self.candidates.iter().any(|known| known.local() == new.local());
        let is_known = self.candidates.iter().any(|known| known.addr() == new.addr() && known.kind() == new.kind());
        if is_concerned && !is_known {
            self.candidates.push(new);
        }
        is_concerned
    }
}
