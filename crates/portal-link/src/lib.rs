//! The link to the portal: sockets, TLS and WebSocket frames.
//!
//! This crate owns the sockets and performs what [`portal::Connection`] requests; it does not know the protocol. All
//! traffic bypasses the tunnel: sockets are marked, and the portal's name is resolved by the DNS servers of the host over
//! marked sockets. Otherwise a reconnect would wait for the tunnel, which waits for the reconnect.
//!
//! * [`resolve`] – from the portal's name to addresses
//! * [`dial`] – from addresses to a stream; all addresses are tried in parallel
//! * [`tls`], [`upgrade`], [`websocket`] – from a stream to text frames
//! * `run` – the task that owns the sockets

mod dial;
mod resolve;
mod run;
mod stream;
mod tls;
mod upgrade;
mod websocket;

#[cfg(test)]
mod tests;

use std::time::Duration;

use model::{PublicKey, Resolver, ToPortal};
pub use portal::Event;
use portal::Login;
use tokio::{sync::mpsc, task::JoinHandle};

use self::dial::Dialer;

/// A command of the session.
#[derive(Debug)]
pub enum Command {
    /// Send a message. While the portal is unreachable, only changes of candidates are kept; traffic causes the others again.
    Send(ToPortal),
    /// Reconnect at once with this key, and reset the delays.
    Reconnect { public_key: PublicKey },
    /// Use these DNS servers of the host from now on.
    Resolvers(Vec<Resolver>),
    /// Close the connection and end.
    Close,
}

/// A running link. Dropping it, or its `commands`, closes the connection.
#[derive(Debug)]
pub struct Link {
    /// The sender of commands.
    pub commands: mpsc::Sender<Command>,
    /// The receiver of events; closed when the link has ended. The link stops reading from the portal while it is full.
    pub events: mpsc::Receiver<Event>,
    /// The task that owns the sockets. Ends within a second of [`Command::Close`].
    pub task: JoinHandle<()>,
}

impl Link {
    /// Connects, and reconnects until it is closed. `resolvers` are the DNS servers of the host. `mark` is set on each
    /// socket unless it is 0. `limit` is how long the portal may be unreachable after the first join.
    #[must_use]
    pub fn start(
        login: Login,
        public_key: PublicKey,
        resolvers: Vec<Resolver>,
        mark: u32,
        limit: Option<Duration>,
    ) -> Self {
        let dialer = Dialer::new(&login.portal, resolvers, mark);
        Self::with(dialer, login, public_key, limit)
    }

    fn with(dialer: Dialer, login: Login, public_key: PublicKey, limit: Option<Duration>) -> Self {
        let (commands, inbox) = mpsc::channel(64);
        let (outbox, events) = mpsc::channel(256);
        let task = tokio::spawn(run::run(login, public_key, limit, dialer, inbox, outbox));
        Self { commands, events, task }
    }
}
