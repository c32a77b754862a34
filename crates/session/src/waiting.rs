//! The state between two attempts to connect.

use std::time::{Duration, Instant};

use dbus_api::{PortalState, State};

use crate::{
    Account, DaemonEvent, HostEvent, Input, Reason, Request, Snapshot,
    next::{Attempt, Next},
};

/// The delay after the first fault of this machine.
const MIN_FAULT_DELAY: Duration = Duration::from_secs(2);
/// The longest delay after a fault of this machine.
const MAX_FAULT_DELAY: Duration = Duration::from_secs(60);
/// The delay after the first refusal of the portal. An immediate retry would be refused, too.
const MIN_REFUSAL_DELAY: Duration = Duration::from_secs(60);
/// The longest delay after a refusal of the portal.
const MAX_REFUSAL_DELAY: Duration = Duration::from_secs(15 * 60);

/// Nothing is open until the delay ends, or until a change may have removed the cause. The token is kept.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) account: Account,
    reason: Reason,
    failures: u32,
    pub(super) until: Instant,
}

impl Waiting {
    /// `earlier_failures` is the number of failures in a row before this one.
    pub(super) fn new(account: Account, reason: Reason, earlier_failures: u32, now: Instant) -> Self {
        let failures = earlier_failures.saturating_add(1);
        let until = now + delay(&reason, failures);
        Self { account, reason, failures, until }
    }

    pub(super) fn handle(&mut self, input: Input) -> Option<Next> {
        match input {
            // A user who signs in does not have to wait, even with the same token.
            Input::Daemon(DaemonEvent::Start(account)) | Input::Request(_, Request::SignIn { account, .. }) => {
                Some(Next::Connect(Attempt::first(account)))
            }
            Input::Timeout => Some(self.retry(self.failures)),
            Input::Daemon(DaemonEvent::Reset)
            | Input::Request(_, Request::Reset)
            | Input::Host(HostEvent::NetworkChanged | HostEvent::CaptivePortal(false)) => Some(self.retry(0)),
            Input::Request(_, Request::SignOut { .. }) => Some(Next::SignedOut(None)),
            Input::Daemon(DaemonEvent::Stop) => Some(Next::Stop),
            _ => None,
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            state: State::Connecting,
            reason: Some(self.reason.clone()),
            account_slug: self.account.slug.clone(),
            actor_name: self.account.actor.clone(),
            portal: PortalState::Away,
            portal_error: Some(self.reason.clone()),
            ..Snapshot::default()
        }
    }

    fn retry(&self, failures: u32) -> Next {
        Next::Connect(Attempt { account: self.account.clone(), failures, last_failure: Some(self.reason.clone()) })
    }
}

/// The delay after the `failures`-th failure in a row: doubled each time, within limits.
fn delay(reason: &Reason, failures: u32) -> Duration {
    let (min, max) =
        if reason.is_refusal() { (MIN_REFUSAL_DELAY, MAX_REFUSAL_DELAY) } else { (MIN_FAULT_DELAY, MAX_FAULT_DELAY) };
    let doublings = failures.saturating_sub(1).min(16);
    min.saturating_mul(1 << doublings).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_retried_soon_and_refusals_slowly() {
        let seconds = |reason: &Reason| [1, 2, 3, 5, 6, 40].map(|failures| delay(reason, failures).as_secs());
        assert_eq!(seconds(&Reason::TunBusy), [2, 4, 8, 32, 60, 60]);
        assert_eq!(seconds(&Reason::InvalidToken), [60, 120, 240, 900, 900, 900]);
    }
}
