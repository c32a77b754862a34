//! Shorthands for addresses and times.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// This many seconds.
#[must_use]
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// This many milliseconds.
#[must_use]
pub const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Parses a socket address.
#[must_use]
pub fn address(text: &str) -> SocketAddr {
    text.parse().expect("a socket address")
}

/// The time at which worlds start. It leaves room for subtraction.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "some instant has to be the first")]
pub fn epoch() -> Instant {
    Instant::now() + secs(1_000_000)
}
