//! Delays between attempts to connect.

use std::time::Duration;

use rand::Rng;

use crate::connection_error::{Outage, Retry};

/// Before the first join a user is probably waiting.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
/// An outage before the first join is brief until the delays add up to this.
const BRIEF_OUTAGE_LIMIT: Duration = Duration::from_secs(15);

/// Later delays grow, so that the clients do not overload a portal that restarts.
const INITIAL_INTERVAL: Duration = Duration::from_millis(500);
const GROWTH_FACTOR: f64 = 1.5;
const MAX_INTERVAL: Duration = Duration::from_secs(60);

/// The shortest delay after a 401 that does not name the token: retrying quickly does not help.
const UNAUTHORIZED_DELAY: Duration = Duration::from_secs(30);

/// The delays between attempts: even ones for a while before the first join of a session, growing ones otherwise.
///
/// A limit applies only after the first join: a machine that boots without a network waits for it.
#[derive(Clone, Debug)]
pub struct Backoff {
    phase: Phase,
    /// The limit of the total delay in a row after the first join.
    limit: Option<Duration>,
    /// The total delay since the last join.
    waited: Duration,
    /// The next interval, before jitter.
    interval: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Not joined yet, with even delays that add up to `waited`.
    First { waited: Duration },
    /// Not joined yet, with growing delays.
    FirstOverdue,
    /// Joined at least once.
    Joined,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            phase: Phase::First { waited: Duration::ZERO },
            limit: None,
            waited: Duration::ZERO,
            interval: INITIAL_INTERVAL,
        }
    }
}

impl Backoff {
    /// Creates delays with a limit of their total, see [`is_exhausted`](Self::is_exhausted).
    #[must_use]
    pub fn with_limit(limit: Option<Duration>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Whether the delays since the last join exceed the limit. Delays that the portal requested do not count.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.phase == Phase::Joined && self.limit.is_some_and(|limit| self.waited > limit)
    }

    /// The delay before the next attempt.
    pub fn next(&mut self, rng: &mut impl Rng) -> Retry {
        if let Phase::First { waited } = &mut self.phase {
            *waited += FIRST_INTERVAL;
            if *waited < BRIEF_OUTAGE_LIMIT {
                return Retry { after: FIRST_INTERVAL, outage: Outage::Brief };
            }
            self.phase = Phase::FirstOverdue;
            return Retry { after: FIRST_INTERVAL, outage: Outage::Lasting };
        }
        let after = self.interval + self.interval.mul_f64(rng.random_range(0.0..=1.0));
        self.interval = self.interval.mul_f64(GROWTH_FACTOR).min(MAX_INTERVAL);
        let after = after.min(MAX_INTERVAL);
        self.waited = self.waited.saturating_add(after);
        Retry { after, outage: self.outage() }
    }

    /// The delay before the next attempt after a 401 that does not name the token.
    pub fn next_after_unauthorized(&mut self, rng: &mut impl Rng) -> Retry {
        let Retry { after, .. } = self.next(rng);
        Retry { after: after.max(UNAUTHORIZED_DELAY), outage: Outage::Lasting }
    }

    /// A delay that the portal requested by `Retry-After`, at least one second: the portal accepts one attempt a second.
    /// Does not count towards the limit.
    #[must_use]
    pub fn requested(&self, after: Duration) -> Retry {
        Retry { after: after.max(FIRST_INTERVAL), outage: self.outage() }
    }

    /// Resets the delays after a join.
    pub fn joined(&mut self) {
        *self = Self { phase: Phase::Joined, waited: Duration::ZERO, interval: INITIAL_INTERVAL, ..*self };
    }

    /// Resets the growth of the delays after a change of the network.
    pub fn reset(&mut self) {
        self.interval = INITIAL_INTERVAL;
        if self.phase != Phase::Joined {
            self.phase = Phase::First { waited: Duration::ZERO };
        }
    }

    fn outage(&self) -> Outage {
        match self.phase {
            Phase::First { .. } => Outage::Brief,
            Phase::FirstOverdue => Outage::Lasting,
            Phase::Joined if self.interval >= MAX_INTERVAL => Outage::Lasting,
            Phase::Joined => Outage::Brief,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    fn rng() -> StdRng {
        StdRng::seed_from_u64(8123)
    }

    #[test]
    fn delays_before_the_first_join_are_even_for_15_seconds_then_grow() {
        let (mut backoff, mut rng) = (Backoff::default(), rng());
        for _ in 0..14 {
            assert_eq!(backoff.next(&mut rng), Retry { after: FIRST_INTERVAL, outage: Outage::Brief });
        }
        assert_eq!(backoff.next(&mut rng), Retry { after: FIRST_INTERVAL, outage: Outage::Lasting });
        let later: Vec<_> = (0..40).map(|_| backoff.next(&mut rng)).collect();
        assert!(later.iter().all(|retry| retry.outage == Outage::Lasting));
        assert!(later[0].after < Duration::from_secs(2));
        assert_eq!(later[39].after, MAX_INTERVAL);
    }

    #[test]
    fn after_a_join_delays_grow_from_half_a_second_to_a_minute() {
        let (mut backoff, mut rng) = (Backoff::default(), rng());
        backoff.joined();
        let mut interval = INITIAL_INTERVAL;
        for _ in 0..60 {
            let Retry { after, .. } = backoff.next(&mut rng);
            assert!(
                after >= interval.min(MAX_INTERVAL) && after <= (interval * 2).min(MAX_INTERVAL),
                "{after:?} {interval:?}"
            );
            interval = interval.mul_f64(GROWTH_FACTOR).min(MAX_INTERVAL);
        }
    }

    #[test]
    fn interval_resets_on_request_and_on_join() {
        let mut rng = rng();
        for reset in [Backoff::reset, Backoff::joined] {
            let mut backoff = Backoff::default();
            backoff.joined();
            for _ in 0..30 {
                backoff.next(&mut rng);
            }
            reset(&mut backoff);
            assert!(backoff.next(&mut rng).after <= INITIAL_INTERVAL * 2);
        }
    }

    #[test]
    fn retry_limit_applies_only_after_a_join() {
        let mut rng = rng();
        let mut backoff = Backoff::with_limit(Some(Duration::from_secs(3600)));
        for _ in 0..1000 {
            backoff.next(&mut rng);
            assert!(!backoff.is_exhausted(), "a machine that boots waits for the network");
        }
        for _ in 0..2 {
            backoff.joined();
            let mut waited = Duration::ZERO;
            while !backoff.is_exhausted() {
                waited += backoff.next(&mut rng).after;
                let _not_counted = backoff.requested(Duration::from_secs(86_400));
            }
            assert!(waited > Duration::from_secs(3600) && waited <= Duration::from_secs(3660), "{waited:?}");
        }
    }

    #[test]
    fn retry_after_delays_do_not_count_towards_the_limit() {
        let (mut backoff, mut rng) = (Backoff::default(), rng());
        for _ in 0..100 {
            assert_eq!(backoff.requested(Duration::from_secs(30)).after, Duration::from_secs(30));
        }
        assert_eq!(backoff.next(&mut rng).outage, Outage::Brief);
    }
}
