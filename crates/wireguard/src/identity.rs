//! The private key of this node, and the dispatch of received messages.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use model::PublicKey;
use rand::Rng;
use x25519_dalek::StaticSecret;

use crate::{
    connection_id::ConnectionId,
    error::MessageError,
    handshake_limiter::{Admission, HandshakeLimiter},
    initiation::ReceivedInitiation,
    message::{MessageKind, TIMESTAMP, u32_at},
    noise::{Key, diffie_hellman},
    timestamp::TimestampGenerator,
};

/// The static key pair of this node with everything that exists once per key: timestamps and the handshake limiter.
pub struct Identity {
    private: StaticSecret,
    public: PublicKey,
    timestamps: TimestampGenerator,
    limiter: HandshakeLimiter,
}

/// What to do with a received message.
#[derive(Debug)]
pub enum Dispatch {
    /// Pass the message to the sessions of this connection.
    Connection(ConnectionId),
    /// Pass the initiation to the connection with its [peer](ReceivedInitiation::peer).
    Initiation(Box<ReceivedInitiation>),
    /// Too many handshakes: discard the message and send this cookie reply to its sender.
    SendCookieReply(Vec<u8>),
}

impl Identity {
    /// A fresh key pair. `unix_now` is the time since the Unix epoch at `now`.
    #[must_use]
    pub fn new(rng: &mut impl Rng, now: Instant, unix_now: Duration) -> Self {
        Self::with_timestamps(TimestampGenerator::new(now, unix_now), rng)
    }

    /// A fresh key pair for the same node; its timestamps continue.
    #[must_use]
    pub fn renewed(&self, rng: &mut impl Rng) -> Self {
        Self::with_timestamps(self.timestamps, rng)
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.public
    }

    pub(crate) fn private_key(&self) -> &StaticSecret {
        &self.private
    }

    /// The Diffie-Hellman result of our static key and `peer`. `None` for a key of low order.
    pub(crate) fn shared_secret(&self, peer: &PublicKey) -> Option<Key> {
        diffie_hellman(&self.private, peer)
    }

    /// A timestamp later than all earlier ones.
    pub(crate) fn next_timestamp(&mut self, now: Instant) -> [u8; TIMESTAMP] {
        self.timestamps.next(now)
    }

    /// Determines which connection a message belongs to. `from` is the peer's address, not that of a relay in between:
    /// cookies are bound to it.
    ///
    /// # Errors
    ///
    /// When the datagram is not a WireGuard message, or is a handshake message for another key.
    pub fn dispatch(
        &mut self,
        from: IpAddr,
        datagram: &[u8],
        rng: &mut impl Rng,
        now: Instant,
    ) -> Result<Dispatch, MessageError> {
        let kind = MessageKind::of(datagram).ok_or(MessageError::Malformed)?;
        if matches!(kind, MessageKind::Initiation | MessageKind::Response) {
            match self.limiter.admit(from, datagram, rng, now) {
                Admission::Admitted => {}
                Admission::CookieRequired(reply) => return Ok(Dispatch::SendCookieReply(reply)),
                Admission::Invalid => return Err(MessageError::Forged),
            }
        }
        match kind.receiver_offset() {
            Some(offset) => Ok(Dispatch::Connection(ConnectionId::of_index(u32_at(datagram, offset)))),
            None => ReceivedInitiation::decrypt(datagram, &self.private, &self.public)
                .map(|initiation| Dispatch::Initiation(Box::new(initiation)))
                .ok_or(MessageError::Forged),
        }
    }

    fn with_timestamps(timestamps: TimestampGenerator, rng: &mut impl Rng) -> Self {
        let private = StaticSecret::from(rng.random::<[u8; 32]>());
        let public = PublicKey(*x25519_dalek::PublicKey::from(&private).as_bytes());
        Self { limiter: HandshakeLimiter::new(&public), private, public, timestamps }
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("public", &self.public).finish_non_exhaustive()
    }
}
