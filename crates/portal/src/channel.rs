//! The Phoenix channel on one socket: join, heartbeats, and the queue of messages.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use model::{Deadline, FromPortal, ToPortal};

use crate::{
    ApiVersion, ConnectionError,
    message::{
        PHOENIX,
        incoming::{FrameError, Incoming, ReplyStatus},
        outgoing::Outgoing,
    },
};

/// The portal answers a join at once. A load balancer without a portal behind it never does.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The portal closes a socket after 37 s without a frame. Heartbeats are sent even if there is other traffic.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
/// One more unanswered heartbeat means that the portal is unreachable.
const MAX_UNANSWERED_HEARTBEATS: usize = 3;
/// A write that takes longer is considered blocked.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// More than a working client ever queues. Beyond it the oldest message is dropped; traffic causes it again.
const MAX_QUEUED_MESSAGES: usize = 512;

/// One channel on one socket. References, deadlines and queued messages end with the socket.
#[derive(Debug)]
pub(crate) struct Channel {
    version: ApiVersion,
    phase: Phase,
    /// The `ref` of the next message; starts at 0 on each socket.
    next_ref: u64,
    /// Messages to send after the join.
    queue: VecDeque<ToPortal>,
    /// Number of messages that were dropped because the queue was full.
    dropped: u64,
    /// The time of the next heartbeat.
    next_heartbeat: Instant,
    /// Whether a heartbeat is due and not written yet. At most one: a blocked socket must not accumulate them.
    is_heartbeat_due: bool,
    /// The `ref`s of heartbeats that were written and not answered.
    unanswered: BTreeSet<u64>,
    /// The frame that the socket is writing.
    writing: Option<Writing>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Only heartbeats may be sent until the join is answered.
    Joining {
        /// The `ref` of the join; `None` until it is sent.
        join_ref: Option<u64>,
        deadline: Instant,
    },
    /// The portal has accepted the join.
    Joined {
        /// The `ref` of the join. Replies to older messages concern an earlier channel.
        join_ref: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Writing {
    since: Instant,
    /// Its `ref` if it is a heartbeat that has not been answered yet.
    heartbeat: Option<u64>,
}

/// What a frame of the portal means to the owner of the channel.
#[derive(Debug)]
pub(crate) enum ChannelEvent {
    Nothing,
    Joined,
    Message(FromPortal),
    TokenExpired,
    Lost(ConnectionError),
}

impl Channel {
    pub(crate) fn new(version: ApiVersion, now: Instant) -> Self {
        Self {
            version,
            phase: Phase::Joining { join_ref: None, deadline: now + JOIN_TIMEOUT },
            next_ref: 0,
            queue: VecDeque::new(),
            dropped: 0,
            next_heartbeat: now + HEARTBEAT_INTERVAL,
            is_heartbeat_due: false,
            unanswered: BTreeSet::new(),
            writing: None,
        }
    }

    pub(crate) fn is_joined(&self) -> bool {
        matches!(self.phase, Phase::Joined { .. })
    }

    /// Appends a message to the queue, unless the queue contains it.
    pub(crate) fn send(&mut self, message: ToPortal) {
        if self.queue.contains(&message) {
            return;
        }
        if self.queue.len() >= MAX_QUEUED_MESSAGES {
            self.queue.pop_front();
            self.dropped += 1;
            tracing::debug!(dropped = self.dropped, "the queue for the portal is full; dropping the oldest message");
        }
        self.queue.push_back(message);
    }

    /// Puts messages at the head of the queue, in order.
    pub(crate) fn send_first(&mut self, messages: Vec<ToPortal>) {
        for message in messages.into_iter().rev() {
            self.queue.push_front(message);
        }
    }

    /// The messages that were not sent.
    pub(crate) fn into_unsent(self) -> impl Iterator<Item = ToPortal> {
        self.queue.into_iter()
    }

    pub(crate) fn handle_text(&mut self, text: &str, now: Instant) -> ChannelEvent {
        match Incoming::parse(text) {
            Ok(Incoming::Reply { topic, reference, status }) => self.handle_reply(&topic, reference, status, now),
            Ok(Incoming::Message(message)) => ChannelEvent::Message(message),
            Ok(Incoming::TokenExpired) => ChannelEvent::TokenExpired,
            Ok(Incoming::ChannelClosed) => ChannelEvent::Lost(ConnectionError::ChannelClosed),
            Ok(Incoming::ChannelError | Incoming::Disconnect) => {
                tracing::debug!("the portal announces that it will close the socket");
                ChannelEvent::Nothing
            }
            Ok(Incoming::Ignored) => ChannelEvent::Nothing,
            Err(FrameError::Truncated) => ChannelEvent::Lost(ConnectionError::TruncatedFrame),
            Err(error @ (FrameError::NotAMessage | FrameError::UnknownEvent)) => {
                tracing::debug!(%error, "ignoring a frame");
                ChannelEvent::Nothing
            }
            Err(FrameError::Payload(error)) => {
                tracing::warn!(%error, "ignoring a malformed message of the portal");
                ChannelEvent::Nothing
            }
        }
    }

    fn handle_reply(&mut self, topic: &str, reference: Option<u64>, status: ReplyStatus, now: Instant) -> ChannelEvent {
        let Some(reference) = reference else { return ChannelEvent::Nothing };
        if topic == PHOENIX {
            self.handle_heartbeat_reply(reference);
            return ChannelEvent::Nothing;
        }
        match (self.phase, status) {
            (Phase::Joining { join_ref: Some(join_ref), .. }, ReplyStatus::Ok) if join_ref == reference => {
                self.phase = Phase::Joined { join_ref };
                ChannelEvent::Joined
            }
            (Phase::Joining { join_ref: Some(join_ref), .. }, ReplyStatus::UnmatchedTopic | ReplyStatus::Error)
                if join_ref == reference =>
            {
                ChannelEvent::Lost(ConnectionError::JoinRefused)
            }
            (Phase::Joined { join_ref }, ReplyStatus::UnmatchedTopic) if reference > join_ref => {
                tracing::debug!("the portal does not know the channel; joining again");
                self.phase = Phase::Joining { join_ref: None, deadline: now + JOIN_TIMEOUT };
                ChannelEvent::Nothing
            }
            (Phase::Joining { .. } | Phase::Joined { .. }, ReplyStatus::Ok) => ChannelEvent::Nothing,
            (Phase::Joining { .. } | Phase::Joined { .. }, ReplyStatus::UnmatchedTopic | ReplyStatus::Error) => {
                tracing::debug!(reference, "the portal rejected a message");
                ChannelEvent::Nothing
            }
        }
    }

    /// A reply to a heartbeat also answers the heartbeats before it.
    fn handle_heartbeat_reply(&mut self, reference: u64) {
        if let Some(writing) = self.writing.as_mut().filter(|writing| writing.heartbeat == Some(reference)) {
            writing.heartbeat = None;
            self.unanswered.clear();
        } else if self.unanswered.contains(&reference) {
            self.unanswered.retain(|&sent| sent > reference);
        }
    }

    /// The next frame, once the socket has taken the previous one: a heartbeat if one is due, else the join, else a message.
    pub(crate) fn poll_frame(&mut self, now: Instant) -> Option<String> {
        if self.writing.is_some() {
            return None;
        }
        let reference = self.next_ref;
        let (outgoing, heartbeat) = if self.is_heartbeat_due {
            self.is_heartbeat_due = false;
            (Outgoing::heartbeat(), Some(reference))
        } else {
            match &mut self.phase {
                Phase::Joining { join_ref: join_ref @ None, .. } => {
                    *join_ref = Some(reference);
                    (Outgoing::join(), None)
                }
                Phase::Joining { .. } => return None,
                Phase::Joined { .. } => (Outgoing::message(&self.queue.pop_front()?, self.version), None),
            }
        };
        self.next_ref += 1;
        self.writing = Some(Writing { since: now, heartbeat });
        tracing::trace!(event = outgoing.event(), reference, "sending a message to the portal");
        Some(outgoing.frame(reference))
    }

    /// The socket has taken the frame. Only now a heartbeat counts as sent.
    pub(crate) fn handle_written(&mut self) -> Result<(), ConnectionError> {
        self.unanswered.extend(self.writing.take().and_then(|writing| writing.heartbeat));
        if self.unanswered.len() > MAX_UNANSWERED_HEARTBEATS { Err(ConnectionError::HeartbeatTimedOut) } else { Ok(()) }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), ConnectionError> {
        if matches!(self.phase, Phase::Joining { deadline, .. } if now >= deadline) {
            return Err(ConnectionError::JoinTimedOut);
        }
        if self.writing.is_some_and(|writing| now >= writing.since + WRITE_TIMEOUT) {
            return Err(ConnectionError::WriteTimedOut);
        }
        if now >= self.next_heartbeat {
            self.is_heartbeat_due = true;
            self.next_heartbeat += HEARTBEAT_INTERVAL;
            // Heartbeats missed during suspend are not sent later.
            if self.next_heartbeat <= now {
                self.next_heartbeat = now + HEARTBEAT_INTERVAL;
            }
        }
        Ok(())
    }

    pub(crate) fn poll_timeout(&self) -> Deadline {
        let join = match self.phase {
            Phase::Joining { deadline, .. } => Some(Deadline { at: deadline, reason: "join" }),
            Phase::Joined { .. } => None,
        };
        let write = self.writing.map(|writing| Deadline { at: writing.since + WRITE_TIMEOUT, reason: "write" });
        let heartbeat = Deadline { at: self.next_heartbeat, reason: "heartbeat" };
        [join, write].into_iter().flatten().fold(heartbeat, Deadline::min)
    }
}
