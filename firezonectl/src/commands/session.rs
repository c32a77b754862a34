//! How far a session has come: the answer of everything that begins or ends one.

use std::{fmt, time::Duration};

use dbus_api::State;
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
            None => bus.state().await?.0,
        }))
    }

    /// A session whose end has been asked for; if somebody wants to wait, once it is over.
    pub(super) async fn ending(bus: &Bus, limit: Option<Duration>) -> Result<Self, Failure> {
        Ok(Self::is(match limit {
            Some(limit) => bus.wait(limit, |state, _| (state == State::SignedOut).then_some(state)).await?,
            None => bus.state().await?.0,
        }))
    }
}

/// Whether the sign-in is over, and how.
fn decide(state: State, reason: &str) -> Option<Result<State, Failure>> {
    match (&state, reason) {
        (State::Connected, _) => Some(Ok(state)),
        (State::SignedOut, "invalid_token" | "missing_token" | "token_expired") => {
            Some(Err(Failure::TokenRejected(words::reason(reason).to_owned())))
        }
        (State::SignedOut, _) => Some(Err(Failure::NotConnected)),
        _ => None,
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
    use super::*;

    #[test]
    fn only_an_end_ends_the_waiting() {
        for state in [State::Connecting, State::WaitingForNetwork, State::Reconnecting, State::SigningOut] {
            assert!(decide(state.clone(), "").is_none(), "{state}");
        }
        assert!(matches!(decide(State::Connected, ""), Some(Ok(State::Connected))));
        assert!(matches!(decide(State::SignedOut, "invalid_token"), Some(Err(Failure::TokenRejected(_)))));
        assert!(matches!(decide(State::SignedOut, ""), Some(Err(Failure::NotConnected))));
    }
}
