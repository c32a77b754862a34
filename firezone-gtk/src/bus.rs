//! The thread that speaks D-Bus: requests in, news out. It owns the runtime; the main thread never waits for it.
//!
//! It lives through everything: no bus, no daemon, a daemon that restarts. Whatever changed is read anew as a whole, so a
//! missed signal costs nothing.

mod daemon;
mod examine;
mod keeper;

use std::{thread, time::Duration};

use async_channel::Sender;
use tokio::sync::mpsc;

use crate::model::{News, Whose};
pub use keeper::Kept;

/// How many requests may wait; more are refused, which nobody's fingers can bring about.
const REQUESTS: usize = 32;
/// How long to wait before trying again what failed.
const PAUSE: Duration = Duration::from_secs(3);

/// What the main thread wants.
#[derive(Debug)]
pub enum Request {
    /// Hand a token over, and keep it.
    SignIn(Box<Kept>),
    /// Hand over the token that is kept.
    Connect,
    /// End the session, and forget the token.
    SignOut,
    /// Forget the token; the portal does not accept it any more.
    Forget,
    /// Switch the Internet resource on or off.
    SetInternet(bool),
    /// Change a setting of the daemon, or make it as if nobody had changed it over the bus.
    Change(String, Option<String>),
    /// Whether somebody looks at how resources are reached.
    Watch(bool),
    /// Look for problems: by the daemon, or by ourselves if there is none.
    Examine,
    /// Make a report.
    Collect,
    /// Look again; something outside the bus has changed.
    Look,
}

/// What the main thread is told.
#[derive(Debug)]
pub enum Report {
    /// About the daemon.
    News(News),
    /// Whether a token is kept, and for whom.
    Token(Option<Whose>),
    /// A report, whole.
    Collected(String),
    /// Something did not work; it concerns nothing else.
    Failed(Failure),
}

/// Why a request did not work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody is there to do it.
    #[error("the service is not running")]
    NotRunning,
    /// This user may not.
    #[error("not permitted")]
    NotPermitted,
    /// The daemon has no use for the token.
    #[error("the token was rejected")]
    TokenRejected,
    /// There is none to hand over.
    #[error("no token is kept")]
    NoToken,
    /// The daemon cannot make sense of a value.
    #[error("{0}")]
    Invalid(String),
    /// The administrator has fixed the setting.
    #[error("{0}")]
    Locked(String),
    /// The keyring does not keep the token. Signing in works all the same.
    #[error("the token is not kept: {0}")]
    NotKept(#[source] keyring::Error),
    /// The keyring does not forget the token. It counts no more all the same.
    #[error("the token is not forgotten: {0}")]
    NotForgotten(#[source] keyring::Error),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// The way to the thread. It ends when this is dropped.
#[derive(Clone, Debug)]
pub struct Bus(mpsc::Sender<Request>);

impl Bus {
    /// Starts the thread. Whether it `has_to_forget` what the keyring has is known from the last time.
    ///
    /// # Errors
    ///
    /// The kernel or the runtime refuses.
    pub fn start(reports: Sender<Report>, has_to_forget: bool) -> std::io::Result<Self> {
        let (requests, inbox) = mpsc::channel(REQUESTS);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new()
            .name("bus".to_owned())
            .spawn(move || runtime.block_on(run(inbox, reports, has_to_forget)))?;
        Ok(Self(requests))
    }

    /// Asks for something. What comes of it is a report.
    pub fn ask(&self, request: Request) {
        if self.0.try_send(request).is_err() {
            tracing::warn!("too many requests wait already");
        }
    }
}

async fn run(mut inbox: mpsc::Receiver<Request>, reports: Sender<Report>, has_to_forget: bool) {
    let keeper = keeper::Keeper::new(reports.clone());
    let mut is_watched = false;
    keeper.load(has_to_forget).await;
    loop {
        let end = match zbus::Connection::system().await {
            Ok(connection) => daemon::follow(&connection, &mut inbox, &reports, &keeper, &mut is_watched).await,
            Err(error) => {
                tracing::debug!("no system bus: {error}");
                daemon::End::Lost
            }
        };
        match end {
            daemon::End::Closed => return,
            daemon::End::Lost => {
                if reports.send(Report::News(daemon::look_at_file())).await.is_err() {
                    return;
                }
                let patience = tokio::time::timeout(PAUSE, serve_alone(&mut inbox, &reports, &keeper, &mut is_watched));
                if matches!(patience.await, Ok(())) {
                    return;
                }
            }
        }
    }
}

/// What can be done without a bus. Returns when nobody wants anything any more. Cancel-safe: it only waits for requests.
async fn serve_alone(
    inbox: &mut mpsc::Receiver<Request>,
    reports: &Sender<Report>,
    keeper: &keeper::Keeper,
    is_watched: &mut bool,
) {
    while let Some(request) = inbox.recv().await {
        match request {
            Request::Examine => examine::start(None, reports),
            Request::Watch(wanted) => *is_watched = wanted,
            Request::Look => {}
            request => {
                match request {
                    // The daemon that comes gets it.
                    Request::SignIn(kept) => keeper.keep(*kept),
                    Request::SignOut | Request::Forget => keeper.forget(),
                    _ => {}
                }
                // Whoever waits for the other end of a full channel is told in time.
                drop(reports.try_send(Report::Failed(Failure::NotRunning)));
                drop(reports.try_send(Report::Token(keeper.whose())));
            }
        }
    }
}
