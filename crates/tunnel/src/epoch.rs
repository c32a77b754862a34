//! The portal's times, as ours.

use std::time::{Duration, Instant};

/// What a time means that is too far away to be told.
const TOO_FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// Wall clock and monotonic clock at the same moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epoch {
    now: Instant,
    unix: Duration,
}

impl Epoch {
    /// `unix` is the time since the Unix epoch at `now`.
    pub(crate) fn new(now: Instant, unix: Duration) -> Self {
        Self { now, unix }
    }

    /// The moment that is so many seconds after the Unix epoch. Whatever was before we began is when we began.
    pub(crate) fn instant(&self, unix_seconds: u64) -> Instant {
        let later = Duration::from_secs(unix_seconds).saturating_sub(self.unix);
        self.now.checked_add(later).unwrap_or_else(|| self.now + TOO_FAR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    #[test]
    fn the_past_is_over_and_what_is_too_far_is_tomorrow() {
        let now = start();
        let epoch = Epoch::new(now, Duration::from_secs(1_800_000_000));
        assert_eq!(epoch.instant(1_800_000_060), now + Duration::from_secs(60));
        assert_eq!(epoch.instant(5), now);
        assert_eq!(epoch.instant(u64::MAX), now + TOO_FAR);
    }
}
