//! The D-Bus thread: takes requests, sends events. It owns the async runtime; the main thread never waits for it.
//!
//! The thread survives a missing bus, a missing daemon and a daemon that restarts. After each change it reads the whole
//! state again, so a missed signal has no lasting effect.
//!
//! * [`message`] – requests, events and failures
//! * [`daemon`] – follows the daemon and carries out requests, on one connection
//! * [`call`] – calls with a timeout, the token's pipe, the report's memfd, the status file
//! * [`diagnostics`] – runs the checks, with or without the daemon
//! * [`token_store`] – the token, in memory and in the keyring

mod call;
mod daemon;
mod diagnostics;
mod message;
mod token_store;

use std::{thread, time::Duration};

use async_channel::Sender;
use tokio::sync::mpsc;

pub(crate) use self::message::{Event, Failure, Request, StoredToken};

/// How many requests may be pending. Further ones are dropped with a warning; users cannot reach this limit.
const MAX_PENDING_REQUESTS: usize = 32;
/// How long to wait before the next attempt to reach the system bus.
const RETRY_DELAY: Duration = Duration::from_secs(3);

/// A handle to the D-Bus thread. The thread ends when all handles are dropped.
#[derive(Clone, Debug)]
pub(crate) struct Bus(mpsc::Sender<Request>);

impl Bus {
    /// Starts the thread. With `must_delete_token` it deletes the token in the keyring instead of reading it, because the
    /// last sign-out could not.
    ///
    /// # Errors
    ///
    /// The kernel refuses the thread or the runtime's descriptors.
    pub(crate) fn start(events: Sender<Event>, must_delete_token: bool) -> std::io::Result<Self> {
        let (requests, inbox) = mpsc::channel(MAX_PENDING_REQUESTS);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new()
            .name("bus".to_owned())
            .spawn(move || runtime.block_on(run(inbox, events, must_delete_token)))?;
        Ok(Self(requests))
    }

    /// Sends a request. Its outcome arrives as an event.
    pub(crate) fn send(&self, request: Request) {
        if self.0.try_send(request).is_err() {
            tracing::warn!("request dropped: too many requests are pending");
        }
    }
}

async fn run(mut inbox: mpsc::Receiver<Request>, events: Sender<Event>, must_delete_token: bool) {
    let tokens = token_store::TokenStore::new(events.clone());
    let mut is_watched = false;
    tokens.load(must_delete_token).await;
    loop {
        let end = match zbus::Connection::system().await {
            Ok(connection) => daemon::follow(&connection, &mut inbox, &events, &tokens, &mut is_watched).await,
            Err(error) => {
                tracing::debug!("no system bus: {error}");
                daemon::End::BusLost
            }
        };
        match end {
            daemon::End::AppClosed => return,
            daemon::End::BusLost => {
                if events.send(Event::Update(call::read_status_file())).await.is_err() {
                    return;
                }
                let requests = serve_without_bus(&mut inbox, &events, &tokens, &mut is_watched);
                if matches!(tokio::time::timeout(RETRY_DELAY, requests).await, Ok(())) {
                    return;
                }
            }
        }
    }
}

/// Carries out requests that need no bus. Returns when all handles are dropped. Cancel-safe: it only receives requests.
async fn serve_without_bus(
    inbox: &mut mpsc::Receiver<Request>,
    events: &Sender<Event>,
    tokens: &token_store::TokenStore,
    is_watched: &mut bool,
) {
    while let Some(request) = inbox.recv().await {
        match request {
            Request::RunChecks => diagnostics::start(None, events),
            Request::WatchPaths(is_visible) => *is_watched = is_visible,
            Request::Refresh => {}
            request => {
                match request {
                    // The next daemon gets it.
                    Request::SignIn(token) => tokens.store(*token),
                    Request::SignOut | Request::ForgetToken => tokens.delete(),
                    _ => {}
                }
                // If the channel is full, the main thread still has earlier failures to show.
                drop(events.try_send(Event::Failed(Failure::NotRunning)));
                drop(events.try_send(Event::Token(tokens.owner())));
            }
        }
    }
}
