//! All is well.

use super::{
    Account, Context, Input, State,
    live::{Live, Outcome},
    reconnecting::Reconnecting,
};
use crate::snapshot::Snapshot;

/// The portal is joined and the host is configured.
#[derive(Debug)]
pub(super) struct Connected(Live);

impl Connected {
    pub(super) fn new(mut live: Live, cx: &Context) -> Self {
        live.is_well(cx);
        Self(live)
    }

    pub(super) fn handle(self, input: Input, cx: &mut Context) -> State {
        match self.0.handle(input, cx) {
            Outcome::On(live) if live.is_joined() => State::Connected(Self(live)),
            Outcome::On(live) => State::Reconnecting(Reconnecting::new(live)),
            Outcome::Off(state) => state,
        }
    }

    pub(super) fn account(&self) -> &Account {
        self.0.account()
    }

    pub(super) fn view(&self) -> Snapshot {
        self.0.view(dbus_api::State::Connected)
    }
}
