//! A clock that includes the time of suspend.
//!
//! Sessions with relays and peers expire during suspend, and must look expired after the resume. The monotonic clock of
//! [`Instant::now`] does not show that: it stops during suspend.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Returns the time as an [`Instant`] that includes suspend.
///
/// Its instants must not be mixed with those of [`Instant::now`]. Two clocks differ by microseconds at most.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The time of boot.
    boot: Instant,
}

impl Clock {
    /// Creates a clock.
    #[must_use]
    pub fn new() -> Self {
        let now = Instant::now();
        let since_boot = duration(clock_gettime(ClockId::Monotonic));

        // On Linux an `Instant` counts from boot, so the subtraction succeeds.
        Self { boot: now.checked_sub(since_boot).unwrap_or(now) }
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.boot + duration(clock_gettime(ClockId::Boottime))
    }

    /// The time from boot to `at`, in terms of `CLOCK_BOOTTIME`.
    pub(crate) fn since_boot(&self, at: Instant) -> Duration {
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
