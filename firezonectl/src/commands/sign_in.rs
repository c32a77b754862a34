//! `sign-in`: hands a token to the daemon.

use dbus_api::SignInOptions;
use keyring::StoredToken;
use portal::sign_in::AuthUrl;
use zeroize::Zeroizing;

use super::{
    Surroundings, Wait,
    browser::{self, Wish},
    kept,
    session::Session,
};
use crate::{client::Bus, failure::Failure, token};

/// Shown below the options.
pub(super) const HELP: &str = "\
Without --token-stdin a page is opened or shown, and you paste the token that it shows; it is not shown here.

Example: firezonectl sign-in --token-stdin --wait < token";

/// Where people sign in, if nobody says anything else.
const AUTH_URL: &str = "https://app.firezone.dev";

/// What was typed after `sign-in`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Read the token from standard input
    #[arg(long)]
    token_stdin: bool,

    /// Let the page call back, through the desktop app or a pasted address, instead of showing a token
    #[arg(long, conflicts_with = "token_stdin")]
    callback: bool,

    /// Only show the page to sign in at
    #[arg(long)]
    no_browser: bool,

    /// Where people sign in, if not where the daemon's settings say
    #[arg(long, value_name = "URL")]
    auth_url: Option<AuthUrl>,

    /// The account, as in the address of its sign-in page
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
    let kept = token(args, bus).await?;
    let options = SignInOptions { account_slug: kept.account_slug.clone(), actor_name: kept.actor_name.clone() };
    bus.sign_in(token::seal(kept.token.as_bytes())?, options).await?;
    let session = Session::beginning(bus, args.wait.limit()).await;
    // A token that the portal has refused is worth nothing.
    if args.remember && !matches!(session, Err(Failure::TokenRejected(_))) {
        kept::keep(around, &kept).await;
        if session.as_ref().is_ok_and(Session::is_connected) {
            kept::take_over(around, &kept).await;
        }
    }
    session
}

/// The token, and whom it signs in: as the browser says, or else as was typed.
async fn token(args: &Args, bus: &Bus) -> Result<StoredToken, Failure> {
    let typed = (args.account_slug.clone(), args.actor_name.clone());
    if args.token_stdin {
        let text = token::from_stdin()?;
        let text = std::str::from_utf8(text.trim_ascii());
        let text = text.map_err(|_| Failure::TokenRejected("it is not text".to_owned()))?;
        return Ok(StoredToken { token: Zeroizing::new(text.to_owned()), account_slug: typed.0, actor_name: typed.1 });
    }
    let auth_url = match &args.auth_url {
        Some(url) => url.clone(),
        None => auth_url(bus).await?,
    };
    let wish = Wish {
        auth_url: &auth_url,
        account_slug: args.account_slug.as_deref(),
        callback: args.callback,
        open: !args.no_browser,
    };
    let signed_in = browser::ask(&wish).await?;
    let said = |text: String| (!text.is_empty()).then_some(text);
    Ok(StoredToken {
        token: Zeroizing::new(signed_in.token.expose().to_owned()),
        account_slug: said(signed_in.account_slug).or(typed.0),
        actor_name: said(signed_in.actor_name).or(typed.1),
    })
}

/// Where people sign in: as the daemon was told, which only root can do.
async fn auth_url(bus: &Bus) -> Result<AuthUrl, Failure> {
    let said = bus.settings().await?.remove("auth-url").map(|it| it.value).filter(|it| !it.is_empty());
    let url = said.as_deref().unwrap_or(AUTH_URL).parse();
    url.map_err(|error| Failure::Failed(format!("the daemon's setting auth-url is no address: {error}")))
}
