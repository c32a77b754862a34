//! The WireGuard tunnel to one peer: its sessions, and the handshakes that make them.

use std::time::{Duration, Instant};

use model::{Deadline, PresharedKey, PublicKey};
use rand::Rng;

use super::{
    Attempt, Identity, Number, Refused,
    cookie::CookieJar,
    index::Indices,
    initiation::{Introduction, Pending},
    message::{Kind, TIMESTAMP, number_at},
    noise::Key,
    response,
    session::Session,
    timers::Timers,
};
use crate::limits::SESSIONS;

/// Sessions with one peer.
///
/// Whatever arrives is accepted on any session that is not too old; what is sent goes on the newest of which we know that
/// the peer has it, too.
pub(crate) struct Tunnel {
    peer: PublicKey,
    preshared_key: PresharedKey,
    /// What our static keys agree on; `None` for a key with which nobody can agree on a secret.
    shared: Option<Key>,
    indices: Indices,
    sessions: [Option<Box<Session>>; SESSIONS],
    /// The session to send on.
    current: Option<u32>,
    /// Our initiations in flight, the newest last. A slow path may answer the one before.
    pending: Vec<Pending>,
    /// When the newest initiation of the peer was made.
    newest: [u8; TIMESTAMP],
    jar: CookieJar,
    timers: Timers,
    last_handshake: Option<Instant>,
    sent: u64,
    received: u64,
}

/// What was in a message.
#[derive(Debug)]
pub(crate) enum Opened<'a> {
    /// What should be an IP packet.
    Packet(&'a [u8]),
    /// Something for the tunnel itself.
    Control,
    /// The same, and this has to be sent.
    Answer(Vec<u8>),
}

impl Tunnel {
    pub(crate) fn new(
        identity: &Identity,
        peer: &PublicKey,
        preshared_key: &PresharedKey,
        number: Number,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Self {
        Self {
            peer: *peer,
            preshared_key: preshared_key.clone(),
            shared: identity.agree(peer),
            indices: Indices::of(number),
            sessions: std::array::from_fn(|_| None),
            current: None,
            pending: Vec::new(),
            newest: [0; TIMESTAMP],
            jar: CookieJar::new(peer),
            timers: Timers::new(rng, now),
            last_handshake: None,
            sent: 0,
            received: 0,
        }
    }

    /// Begins a handshake, unless one is going on. Returns the message to be sent.
    pub(crate) fn initiate(&mut self, identity: &mut Identity, rng: &mut impl Rng, now: Instant) -> Option<Vec<u8>> {
        if self.timers.is_trying() { None } else { self.make_initiation(identity, rng, now) }
    }

    /// Whether something can be sent to the peer now.
    pub(crate) fn can_seal(&self, now: Instant) -> bool {
        self.current.and_then(|index| self.session(index)).is_some_and(|session| session.is_for_sending(now))
    }

    /// How long a handshake has been going on, and how long of it the peer has been silent.
    pub(crate) fn unanswered(&self, now: Instant) -> Option<(Duration, Duration)> {
        self.timers.unanswered(now)
    }

    /// When the last handshake was completed.
    pub(crate) fn last_handshake(&self) -> Option<Instant> {
        self.last_handshake
    }

    /// Appends the message with `packet` to `output`. Returns whether there was a session for it.
    pub(crate) fn seal(&mut self, packet: &[u8], output: &mut Vec<u8>, now: Instant) -> bool {
        let slot = self.current.and_then(|index| self.sessions.get_mut(Indices::slot(index)));
        let Some(session) = slot.and_then(Option::as_mut).filter(|session| session.is_for_sending(now)) else {
            return false;
        };
        let sealed = session.seal(packet, output);
        if sealed {
            self.timers.sent(session, !packet.is_empty(), now);
            self.sent += packet.len() as u64;
        }
        sealed
    }

    /// Handles a message with an index of this tunnel. Decrypts it where it lies.
    pub(crate) fn open<'a>(
        &mut self,
        message: &'a mut [u8],
        identity: &Identity,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Result<Opened<'a>, Refused> {
        match Kind::of(message) {
            Some(Kind::Data) => self.open_data(message, now),
            Some(Kind::Response) => self.accept(message, identity, rng, now).map(Opened::Answer),
            Some(Kind::CookieReply) => self.jar.accept(message, now).map(|()| Opened::Control),
            Some(Kind::Initiation) | None => Err(Refused::Malformed),
        }
    }

    /// Handles an initiation of the peer. Returns the answer. Our own initiations in flight are not touched.
    pub(crate) fn answer(
        &mut self,
        mut introduction: Introduction,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Result<Vec<u8>, Refused> {
        let timestamp = self.shared.as_ref().and_then(|shared| introduction.prove(shared)).ok_or(Refused::Forged)?;
        if timestamp <= self.newest {
            return Err(Refused::Replayed);
        }
        let index = self.indices.next(self.current);
        let (session, answer) = response::answer(introduction, index, &self.preshared_key, &mut self.jar, rng, now)
            .ok_or(Refused::Forged)?;
        self.newest = timestamp;
        self.begin(session, rng, now);
        Ok(answer)
    }

    /// Does the next thing that is due, and returns what has to be sent for it. Call until that is
    /// [nothing](Attempt::Going).
    pub(crate) fn handle_timeout(
        &mut self,
        identity: &mut Identity,
        rng: &mut impl Rng,
        now: Instant,
    ) -> (Attempt, Option<Vec<u8>>) {
        self.end_sessions(now);
        let attempt = self.timers.next(now);
        let message = match attempt {
            Attempt::Going => None,
            Attempt::Initiate => self.make_initiation(identity, rng, now),
            Attempt::SignOfLife => self.sign_of_life(now),
            Attempt::GivenUp => None,
        };
        (attempt, message)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        let ends =
            self.sessions.iter().flatten().map(|session| Deadline { at: session.end(), reason: "end of a session" });
        Deadline::earliest(ends.min(), self.timers.poll_timeout())
    }

    /// Bytes of IP packets sent and received.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        (self.sent, self.received)
    }

    fn session(&self, index: u32) -> Option<&Session> {
        self.sessions.get(Indices::slot(index))?.as_deref().filter(|session| session.index == index)
    }

    fn make_initiation(&mut self, identity: &mut Identity, rng: &mut impl Rng, now: Instant) -> Option<Vec<u8>> {
        // Also without a message: who cannot be talked to is given up like who does not answer.
        self.timers.initiated(rng, now);
        let index = self.indices.next(self.current);
        let shared = self.shared.as_ref()?;
        let (pending, message) = Pending::begin(index, &self.peer, shared, identity, &mut self.jar, rng, now)?;
        if self.pending.len() > 1 {
            self.pending.remove(0);
        }
        self.pending.push(pending);
        Some(message)
    }

    fn accept(
        &mut self,
        message: &[u8],
        identity: &Identity,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Result<Vec<u8>, Refused> {
        let index = number_at(message, super::message::response::RECEIVER);
        let pending = self.pending.iter().find(|pending| pending.index == index).ok_or(Refused::Unasked)?;
        let session =
            response::accept(message, pending, identity.private(), &self.preshared_key, now).ok_or(Refused::Forged)?;
        self.pending.clear();
        self.begin(session, rng, now);
        self.heard_on(index, false, now);
        // Until the peer hears something on the session it does not know that we have it.
        self.sign_of_life(now).ok_or(Refused::NoSession)
    }

    fn open_data<'a>(&mut self, message: &'a mut [u8], now: Instant) -> Result<Opened<'a>, Refused> {
        let index = number_at(message, 4);
        let slot = self.sessions.get_mut(Indices::slot(index)).and_then(Option::as_mut);
        let session = slot.filter(|it| it.index == index && it.end() > now).ok_or(Refused::NoSession)?;
        let packet = session.open(message)?;
        self.received += packet.len() as u64;
        self.heard_on(index, !packet.is_empty(), now);
        Ok(if packet.is_empty() { Opened::Control } else { Opened::Packet(packet) })
    }

    fn sign_of_life(&mut self, now: Instant) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        self.seal(&[], &mut message, now).then_some(message)
    }

    fn begin(&mut self, session: Session, rng: &mut impl Rng, now: Instant) {
        self.timers.renewed(session.made_by, rng, now);
        self.last_handshake = Some(now);
        if let Some(slot) = self.sessions.get_mut(Indices::slot(session.index)) {
            *slot = Some(Box::new(session));
        }
    }

    /// The peer uses this session, so we may, and should if it is the newest.
    fn heard_on(&mut self, index: u32, has_packet: bool, now: Instant) {
        let since = |session: &Session| session.since;
        if self.current != Some(index)
            && self.session(index).map(since) >= self.current.and_then(|current| self.session(current)).map(since)
        {
            self.current = Some(index);
            self.timers.moved();
        }
        let Self { sessions, timers, current, .. } = self;
        let session = sessions.get(Indices::slot(index)).and_then(Option::as_deref);
        timers.received(session.filter(|session| *current == Some(session.index)), has_packet, now);
    }

    fn end_sessions(&mut self, now: Instant) {
        for slot in &mut self.sessions {
            let Some(ended) = slot.take_if(|session| session.end() <= now) else { continue };
            if self.current == Some(ended.index) {
                self.current = None;
                self.timers.ended(&ended, now);
            }
        }
    }
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel")
            .field("current", &self.current)
            .field("timers", &self.timers)
            .field("sent", &self.sent)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}
