//! Open connections of clients, gateways and relays, and requests that wait for one of them.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::upgrade::{Agent, Role};

/// A client or gateway whose socket is open.
#[derive(Debug)]
pub struct Connection {
    pub(super) socket: SocketId,
    pub(super) token: String,
    pub(super) name: String,
    pub(super) public_key: String,
    pub(super) agent: Agent,
    pub(super) iceless: bool,
    pub(super) joined: bool,
    pub(super) site: Option<Uuid>,
    /// Where a relay listens.
    pub(super) relay: [Option<SocketAddr>; 2],
    pub(super) outbox: Outbox,
}

/// Distinguishes a socket from the one that replaces it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SocketId(pub(super) u64);

/// Where a channel leaves what its socket must send.
#[derive(Clone, Debug)]
pub struct Outbox {
    topic: &'static str,
    sender: mpsc::UnboundedSender<Outgoing>,
}

/// What a socket must do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outgoing {
    /// Send this text.
    Text(String),
    /// Say good-bye with this code.
    Close(u16),
    /// Cut the connection without a word.
    Cut,
}

/// Who has been let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionId {
    /// Client or gateway.
    pub role: Role,
    /// Which one.
    pub id: Uuid,
    /// Its socket.
    pub socket: SocketId,
}

/// A relay whose socket is open.
#[derive(Debug)]
pub(super) struct RelayConnection {
    pub(super) online: Connection,
    pub(super) addresses: [Option<SocketAddr>; 2],
    /// What its credentials are made of; `None` until it has joined.
    pub(super) stamp_secret: Option<String>,
}

/// A request that a gateway has not acknowledged yet.
#[derive(Debug)]
pub(super) struct PendingAuthorization {
    /// What the gateway will name it by.
    pub(super) reference: String,
    pub(super) gateway: Uuid,
    pub(super) expires_at: u64,
    /// The response to the client after the gateway's acknowledgement.
    pub(super) answer: Value,
}

impl Outbox {
    /// The box of a channel, and the end from which its socket takes.
    #[must_use]
    pub fn new(role: Role) -> (Self, mpsc::UnboundedReceiver<Outgoing>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { topic: role.topic(), sender }, receiver)
    }

    /// Sends a message that answers nothing.
    pub fn push(&self, event: &str, payload: &Value) {
        self.frame(&json!({"topic": self.topic, "event": event, "payload": payload, "ref": null}));
    }

    /// Answers the message `reference`.
    pub fn reply(&self, topic: &str, reference: &Value, status: &str, response: &Value) {
        let payload = json!({"status": status, "response": response});
        self.frame(&json!({"topic": topic, "event": "phx_reply", "payload": payload, "ref": reference}));
    }

    /// Sends text that may or may not be a proper frame.
    pub fn text(&self, text: String) {
        self.put(Outgoing::Text(text));
    }

    /// Ends the connection.
    pub fn end(&self, how: Outgoing) {
        self.put(how);
    }

    fn frame(&self, frame: &Value) {
        tracing::debug!(target: "portal::frames", sent = %frame);
        self.put(Outgoing::Text(frame.to_string()));
    }

    fn put(&self, what: Outgoing) {
        if self.sender.send(what).is_err() {
            tracing::debug!("the socket is gone already");
        }
    }
}
