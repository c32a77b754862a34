//! TAI64N timestamps, which tell the peer that an initiation is new.

use std::time::{Duration, Instant};

use super::message::TIMESTAMP;

/// The label of 1970-01-01 00:00:10 TAI, which is the Unix epoch.
const EPOCH: u64 = (1 << 62) + 10;

/// Makes timestamps of which each is later than all before, whatever happens to the wall clock: that is looked at once,
/// and from then on the monotonic clock counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timestamps {
    start: Instant,
    unix_start: Duration,
    last: Duration,
}

impl Timestamps {
    /// `unix_now` is the time since the Unix epoch at `now`.
    pub(crate) fn new(now: Instant, unix_now: Duration) -> Self {
        Self { start: now, unix_start: unix_now, last: Duration::ZERO }
    }

    pub(crate) fn next(&mut self, now: Instant) -> [u8; TIMESTAMP] {
        let time = self.unix_start + now.saturating_duration_since(self.start);
        self.last = time.max(self.last + Duration::from_nanos(1));
        let mut stamp = [0; TIMESTAMP];
        stamp[..8].copy_from_slice(&(EPOCH + self.last.as_secs()).to_be_bytes());
        stamp[8..].copy_from_slice(&self.last.subsec_nanos().to_be_bytes());
        stamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;

    #[test]
    fn timestamps_increase_even_if_time_stands_still() {
        let now = epoch();
        let mut timestamps = Timestamps::new(now, Duration::from_secs(1_700_000_000));
        let first = timestamps.next(now + Duration::from_secs(5));
        assert_eq!(first[..8], (0x4000_0000_0000_000A_u64 + 1_700_000_005).to_be_bytes());
        let second = timestamps.next(now + Duration::from_secs(5));
        let third = timestamps.next(now);
        assert!(first < second && second < third);
    }
}
