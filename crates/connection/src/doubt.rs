//! Whether the direct path still works.
//!
//! A path can die without a word: a firewall changes its mind, a NAT forgets. Checks find that out, but only after a quarter
//! of a minute, and the peer goes on sending the old way for much longer: it never leaves a path that was chosen once as
//! long as it believes in it (RFC 8445, section 8.1.1, has no way to take a choice back). So the side that chooses looks
//! closer. If nothing comes back on the direct path while the relayed one answers, it withholds the address behind the
//! direct path and takes back, with the peer, everything that leads there; both then use the relay. Later it offers the
//! address again, and keeps trying until the direct path is back.
//!
//! The same is done with all direct paths if the peer answers checks, but two handshakes in a row not: an answer to a check
//! takes the way of the check, all else takes the way that the peer believes in.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use model::Deadline;

use crate::ice::{Agent, Announcement, LocalCandidate, Suspension, Withdrawal};

/// A direct path is doubted after this long without an answer to our checks, of which there were several by then.
const SILENCE: Duration = Duration::from_secs(5);
/// An answer from the relay counts this long as a sign that it is not the whole network that is down.
const RECENT: Duration = Duration::from_secs(4);
/// How long an address is withheld, and then from one try to the next.
const PAUSE: Duration = Duration::from_secs(30);
/// The same if direct paths carry checks, but no handshakes: only trying tells, and that costs the peer's answers. Peers with
/// the agent of the crate `is` also do not forget an address that they are told to forget a second time.
const LONG_PAUSE: Duration = Duration::from_secs(1_000);

/// What speaks for and against the direct path, and what is withheld because of it.
#[derive(Debug)]
pub(crate) struct Doubt {
    /// When the present path last proved that it works, or was begun to be used.
    heard: Instant,
    /// When a path through our relay last did so.
    heard_by_relay: Option<Instant>,
    withheld: Vec<Withheld>,
    /// Whether direct paths carried checks, but no handshakes.
    is_disappointed: bool,
}

#[derive(Debug)]
struct Withheld {
    base: SocketAddr,
    suspension: Suspension,
    again_at: Instant,
    /// Whether the peer was offered the address again.
    is_offered: bool,
}

impl Doubt {
    pub(crate) fn new(now: Instant) -> Self {
        Self { heard: now, heard_by_relay: None, withheld: Vec::new(), is_disappointed: false }
    }

    /// From now on the path is used, or looked at closely.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.heard = now;
    }

    /// The present path answered.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// A path through our relay answered, which is not the present one.
    pub(crate) fn heard_by_relay(&mut self, now: Instant) {
        self.heard_by_relay = Some(now);
    }

    /// Whether nothing is heard on the present path.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) >= SILENCE
    }

    /// Whether the present path answered just now.
    pub(crate) fn is_answered(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) < RECENT
    }

    /// Whether a path through our relay answered just now.
    pub(crate) fn is_answered_by_relay(&self, now: Instant) -> bool {
        self.heard_by_relay.is_some_and(|at| now.saturating_duration_since(at) < RECENT)
    }

    /// Whether only the direct path is silent.
    pub(crate) fn is_justified(&self, now: Instant) -> bool {
        self.is_silent(now) && self.is_answered_by_relay(now)
    }

    /// Direct paths carry checks, but no handshakes. They are left alone for longer than others.
    pub(crate) fn despair_of_direct_paths(&mut self) {
        self.is_disappointed = true;
    }

    /// A direct path carried a handshake.
    pub(crate) fn hope_for_direct_paths(&mut self) {
        self.is_disappointed = false;
    }

    fn pause(&self) -> Duration {
        if self.is_disappointed { LONG_PAUSE } else { PAUSE }
    }

    /// Withholds an address that leads nowhere. Returns what the peer has to hear.
    pub(crate) fn withhold(&mut self, base: SocketAddr, agent: &mut Agent, now: Instant) -> Withdrawal {
        let again_at = now + self.pause();
        let (suspension, withdrawal) = agent.suspend(base, now);
        match self.withheld.iter_mut().find(|withheld| withheld.base == base) {
            // Again silent, soon after it was offered; the first list is still complete.
            Some(withheld) => (withheld.again_at, withheld.is_offered) = (again_at, false),
            None => self.withheld.push(Withheld { base, suspension, again_at, is_offered: false }),
        }
        withdrawal
    }

    /// Whether the address is withheld now; then it is kept for later.
    pub(crate) fn keeps(&mut self, candidate: LocalCandidate) -> bool {
        self.withheld.iter_mut().any(|withheld| withheld.suspension.absorb(candidate) && !withheld.is_offered)
    }

    /// A path through this address is used again.
    pub(crate) fn trust(&mut self, base: SocketAddr) {
        self.withheld.retain(|withheld| withheld.base != base);
    }

    /// Tries again what is due. Returns what the peer has to hear.
    pub(crate) fn handle_timeout(&mut self, agent: &mut Agent, now: Instant) -> Vec<Announcement> {
        let mut offers = Vec::new();
        let pause = self.pause();
        for withheld in self.withheld.iter_mut().filter(|withheld| withheld.again_at <= now) {
            withheld.again_at = now + pause;
            if withheld.is_offered {
                agent.probe(&withheld.suspension);
            } else {
                withheld.is_offered = true;
                offers.extend(agent.resume(&withheld.suspension));
            }
        }
        offers
    }

    /// What must never be the case, if it is.
    pub(crate) fn broken_invariant(&self) -> Option<&'static str> {
        let mut bases: Vec<_> = self.withheld.iter().map(|withheld| withheld.base).collect();
        bases.sort_unstable();
        bases.dedup();
        (bases.len() < self.withheld.len()).then_some("an address is withheld twice")
    }

    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        self.withheld.iter().map(|withheld| Deadline { at: withheld.again_at, reason: "address on probation" }).min()
    }
}
