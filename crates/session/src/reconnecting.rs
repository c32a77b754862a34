//! The portal is away.

use super::{
    Account, Context, Input, State,
    connected::Connected,
    live::{Live, Outcome},
};
use crate::snapshot::Snapshot;

/// The portal is away, for as long as it takes. The tunnel and the host's configuration stay as they are: what is
/// connected goes on.
#[derive(Debug)]
pub(super) struct Reconnecting(Live);

impl Reconnecting {
    pub(super) fn new(live: Live) -> Self {
        Self(live)
    }

    pub(super) fn handle(self, input: Input, cx: &mut Context) -> State {
        match self.0.handle(input, cx) {
            Outcome::On(live) if live.is_joined() => State::Connected(Connected::new(live, cx)),
            Outcome::On(live) => State::Reconnecting(Self(live)),
            Outcome::Off(state) => state,
        }
    }

    pub(super) fn account(&self) -> &Account {
        self.0.account()
    }

    pub(super) fn view(&self) -> Snapshot {
        self.0.view(dbus_api::State::Reconnecting)
    }
}
