//! The line to the portal: sockets, TLS and WebSocket frames. What is said on it is [`portal::Connection`]'s business.
//!
//! Everything here bypasses the tunnel: sockets carry a mark, and the portal's name is resolved by the host's own resolvers,
//! asked on marked sockets. Otherwise a reconnect would wait for the tunnel that waits for the reconnect.
//!
//! * [`resolve`] – from the portal's name to addresses
//! * [`dial`] – from addresses to a stream: all at once, the first wins
//! * [`tls`], [`upgrade`], [`websocket`] – from a stream to text frames
//! * `run` – the task that owns all of it

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

use model::{FromPortal, PeerId, PublicKey, Resolver, ToPortal};
use portal::{ConnectionError, Login, Retry, SessionEnd};
use tokio::{sync::mpsc, task::JoinHandle};

use self::dial::Dialer;

/// What the session may ask of the line.
#[derive(Debug)]
pub enum Command {
    /// Say this. While the portal is away only candidates are kept, everything else is lost: traffic asks again.
    Send(ToPortal),
    /// Connect anew, now, with this key; whatever was learned about waiting is forgotten.
    Reconnect { public_key: PublicKey },
    /// The connection with this peer is gone: what was kept for it is void.
    Forget(PeerId),
    /// The host's own resolvers changed.
    Resolvers(Vec<Resolver>),
    /// Say goodbye and end.
    Close,
}

/// What the session is told.
#[derive(Debug)]
pub enum Event {
    /// The portal listens to us; the snapshot follows.
    Joined,
    /// It does not, or no longer; we try again.
    Disconnected { error: ConnectionError, retry: Retry },
    /// Something for the tunnel.
    Message(FromPortal),
    /// It is over; no more events follow.
    Ended(SessionEnd),
}

/// A running line. Dropping it, or its `commands`, closes the connection.
#[derive(Debug)]
pub struct Link {
    /// Where to put commands.
    pub commands: mpsc::Sender<Command>,
    /// Where events come from; ends when the line has ended. It must be read, or the portal is not.
    pub events: mpsc::Receiver<Event>,
    /// The task that owns the sockets. Ends within a second of [`Command::Close`].
    pub task: JoinHandle<()>,
}

impl Link {
    /// Connects and stays connected. `resolvers` are the host's own; `mark` is put on each socket, unless it is 0; `limit` is
    /// how long the portal may be away once it was joined.
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
