//! The session cannot be had just now.

use std::time::{Duration, Instant};

use dbus_api::PortalState;

use super::{Account, Context, Input, Reason, Request, State, ending::Next, signed_out};
use crate::snapshot::Snapshot;

/// The first pause after a fault of this machine.
const SHORTEST_AFTER_FAULT: Duration = Duration::from_secs(2);
/// The longest pause after a fault of this machine.
const LONGEST_AFTER_FAULT: Duration = Duration::from_secs(60);
/// The first pause after a refusal of the portal. It has said no; asking again at once is no help.
const SHORTEST_AFTER_REFUSAL: Duration = Duration::from_secs(60);
/// The longest pause after a refusal of the portal.
const LONGEST_AFTER_REFUSAL: Duration = Duration::from_secs(15 * 60);

/// Nothing is open and nothing is tried until a time, or until something changes that could help. The token is kept.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) account: Account,
    why: Reason,
    failures: u32,
    pub(super) until: Instant,
}

impl Waiting {
    /// `failures` is how often in a row this has happened before.
    pub(super) fn new(account: Account, why: Reason, failures: u32, cx: &Context) -> Self {
        let failures = failures.saturating_add(1);
        let until = cx.now + pause(&why, failures);
        Self { account, why, failures, until }
    }

    pub(super) fn handle(self, input: Input, cx: &mut Context) -> State {
        match input {
            Input::Begin(account) => signed_out::begin(account, cx),
            Input::TimeIsUp => signed_out::begin_again(self.account, self.failures, Some(self.why), cx),
            Input::Reset | Input::NetworkChanged | Input::CaptivePortal(false) => {
                signed_out::begin_again(self.account, 0, Some(self.why), cx)
            }
            Input::Request(Request::Reset(reply)) => {
                reply.accept();
                signed_out::begin_again(self.account, 0, Some(self.why), cx)
            }
            // Whoever signs in does not want to wait, be it with the same token.
            Input::Request(Request::SignIn(account, reply)) => {
                cx.asked_by = reply.asker();
                reply.accept();
                signed_out::begin(account, cx)
            }
            Input::Request(Request::SignOut(reply)) => {
                reply.accept();
                Next::SignedOut(None).state(cx)
            }
            Input::Request(Request::SetInternetResource(on, reply)) => {
                cx.internet_resource = on;
                reply.accept();
                State::Waiting(self)
            }
            Input::ResolversChanged(resolvers) => {
                cx.learn_resolvers(resolvers);
                State::Waiting(self)
            }
            Input::Stop => State::Stopped,
            _ => State::Waiting(self),
        }
    }

    pub(super) fn view(&self) -> Snapshot {
        Snapshot {
            state: dbus_api::State::Connecting,
            reason: Some(self.why.clone()),
            account_slug: self.account.slug.clone(),
            actor_name: self.account.actor.clone(),
            portal: PortalState::Away,
            portal_error: Some(self.why.clone()),
            ..Snapshot::default()
        }
    }
}

/// The pause before the attempt after the `failures`-th failure in a row: doubled each time, within limits.
fn pause(why: &Reason, failures: u32) -> Duration {
    let (shortest, longest) = if why.is_refusal() {
        (SHORTEST_AFTER_REFUSAL, LONGEST_AFTER_REFUSAL)
    } else {
        (SHORTEST_AFTER_FAULT, LONGEST_AFTER_FAULT)
    };
    let doublings = failures.saturating_sub(1).min(16);
    shortest.saturating_mul(1 << doublings).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_retried_soon_and_refusals_slowly() {
        let seconds = |why: &Reason| [1, 2, 3, 5, 6, 40].map(|failures| pause(why, failures).as_secs());
        assert_eq!(seconds(&Reason::TunBusy), [2, 4, 8, 32, 60, 60]);
        assert_eq!(seconds(&Reason::InvalidToken), [60, 120, 240, 900, 900, 900]);
    }
}
