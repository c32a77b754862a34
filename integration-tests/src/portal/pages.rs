//! The pages on which people sign in with a browser, as far as a program has to do with them: which address is opened, and
//! where the browser is sent in the end.
//!
//! 1. `/` – the accounts; an account that does not exist leads here too
//! 2. `/ACCOUNT?as=…&nonce=…&state=…` – asks who it is
//! 3. `/ACCOUNT/sign_in` – a page that goes on at once, with a cookie of two minutes
//! 4. `/ACCOUNT/sign_in/client_redirect` – calls the program on the person's machine
//!
//! Errors are shown in the browser; the callback URL is not called.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::{
    Router,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use tokio::net::TcpListener;
use url::form_urlencoded;

use super::{
    config::{ClientToken, Person},
    derive::random_text,
    state::Shared,
};

/// How long the browser may take from one page to the next.
const CODE_LIFETIME: Duration = Duration::from_secs(120);
/// The cookie that belongs to it.
const COOKIE: &str = "client_auth";
/// Longer nonces are not accepted.
const MAX_NONCE_BYTES: usize = 128;

/// Number of random bytes.
const RANDOM_BYTES: usize = 32;

#[derive(Clone)]
struct Pages {
    portal: Shared,
    /// Where browsers are to be sent, by their cookies.
    callbacks: Arc<Mutex<BTreeMap<String, (Instant, String)>>>,
}

/// What a program asks for by the address that it opens.
#[derive(Default)]
struct SignInRequest {
    kind: String,
    nonce: String,
    state: String,
}

/// All pages. Every address serves the same ones: a browser may come to one address after another.
pub fn pages(portal: Shared) -> Router {
    Router::new()
        .route("/", get(accounts))
        .route("/{account}", get(ask))
        .route("/{account}/sign_in", post(sign_in))
        .route("/{account}/sign_in/client_redirect", get(call_back))
        .with_state(Pages { portal, callbacks: Arc::default() })
}

/// Serves them at one address, for ever.
pub async fn serve(address: SocketAddr, pages: Router) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    axum::serve(listener, pages).await?;
    Ok(())
}

async fn accounts(State(pages): State<Pages>, RawQuery(query): RawQuery) -> Response {
    let account = pages.portal.lock().directory.account_slug.clone();
    let link = escape(&format!("/{account}?{}", query.unwrap_or_default()));
    page(StatusCode::OK, &format!("<h1>Choose your account</h1><a href=\"{link}\">{}</a>", escape(&account)))
}

async fn ask(State(pages): State<Pages>, Path(account): Path<String>, RawQuery(query): RawQuery) -> Response {
    if pages.portal.lock().directory.account_slug != account {
        return accounts(State(pages), RawQuery(query)).await;
    }
    let action = escape(&format!("/{account}/sign_in?{}", query.unwrap_or_default()));
    let form = format!(
        "<h1>Sign in</h1><form method=\"post\" action=\"{action}\">\
         <input name=\"email\"><input name=\"password\" type=\"password\"><button>Sign in</button></form>"
    );
    page(StatusCode::OK, &form)
}

async fn sign_in(
    State(pages): State<Pages>,
    Path(account): Path<String>,
    RawQuery(query): RawQuery,
    body: String,
) -> Response {
    let form: BTreeMap<String, String> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let person = pages.person(&form);
    let Some(person) = person.filter(|_| pages.portal.lock().directory.account_slug == account) else {
        return page(StatusCode::UNAUTHORIZED, "<h1>That is not right</h1>");
    };
    let request = SignInRequest::read(&query.unwrap_or_default());
    match request.kind.as_str() {
        "gui-client" | "client" => pages.complete_sign_in(&account, &person, &request),
        "headless-client" => {
            let token = pages.new_token(&person, "").1;
            page(StatusCode::OK, &format!("<h1>Your token</h1><code>{}</code>", escape(&token)))
        }
        _ => page(StatusCode::NOT_FOUND, "<h1>There is no administration here</h1>"),
    }
}

async fn call_back(State(pages): State<Pages>, Path(_account): Path<String>, headers: HeaderMap) -> Response {
    let cookies = headers.get(header::COOKIE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let cookie = cookies.split("; ").find_map(|it| it.strip_prefix(COOKIE)?.strip_prefix('=')).unwrap_or_default();
    let callback = pages.callbacks.lock().unwrap_or_else(PoisonError::into_inner).remove(cookie);
    match callback.filter(|(since, _)| since.elapsed() < CODE_LIFETIME) {
        Some((_, link)) => (StatusCode::FOUND, [(header::LOCATION, link)]).into_response(),
        None => page(StatusCode::UNAUTHORIZED, "<h1>Please sign in again</h1>"),
    }
}

impl Pages {
    fn person(&self, form: &BTreeMap<String, String>) -> Option<Person> {
        let (email, password) = (form.get("email")?, form.get("password")?);
        let portal = self.portal.lock();
        portal.directory.people.iter().find(|it| it.email == *email && it.password == *password).cloned()
    }

    fn complete_sign_in(&self, account: &str, person: &Person, request: &SignInRequest) -> Response {
        if request.nonce.is_empty() || request.nonce.len() > MAX_NONCE_BYTES || request.nonce.contains('.') {
            return page(
                StatusCode::UNPROCESSABLE_ENTITY,
                "<h1>The program asks for something that makes no sense</h1>",
            );
        }
        let (fragment, _) = self.new_token(person, &request.nonce);
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("account_name", "Example Corp")
            .append_pair("account_slug", account)
            .append_pair("actor_name", &person.name)
            .append_pair("fragment", &fragment)
            .append_pair("identity_provider_identifier", &person.email)
            .append_pair("state", &request.state)
            .finish();
        let link = format!("firezone-fd0020211111://handle_client_sign_in_callback?{query}");
        let cookie = random_text(RANDOM_BYTES);
        let mut callbacks = self.callbacks.lock().unwrap_or_else(PoisonError::into_inner);
        callbacks.insert(cookie.clone(), (Instant::now(), link));
        let onward = format!("<meta http-equiv=\"refresh\" content=\"0; url=/{account}/sign_in/client_redirect\">");
        let cookie = format!("{COOKIE}={cookie}; Path=/; Max-Age={}; HttpOnly", CODE_LIFETIME.as_secs());
        ([(header::SET_COOKIE, cookie)], page(StatusCode::OK, &onward)).into_response()
    }

    /// What goes back to the program, and the whole token.
    fn new_token(&self, person: &Person, nonce: &str) -> (String, String) {
        let fragment = format!(".SFMyNTY.{}.{}", random_text(RANDOM_BYTES), random_text(RANDOM_BYTES));
        let token = format!("{nonce}{fragment}");
        let mut portal = self.portal.lock();
        portal.directory.client_tokens.push(ClientToken { token: token.clone(), actor: person.name.clone() });
        portal.save();
        (fragment, token)
    }
}

impl SignInRequest {
    fn read(query: &str) -> Self {
        let mut request = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "as" => request.kind = value.into_owned(),
                "nonce" => request.nonce = value.into_owned(),
                "state" => request.state = value.into_owned(),
                _ => {}
            }
        }
        request
    }
}

fn page(status: StatusCode, body: &str) -> Response {
    (status, Html(format!("<!doctype html><title>Firezone</title>{body}\n"))).into_response()
}

fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, letter| {
        match letter {
            '<' | '>' | '&' | '"' | '\'' => {
                let _ = write!(escaped, "&#{};", u32::from(letter));
            }
            letter => escaped.push(letter),
        }
        escaped
    })
}
