//! A session begins.

use super::{
    Account, Context, Input, Reason, State,
    connected::Connected,
    live::{Live, Outcome},
};
use crate::snapshot::Snapshot;

/// The tunnel, the portal or the host is not ready yet. Ends when all three are.
#[derive(Debug)]
pub(super) struct Connecting(Live);

impl Connecting {
    pub(super) fn new(account: Account, failures: u32, because: Option<Reason>) -> Self {
        Self(Live::new(account, failures, because))
    }

    pub(super) fn handle(self, input: Input, cx: &mut Context) -> State {
        match self.0.handle(input, cx) {
            Outcome::On(live) if live.is_joined() && live.is_configured() => State::Connected(Connected::new(live, cx)),
            Outcome::On(live) => State::Connecting(Self(live)),
            Outcome::Off(state) => state,
        }
    }

    pub(super) fn account(&self) -> &Account {
        self.0.account()
    }

    pub(super) fn view(&self) -> Snapshot {
        self.0.view(dbus_api::State::Connecting)
    }
}
