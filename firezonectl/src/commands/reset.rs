//! `reset`: rebuilds all connections.

use super::{Surroundings, session::Session};
use crate::failure::Failure;

/// Shown below the options.
pub(super) const HELP: &str = "\
The daemon does this by itself when the network changes. Without a session nothing happens.

Example: firezonectl reset";

/// What was typed after `reset`.
#[derive(clap::Args, Debug)]
pub struct Args {}

pub(super) async fn run(_args: &Args, around: &Surroundings<'_>) -> Result<Session, Failure> {
    let bus = around.commanding()?;
    bus.reset().await?;
    Ok(Session::is(bus.state().await?.0))
}
