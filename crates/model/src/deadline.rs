//! The next call of a state machine.

use std::time::Instant;

/// A point in time and the reason for it, so that the log can explain a busy loop.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Deadline {
    /// When the machine has to be called.
    pub at: Instant,
    /// What happens then.
    pub reason: &'static str,
}

impl Deadline {
    /// The earlier of two deadlines that may be missing.
    #[must_use]
    pub fn earliest(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        one.into_iter().chain(other).min()
    }
}
