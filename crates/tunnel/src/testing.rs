//! What the tests of this crate share.

use std::time::Instant;

/// The beginning of virtual time.
#[allow(clippy::disallowed_methods, reason = "an Instant can only be made from the clock; tests count from there")]
pub(crate) fn start() -> Instant {
    Instant::now()
}
