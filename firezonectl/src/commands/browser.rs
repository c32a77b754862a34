//! Signing in with a browser, for somebody at a terminal: a page to open, and what to paste from it.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use portal::sign_in::{self, AuthUrl, Callback, Outcome, SignIn, SignedIn};
use rand::TryRngCore as _;
use zeroize::Zeroizing;

use crate::{callback::Waiter, failure::Failure, token};

/// How somebody wants to come to a token.
#[derive(Clone, Debug)]
pub(super) struct Wish<'a> {
    pub(super) auth_url: &'a AuthUrl,
    pub(super) account_slug: Option<&'a str>,
    /// Whether the page shall call back: then the desktop app hands its address over, or it is pasted.
    pub(super) callback: bool,
    /// Whether a browser may be opened.
    pub(super) open: bool,
}

/// Asks for a token, or for the address that a browser was called back with, which the desktop app may also hand over.
pub(super) async fn ask(wish: &Wish<'_>) -> Result<SignedIn, Failure> {
    if !wish.callback {
        let page = wish.auth_url.paste_page(wish.account_slug).to_string();
        if wish.open {
            open(&page);
        }
        let intro = format!("Open this page, sign in, and paste the token that it shows:\n\n  {page}\n\nToken: ");
        return understand(&text(token::from_terminal(&intro).await?)?, SignIn::default());
    }
    let mut waiter = Waiter::begin().await;
    let mut attempt = SignIn::default();
    let mut rng = rand::rngs::OsRng.unwrap_err();
    let page = attempt.begin(wish.auth_url, wish.account_slug, Instant::now(), &mut rng);
    let by_itself = if waiter.is_some() { ", unless it goes on by itself," } else { "" };
    let intro = Zeroizing::new(format!(
        "Open this page, sign in, and{by_itself} paste the address with which it ends\n\
         (it begins with {}:):\n\n  {}\n\nAddress: ",
        sign_in::SCHEME,
        page.expose()
    ));
    let handed_over = async {
        match &mut waiter {
            Some(waiter) => waiter.address().await,
            None => std::future::pending().await,
        }
    };
    let answer = async {
        tokio::select! {
            address = handed_over => Ok(address),
            pasted = token::from_terminal(&intro) => text(pasted?),
        }
    };
    let answer = tokio::time::timeout(sign_in::SIGN_IN_TIMEOUT, answer).await.map_err(|_| Failure::TimedOut)??;
    understand(&answer, attempt)
}

fn text(pasted: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, Failure> {
    let text = std::str::from_utf8(&pasted).map_err(|_| Failure::rejected("it is not text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// A callback, if it looks like one; else a token.
fn understand(pasted: &str, mut attempt: SignIn) -> Result<SignedIn, Failure> {
    if !pasted.trim_start().starts_with(sign_in::SCHEME) {
        let token = sign_in::pasted_token(pasted).map_err(|error| Failure::rejected(&error.to_string()))?;
        return Ok(SignedIn { token, actor_name: String::new(), account_slug: String::new() });
    }
    let callback: Callback = pasted.parse().map_err(|error| Failure::rejected(&format!("{error}")))?;
    match attempt.handle_callback(callback) {
        Outcome::SignedIn(signed_in) => Ok(signed_in),
        Outcome::Ignored => Err(Failure::rejected("the address is for a sign-in with --callback")),
        Outcome::Aborted => {
            Err(Failure::rejected("the address belongs to another sign-in; somebody may be trying something"))
        }
    }
}

/// Opens a page that is no secret: everybody can read arguments. Whether it opens is seen by who sits before it.
fn open(page: &str) {
    let has_desktop = ["WAYLAND_DISPLAY", "DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if has_desktop {
        let mut browser = Command::new("xdg-open");
        browser.arg(page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        drop(browser.spawn());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin() -> (SignIn, String) {
        let mut attempt = SignIn::default();
        let auth: AuthUrl = "https://app.firezone.dev".parse().unwrap();
        let mut rng = rand::rngs::OsRng.unwrap_err();
        let page = attempt.begin(&auth, Some("acme"), Instant::now(), &mut rng);
        let state = page.expose().split("state=").nth(1).unwrap().to_owned();
        (attempt, state)
    }

    fn callback(state: &str) -> String {
        format!(
            "firezone-fd0020211111://handle_client_sign_in_callback/?account_slug=acme&actor_name=Anna+A&fragment=.f&state={state}"
        )
    }

    #[test]
    fn a_token_is_taken_as_it_is() {
        let signed_in = understand(" .fragment\n", SignIn::default()).unwrap();
        assert_eq!(signed_in.token.expose(), ".fragment");
        assert_eq!(understand(" \n", SignIn::default()).unwrap_err().code(), 8);
    }

    #[test]
    fn a_callback_must_be_the_answer_to_our_question() {
        let (attempt, state) = begin();
        let signed_in = understand(&callback(&state), attempt).unwrap();
        assert!(signed_in.token.expose().ends_with(".f") && signed_in.token.expose().len() == 66);
        assert_eq!((signed_in.actor_name.as_str(), signed_in.account_slug.as_str()), ("Anna A", "acme"));

        let (attempt, _) = begin();
        assert_eq!(understand(&callback("0"), attempt).unwrap_err().code(), 8);
        assert_eq!(understand(&callback(&state), SignIn::default()).unwrap_err().code(), 8);
    }
}
