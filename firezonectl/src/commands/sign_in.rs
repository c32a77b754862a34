//! `sign-in`: hands a token to the daemon.

use dbus_api::SignInOptions;
use keyring::Kept;
use zeroize::Zeroizing;

use super::{Surroundings, Wait, kept, session::Session};
use crate::{failure::Failure, token};

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

    /// Keep the token in your keyring, for `connect` and the desktop app
    #[arg(long)]
    remember: bool,

    #[command(flatten)]
    wait: Wait,
}

pub(super) async fn run(args: &Args, around: &mut Surroundings<'_>) -> Result<Session, Failure> {
    let bus = around.commanding()?;
    let text = if args.token_stdin { token::from_stdin() } else { token::from_terminal() }?;
    let options = SignInOptions { account_slug: args.account_slug.clone(), actor_name: args.actor_name.clone() };
    bus.sign_in(token::seal(&text)?, options).await?;
    let session = Session::beginning(bus, args.wait.limit()).await;
    // A token that the portal has refused is worth nothing.
    if args.remember && !matches!(session, Err(Failure::TokenRejected(_))) {
        let token = String::from_utf8(text.trim_ascii().to_vec()).map(Zeroizing::new);
        let token = token.map_err(|_| Failure::TokenRejected("it is not text".to_owned()))?;
        let (account_slug, actor_name) = (args.account_slug.clone(), args.actor_name.clone());
        kept::keep(around, &Kept { token, account_slug, actor_name }).await;
    }
    session
}
