//! Owns WireGuard sessions: `Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s` between this node and each of its peers.
//!
//! It must not know sockets, the clock, relays, paths or the content of packets: messages, the time and a random number
//! generator are arguments.
//! An [`Identity`] receives each message first, rate-limits handshakes, and names the connection that the message belongs
//! to; that connection's [`PeerSessions`] encrypt and decrypt, and report their next deadline.
//!
//! `docs/adr/0001-own-wireguard-layer.md` explains why the session layer is our own. Each cryptographic operation is that
//! of a maintained library.
//!
//! * `identity` – the private key, and the dispatch of received messages
//! * `peer_sessions` – the sessions with one peer; `timers` – their deadlines
//! * `initiation`, `response` – the two handshake messages; `noise` – the handshake state that they transform
//! * `session` – the transport keys of one session; `replay` – its window of received counters
//! * `handshake_limiter`, `cookie` – protection against handshake floods; `timestamp` – protection against replayed ones
//! * `message` – message layouts; `connection_id` – session indices; `error` – why a message is not accepted

#![forbid(unsafe_code)]

mod connection_id;
mod cookie;
mod error;
mod handshake_limiter;
mod identity;
mod initiation;
#[cfg(test)]
mod interop;
mod message;
mod noise;
mod peer_sessions;
mod replay;
mod response;
mod session;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod timers;
mod timestamp;

pub use connection_id::ConnectionId;
pub use error::MessageError;
pub use identity::{Dispatch, Identity};
pub use initiation::ReceivedInitiation;
pub use message::is_message;
pub use peer_sessions::{Opened, PeerSessions};
pub use timers::TimerAction;
