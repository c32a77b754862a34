//! The line to the portal: sockets, TLS and WebSocket frames. What is said on it is `portal::Connection`'s business.

use model::{FromPortal, PeerId, PublicKey, ToPortal};
use portal::{End, Login, Lost, lost::Retry};
use std::net::IpAddr;
use tokio::{sync::mpsc, task::JoinHandle};

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
    Resolvers(Vec<IpAddr>),
    /// Say goodbye and end.
    Close,
}

/// What the session is told.
#[derive(Debug)]
pub enum Event {
    /// The portal listens to us; the snapshot follows.
    Joined,
    /// It does not, or no longer; we try again.
    Lost { why: Lost, retry: Retry },
    /// Something for the tunnel.
    Message(FromPortal),
    /// It is over; no more events follow.
    Ended(End),
}

/// A running line. Dropping it closes the connection.
#[derive(Debug)]
pub struct Link {
    /// Where to put commands.
    pub commands: mpsc::Sender<Command>,
    /// Where events come from; ends when the line has ended.
    pub events: mpsc::Receiver<Event>,
    /// The task that owns the sockets.
    pub task: JoinHandle<()>,
}

impl Link {
    /// Connects and stays connected. `resolvers` are the host's own; `mark` is put on each socket, unless it is 0.
    #[must_use]
    pub fn start(login: Login, public_key: PublicKey, resolvers: Vec<IpAddr>, mark: u32) -> Self {
        let (commands, inbox) = mpsc::channel(64);
        let (outbox, events) = mpsc::channel(256);
        let task = tokio::spawn(async move {
            let _ = (login, public_key, resolvers, mark, inbox, outbox);
        });
        Self { commands, events, task }
    }
}
