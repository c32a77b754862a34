//! How a person proves who they are: in a browser, which then calls back; or by pasting what the browser shows.
//!
//! The browser is sent to the portal with two numbers that nobody else knows. The *state* comes back and shows that the
//! answer belongs to our question; the *nonce* never leaves this machine again and becomes the first half of the token, so
//! that whoever steals the callback has only the other half.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, Instant},
};

use ::url::Url;
use model::Secret;
use rand::CryptoRng;
use subtle::ConstantTimeEq as _;

/// How long a person may take. Errors are shown in the browser only and never called back, so without a limit an attempt
/// that failed there would wait for ever.
pub const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// The scheme of the callback.
pub const SCHEME: &str = "firezone-fd0020211111";

/// The host of the callback.
const HOST: &str = "handle_client_sign_in_callback";

/// More than any callback has; a longer text is not looked at.
const LONGEST_CALLBACK: usize = 64 << 10;

/// Where people sign in: `https` or `http`, and a host.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthUrl(Url);

/// A text that cannot be the address where people sign in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidAuthUrl {
    /// Not a URL.
    #[error("not a URL")]
    NotAUrl,
    /// Some scheme that browsers do not open for this.
    #[error("the scheme must be https or http")]
    Scheme,
}

/// The attempts of one front end to sign in with a browser, of which at most one is under way.
///
/// Driving it: [`begin`](Self::begin) gives the address to open; what the browser calls back goes to
/// [`handle_callback`](Self::handle_callback); call [`handle_timeout`](Self::handle_timeout) when
/// [`poll_timeout`](Self::poll_timeout) is due.
#[derive(Debug, Default)]
pub struct SignIn(Option<Attempt>);

#[derive(Debug)]
struct Attempt {
    nonce: Secret,
    state: Secret,
    deadline: Instant,
}

/// What came of a callback.
#[derive(Debug)]
pub enum Outcome {
    /// Nobody is waiting for one. It may be an old one, or somebody else's.
    Ignored,
    /// It is not the answer to our question. The attempt is over; somebody may be trying something.
    Aborted,
    /// The person is who they say.
    SignedIn(SignedIn),
}

/// Everything that a callback tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedIn {
    /// What the portal knows the person by.
    pub token: Secret,
    /// What the person is called.
    pub actor_name: String,
    /// What the account is called in addresses; to be used for the next attempt.
    pub account_slug: String,
}

/// What the browser calls back with.
#[derive(Clone, Debug)]
pub struct Callback {
    account_slug: String,
    actor_name: String,
    fragment: Secret,
    state: Secret,
}

/// A text that is not a callback.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidCallback {
    /// Not a URL of our scheme.
    #[error("not an address that begins with {SCHEME}:")]
    NotOurs,
    /// Of our scheme, but for something else.
    #[error("not the end of a sign-in")]
    SomethingElse,
    /// A parameter is missing.
    #[error("the parameter {0} is missing")]
    Missing(&'static str),
    /// A parameter is there more than once, so that nobody knows which one counts.
    #[error("the parameter {0} is there more than once")]
    Repeated(&'static str),
}

/// What was pasted is nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the token is empty")]
pub struct EmptyToken;

impl SignIn {
    /// Starts an attempt, in place of any other one. The result is the address to open, which is secret: it holds the nonce.
    pub fn begin(
        &mut self,
        auth: &AuthUrl,
        account_slug: Option<&str>,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Secret {
        let attempt = Attempt { nonce: number(rng), state: number(rng), deadline: now + PATIENCE };
        let mut url = auth.page(account_slug);
        url.query_pairs_mut()
            .append_pair("as", "gui-client")
            .append_pair("nonce", attempt.nonce.expose())
            .append_pair("state", attempt.state.expose());
        self.0 = Some(attempt);
        Secret::from(url.as_str())
    }

    /// Gives the attempt up.
    pub fn cancel(&mut self) {
        self.0 = None;
    }

    /// Whether somebody is expected to come back from the browser.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.0.is_some()
    }

    /// The browser has called back. Whatever comes of it, the attempt is over.
    pub fn handle_callback(&mut self, callback: Callback) -> Outcome {
        let Some(attempt) = self.0.take() else {
            tracing::debug!("ignoring the end of a sign-in that nobody has begun");
            return Outcome::Ignored;
        };
        let is_ours: bool = attempt.state.expose().as_bytes().ct_eq(callback.state.expose().as_bytes()).into();
        if !is_ours {
            return Outcome::Aborted;
        }
        let mut token = zeroize::Zeroizing::new(String::with_capacity(
            attempt.nonce.expose().len() + callback.fragment.expose().len(),
        ));
        token.push_str(attempt.nonce.expose());
        token.push_str(callback.fragment.expose());
        Outcome::SignedIn(SignedIn {
            token: Secret::from(token.as_str()),
            actor_name: callback.actor_name,
            account_slug: callback.account_slug,
        })
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) announced has come, or may have. Says whether an attempt was
    /// given up.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        self.0.take_if(|attempt| now >= attempt.deadline).is_some()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.0.as_ref().map(|attempt| attempt.deadline)
    }
}

impl AuthUrl {
    /// The page that shows a token to paste, for machines without a browser that could call back.
    #[must_use]
    pub fn paste_page(&self, account_slug: Option<&str>) -> Url {
        let mut url = self.page(account_slug);
        url.query_pairs_mut().append_pair("as", "headless-client");
        url
    }

    /// The account's page; without an account the page where it is chosen.
    fn page(&self, account_slug: Option<&str>) -> Url {
        let mut url = self.0.clone();
        if let Some(slug) = account_slug.map(str::trim).filter(|slug| !slug.is_empty())
            && let Ok(mut segments) = url.path_segments_mut()
        {
            segments.clear().push(slug);
        }
        url
    }
}

/// The token in a pasted text.
pub fn pasted_token(text: &str) -> Result<Secret, EmptyToken> {
    match text.trim() {
        "" => Err(EmptyToken),
        token => Ok(Secret::from(token)),
    }
}

impl FromStr for AuthUrl {
    type Err = InvalidAuthUrl;

    fn from_str(text: &str) -> Result<Self, InvalidAuthUrl> {
        let mut url = Url::parse(text.trim()).map_err(|_| InvalidAuthUrl::NotAUrl)?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(InvalidAuthUrl::Scheme);
        }
        url.set_query(None);
        url.set_fragment(None);
        // Nobody needs them, and they would be shown.
        url.set_username("").map_err(|()| InvalidAuthUrl::NotAUrl)?;
        url.set_password(None).map_err(|()| InvalidAuthUrl::NotAUrl)?;
        Ok(Self(url))
    }
}

impl fmt::Display for AuthUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl fmt::Debug for AuthUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Callback {
    type Err = InvalidCallback;

    fn from_str(text: &str) -> Result<Self, InvalidCallback> {
        let text = text.trim();
        let url = Some(text).filter(|text| text.len() <= LONGEST_CALLBACK).and_then(|text| Url::parse(text).ok());
        let url = url.filter(|url| url.scheme() == SCHEME).ok_or(InvalidCallback::NotOurs)?;
        // Browsers differ about the path.
        if url.host_str() != Some(HOST) || !matches!(url.path(), "" | "/") {
            return Err(InvalidCallback::SomethingElse);
        }
        let once = |name| {
            let mut values = url.query_pairs().filter(|(key, _)| key == name);
            match (values.next(), values.next()) {
                (Some((_, value)), None) => Ok(zeroize::Zeroizing::new(value.into_owned())),
                (None, _) => Err(InvalidCallback::Missing(name)),
                (Some(_), Some(_)) => Err(InvalidCallback::Repeated(name)),
            }
        };
        Ok(Self {
            account_slug: once("account_slug")?.to_string(),
            actor_name: once("actor_name")?.to_string(),
            fragment: Secret::from(once("fragment")?.as_str()),
            state: Secret::from(once("state")?.as_str()),
        })
    }
}

/// 32 random bytes as hexadecimal text. The portal takes up to 128 characters without a dot.
fn number(rng: &mut impl CryptoRng) -> Secret {
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *bytes);
    let mut text = zeroize::Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes.iter() {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
    }
    Secret::from(text.as_str())
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    #[allow(clippy::disallowed_methods, reason = "any beginning will do")]
    fn start() -> Instant {
        Instant::now()
    }

    fn auth() -> AuthUrl {
        "https://app.example.net".parse().unwrap()
    }

    fn begin(sign_in: &mut SignIn, slug: Option<&str>, rng: &mut StdRng) -> Url {
        Url::parse(sign_in.begin(&auth(), slug, start(), rng).expose()).unwrap()
    }

    fn parameter(url: &Url, name: &str) -> String {
        url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
    }

    fn link(state: &str) -> String {
        format!(
            "{SCHEME}://{HOST}?account_name=Example+Inc&account_slug=example&actor_name=Kim+Doe&fragment=.SFMyNTY.x.y\
             &identity_provider_identifier=kim%40example.net&state={state}"
        )
    }

    #[test]
    fn the_page_is_the_accounts_and_both_numbers_are_fresh_for_each_attempt() {
        let (mut sign_in, mut rng) = (SignIn::default(), StdRng::seed_from_u64(8123));
        let urls = [None, Some("example"), Some("")].map(|slug| begin(&mut sign_in, slug, &mut rng));
        assert_eq!(urls.clone().map(|url| url.path().to_owned()), ["/", "/example", "/"]);
        let mut numbers = std::collections::BTreeSet::new();
        for url in &urls {
            let keys: Vec<_> = url.query_pairs().map(|(key, _)| key.into_owned()).collect();
            assert_eq!(keys, ["as", "nonce", "state"]);
            assert_eq!(parameter(url, "as"), "gui-client");
            for name in ["nonce", "state"] {
                let number = parameter(url, name);
                assert!(
                    number.len() == 64 && number.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it))
                );
                assert!(numbers.insert(number));
            }
        }
    }

    #[test]
    fn an_account_takes_the_place_of_whatever_path_there_was() {
        let auth: AuthUrl = "https://app.example.net/sign/in?x=y#z".parse().unwrap();
        assert_eq!(auth.paste_page(Some("example")).as_str(), "https://app.example.net/example?as=headless-client");
        assert_eq!(auth.paste_page(None).as_str(), "https://app.example.net/sign/in?as=headless-client");
        assert_eq!(auth.paste_page(Some("../a/b")).path(), "/..%2Fa%2Fb");
        for (text, error) in [
            ("ftp://app.example.net", InvalidAuthUrl::Scheme),
            ("javascript:alert(1)", InvalidAuthUrl::Scheme),
            ("app.example.net", InvalidAuthUrl::NotAUrl),
        ] {
            assert_eq!(text.parse::<AuthUrl>(), Err(error), "{text}");
        }
    }

    #[test]
    fn the_token_is_the_nonce_and_what_comes_back() {
        let (mut sign_in, mut rng) = (SignIn::default(), StdRng::seed_from_u64(1));
        let url = begin(&mut sign_in, None, &mut rng);
        let callback = link(&parameter(&url, "state")).parse().unwrap();
        let Outcome::SignedIn(signed_in) = sign_in.handle_callback(callback) else { panic!() };
        assert_eq!(signed_in.token.expose(), format!("{}.SFMyNTY.x.y", parameter(&url, "nonce")));
        assert_eq!((signed_in.account_slug.as_str(), signed_in.actor_name.as_str()), ("example", "Kim Doe"));
        assert!(!sign_in.is_waiting());
    }

    #[test]
    fn a_callback_that_nobody_waits_for_is_ignored() {
        let (mut sign_in, mut rng) = (SignIn::default(), StdRng::seed_from_u64(1));
        let callback = || link("x").parse().unwrap();
        assert!(matches!(sign_in.handle_callback(callback()), Outcome::Ignored));
        begin(&mut sign_in, None, &mut rng);
        sign_in.cancel();
        assert!(matches!(sign_in.handle_callback(callback()), Outcome::Ignored));
    }

    #[test]
    fn another_state_aborts_the_attempt() {
        for state in ["", "0", &"0".repeat(64)] {
            let (mut sign_in, mut rng) = (SignIn::default(), StdRng::seed_from_u64(1));
            let url = begin(&mut sign_in, None, &mut rng);
            assert!(matches!(sign_in.handle_callback(link(state).parse().unwrap()), Outcome::Aborted));
            let right = link(&parameter(&url, "state")).parse().unwrap();
            assert!(matches!(sign_in.handle_callback(right), Outcome::Ignored), "the attempt is over");
        }
    }

    #[test]
    fn a_second_attempt_replaces_the_first() {
        let (mut sign_in, mut rng) = (SignIn::default(), StdRng::seed_from_u64(1));
        let first = begin(&mut sign_in, None, &mut rng);
        begin(&mut sign_in, None, &mut rng);
        let callback = link(&parameter(&first, "state")).parse().unwrap();
        assert!(matches!(sign_in.handle_callback(callback), Outcome::Aborted));
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (mut sign_in, mut rng) = (SignIn::default(), StdRng::seed_from_u64(1));
        let now = start();
        assert_eq!(sign_in.poll_timeout(), None);
        sign_in.begin(&auth(), None, now, &mut rng);
        assert!(!sign_in.handle_timeout(now + PATIENCE - Duration::from_secs(1)));
        assert!(sign_in.handle_timeout(sign_in.poll_timeout().unwrap()));
        assert_eq!((sign_in.is_waiting(), sign_in.poll_timeout()), (false, None));
    }

    #[test]
    fn callbacks_with_and_without_slash_and_with_anything_else_are_read() {
        let plain = link("s");
        for text in [
            plain.clone(),
            plain.replace("callback?", "callback/?"),
            format!("{plain}&future=1&account_name=again"),
            format!(" {plain}\n"),
            plain.replace("Kim+Doe", "Kim%20Doe"),
        ] {
            let callback: Callback = text.parse().unwrap();
            assert_eq!(callback.actor_name, "Kim Doe", "{text}");
            assert_eq!(callback.fragment.expose(), ".SFMyNTY.x.y");
        }
        let empty: Callback = format!("{SCHEME}://{HOST}?account_slug=&actor_name=&fragment=&state=").parse().unwrap();
        assert_eq!((empty.account_slug.as_str(), empty.state.expose()), ("", ""));
    }

    #[test]
    fn everything_else_is_not_a_callback() {
        use InvalidCallback::{Missing, NotOurs, Repeated, SomethingElse};
        let plain = link("s");
        for (text, error) in [
            (plain.replace("&actor_name=Kim+Doe", ""), Missing("actor_name")),
            (plain.replace("account_slug", "account"), Missing("account_slug")),
            (plain.replace("fragment", "part"), Missing("fragment")),
            (plain.replace("state=s", ""), Missing("state")),
            (format!("{plain}&state=s"), Repeated("state")),
            (format!("{plain}&fragment=.x"), Repeated("fragment")),
            (format!("{plain}&actor_name=x"), Repeated("actor_name")),
            (format!("{plain}&account_slug=x"), Repeated("account_slug")),
            (plain.replace(HOST, "sign_out"), SomethingElse),
            (plain.replace("callback?", "callback/more?"), SomethingElse),
            (plain.replace(SCHEME, "https"), NotOurs),
            (plain.replace("://", ":"), SomethingElse),
            ("nonsense".to_owned(), NotOurs),
            (String::new(), NotOurs),
            (format!("{plain}{}", "x".repeat(LONGEST_CALLBACK)), NotOurs),
            (format!("{plain}&x={}", "x".repeat(1 << 20)), NotOurs),
        ] {
            assert_eq!(text.parse::<Callback>().map(|_| ()).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn nothing_here_prints_a_secret() {
        let (mut sign_in, mut rng) = (SignIn::default(), StdRng::seed_from_u64(1));
        let url = begin(&mut sign_in, None, &mut rng);
        let state = parameter(&url, "state");
        let callback: Callback = link(&state).parse().unwrap();
        let shown = format!("{sign_in:?} {callback:?} {:?}", sign_in.handle_callback(callback.clone()));
        for secret in [&state, &parameter(&url, "nonce"), "SFMyNTY"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn a_pasted_token_is_trimmed_and_not_empty() {
        assert_eq!(pasted_token(" .SFMyNTY.x.y \r\n").unwrap().expose(), ".SFMyNTY.x.y");
        assert_eq!(pasted_token(" \n").unwrap_err(), EmptyToken);
    }
}
