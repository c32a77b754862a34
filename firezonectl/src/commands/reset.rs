//! `reset`: rebuilds all connections.

use super::{Surroundings, Wait, session::Session};
use crate::failure::Failure;

/// Shown below the options.
pub(super) const HELP: &str = "\
The daemon does this by itself when the network changes. Without a session nothing happens.

Example: firezonectl reset --wait";

/// What was typed after `reset`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    wait: Wait,
}

pub(super) async fn run(args: &Args, around: &Surroundings<'_>) -> Result<Session, Failure> {
    let bus = around.commanding()?;
    bus.reset().await?;
    Session::beginning(bus, args.wait.limit()).await
}
