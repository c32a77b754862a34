//! `sign-out`: ends the session.

use std::fmt;

use dbus_api::State;
use serde::Serialize;

use super::Wait;
use crate::{
    client::Daemon,
    failure::Failure,
    output::{SCHEMA, Show, Style},
};

/// Shown below the options.
pub(super) const HELP: &str = "\
Signing out when nobody is signed in is fine.

Example: firezonectl sign-out --wait";

/// What was typed after `sign-out`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    wait: Wait,
}

/// How far the end has come.
#[derive(Debug, Serialize)]
pub(super) struct SignedOut {
    schema: u32,
    state: &'static str,
}

pub(super) async fn run(args: &Args, daemon: &Daemon) -> Result<SignedOut, Failure> {
    let bus = daemon.commanding()?;
    bus.sign_out().await?;
    let state = match args.wait.limit() {
        Some(limit) => bus.wait(limit, |state, _| (state == State::SignedOut).then_some(state)).await?,
        None => bus.state().await?.0,
    };
    Ok(SignedOut { schema: SCHEMA, state: state.as_str() })
}

impl Show for SignedOut {
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result {
        writeln!(out, "{}", style.state(State::from(self.state)))
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}
