//! How far a session has come: the answer of everything that begins or ends one.

use std::{fmt, time::Duration};

use dbus_api::{Phase, Reason, State};
use serde::Serialize;

use crate::{
    client::Bus,
    failure::Failure,
    output::{SCHEMA, Show, Style, words},
};

/// How far it has come.
#[derive(Debug, Serialize)]
pub(super) struct Session {
    schema: u32,
    state: State,
}

impl Session {
    pub(super) fn is(state: State) -> Self {
        Self { schema: SCHEMA, state }
    }

    /// Whether it has come as far as it can.
    pub(super) fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// A session that has been asked for; if somebody wants to wait, once it is connected.
    pub(super) async fn beginning(bus: &Bus, limit: Option<Duration>) -> Result<Self, Failure> {
        Ok(Self::is(match limit {
            Some(limit) => bus.wait(limit, decide).await??,
            None => bus.phase().await?.state(),
        }))
    }

    /// A session whose end has been asked for; if somebody wants to wait, once it is over.
    pub(super) async fn ending(bus: &Bus, limit: Option<Duration>) -> Result<Self, Failure> {
        Ok(Self::is(match limit {
            Some(limit) => {
                bus.wait(limit, |phase| matches!(phase, Phase::SignedOut(_)).then_some(State::SignedOut)).await?
            }
            None => bus.phase().await?.state(),
        }))
    }
}

/// Whether the sign-in is over, and how.
fn decide(phase: Phase) -> Option<Result<State, Failure>> {
    match phase {
        Phase::Connected => Some(Ok(State::Connected)),
        Phase::SignedOut(Some(cause)) if cause.condemns_token() => {
            Some(Err(Failure::TokenRejected(words::reason(&Reason::from(cause.as_str())).to_owned())))
        }
        Phase::SignedOut(_) => Some(Err(Failure::NotConnected)),
        Phase::WaitingForNetwork(_)
        | Phase::Connecting(_)
        | Phase::Reconnecting(_)
        | Phase::SigningOut
        | Phase::Other { .. } => None,
    }
}

impl Show for Session {
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result {
        writeln!(out, "{}", style.state(&self.state))
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}

#[cfg(test)]
mod tests {
    use dbus_api::SignOutCause;

    use super::*;

    #[test]
    fn only_an_end_ends_the_waiting() {
        for state in [State::Connecting, State::WaitingForNetwork, State::Reconnecting, State::SigningOut] {
            assert!(decide(Phase::new(&state, None)).is_none(), "{state}");
        }
        assert!(matches!(decide(Phase::Connected), Some(Ok(State::Connected))));
        let rejected = decide(Phase::SignedOut(Some(SignOutCause::InvalidToken)));
        assert!(matches!(rejected, Some(Err(Failure::TokenRejected(_)))));
        assert!(matches!(decide(Phase::SignedOut(None)), Some(Err(Failure::NotConnected))));
    }
}
