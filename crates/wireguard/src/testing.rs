//! What several tests need.

use std::time::{Duration, Instant};

/// Some moment, long enough after the beginning of time.
#[allow(clippy::disallowed_methods, reason = "some instant has to be the first")]
pub(crate) fn epoch() -> Instant {
    Instant::now() + Duration::from_secs(1_000_000)
}
