//! Sign-in of a user in a browser: by a callback URL, or by pasting the token that the browser shows.
//!
//! The sign-in page receives two random secrets. The *state* returns in the callback and proves that the callback belongs
//! to this attempt. The *nonce* does not return and becomes the first part of the token, so a stolen callback alone is
//! useless.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, Instant},
};

use ::url::Url;
use model::Secret;
use rand::CryptoRng;
use subtle::ConstantTimeEq as _;

/// The time that a user has for signing in. The browser shows errors and does not report them, so an attempt without a limit
/// could wait forever.
pub const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// The scheme of the callback URL.
pub const SCHEME: &str = "firezone-fd0020211111";

/// The host of the callback URL.
const HOST: &str = "handle_client_sign_in_callback";

/// Larger than any callback. A longer text is not parsed.
const MAX_CALLBACK_BYTES: usize = 64 << 10;

/// The sign-in URL: `https` or `http`, and a host.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthUrl(Url);

/// Why a text is not a sign-in URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidAuthUrl {
    /// Not a URL.
    #[error("not a URL")]
    NotAUrl,
    /// A scheme other than `https` and `http`.
    #[error("the scheme must be https or http")]
    Scheme,
}

/// The sign-in of one front end with a browser. At most one attempt is in progress.
///
/// [`begin`](Self::begin) returns the URL to open. Pass the callback URL of the browser to
/// [`handle_callback`](Self::handle_callback), and call [`handle_timeout`](Self::handle_timeout) when
/// [`poll_timeout`](Self::poll_timeout) is due.
#[derive(Debug, Default)]
pub struct SignIn(Option<Attempt>);

#[derive(Debug)]
struct Attempt {
    nonce: Secret,
    state: Secret,
    deadline: Instant,
}

/// The result of a callback.
#[derive(Debug)]
pub enum Outcome {
    /// No attempt is in progress. The callback may be an old one, or belong to another program.
    Ignored,
    /// The state does not match. The attempt has ended; this may be an attack.
    Aborted,
    /// The user has signed in.
    SignedIn(SignedIn),
}

/// The result of a successful sign-in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedIn {
    /// The token of the session.
    pub token: Secret,
    /// The display name of the user.
    pub actor_name: String,
    /// The account's name in URLs, to be used for the next attempt.
    pub account_slug: String,
}

/// A parsed callback URL.
#[derive(Clone, Debug)]
pub struct Callback {
    account_slug: String,
    actor_name: String,
    fragment: Secret,
    state: Secret,
}

/// Why a text is not a callback URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidCallback {
    /// Not a URL with [`SCHEME`].
    #[error("not an address that begins with {SCHEME}:")]
    NotACallbackUrl,
    /// The scheme matches, but host or path do not.
    #[error("not the end of a sign-in")]
    NotASignIn,
    /// A parameter is missing.
    #[error("the parameter {0} is missing")]
    MissingParameter(&'static str),
    /// A parameter occurs more than once, so its value is ambiguous.
    #[error("the parameter {0} occurs more than once")]
    RepeatedParameter(&'static str),
}

/// The pasted text contains no token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the token is empty")]
pub struct EmptyToken;

impl SignIn {
    /// Starts an attempt and cancels any other. Returns the URL to open, which is secret because it contains the nonce.
    pub fn begin(
        &mut self,
        auth: &AuthUrl,
        account_slug: Option<&str>,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Secret {
        let attempt = Attempt { nonce: random_hex(rng), state: random_hex(rng), deadline: now + SIGN_IN_TIMEOUT };
        let mut url = auth.page(account_slug);
        url.query_pairs_mut()
            .append_pair("as", "gui-client")
            .append_pair("nonce", attempt.nonce.expose())
            .append_pair("state", attempt.state.expose());
        self.0 = Some(attempt);
        Secret::from(url.as_str())
    }

    /// Cancels the attempt.
    pub fn cancel(&mut self) {
        self.0 = None;
    }

    /// Whether an attempt is in progress.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.0.is_some()
    }

    /// Processes a callback and ends the attempt, whatever the result.
    pub fn handle_callback(&mut self, callback: Callback) -> Outcome {
        let Some(attempt) = self.0.take() else {
            tracing::debug!("ignoring a sign-in callback: no sign-in is in progress");
            return Outcome::Ignored;
        };
        let matches: bool = attempt.state.expose().as_bytes().ct_eq(callback.state.expose().as_bytes()).into();
        if !matches {
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

    /// Cancels the attempt if its time has passed; returns whether it did.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        self.0.take_if(|attempt| now >= attempt.deadline).is_some()
    }

    /// The deadline of the attempt in progress.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.0.as_ref().map(|attempt| attempt.deadline)
    }
}

impl AuthUrl {
    /// The page that shows a token to paste, for machines whose browser cannot open the callback URL.
    #[must_use]
    pub fn paste_page(&self, account_slug: Option<&str>) -> Url {
        let mut url = self.page(account_slug);
        url.query_pairs_mut().append_pair("as", "headless-client");
        url
    }

    /// The sign-in page of the account; without a slug the page where the user selects one.
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

/// Extracts the token from a pasted text.
///
/// # Errors
/// The text contains only whitespace.
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
        // Credentials would be displayed and are never needed.
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
        let url = Some(text).filter(|text| text.len() <= MAX_CALLBACK_BYTES).and_then(|text| Url::parse(text).ok());
        let url = url.filter(|url| url.scheme() == SCHEME).ok_or(InvalidCallback::NotACallbackUrl)?;
        // Some browsers add a slash.
        if url.host_str() != Some(HOST) || !matches!(url.path(), "" | "/") {
            return Err(InvalidCallback::NotASignIn);
        }
        let once = |name| {
            let mut values = url.query_pairs().filter(|(key, _)| key == name);
            match (values.next(), values.next()) {
                (Some((_, value)), None) => Ok(zeroize::Zeroizing::new(value.into_owned())),
                (None, _) => Err(InvalidCallback::MissingParameter(name)),
                (Some(_), Some(_)) => Err(InvalidCallback::RepeatedParameter(name)),
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
fn random_hex(rng: &mut impl CryptoRng) -> Secret {
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

    #[allow(clippy::disallowed_methods, reason = "any start time works")]
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
    fn sign_in_page_is_that_of_the_account_and_secrets_are_fresh() {
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
    fn account_slug_replaces_the_path() {
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
    fn token_is_the_nonce_followed_by_the_fragment() {
        let (mut sign_in, mut rng) = (SignIn::default(), StdRng::seed_from_u64(1));
        let url = begin(&mut sign_in, None, &mut rng);
        let callback = link(&parameter(&url, "state")).parse().unwrap();
        let Outcome::SignedIn(signed_in) = sign_in.handle_callback(callback) else { panic!() };
        assert_eq!(signed_in.token.expose(), format!("{}.SFMyNTY.x.y", parameter(&url, "nonce")));
        assert_eq!((signed_in.account_slug.as_str(), signed_in.actor_name.as_str()), ("example", "Kim Doe"));
        assert!(!sign_in.is_waiting());
    }

    #[test]
    fn unexpected_callback_is_ignored() {
        let (mut sign_in, mut rng) = (SignIn::default(), StdRng::seed_from_u64(1));
        let callback = || link("x").parse().unwrap();
        assert!(matches!(sign_in.handle_callback(callback()), Outcome::Ignored));
        begin(&mut sign_in, None, &mut rng);
        sign_in.cancel();
        assert!(matches!(sign_in.handle_callback(callback()), Outcome::Ignored));
    }

    #[test]
    fn wrong_state_aborts_the_attempt() {
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
    fn sign_in_attempt_times_out() {
        let (mut sign_in, mut rng) = (SignIn::default(), StdRng::seed_from_u64(1));
        let now = start();
        assert_eq!(sign_in.poll_timeout(), None);
        sign_in.begin(&auth(), None, now, &mut rng);
        assert!(!sign_in.handle_timeout(now + SIGN_IN_TIMEOUT - Duration::from_secs(1)));
        assert!(sign_in.handle_timeout(sign_in.poll_timeout().unwrap()));
        assert_eq!((sign_in.is_waiting(), sign_in.poll_timeout()), (false, None));
    }

    #[test]
    fn callbacks_with_slash_and_extra_parameters_are_parsed() {
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
    fn malformed_callbacks_are_rejected() {
        use InvalidCallback::{MissingParameter, NotACallbackUrl, NotASignIn, RepeatedParameter};
        let plain = link("s");
        for (text, error) in [
            (plain.replace("&actor_name=Kim+Doe", ""), MissingParameter("actor_name")),
            (plain.replace("account_slug", "account"), MissingParameter("account_slug")),
            (plain.replace("fragment", "part"), MissingParameter("fragment")),
            (plain.replace("state=s", ""), MissingParameter("state")),
            (format!("{plain}&state=s"), RepeatedParameter("state")),
            (format!("{plain}&fragment=.x"), RepeatedParameter("fragment")),
            (format!("{plain}&actor_name=x"), RepeatedParameter("actor_name")),
            (format!("{plain}&account_slug=x"), RepeatedParameter("account_slug")),
            (plain.replace(HOST, "sign_out"), NotASignIn),
            (plain.replace("callback?", "callback/more?"), NotASignIn),
            (plain.replace(SCHEME, "https"), NotACallbackUrl),
            (plain.replace("://", ":"), NotASignIn),
            ("nonsense".to_owned(), NotACallbackUrl),
            (String::new(), NotACallbackUrl),
            (format!("{plain}{}", "x".repeat(MAX_CALLBACK_BYTES)), NotACallbackUrl),
            (format!("{plain}&x={}", "x".repeat(1 << 20)), NotACallbackUrl),
        ] {
            assert_eq!(text.parse::<Callback>().map(|_| ()).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn debug_output_of_a_sign_in_contains_no_secret() {
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
    fn pasted_token_is_trimmed_and_must_not_be_empty() {
        assert_eq!(pasted_token(" .SFMyNTY.x.y \r\n").unwrap().expose(), ".SFMyNTY.x.y");
        assert_eq!(pasted_token(" \n").unwrap_err(), EmptyToken);
    }
}
