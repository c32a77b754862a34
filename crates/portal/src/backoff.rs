//! When to try again.

use std::time::Duration;

use rand::Rng;

use crate::lost::{Outage, Retry};

/// Before the first success somebody is looking at the screen.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
/// How much of their patience we use up.
const FIRST_BUDGET: Duration = Duration::from_secs(15);

/// Afterwards nobody looks, and a portal that comes back must not be overrun.
const INITIAL: Duration = Duration::from_millis(500);
const FACTOR: f64 = 1.5;
const CAP: Duration = Duration::from_secs(60);

/// A refusal that only a person can do something about is not worth more than this.
const RELUCTANT: Duration = Duration::from_secs(30);

/// The delays between attempts, in two regimes: even ones until the first join of a session, at first, and growing ones
/// from then on. It gives up only if it was told so, and only after it has been joined: a machine that boots without a
/// network waits for it.
#[derive(Clone, Debug)]
pub struct Backoff {
    regime: Regime,
    /// How much waiting there may be in a row once we have been joined.
    limit: Option<Duration>,
    /// How much of it is behind us.
    waited: Duration,
    /// The next growing interval, before jitter.
    interval: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Regime {
    /// Not joined yet; so much waiting is behind us.
    First { waited: Duration },
    /// Not joined yet, and it is taking long.
    StillFirst,
    /// Has been joined at least once.
    Seasoned,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            regime: Regime::First { waited: Duration::ZERO },
            limit: None,
            waited: Duration::ZERO,
            interval: INITIAL,
        }
    }
}

impl Backoff {
    /// Gives up after so much waiting in a row, once it has been joined.
    #[must_use]
    pub fn limited(limit: Option<Duration>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Whether there was more waiting than there may be. What the portal asked for does not count.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.regime == Regime::Seasoned && self.limit.is_some_and(|limit| self.waited > limit)
    }

    /// The delay before the next attempt.
    pub fn next(&mut self, rng: &mut impl Rng) -> Retry {
        if let Regime::First { waited } = &mut self.regime {
            *waited += FIRST_INTERVAL;
            if *waited < FIRST_BUDGET {
                return Retry { after: FIRST_INTERVAL, outage: Outage::Brief };
            }
            self.regime = Regime::StillFirst;
            return Retry { after: FIRST_INTERVAL, outage: Outage::Lasting };
        }
        let after = self.interval + self.interval.mul_f64(rng.random_range(0.0..=1.0));
        self.interval = self.interval.mul_f64(FACTOR).min(CAP);
        let after = after.min(CAP);
        self.waited = self.waited.saturating_add(after);
        Retry { after, outage: self.outage() }
    }

    /// The delay before the next attempt after a refusal that patience alone will hardly cure.
    pub fn reluctant(&mut self, rng: &mut impl Rng) -> Retry {
        let Retry { after, .. } = self.next(rng);
        Retry { after: after.max(RELUCTANT), outage: Outage::Lasting }
    }

    /// A delay that the portal asked for. It costs no budget. The portal admits one attempt a second, so that asking for
    /// less is asking for trouble.
    #[must_use]
    pub fn asked(&self, after: Duration) -> Retry {
        Retry { after: after.max(FIRST_INTERVAL), outage: self.outage() }
    }

    /// We are in: the next trouble starts from the beginning, without the haste of a first attempt.
    pub fn joined(&mut self) {
        *self = Self { regime: Regime::Seasoned, waited: Duration::ZERO, interval: INITIAL, ..*self };
    }

    /// Something changed for the better, so what we learned about waiting is void.
    pub fn forget(&mut self) {
        self.interval = INITIAL;
        if self.regime != Regime::Seasoned {
            self.regime = Regime::First { waited: Duration::ZERO };
        }
    }

    fn outage(&self) -> Outage {
        match self.regime {
            Regime::First { .. } => Outage::Brief,
            Regime::StillFirst => Outage::Lasting,
            Regime::Seasoned if self.interval >= CAP => Outage::Lasting,
            Regime::Seasoned => Outage::Brief,
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
    fn the_first_quarter_minute_is_even_and_then_it_grows_without_end() {
        let (mut backoff, mut rng) = (Backoff::default(), rng());
        for _ in 0..14 {
            assert_eq!(backoff.next(&mut rng), Retry { after: FIRST_INTERVAL, outage: Outage::Brief });
        }
        assert_eq!(backoff.next(&mut rng), Retry { after: FIRST_INTERVAL, outage: Outage::Lasting });
        let later: Vec<_> = (0..40).map(|_| backoff.next(&mut rng)).collect();
        assert!(later.iter().all(|retry| retry.outage == Outage::Lasting));
        assert!(later[0].after < Duration::from_secs(2));
        assert_eq!(later[39].after, CAP);
    }

    #[test]
    fn after_a_join_delays_grow_from_half_a_second_to_a_minute() {
        let (mut backoff, mut rng) = (Backoff::default(), rng());
        backoff.joined();
        let mut interval = INITIAL;
        for _ in 0..60 {
            let Retry { after, .. } = backoff.next(&mut rng);
            assert!(after >= interval.min(CAP) && after <= (interval * 2).min(CAP), "{after:?} {interval:?}");
            interval = interval.mul_f64(FACTOR).min(CAP);
        }
    }

    #[test]
    fn growth_is_forgotten_on_request_and_on_success() {
        let mut rng = rng();
        for reset in [Backoff::forget, Backoff::joined] {
            let mut backoff = Backoff::default();
            backoff.joined();
            for _ in 0..30 {
                backoff.next(&mut rng);
            }
            reset(&mut backoff);
            assert!(backoff.next(&mut rng).after <= INITIAL * 2);
        }
    }

    #[test]
    fn patience_that_is_limited_ends_but_only_after_a_join() {
        let mut rng = rng();
        let mut backoff = Backoff::limited(Some(Duration::from_secs(3600)));
        for _ in 0..1000 {
            backoff.next(&mut rng);
            assert!(!backoff.is_exhausted(), "a machine that boots waits for the network");
        }
        for _ in 0..2 {
            backoff.joined();
            let mut waited = Duration::ZERO;
            while !backoff.is_exhausted() {
                waited += backoff.next(&mut rng).after;
                let _costs_nothing = backoff.asked(Duration::from_secs(86_400));
            }
            assert!(waited > Duration::from_secs(3600) && waited <= Duration::from_secs(3660), "{waited:?}");
        }
    }

    #[test]
    fn what_the_portal_asks_for_costs_no_budget() {
        let (mut backoff, mut rng) = (Backoff::default(), rng());
        for _ in 0..100 {
            assert_eq!(backoff.asked(Duration::from_secs(30)).after, Duration::from_secs(30));
        }
        assert_eq!(backoff.next(&mut rng).outage, Outage::Brief);
    }
}
