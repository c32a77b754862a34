//! The sessions with one peer, and the handshakes that create them.

use std::time::{Duration, Instant};

use model::{Deadline, PresharedKey, PublicKey};
use rand::Rng;

use crate::{
    connection_id::{ConnectionId, MAX_SESSIONS, SessionIndices},
    cookie::CookieJar,
    error::MessageError,
    identity::Identity,
    initiation::{ReceivedInitiation, Sender, SentInitiation},
    message::{MessageKind, TIMESTAMP, data, response::RECEIVER, u32_at},
    noise::Key,
    response,
    session::Session,
    timers::{TimerAction, Timers},
};

/// Initiations whose response is still accepted. On a slow path the response to the previous one may arrive late.
const MAX_PENDING_INITIATIONS: usize = 2;

/// The sessions with one peer.
///
/// Messages are accepted on every session that has not ended. They are sent on the newest session on which the peer has
/// sent something: only then does the peer have it, too.
pub struct PeerSessions {
    peer: PublicKey,
    preshared_key: PresharedKey,
    /// The Diffie-Hellman result of both static keys; `None` if the peer's key is of low order.
    shared: Option<Key>,
    indices: SessionIndices,
    sessions: [Option<Box<Session>>; MAX_SESSIONS],
    /// The session used for sending.
    current: Option<u32>,
    /// Our initiations without response, the newest last.
    pending: Vec<SentInitiation>,
    /// The timestamp of the peer's newest initiation.
    newest_timestamp: [u8; TIMESTAMP],
    jar: CookieJar,
    timers: Timers,
    last_handshake: Option<Instant>,
    sent: u64,
    received: u64,
}

/// The content of a received message.
#[derive(Debug)]
pub enum Opened<'a> {
    /// The decrypted payload, which should be an IP packet.
    Packet(&'a [u8]),
    /// A keepalive or cookie.
    Control,
    /// A handshake message; this reply has to be sent.
    Reply(Vec<u8>),
}

impl PeerSessions {
    /// No session yet. `connection` is the upper part of all session indices.
    #[must_use]
    pub fn new(
        identity: &Identity,
        peer: &PublicKey,
        preshared_key: &PresharedKey,
        connection: ConnectionId,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Self {
        Self {
            peer: *peer,
            preshared_key: preshared_key.clone(),
            shared: identity.shared_secret(peer),
            indices: SessionIndices::new(connection),
            sessions: std::array::from_fn(|_| None),
            current: None,
            pending: Vec::new(),
            newest_timestamp: [0; TIMESTAMP],
            jar: CookieJar::new(peer),
            timers: Timers::new(rng, now),
            last_handshake: None,
            sent: 0,
            received: 0,
        }
    }

    /// Starts a handshake unless one is pending. Returns the message to send.
    pub fn initiate(&mut self, identity: &mut Identity, rng: &mut impl Rng, now: Instant) -> Option<Vec<u8>> {
        if self.timers.is_handshaking() { None } else { self.create_initiation(identity, rng, now) }
    }

    /// Whether a session for sending exists.
    #[must_use]
    pub fn can_send(&self, now: Instant) -> bool {
        self.current.and_then(|index| self.session(index)).is_some_and(|session| session.can_send(now))
    }

    /// How long our handshake has been pending, and how long the peer has been silent during it.
    #[must_use]
    pub fn unanswered_handshake(&self, now: Instant) -> Option<(Duration, Duration)> {
        self.timers.unanswered_handshake(now)
    }

    /// When the last handshake was completed.
    #[must_use]
    pub fn last_handshake(&self) -> Option<Instant> {
        self.last_handshake
    }

    /// Encrypts `packet` and appends the message to `output`. Returns whether there was a session for it.
    pub fn seal(&mut self, packet: &[u8], output: &mut Vec<u8>, now: Instant) -> bool {
        let slot = self.current.and_then(|index| self.sessions.get_mut(SessionIndices::slot(index)));
        let Some(session) = slot.and_then(Option::as_mut).filter(|session| session.can_send(now)) else {
            return false;
        };
        let is_sealed = session.seal(packet, output);
        if is_sealed {
            self.timers.message_sent(session, !packet.is_empty(), now);
            self.sent += packet.len() as u64;
        }
        is_sealed
    }

    /// Handles a message whose session index belongs to this connection. Decrypts it in place.
    ///
    /// # Errors
    ///
    /// When the message is not authentic, was received before, or does not belong to a session or pending handshake.
    pub fn open<'a>(
        &mut self,
        message: &'a mut [u8],
        identity: &Identity,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Result<Opened<'a>, MessageError> {
        match MessageKind::of(message) {
            Some(MessageKind::Data) => self.open_data(message, now),
            Some(MessageKind::Response) => self.handle_response(message, identity, rng, now).map(Opened::Reply),
            Some(MessageKind::CookieReply) => self.jar.accept(message, now).map(|()| Opened::Control),
            Some(MessageKind::Initiation) | None => Err(MessageError::Malformed),
        }
    }

    /// Handles an initiation of the peer. Returns the response to send. Our own pending initiations stay pending.
    ///
    /// # Errors
    ///
    /// When the sender does not own its key, or the initiation is not newer than the previous one.
    pub fn handle_initiation(
        &mut self,
        mut initiation: ReceivedInitiation,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Result<Vec<u8>, MessageError> {
        let timestamp =
            self.shared.as_ref().and_then(|shared| initiation.authenticate(shared)).ok_or(MessageError::Forged)?;
        if timestamp <= self.newest_timestamp {
            return Err(MessageError::Replayed);
        }
        let index = self.indices.next(self.current);
        let (session, response) = response::create(initiation, index, &self.preshared_key, &mut self.jar, rng, now)
            .ok_or(MessageError::Forged)?;
        self.newest_timestamp = timestamp;
        self.insert_session(session, rng, now);
        Ok(response)
    }

    /// Performs the next action that is due. Returns it with the message to send. Call it until the action is
    /// [`TimerAction::Wait`].
    pub fn handle_timeout(
        &mut self,
        identity: &mut Identity,
        rng: &mut impl Rng,
        now: Instant,
    ) -> (TimerAction, Option<Vec<u8>>) {
        self.remove_ended_sessions(now);
        let action = self.timers.next_action(now);
        let message = match action {
            TimerAction::Initiate => self.create_initiation(identity, rng, now),
            TimerAction::SendKeepalive => self.keepalive(now),
            TimerAction::Wait | TimerAction::GiveUp => None,
        };
        (action, message)
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let session_end = self.sessions.iter().flatten().map(|session| session.expires_at()).min();
        let session_end = session_end.map(|at| Deadline { at, reason: "end of a session" });
        Deadline::earliest(session_end, self.timers.poll_timeout())
    }

    /// Bytes of IP packets sent and received.
    #[must_use]
    pub fn traffic(&self) -> (u64, u64) {
        (self.sent, self.received)
    }

    fn session(&self, index: u32) -> Option<&Session> {
        self.sessions.get(SessionIndices::slot(index))?.as_deref().filter(|session| session.index == index)
    }

    fn create_initiation(&mut self, identity: &mut Identity, rng: &mut impl Rng, now: Instant) -> Option<Vec<u8>> {
        // Also if no message can be created: a peer with an unusable key is given up like one that does not respond.
        self.timers.initiation_sent(rng, now);
        let index = self.indices.next(self.current);
        let shared = self.shared.as_ref()?;
        let timestamp = identity.next_timestamp(now);
        let sender = Sender { public: &identity.public_key(), shared, timestamp };
        let (initiation, message) = SentInitiation::new(index, &self.peer, sender, &mut self.jar, rng, now)?;
        if self.pending.len() >= MAX_PENDING_INITIATIONS {
            self.pending.remove(0);
        }
        self.pending.push(initiation);
        Some(message)
    }

    fn handle_response(
        &mut self,
        message: &[u8],
        identity: &Identity,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Result<Vec<u8>, MessageError> {
        let index = u32_at(message, RECEIVER);
        let initiation = self.pending.iter().find(|it| it.index == index).ok_or(MessageError::Unsolicited)?;
        let session = response::accept(message, initiation, identity.private_key(), &self.preshared_key, now)
            .ok_or(MessageError::Forged)?;
        self.pending.clear();
        self.insert_session(session, rng, now);
        self.note_received(index, false, now);
        // The peer does not use the session before it has received something on it.
        self.keepalive(now).ok_or(MessageError::UnknownSession)
    }

    fn open_data<'a>(&mut self, message: &'a mut [u8], now: Instant) -> Result<Opened<'a>, MessageError> {
        let index = u32_at(message, data::RECEIVER);
        let slot = self.sessions.get_mut(SessionIndices::slot(index)).and_then(Option::as_mut);
        let session =
            slot.filter(|it| it.index == index && it.expires_at() > now).ok_or(MessageError::UnknownSession)?;
        let packet = session.open(message)?;
        self.received += packet.len() as u64;
        self.note_received(index, !packet.is_empty(), now);
        Ok(if packet.is_empty() { Opened::Control } else { Opened::Packet(packet) })
    }

    fn keepalive(&mut self, now: Instant) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        self.seal(&[], &mut message, now).then_some(message)
    }

    fn insert_session(&mut self, session: Session, rng: &mut impl Rng, now: Instant) {
        self.timers.session_created(session.role, rng, now);
        self.last_handshake = Some(now);
        if let Some(slot) = self.sessions.get_mut(SessionIndices::slot(session.index)) {
            *slot = Some(Box::new(session));
        }
    }

    /// The peer uses this session, so from now on it is used for sending if it is the newest.
    fn note_received(&mut self, index: u32, has_packet: bool, now: Instant) {
        let created_at = |session: &Session| session.created_at;
        if self.current != Some(index)
            && self.session(index).map(created_at)
                >= self.current.and_then(|current| self.session(current)).map(created_at)
        {
            self.current = Some(index);
            self.timers.current_session_changed();
        }
        let Self { sessions, timers, current, .. } = self;
        let session = sessions.get(SessionIndices::slot(index)).and_then(Option::as_deref);
        timers.message_received(session.filter(|session| *current == Some(session.index)), has_packet, now);
    }

    fn remove_ended_sessions(&mut self, now: Instant) {
        for slot in &mut self.sessions {
            let Some(ended) = slot.take_if(|session| session.expires_at() <= now) else { continue };
            if self.current == Some(ended.index) {
                self.current = None;
                self.timers.current_session_ended(&ended, now);
            }
        }
    }
}

impl std::fmt::Debug for PeerSessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerSessions")
            .field("current", &self.current)
            .field("timers", &self.timers)
            .field("sent", &self.sent)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}
