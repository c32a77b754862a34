//! Detects a direct path that no longer works, and suspends its address until it works again.
//!
//! A path can stop working silently when a firewall changes its rules or a NAT loses a mapping. Connectivity checks notice
//! it only after a quarter of a minute, and the peer keeps sending there for much longer, because ICE cannot revoke a
//! nomination (RFC 8445, section 8.1.1). The controlling side therefore watches its direct path more closely. If the direct
//! path is silent while the relayed path answers, it suspends the local address of the direct path: it withdraws the
//! candidates with this base from the agent and from the peer, and both sides switch to the relay. Later it announces the
//! address again, and retries until the direct path works.
//!
//! All direct paths are suspended if the peer answers checks, but not two handshakes in a row: the response to a check
//! returns on the path of the check, everything else uses the path that the peer has selected.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use model::Deadline;

use crate::ice::{
    agent::{Agent, Announcement},
    candidates::LocalCandidate,
    suspension::{Suspension, Withdrawal},
};

/// A direct path is considered dead after this time without a response, which is several checks.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(5);
/// A response through the relay within this time proves that the network as a whole works.
const RECENT_ANSWER: Duration = Duration::from_secs(4);
/// How long an address is suspended, and the interval of the retries after that.
const SUSPENSION_TIME: Duration = Duration::from_secs(30);
/// The same if direct paths carry checks, but no handshakes: each retry loses the peer's responses for a while. Peers whose
/// agent is the crate `is` also ignore the second withdrawal of an address.
const LONG_SUSPENSION_TIME: Duration = Duration::from_secs(1_000);

/// Measurements of the selected path and the relayed one, and the suspended addresses.
#[derive(Debug)]
pub(crate) struct DirectPathMonitor {
    /// When the selected path last answered, or was selected.
    last_answer: Instant,
    /// When a path through our relay last answered while another path was selected.
    last_relay_answer: Option<Instant>,
    suspended: Vec<SuspendedAddress>,
    /// Whether direct paths carried checks, but no handshakes.
    handshakes_failed: bool,
}

#[derive(Debug)]
struct SuspendedAddress {
    base: SocketAddr,
    suspension: Suspension,
    retry_at: Instant,
    /// Whether the address was announced again.
    is_resumed: bool,
}

impl DirectPathMonitor {
    pub(crate) fn new(now: Instant) -> Self {
        Self { last_answer: now, last_relay_answer: None, suspended: Vec::new(), handshakes_failed: false }
    }

    /// Restarts the silence timeout: the path was selected, or is in use again.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.last_answer = now;
    }

    /// The selected path answered.
    pub(crate) fn note_answer(&mut self, now: Instant) {
        self.last_answer = now;
    }

    /// A path through our relay answered; another path is selected.
    pub(crate) fn relay_answered(&mut self, now: Instant) {
        self.last_relay_answer = Some(now);
    }

    /// Whether the selected path does not answer.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_answer) >= SILENCE_TIMEOUT
    }

    /// Whether the selected path answered recently.
    pub(crate) fn answered_recently(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_answer) < RECENT_ANSWER
    }

    /// Whether a path through our relay answered recently.
    pub(crate) fn relay_answered_recently(&self, now: Instant) -> bool {
        self.last_relay_answer.is_some_and(|at| now.saturating_duration_since(at) < RECENT_ANSWER)
    }

    /// Whether the selected path is silent, but the network works.
    pub(crate) fn is_only_direct_path_silent(&self, now: Instant) -> bool {
        self.is_silent(now) && self.relay_answered_recently(now)
    }

    /// Direct paths carry checks, but no handshakes: they are suspended for longer.
    pub(crate) fn note_failed_handshakes(&mut self) {
        self.handshakes_failed = true;
    }

    /// A direct path carried a handshake.
    pub(crate) fn note_completed_handshake(&mut self) {
        self.handshakes_failed = false;
    }

    fn suspension_time(&self) -> Duration {
        if self.handshakes_failed { LONG_SUSPENSION_TIME } else { SUSPENSION_TIME }
    }

    /// Suspends an address whose paths do not work. Returns what to tell the peer.
    pub(crate) fn suspend(&mut self, base: SocketAddr, agent: &mut Agent, now: Instant) -> Withdrawal {
        let retry_at = now + self.suspension_time();
        let (suspension, withdrawal) = agent.suspend(base, now);
        match self.suspended.iter_mut().find(|suspended| suspended.base == base) {
            // Silent again soon after it was announced; the first list of candidates is still complete.
            Some(suspended) => (suspended.retry_at, suspended.is_resumed) = (retry_at, false),
            None => self.suspended.push(SuspendedAddress { base, suspension, retry_at, is_resumed: false }),
        }
        withdrawal
    }

    /// Whether the candidate's base is suspended; then the candidate is kept until it is resumed.
    pub(crate) fn absorb(&mut self, candidate: LocalCandidate) -> bool {
        self.suspended.iter_mut().any(|suspended| suspended.suspension.absorb(candidate) && !suspended.is_resumed)
    }

    /// A path from this address was selected: it is no longer suspended.
    pub(crate) fn restore(&mut self, base: SocketAddr) {
        self.suspended.retain(|suspended| suspended.base != base);
    }

    /// Retries the suspended addresses that are due. Returns the candidates to announce.
    pub(crate) fn handle_timeout(&mut self, agent: &mut Agent, now: Instant) -> Vec<Announcement> {
        let mut announcements = Vec::new();
        let interval = self.suspension_time();
        for suspended in self.suspended.iter_mut().filter(|suspended| suspended.retry_at <= now) {
            suspended.retry_at = now + interval;
            if suspended.is_resumed {
                agent.probe(&suspended.suspension);
            } else {
                suspended.is_resumed = true;
                announcements.extend(agent.resume(&suspended.suspension));
            }
        }
        announcements
    }

    /// The first broken invariant.
    pub(crate) fn broken_invariant(&self) -> Option<&'static str> {
        let mut bases: Vec<_> = self.suspended.iter().map(|suspended| suspended.base).collect();
        bases.sort_unstable();
        bases.dedup();
        (bases.len() < self.suspended.len()).then_some("an address is suspended twice")
    }

    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        self.suspended
            .iter()
            .map(|suspended| Deadline { at: suspended.retry_at, reason: "retry of a suspended address" })
            .min()
    }
}
