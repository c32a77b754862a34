//! `disconnect`: ends the session; a token that is kept stays where it is.

use super::{Surroundings, Wait, session::Session};
use crate::failure::Failure;

/// Shown below the options.
pub(super) const HELP: &str = "\
Disconnecting when there is no connection is fine.

Example: firezonectl disconnect --wait";

/// What was typed after `disconnect`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    wait: Wait,
}

pub(super) async fn run(args: &Args, around: &Surroundings<'_>) -> Result<Session, Failure> {
    let bus = around.commanding()?;
    bus.sign_out().await?;
    Session::ending(bus, args.wait.limit()).await
}
