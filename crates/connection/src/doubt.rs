//! Whether the direct path still works.
//!
//! A path can die without a word: a firewall changes its mind, a NAT forgets. Checks find that out, but only after a quarter
//! of a minute, and the peer goes on sending the old way for much longer: it never leaves a path that was chosen once as
//! long as it believes in it (RFC 8445, section 8.1.1, has no way to take a choice back). So the side that chooses looks
//! closer. If nothing comes back on the direct path while the relayed one answers, it withholds the address behind the
//! direct path and takes back, with the peer, everything that leads there; both then use the relay. Later it offers the
//! address again, and keeps trying until the direct path is back.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{
    Due,
    ice::{Agent, Announcement, LocalCandidate, Suspension, Withdrawal},
};

/// A direct path is doubted after this long without an answer to our checks, of which there were several by then.
const SILENCE: Duration = Duration::from_secs(5);
/// An answer from the relay counts this long as a sign that it is not the whole network that is down.
const RECENT: Duration = Duration::from_secs(4);
/// How long an address is withheld, and then from one try to the next.
const PAUSE: Duration = Duration::from_secs(30);

/// What speaks for and against the direct path, and what is withheld because of it.
#[derive(Debug)]
pub(crate) struct Doubt {
    /// When the present path last proved that it works, or was begun to be used.
    heard: Instant,
    /// When a path through our relay last did so.
    heard_by_relay: Option<Instant>,
    withheld: Vec<Withheld>,
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
        Self { heard: now, heard_by_relay: None, withheld: Vec::new() }
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

    /// Whether only the direct path is silent.
    pub(crate) fn is_justified(&self, now: Instant) -> bool {
        let since = |at| now.saturating_duration_since(at);
        since(self.heard) >= SILENCE && self.heard_by_relay.is_some_and(|at| since(at) < RECENT)
    }

    /// Withholds an address that leads nowhere. Returns what the peer has to hear.
    pub(crate) fn withhold(&mut self, base: SocketAddr, agent: &mut Agent, now: Instant) -> Withdrawal {
        let again_at = now + PAUSE;
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
        for withheld in self.withheld.iter_mut().filter(|withheld| withheld.again_at <= now) {
            withheld.again_at = now + PAUSE;
            if withheld.is_offered {
                agent.probe(&withheld.suspension);
            } else {
                withheld.is_offered = true;
                offers.extend(agent.resume(&withheld.suspension));
            }
        }
        offers
    }

    pub(crate) fn poll_timeout(&self) -> Option<Due> {
        self.withheld.iter().map(|withheld| Due { at: withheld.again_at, why: "address on probation" }).min()
    }
}
