//! Telling the portal that we have no relay, without doing so in a loop.

use std::time::{Duration, Instant};

/// After a plea, a connection that cannot be made is no news for this long.
const NEEDED_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// After a plea, even a relay that died is told this much later: dead relays may be all the portal has.
const LOST_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// When we last asked for relays, and whether we owe the portal a question.
#[derive(Debug, Default)]
pub(crate) struct RelayPlea {
    sent_at: Option<Instant>,
    owed_at: Option<Instant>,
}

impl RelayPlea {
    /// A connection could not be made. Whether to tell the portal now.
    pub(crate) fn handle_needed(&mut self, now: Instant) -> bool {
        self.send_unless(NEEDED_AGAIN_AFTER, now)
    }

    /// Our last relay is gone. Whether to tell the portal now; if not, [`Self::handle_timeout`] will say so later.
    pub(crate) fn handle_lost(&mut self, now: Instant) -> bool {
        let now_is_fine = self.send_unless(LOST_AGAIN_AFTER, now);
        if !now_is_fine {
            self.owed_at = self.sent_at.map(|at| at + LOST_AGAIN_AFTER);
        }
        now_is_fine
    }

    /// A relay came: nothing is owed.
    pub(crate) fn handle_relay(&mut self) {
        self.owed_at = None;
    }

    /// Whether to tell the portal now.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        let due = self.owed_at.is_some_and(|at| at <= now);
        if due {
            self.owed_at = None;
            self.sent_at = Some(now);
        }
        due
    }

    /// When to tell the portal.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.owed_at
    }

    fn send_unless(&mut self, sooner_than: Duration, now: Instant) -> bool {
        let due = self.sent_at.is_none_or(|at| at + sooner_than <= now);
        if due {
            self.sent_at = Some(now);
            self.owed_at = None;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    #[test]
    fn a_need_is_repeated_after_ten_seconds_a_loss_after_one() {
        let start = start();
        let at = |ms| start + Duration::from_millis(ms);
        let mut plea = RelayPlea::default();

        assert!(plea.handle_needed(at(0)));
        assert!(!plea.handle_needed(at(9_999)));
        assert!(plea.handle_needed(at(10_000)));

        assert!(!plea.handle_lost(at(10_500)));
        assert_eq!(plea.poll_timeout(), Some(at(11_000)));
        assert!(plea.handle_timeout(at(11_000)));
        assert_eq!(plea.poll_timeout(), None);
        assert!(plea.handle_lost(at(12_000)));
    }

    #[test]
    fn a_relay_that_came_meanwhile_settles_the_debt() {
        let now = start();
        let mut plea = RelayPlea::default();
        assert!(plea.handle_lost(now));
        assert!(!plea.handle_lost(now));

        plea.handle_relay();

        assert!(!plea.handle_timeout(now + LOST_AGAIN_AFTER));
    }
}
