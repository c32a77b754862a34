//! A clock that goes on counting while the machine sleeps.
//!
//! Relays and peers do not sleep with us. After a resume, what has expired out there must look expired here too, which the
//! monotonic clock of [`Instant::now`] does not show: it stands still during suspend.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Tells the time as an [`Instant`] that includes time spent in suspend.
///
/// Its instants must not be mixed with those of [`Instant::now`]. Two clocks agree, but for the microseconds between
/// their creations.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The moment at which the machine was booted.
    boot: Instant,
}

impl Clock {
    /// Starts the clock.
    #[must_use]
    pub fn new() -> Self {
        let now = Instant::now();
        let since_boot = duration(clock_gettime(ClockId::Monotonic));

        // An `Instant` counts from boot on Linux. Were it otherwise, time would only start later.
        Self { boot: now.checked_sub(since_boot).unwrap_or(now) }
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.boot + duration(clock_gettime(ClockId::Boottime))
    }

    /// How long after boot `at` is, as `CLOCK_BOOTTIME` counts.
    #[must_use]
    pub fn since_boot(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.boot)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

fn duration(time: Timespec) -> Duration {
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_is_monotonic() {
        let clock = Clock::new();
        let mut last = clock.now();

        for _ in 0..1000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn time_since_boot_matches_the_kernel() {
        let clock = Clock::new();
        let before = duration(clock_gettime(ClockId::Boottime));

        let now = clock.since_boot(clock.now());

        assert!(before <= now + Duration::from_millis(1));
    }
}
