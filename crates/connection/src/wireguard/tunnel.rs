//! The WireGuard tunnel to one peer.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use boringtun::{
    noise::{Tunn, TunnResult},
    x25519,
};
use model::{PresharedKey, PublicKey};

use super::{Identity, LONGEST_HANDSHAKE, Number, OVERHEAD};

/// How often the engine's own timers are looked at while the connection is used.
const TICK: Duration = Duration::from_millis(250);
/// The same while it is idle.
const IDLE_TICK: Duration = Duration::from_secs(1);
/// Longer than connectivity checks take to find another path, much shorter than WireGuard's usual 90 s, because a peer
/// that can be reached but does not answer has other keys.
const ATTEMPT_TIME: Duration = Duration::from_secs(20);
/// The initiator of a session does not send on it so late that it may expire under way.
const INITIATOR_STOPS: Duration = Duration::from_secs(170);
/// Nobody sends on a session after this; a little less than the 180 s at which it is gone on the other side.
const RESPONDER_STOPS: Duration = Duration::from_secs(179);
/// Then the session is gone.
const REJECT_AFTER: Duration = Duration::from_secs(180);
/// Sessions that the engine keeps; the lower bits of the index say where.
const SESSIONS: usize = 8;

const RESPONSE: u8 = 2;
const DATA: u8 = 4;

/// Sessions with one peer, and the handshakes that make them.
pub(crate) struct Tunnel {
    engine: Tunn,
    sessions: [Option<Session>; SESSIONS],
    current: Option<Session>,
    attempt: Option<Instant>,
    last_handshake: Option<Instant>,
    ticked: Instant,
    tick: Duration,
    sent: u64,
    received: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Session {
    index: u32,
    since: Instant,
    made_by: Initiator,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Initiator {
    Us,
    Them,
}

/// What was in a message.
#[derive(Debug)]
pub(crate) enum Opened<'a> {
    /// An IP packet.
    Packet(&'a [u8]),
    /// Part of a handshake, or a sign of life. These messages have to be sent.
    Control(Vec<Vec<u8>>),
    /// Nothing that we accept.
    Invalid,
}

/// Whether there is still hope for the tunnel.
#[must_use]
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Attempt {
    /// Yes; this has to be sent.
    Going(Option<Vec<u8>>),
    /// The peer does not answer.
    GivenUp,
}

impl Tunnel {
    pub(crate) fn new(
        identity: &Identity,
        peer: &PublicKey,
        preshared_key: &PresharedKey,
        number: Number,
        now: Instant,
    ) -> Self {
        let engine = Tunn::new(
            identity.private.clone(),
            x25519::PublicKey::from(peer.0),
            Some(*preshared_key.expose()),
            None,
            number.value(),
            Some(identity.open_gate.clone()),
        );
        Self {
            engine,
            sessions: [None; SESSIONS],
            current: None,
            attempt: None,
            last_handshake: None,
            ticked: now,
            tick: TICK,
            sent: 0,
            received: 0,
        }
    }

    /// Begins a handshake, unless one is going on.
    pub(crate) fn initiate(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.attempt.is_some() {
            return None;
        }
        let mut buffer = vec![0; LONGEST_HANDSHAKE];
        let TunnResult::WriteToNetwork(message) = self.engine.format_handshake_initiation(&mut buffer, true) else {
            return None;
        };
        let length = message.len();
        buffer.truncate(length);
        self.attempt = Some(now);
        Some(buffer)
    }

    /// Whether something can be sent to the peer now.
    pub(crate) fn can_seal(&self, now: Instant) -> bool {
        self.current.is_some_and(|session| session.is_for_sending(now))
    }

    /// Whether a handshake was ever completed.
    pub(crate) fn last_handshake(&self) -> Option<Instant> {
        self.last_handshake
    }

    /// Appends the message with `packet` to `output`. Returns whether there was a session for it.
    pub(crate) fn seal(&mut self, packet: &[u8], output: &mut Vec<u8>, now: Instant) -> bool {
        if !self.can_seal(now) {
            return false;
        }
        let start = output.len();
        output.resize(start + (packet.len() + OVERHEAD).max(LONGEST_HANDSHAKE), 0);
        let length = match self.engine.encapsulate(packet, output.get_mut(start..).unwrap_or_default()) {
            TunnResult::WriteToNetwork(message) if message.first() == Some(&DATA) => message.len(),
            TunnResult::Done
            | TunnResult::Err(_)
            | TunnResult::WriteToNetwork(_)
            | TunnResult::WriteToTunnelV4(..)
            | TunnResult::WriteToTunnelV6(..) => 0,
        };
        output.truncate(start + length);
        self.sent += packet.len() as u64;
        length > 0
    }

    /// Handles a message for this tunnel. `from` is the sender as the peer's cookies know it.
    pub(crate) fn open<'a>(&mut self, from: IpAddr, message: &[u8], scratch: &'a mut [u8], now: Instant) -> Opened<'a> {
        let (kind, receiver) = (message.first().copied(), index_at(message, if is_response(message) { 8 } else { 4 }));
        if kind == Some(DATA) && self.session(receiver).is_none_or(|session| session.is_gone(now)) {
            return Opened::Invalid;
        }
        let needed = message.len().max(LONGEST_HANDSHAKE);
        if scratch.len() < needed {
            return Opened::Invalid;
        }
        match self.engine.decapsulate(Some(from), message, scratch) {
            TunnResult::Err(error) => {
                tracing::debug!(?error, "Ignored a WireGuard message");
                Opened::Invalid
            }
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                let length = packet.len();
                self.received += length as u64;
                self.heard_on(receiver);
                Opened::Packet(scratch.get(..length).unwrap_or_default())
            }
            TunnResult::Done => {
                if kind == Some(DATA) {
                    self.heard_on(receiver);
                }
                Opened::Control(Vec::new())
            }
            TunnResult::WriteToNetwork(answer) => {
                let answer = answer.to_vec();
                if kind == Some(RESPONSE) {
                    self.begin_session(receiver, Initiator::Us, now);
                    self.heard_on(receiver);
                } else {
                    self.begin_session(index_at(&answer, 4), Initiator::Them, now);
                }
                Opened::Control(self.with_queued(answer, scratch))
            }
        }
    }

    /// How attentive the tunnel is to its timers.
    pub(crate) fn set_idle(&mut self, idle: bool) {
        self.tick = if idle { IDLE_TICK } else { TICK };
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Attempt {
        if self.attempt.is_some_and(|since| now.duration_since(since) >= ATTEMPT_TIME) {
            return Attempt::GivenUp;
        }
        if now.duration_since(self.ticked) >= self.tick {
            self.ticked = now;
            let mut buffer = vec![0; LONGEST_HANDSHAKE];
            match self.engine.update_timers(&mut buffer) {
                TunnResult::WriteToNetwork(message) => {
                    let length = message.len();
                    buffer.truncate(length);
                    if buffer.first() != Some(&DATA) {
                        self.attempt.get_or_insert(now);
                    }
                    return Attempt::Going(Some(buffer));
                }
                TunnResult::Err(_) => return Attempt::GivenUp,
                TunnResult::Done | TunnResult::WriteToTunnelV4(..) | TunnResult::WriteToTunnelV6(..) => {}
            }
        }
        // The engine would wait with a new session until somebody sends.
        let ours = self.current.filter(|session| session.made_by == Initiator::Us);
        if ours.is_some_and(|session| session.is_gone(now)) {
            return Attempt::Going(self.initiate(now));
        }
        Attempt::Going(None)
    }

    pub(crate) fn poll_timeout(&self) -> Instant {
        let tick = self.ticked + self.tick;
        self.attempt.map_or(tick, |since| tick.min(since + ATTEMPT_TIME))
    }

    /// Bytes of IP packets sent and received.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        (self.sent, self.received)
    }

    fn session(&self, index: u32) -> Option<Session> {
        self.sessions.get(slot(index)).copied().flatten().filter(|session| session.index == index)
    }

    fn begin_session(&mut self, index: u32, made_by: Initiator, now: Instant) {
        if let Some(slot) = self.sessions.get_mut(slot(index)) {
            *slot = Some(Session { index, since: now, made_by });
        }
        self.attempt = None;
        self.last_handshake = Some(now);
    }

    /// The peer uses this session, so we may, and should if it is the newest.
    fn heard_on(&mut self, index: u32) {
        let heard = self.session(index);
        if heard.map(|session| session.since) >= self.current.map(|session| session.since) {
            self.current = heard;
        }
    }

    /// The engine may have kept packets of its own for the new session.
    fn with_queued(&mut self, answer: Vec<u8>, scratch: &mut [u8]) -> Vec<Vec<u8>> {
        let mut messages = vec![answer];
        while let TunnResult::WriteToNetwork(message) = self.engine.decapsulate(None, &[], scratch) {
            messages.push(message.to_vec());
        }
        messages
    }
}

impl Session {
    fn is_for_sending(self, now: Instant) -> bool {
        let limit = match self.made_by {
            Initiator::Us => INITIATOR_STOPS,
            Initiator::Them => RESPONDER_STOPS,
        };
        now.duration_since(self.since) < limit
    }

    fn is_gone(self, now: Instant) -> bool {
        now.duration_since(self.since) >= REJECT_AFTER
    }
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel")
            .field("current", &self.current)
            .field("attempt", &self.attempt)
            .field("sent", &self.sent)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

fn is_response(message: &[u8]) -> bool {
    message.first() == Some(&RESPONSE)
}

fn slot(index: u32) -> usize {
    index as usize % SESSIONS
}

/// The index at this place of a message; 0 if the message is too short.
fn index_at(message: &[u8], offset: usize) -> u32 {
    message.get(offset..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u32::from_le_bytes)
}
