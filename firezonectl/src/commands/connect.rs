//! `connect`: signs in with the token that is kept in the user's keyring.

use dbus_api::SignInOptions;

use super::{Surroundings, Wait, kept, session::Session};
use crate::{failure::Failure, token};

/// Shown below the options.
pub(super) const HELP: &str = "\
A token is kept by `firezonectl sign-in --remember`, and by the desktop app.

Example: firezonectl connect --wait";

/// What was typed after `connect`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    wait: Wait,
}

pub(super) async fn run(args: &Args, around: &mut Surroundings<'_>) -> Result<Session, Failure> {
    around.commanding()?;
    let nothing = || Failure::NotFound("no token is kept (try: firezonectl sign-in --remember)".to_owned());
    let kept = kept::read(around).await.ok_or_else(nothing)?;
    let bus = around.commanding()?;
    let options = SignInOptions { account_slug: kept.account_slug.clone(), actor_name: kept.actor_name.clone() };
    bus.sign_in(token::seal(kept.token.as_bytes())?, options).await?;
    let session = Session::beginning(bus, args.wait.limit()).await?;
    if session.is_connected() {
        kept::take_over(around, &kept).await;
    }
    Ok(session)
}
