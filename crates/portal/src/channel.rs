//! The conversation on one socket: join, heartbeats, and the messages that wait for either.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use model::{Deadline, FromPortal, ToPortal};

use crate::{
    Dialect, Lost,
    message::{
        PHOENIX,
        incoming::{Answer, Incoming, Unreadable},
        outgoing::Outgoing,
    },
};

/// The portal answers a join at once; one that does not is a load balancer without a portal behind it.
const JOIN: Duration = Duration::from_secs(5);
/// The portal hangs up after 37 s without a frame. Other traffic does not count.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// With one more unanswered heartbeat than this the portal is not there.
const MOST_UNANSWERED: usize = 3;
/// A write that takes longer never ends.
const WRITE: Duration = Duration::from_secs(30);
/// More than a working client ever has waiting. Beyond it the oldest is dropped: traffic asks again.
const MOST_WAITING: usize = 512;

/// One channel on one socket. It dies with the socket, and with it all numbers, waits and messages.
#[derive(Debug)]
pub(crate) struct Channel {
    dialect: Dialect,
    phase: Phase,
    /// The number of the next message; counts from 0 for each socket.
    next: u64,
    /// Messages for after the join.
    waiting: VecDeque<ToPortal>,
    /// How many did not fit.
    dropped: u64,
    /// When the next heartbeat is due.
    heartbeat: Instant,
    /// One is due and not written yet. There is never more than one: a blocked socket must not pile them up.
    heartbeat_waits: bool,
    /// Heartbeats that were really written and not answered.
    unanswered: BTreeSet<u64>,
    /// The frame that the socket has not taken completely yet.
    writing: Option<Writing>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nothing but heartbeats may be sent until the join is answered.
    Joining {
        /// The number of our join; `None` until it is handed out.
        number: Option<u64>,
        deadline: Instant,
    },
    /// The portal listens.
    Joined {
        /// The number of our join: answers to older messages are about an older channel.
        number: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Writing {
    since: Instant,
    /// Its number, if it is a heartbeat that has not been answered yet.
    heartbeat: Option<u64>,
}

/// What a frame of the portal's means to whoever owns the channel.
#[derive(Debug)]
pub(crate) enum Heard {
    Nothing,
    Joined,
    Message(FromPortal),
    TokenExpired,
    Lost(Lost),
}

impl Channel {
    pub(crate) fn new(dialect: Dialect, now: Instant) -> Self {
        Self {
            dialect,
            phase: Phase::Joining { number: None, deadline: now + JOIN },
            next: 0,
            waiting: VecDeque::new(),
            dropped: 0,
            heartbeat: now + HEARTBEAT,
            heartbeat_waits: false,
            unanswered: BTreeSet::new(),
            writing: None,
        }
    }

    pub(crate) fn is_joined(&self) -> bool {
        matches!(self.phase, Phase::Joined { .. })
    }

    /// Says this, after everything that waits already.
    pub(crate) fn send(&mut self, message: ToPortal) {
        if self.waiting.contains(&message) {
            return;
        }
        if self.waiting.len() >= MOST_WAITING {
            self.waiting.pop_front();
            self.dropped += 1;
            tracing::debug!(dropped = self.dropped, "too many messages wait for the portal");
        }
        self.waiting.push_back(message);
    }

    /// Says these before everything that waits already.
    pub(crate) fn send_first(&mut self, messages: Vec<ToPortal>) {
        for message in messages.into_iter().rev() {
            self.waiting.push_front(message);
        }
    }

    /// What was never said.
    pub(crate) fn into_unsent(self) -> impl Iterator<Item = ToPortal> {
        self.waiting.into_iter()
    }

    pub(crate) fn handle_text(&mut self, text: &str, now: Instant) -> Heard {
        match Incoming::parse(text) {
            Ok(Incoming::Reply { topic, number, answer }) => self.handle_reply(&topic, number, answer, now),
            Ok(Incoming::Message(message)) => Heard::Message(message),
            Ok(Incoming::TokenExpired) => Heard::TokenExpired,
            Ok(Incoming::ChannelClosed) => Heard::Lost(Lost::ChannelClosed),
            Ok(Incoming::ChannelError | Incoming::Disconnect) => {
                tracing::debug!("the portal announces that it will close the socket");
                Heard::Nothing
            }
            Ok(Incoming::Ignored) => Heard::Nothing,
            Err(Unreadable::Truncated) => Heard::Lost(Lost::Truncated),
            Err(error @ (Unreadable::NotAMessage | Unreadable::UnknownEvent)) => {
                tracing::debug!(%error, "ignoring a frame");
                Heard::Nothing
            }
            Err(Unreadable::Payload(error)) => {
                tracing::warn!(%error, "ignoring a message of the portal");
                Heard::Nothing
            }
        }
    }

    fn handle_reply(&mut self, topic: &str, number: Option<u64>, answer: Answer, now: Instant) -> Heard {
        let Some(number) = number else { return Heard::Nothing };
        if topic == PHOENIX {
            self.handle_sign_of_life(number);
            return Heard::Nothing;
        }
        match (self.phase, answer) {
            (Phase::Joining { number: Some(join), .. }, Answer::Ok) if join == number => {
                self.phase = Phase::Joined { number };
                Heard::Joined
            }
            (Phase::Joining { number: Some(join), .. }, Answer::UnmatchedTopic | Answer::Error) if join == number => {
                Heard::Lost(Lost::JoinRefused)
            }
            (Phase::Joined { number: join }, Answer::UnmatchedTopic) if number > join => {
                tracing::debug!("the portal forgot our channel; joining again");
                self.phase = Phase::Joining { number: None, deadline: now + JOIN };
                Heard::Nothing
            }
            (Phase::Joining { .. } | Phase::Joined { .. }, Answer::Ok) => Heard::Nothing,
            (Phase::Joining { .. } | Phase::Joined { .. }, Answer::UnmatchedTopic | Answer::Error) => {
                tracing::debug!(number, "the portal refused a message");
                Heard::Nothing
            }
        }
    }

    /// An answer to one heartbeat is an answer to those before it.
    fn handle_sign_of_life(&mut self, number: u64) {
        if let Some(writing) = self.writing.as_mut().filter(|writing| writing.heartbeat == Some(number)) {
            writing.heartbeat = None;
            self.unanswered.clear();
        } else if self.unanswered.contains(&number) {
            self.unanswered.retain(|&sent| sent > number);
        }
    }

    /// The next frame, once the socket has taken the one before: a heartbeat if one is due, then the join, then messages.
    pub(crate) fn poll_frame(&mut self, now: Instant) -> Option<String> {
        if self.writing.is_some() {
            return None;
        }
        let number = self.next;
        let (outgoing, heartbeat) = if self.heartbeat_waits {
            self.heartbeat_waits = false;
            (Outgoing::heartbeat(), Some(number))
        } else {
            match &mut self.phase {
                Phase::Joining { number: join @ None, .. } => {
                    *join = Some(number);
                    (Outgoing::join(), None)
                }
                Phase::Joining { .. } => return None,
                Phase::Joined { .. } => (Outgoing::message(&self.waiting.pop_front()?, self.dialect), None),
            }
        };
        self.next += 1;
        self.writing = Some(Writing { since: now, heartbeat });
        tracing::trace!(event = outgoing.event(), number, "writing");
        Some(outgoing.frame(number))
    }

    /// The socket has taken the frame. Only now a heartbeat counts.
    pub(crate) fn handle_written(&mut self) -> Result<(), Lost> {
        self.unanswered.extend(self.writing.take().and_then(|writing| writing.heartbeat));
        if self.unanswered.len() > MOST_UNANSWERED { Err(Lost::Silent) } else { Ok(()) }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), Lost> {
        if matches!(self.phase, Phase::Joining { deadline, .. } if now >= deadline) {
            return Err(Lost::JoinTimedOut);
        }
        if self.writing.is_some_and(|writing| now >= writing.since + WRITE) {
            return Err(Lost::Blocked);
        }
        if now >= self.heartbeat {
            self.heartbeat_waits = true;
            self.heartbeat += HEARTBEAT;
            // After a sleep the missed ones are not made up for.
            if self.heartbeat <= now {
                self.heartbeat = now + HEARTBEAT;
            }
        }
        Ok(())
    }

    pub(crate) fn poll_timeout(&self) -> Deadline {
        let join = match self.phase {
            Phase::Joining { deadline, .. } => Some(Deadline { at: deadline, reason: "join" }),
            Phase::Joined { .. } => None,
        };
        let write = self.writing.map(|writing| Deadline { at: writing.since + WRITE, reason: "write" });
        let heartbeat = Deadline { at: self.heartbeat, reason: "heartbeat" };
        [join, write].into_iter().flatten().fold(heartbeat, Deadline::min)
    }
}
