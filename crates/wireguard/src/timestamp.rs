//! TAI64N timestamps. A responder accepts an initiation only if its timestamp is later than that of the previous one.

use std::time::{Duration, Instant};

use crate::message::TIMESTAMP;

/// The TAI64 label of the Unix epoch, which is 1970-01-01 00:00:10 TAI.
const TAI64_UNIX_EPOCH: u64 = (1 << 62) + 10;

/// Generates strictly increasing timestamps, also when the wall clock is set back: the wall clock is read once, and the
/// monotonic clock gives the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimestampGenerator {
    start: Instant,
    unix_start: Duration,
    last: Duration,
}

impl TimestampGenerator {
    /// `unix_now` is the time since the Unix epoch at `now`.
    pub(crate) fn new(now: Instant, unix_now: Duration) -> Self {
        Self { start: now, unix_start: unix_now, last: Duration::ZERO }
    }

    /// A timestamp later than all earlier ones.
    pub(crate) fn next(&mut self, now: Instant) -> [u8; TIMESTAMP] {
        let time = self.unix_start + now.saturating_duration_since(self.start);
        self.last = time.max(self.last + Duration::from_nanos(1));
        let mut stamp = [0; TIMESTAMP];
        stamp[..8].copy_from_slice(&(TAI64_UNIX_EPOCH + self.last.as_secs()).to_be_bytes());
        stamp[8..].copy_from_slice(&self.last.subsec_nanos().to_be_bytes());
        stamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;

    #[test]
    fn timestamps_increase_at_the_same_instant() {
        let now = epoch();
        let mut timestamps = TimestampGenerator::new(now, Duration::from_secs(1_700_000_000));
        let first = timestamps.next(now + Duration::from_secs(5));
        assert_eq!(first[..8], (0x4000_0000_0000_000A_u64 + 1_700_000_005).to_be_bytes());
        let second = timestamps.next(now + Duration::from_secs(5));
        let third = timestamps.next(now);
        assert!(first < second && second < third);
    }
}
