//! When a tunnel has to do something by itself (WireGuard's white paper, section 6).

use std::time::{Duration, Instant};

use model::Deadline;
use rand::Rng;

use super::session::{Initiator, REJECT_AFTER, Session};

/// An initiation that is not answered is repeated after this.
const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
/// And given up after this. Longer than connectivity checks take to find another path, much shorter than WireGuard's
/// usual 90 s, because a peer that can be reached but does not answer has other keys.
const ATTEMPT_TIME: Duration = Duration::from_secs(20);
/// The initiator of a session that sends on it makes a new one after this.
const REKEY_AFTER: Duration = Duration::from_secs(120);
/// The initiator of a session that only receives on it makes a new one after this.
const RECEIVER_REKEYS_AFTER: Duration = Duration::from_secs(165);
/// Who has sent something and heard nothing for this long doubts the session.
const NO_REPLY: Duration = Duration::from_secs(15);
/// Who has received something and sent nothing for this long gives a sign of life.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// A tunnel without a new session for this long is dead.
const WIPE_AFTER: Duration = Duration::from_secs(540);
/// Handshakes that a timer begins come this much later at most, so that two peers do not always begin at the same moment.
const JITTER_MS: u64 = 333;

/// The deadlines of one tunnel.
#[derive(Debug)]
pub(crate) struct Timers {
    /// When the last session was made, or at first the tunnel.
    renewed: Instant,
    /// What is added before the next handshake.
    jitter: Duration,
    /// When the present attempt to make a session began, and when it is repeated.
    attempt: Option<(Instant, Instant)>,
    /// When a new session is to be made.
    rekey_at: Option<Instant>,
    /// When the present session is doubted unless the peer says something.
    doubt_at: Option<Instant>,
    keepalive_at: Option<Instant>,
    /// When the peer last said something authentic.
    heard_at: Option<Instant>,
}

/// What is due.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Attempt {
    /// Nothing.
    Going,
    /// An initiation has to be sent.
    Initiate,
    /// An empty message has to be sent.
    SignOfLife,
    /// The peer does not answer.
    GivenUp,
}

impl Timers {
    pub(crate) fn new(rng: &mut impl Rng, now: Instant) -> Self {
        let (renewed, jitter) = (now, jitter(rng));
        Self { renewed, jitter, attempt: None, rekey_at: None, doubt_at: None, keepalive_at: None, heard_at: None }
    }

    /// Whether a handshake is going on.
    pub(crate) fn is_trying(&self) -> bool {
        self.attempt.is_some()
    }

    /// How long a handshake has been going on, and how long of it nothing has been heard.
    pub(crate) fn unanswered(&self, now: Instant) -> Option<(Duration, Duration)> {
        let (since, _) = self.attempt?;
        let silent_since = self.heard_at.map_or(since, |heard| heard.max(since));
        Some((now.saturating_duration_since(since), now.saturating_duration_since(silent_since)))
    }

    /// An initiation was sent.
    pub(crate) fn initiated(&mut self, rng: &mut impl Rng, now: Instant) {
        self.jitter = jitter(rng);
        let since = self.attempt.map_or(now, |(since, _)| since);
        self.attempt = Some((since, now + REKEY_TIMEOUT + self.jitter));
        self.rekey_at = None;
        self.doubt_at = None;
    }

    /// A session was made.
    pub(crate) fn renewed(&mut self, by: Initiator, rng: &mut impl Rng, now: Instant) {
        self.renewed = now;
        self.jitter = jitter(rng);
        if by == Initiator::Us {
            self.attempt = None;
        }
    }

    /// Another session is the one to send on.
    pub(crate) fn moved(&mut self) {
        self.rekey_at = None;
    }

    /// Something was sent on `session`.
    pub(crate) fn sent(&mut self, session: &Session, has_packet: bool, now: Instant) {
        self.keepalive_at = None;
        if has_packet {
            self.doubt_at.get_or_insert(now + NO_REPLY + self.jitter);
            self.plan(session, REKEY_AFTER, now);
        }
    }

    /// Something authentic was received, perhaps on the `current` session.
    pub(crate) fn received(&mut self, current: Option<&Session>, has_packet: bool, now: Instant) {
        self.doubt_at = None;
        self.heard_at = Some(now);
        if has_packet {
            self.keepalive_at.get_or_insert(now + KEEPALIVE);
            if let Some(session) = current {
                self.plan(session, RECEIVER_REKEYS_AFTER, now);
            }
        }
    }

    /// The session to send on has ended.
    pub(crate) fn ended(&mut self, session: &Session, now: Instant) {
        self.plan(session, REJECT_AFTER, now);
    }

    /// Takes the next thing that is due. Call until there is nothing.
    pub(crate) fn next(&mut self, now: Instant) -> Attempt {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.give_up_at()) {
            return Attempt::GivenUp;
        }
        if is_due(self.initiate_at()) {
            return Attempt::Initiate;
        }
        if is_due(self.keepalive_at) {
            self.keepalive_at = None;
            return Attempt::SignOfLife;
        }
        Attempt::Going
    }

    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        let due = |reason| move |at| Deadline { at, reason };
        [
            self.give_up_at().map(due("hopeless handshake")),
            self.initiate_at().map(due("handshake")),
            self.keepalive_at.map(due("sign of life")),
        ]
        .into_iter()
        .fold(None, Deadline::earliest)
    }

    fn give_up_at(&self) -> Option<Instant> {
        let wiped = self.renewed + WIPE_AFTER;
        Some(self.attempt.map_or(wiped, |(since, _)| wiped.min(since + ATTEMPT_TIME)))
    }

    fn initiate_at(&self) -> Option<Instant> {
        match self.attempt {
            Some((_, repeat)) => Some(repeat),
            None => self.rekey_at.into_iter().chain(self.doubt_at).min(),
        }
    }

    /// Its initiator sees to it that a session is followed by another.
    fn plan(&mut self, session: &Session, age: Duration, now: Instant) {
        if session.made_by == Initiator::Us {
            let at = (session.since + age).max(now) + self.jitter;
            self.rekey_at = Some(self.rekey_at.map_or(at, |planned| planned.min(at)));
        }
    }
}

fn jitter(rng: &mut impl Rng) -> Duration {
    Duration::from_millis(rng.random_range(0..=JITTER_MS))
}
