//! Converts the portal's wall-clock times to monotonic time.

use std::time::{Duration, Instant};

/// The distance of times that are too far away to be represented.
const MAX_DISTANCE: Duration = Duration::from_secs(24 * 60 * 60);

/// The readings of the wall clock and the monotonic clock at the same moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    now: Instant,
    unix: Duration,
}

impl WallClock {
    /// `unix` is the time since the Unix epoch at `now`.
    pub(crate) fn new(now: Instant, unix: Duration) -> Self {
        Self { now, unix }
    }

    /// The moment `unix_seconds` after the Unix epoch. Times before the reading are clamped to it.
    pub(crate) fn instant(&self, unix_seconds: u64) -> Instant {
        let later = Duration::from_secs(unix_seconds).saturating_sub(self.unix);
        self.now.checked_add(later).unwrap_or_else(|| self.now + MAX_DISTANCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    #[test]
    fn past_times_are_now_and_unrepresentable_times_are_tomorrow() {
        let now = start();
        let clock = WallClock::new(now, Duration::from_secs(1_800_000_000));
        assert_eq!(clock.instant(1_800_000_060), now + Duration::from_secs(60));
        assert_eq!(clock.instant(5), now);
        assert_eq!(clock.instant(u64::MAX), now + MAX_DISTANCE);
    }
}
