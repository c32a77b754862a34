//! The deadlines of the sessions with one peer (WireGuard's white paper, section 6).

use std::time::{Duration, Instant};

use model::Deadline;
use rand::Rng;

use crate::session::{REJECT_AFTER_TIME, Role, Session};

/// An initiation without response is repeated after this time.
const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
/// A handshake without response is given up after this time. Longer than connectivity checks need to find another path,
/// but much shorter than WireGuard's 90 s, because a reachable peer that does not respond has other keys.
const REKEY_ATTEMPT_TIME: Duration = Duration::from_secs(20);
/// Age of a session at which its initiator renews it when sending.
const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
/// Age of a session at which its initiator renews it when receiving.
const RECEIVER_REKEY_AFTER_TIME: Duration = Duration::from_secs(165);
/// A packet was sent and nothing was received for this time: a new handshake starts.
const NO_REPLY_TIMEOUT: Duration = Duration::from_secs(15);
/// A packet was received and nothing was sent for this time: a keepalive is sent.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The peer is given up this long after the last handshake.
const WIPE_AFTER_TIME: Duration = Duration::from_secs(540);
/// Maximum random delay of handshakes started by a timer, so that two peers do not keep starting at the same moment.
const MAX_JITTER_MS: u64 = 333;

/// The deadlines of the sessions with one peer.
#[derive(Debug)]
pub(crate) struct Timers {
    /// When the newest session was created, or else this object.
    last_session: Instant,
    /// Random delay of the next handshake.
    jitter: Duration,
    handshake: Option<Handshake>,
    /// When the current session is renewed.
    rekey_at: Option<Instant>,
    /// When a handshake starts unless the peer sends something.
    no_reply_at: Option<Instant>,
    keepalive_at: Option<Instant>,
    /// When the last authentic message of the peer arrived.
    last_received: Option<Instant>,
}

/// A handshake that we started and that is not completed.
#[derive(Clone, Copy, Debug)]
struct Handshake {
    started: Instant,
    /// When the initiation is repeated.
    repeat_at: Instant,
}

/// What a timer requires.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerAction {
    /// Nothing before the next deadline.
    Wait,
    /// Send an initiation.
    Initiate,
    /// Send an empty message.
    SendKeepalive,
    /// Give up: the peer does not respond.
    GiveUp,
}

impl Timers {
    pub(crate) fn new(rng: &mut impl Rng, now: Instant) -> Self {
        Self {
            last_session: now,
            jitter: jitter(rng),
            handshake: None,
            rekey_at: None,
            no_reply_at: None,
            keepalive_at: None,
            last_received: None,
        }
    }

    /// Whether a handshake of ours is pending.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.handshake.is_some()
    }

    /// How long our handshake has been pending, and how long the peer has been silent during it.
    pub(crate) fn unanswered_handshake(&self, now: Instant) -> Option<(Duration, Duration)> {
        let Handshake { started, .. } = self.handshake?;
        let silent_since = self.last_received.map_or(started, |received| received.max(started));
        Some((now.saturating_duration_since(started), now.saturating_duration_since(silent_since)))
    }

    /// An initiation was sent.
    pub(crate) fn initiation_sent(&mut self, rng: &mut impl Rng, now: Instant) {
        self.jitter = jitter(rng);
        let started = self.handshake.map_or(now, |handshake| handshake.started);
        self.handshake = Some(Handshake { started, repeat_at: now + REKEY_TIMEOUT + self.jitter });
        self.rekey_at = None;
        self.no_reply_at = None;
    }

    /// A session was created, in which we have this role.
    pub(crate) fn session_created(&mut self, role: Role, rng: &mut impl Rng, now: Instant) {
        self.last_session = now;
        self.jitter = jitter(rng);
        if role == Role::Initiator {
            self.handshake = None;
        }
    }

    /// Another session is used for sending.
    pub(crate) fn current_session_changed(&mut self) {
        self.rekey_at = None;
    }

    /// A message was sent on `session`.
    pub(crate) fn message_sent(&mut self, session: &Session, has_packet: bool, now: Instant) {
        self.keepalive_at = None;
        if has_packet {
            self.no_reply_at.get_or_insert(now + NO_REPLY_TIMEOUT + self.jitter);
            self.schedule_rekey(session, REKEY_AFTER_TIME, now);
        }
    }

    /// An authentic message was received; `current` is the session used for sending if it arrived on that one.
    pub(crate) fn message_received(&mut self, current: Option<&Session>, has_packet: bool, now: Instant) {
        self.no_reply_at = None;
        self.last_received = Some(now);
        if has_packet {
            self.keepalive_at.get_or_insert(now + KEEPALIVE_TIMEOUT);
            if let Some(session) = current {
                self.schedule_rekey(session, RECEIVER_REKEY_AFTER_TIME, now);
            }
        }
    }

    /// The session used for sending has ended.
    pub(crate) fn current_session_ended(&mut self, session: &Session, now: Instant) {
        self.schedule_rekey(session, REJECT_AFTER_TIME, now);
    }

    /// Takes the next action that is due. Call it until it returns [`TimerAction::Wait`].
    pub(crate) fn next_action(&mut self, now: Instant) -> TimerAction {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if self.give_up_at() <= now {
            return TimerAction::GiveUp;
        }
        if is_due(self.initiate_at()) {
            return TimerAction::Initiate;
        }
        if is_due(self.keepalive_at) {
            self.keepalive_at = None;
            return TimerAction::SendKeepalive;
        }
        TimerAction::Wait
    }

    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        let deadline = |reason| move |at| Deadline { at, reason };
        [
            Some(Deadline { at: self.give_up_at(), reason: "giving up a peer" }),
            self.initiate_at().map(deadline("handshake")),
            self.keepalive_at.map(deadline("keepalive")),
        ]
        .into_iter()
        .fold(None, Deadline::earliest)
    }

    fn give_up_at(&self) -> Instant {
        let wiped = self.last_session + WIPE_AFTER_TIME;
        self.handshake.map_or(wiped, |handshake| wiped.min(handshake.started + REKEY_ATTEMPT_TIME))
    }

    fn initiate_at(&self) -> Option<Instant> {
        match self.handshake {
            Some(handshake) => Some(handshake.repeat_at),
            None => self.rekey_at.into_iter().chain(self.no_reply_at).min(),
        }
    }

    /// Only the initiator of a session renews it.
    fn schedule_rekey(&mut self, session: &Session, age: Duration, now: Instant) {
        if session.role == Role::Initiator {
            let at = (session.created_at + age).max(now) + self.jitter;
            self.rekey_at = Some(self.rekey_at.map_or(at, |scheduled| scheduled.min(at)));
        }
    }
}

fn jitter(rng: &mut impl Rng) -> Duration {
    Duration::from_millis(rng.random_range(0..=MAX_JITTER_MS))
}
