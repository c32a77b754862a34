//! Limits how often the portal is asked for relays.

use std::time::{Duration, Instant};

/// Minimum time between a request and the next one after a connection failed for lack of a relay.
const NO_RELAY_INTERVAL: Duration = Duration::from_secs(10);
/// Minimum time between a request and the next one after the last relay was lost: the portal may only know dead relays.
const RELAY_LOST_INTERVAL: Duration = Duration::from_secs(1);

/// When relays were last requested, and when a delayed request is due.
#[derive(Debug, Default)]
pub(crate) struct RelayRequestLimiter {
    sent_at: Option<Instant>,
    due_at: Option<Instant>,
}

impl RelayRequestLimiter {
    /// A connection failed for lack of a relay. Returns whether to send a request now.
    pub(crate) fn handle_no_relay(&mut self, now: Instant) -> bool {
        self.is_allowed(NO_RELAY_INTERVAL, now)
    }

    /// The last relay was lost. Returns whether to send a request now; otherwise [`Self::handle_timeout`] returns it later.
    pub(crate) fn handle_last_relay_lost(&mut self, now: Instant) -> bool {
        let send_now = self.is_allowed(RELAY_LOST_INTERVAL, now);
        if !send_now {
            self.due_at = self.sent_at.map(|at| at + RELAY_LOST_INTERVAL);
        }
        send_now
    }

    /// A relay is available: a delayed request is cancelled.
    pub(crate) fn handle_relay_available(&mut self) {
        self.due_at = None;
    }

    /// Returns whether to send a delayed request now.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        let is_due = self.due_at.is_some_and(|at| at <= now);
        if is_due {
            self.due_at = None;
            self.sent_at = Some(now);
        }
        is_due
    }

    /// When a delayed request is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due_at
    }

    fn is_allowed(&mut self, interval: Duration, now: Instant) -> bool {
        let is_due = self.sent_at.is_none_or(|at| at + interval <= now);
        if is_due {
            self.sent_at = Some(now);
            self.due_at = None;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    #[test]
    fn relay_requests_are_limited_to_ten_seconds_or_one_after_a_loss() {
        let start = start();
        let at = |ms| start + Duration::from_millis(ms);
        let mut limiter = RelayRequestLimiter::default();

        assert!(limiter.handle_no_relay(at(0)));
        assert!(!limiter.handle_no_relay(at(9_999)));
        assert!(limiter.handle_no_relay(at(10_000)));

        assert!(!limiter.handle_last_relay_lost(at(10_500)));
        assert_eq!(limiter.poll_timeout(), Some(at(11_000)));
        assert!(limiter.handle_timeout(at(11_000)));
        assert_eq!(limiter.poll_timeout(), None);
        assert!(limiter.handle_last_relay_lost(at(12_000)));
    }

    #[test]
    fn available_relay_cancels_the_pending_request() {
        let now = start();
        let mut limiter = RelayRequestLimiter::default();
        assert!(limiter.handle_last_relay_lost(now));
        assert!(!limiter.handle_last_relay_lost(now));

        limiter.handle_relay_available();

        assert!(!limiter.handle_timeout(now + RELAY_LOST_INTERVAL));
    }
}
