//! Helpers of several tests.

use std::time::{Duration, Instant};

/// The current time of a test. It leaves room for subtraction.
#[allow(clippy::disallowed_methods, reason = "some instant has to be the first")]
pub(crate) fn epoch() -> Instant {
    Instant::now() + Duration::from_secs(1_000_000)
}
