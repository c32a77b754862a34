//! `sign-out`: ends the session and forgets the token.

use super::{Surroundings, Wait, kept, session::Session};
use crate::failure::Failure;

/// Shown below the options.
pub(super) const HELP: &str = "\
A token that is kept in your keyring is forgotten; `firezonectl disconnect` keeps it.
Signing out when nobody is signed in is fine.

Example: firezonectl sign-out --wait";

/// What was typed after `sign-out`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    wait: Wait,
}

pub(super) async fn run(args: &Args, around: &mut Surroundings<'_>) -> Result<Session, Failure> {
    around.commanding()?.sign_out().await?;
    kept::forget(around).await;
    Session::ending(around.commanding()?, args.wait.limit()).await
}
