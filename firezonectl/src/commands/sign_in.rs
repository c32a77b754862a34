//! `sign-in`: hands a token to the daemon.

use std::fmt;

use dbus_api::{SignInOptions, State};
use serde::Serialize;

use super::Wait;
use crate::{
    client::Daemon,
    failure::Failure,
    output::{SCHEMA, Show, Style, words},
    token,
};

/// Shown below the options.
pub(super) const HELP: &str = "\
Without --token-stdin you are asked for the token; what you type is not shown.

Example: firezonectl sign-in --token-stdin --wait < token";

/// What was typed after `sign-in`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Read the token from standard input
    #[arg(long)]
    token_stdin: bool,

    /// The account, as in the address of its sign-in page; for display
    #[arg(long, alias = "account", value_name = "SLUG")]
    account_slug: Option<String>,

    /// Who signs in; for display
    #[arg(long, alias = "actor", value_name = "NAME")]
    actor_name: Option<String>,

    #[command(flatten)]
    wait: Wait,
}

/// How far the session has come.
#[derive(Debug, Serialize)]
pub(super) struct SignedIn {
    schema: u32,
    state: &'static str,
}

pub(super) async fn run(args: &Args, daemon: &Daemon) -> Result<SignedIn, Failure> {
    let bus = daemon.commanding()?;
    let token = if args.token_stdin { token::from_stdin() } else { token::from_terminal() }?;
    let options = SignInOptions { account_slug: args.account_slug.clone(), actor_name: args.actor_name.clone() };
    bus.sign_in(token, options).await?;
    let state = match args.wait.limit() {
        Some(limit) => bus.wait(limit, decide).await??,
        None => bus.state().await?.0,
    };
    Ok(SignedIn { schema: SCHEMA, state: state.as_str() })
}

/// Whether the sign-in is over, and how.
fn decide(state: State, reason: &str) -> Option<Result<State, Failure>> {
    match (state, reason) {
        (State::Connected, _) => Some(Ok(state)),
        (State::SignedOut, "invalid_token" | "missing_token" | "token_expired") => {
            Some(Err(Failure::TokenRejected(words::reason(reason).to_owned())))
        }
        (State::SignedOut, _) => Some(Err(Failure::NotConnected)),
        _ => None,
    }
}

impl Show for SignedIn {
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result {
        writeln!(out, "{}", style.state(State::from(self.state)))
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
            assert!(decide(state, "").is_none(), "{state}");
        }
        assert!(matches!(decide(State::Connected, ""), Some(Ok(State::Connected))));
        assert!(matches!(decide(State::SignedOut, "invalid_token"), Some(Err(Failure::TokenRejected(_)))));
        assert!(matches!(decide(State::SignedOut, ""), Some(Err(Failure::NotConnected))));
    }
}
