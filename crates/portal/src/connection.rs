//! The connection to the portal across sockets: dialling, waiting, joining, and the state that survives a reconnect.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use model::{Deadline, FromPortal, PublicKey, ToPortal};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::{
    ApiVersion, ConnectionError, Login, Request, SessionEnd, TokenRejection,
    backoff::Backoff,
    channel::{Channel, ChannelEvent},
    connection_error::{DialError, Retry},
    pending_candidates::PendingCandidates,
};

/// TCP, TLS and the upgrade together. A load balancer without a portal behind it accepts and never answers.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// The connection to the portal as a state machine without sockets.
///
/// To drive it, execute the actions of [`poll_action`](Self::poll_action); report the results of each socket with
/// [`handle_open`](Self::handle_open), [`handle_text`](Self::handle_text) and [`handle_lost`](Self::handle_lost); write
/// the frames of [`poll_transmit`](Self::poll_transmit) and call [`handle_written`](Self::handle_written) when the socket
/// has taken one; call [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) is due. After
/// each call, drain `poll_action`, `poll_transmit` and `poll_event`.
///
/// Each attempt has its own [`Socket`], and reports about an older one are ignored. This is essential: the portal sends
/// `token_expired` to the older of two connections of one device.
#[derive(Debug)]
pub struct Connection {
    login: Login,
    /// The WireGuard key of the next attempt. The portal derives secrets from it, so a new key requires a new socket.
    public_key: PublicKey,
    /// The API version that the portal supports, as far as known.
    version: ApiVersion,
    state: State,
    backoff: Backoff,
    /// Candidate changes to send after the next join.
    pending: PendingCandidates,
    /// The latest attempt.
    latest: Socket,
    rng: StdRng,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum State {
    Waiting { until: Instant },
    Dialing { deadline: Instant },
    Open(Box<Channel>),
    Ended,
}

/// Identifies one attempt to open a socket, and the socket if it succeeds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Socket(u64);

/// A request to the owner of the sockets.
#[derive(Debug)]
pub enum Action {
    /// Connect and upgrade to a WebSocket.
    Dial { socket: Socket, request: Request },
    /// Close the socket, or cancel the attempt.
    Close(Socket),
}

/// One text frame to write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// On which socket.
    pub socket: Socket,
    /// The content.
    pub text: String,
}

/// A change that the session must learn.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// The portal has accepted the join; `init` follows.
    Joined,
    /// The portal is not connected; another attempt follows.
    Disconnected { error: ConnectionError, retry: Retry },
    /// A message for the tunnel.
    Message(FromPortal),
    /// The session has ended. No more events follow.
    Ended(SessionEnd),
}

impl Connection {
    /// Creates a connection that dials at once. `seed` determines the jitter of the delays.
    #[must_use]
    pub fn new(login: Login, public_key: PublicKey, now: Instant, seed: u64) -> Self {
        let mut it = Self {
            login,
            public_key,
            version: ApiVersion::default(),
            state: State::Waiting { until: now },
            backoff: Backoff::default(),
            pending: PendingCandidates::default(),
            latest: Socket(0),
            rng: StdRng::seed_from_u64(seed),
            actions: VecDeque::new(),
            events: VecDeque::new(),
        };
        it.dial(now);
        it
    }

    /// Sets how long the portal may be unreachable after a join before the session ends. Only delays between attempts
    /// count.
    #[must_use]
    pub fn with_limit(mut self, limit: Option<Duration>) -> Self {
        self.backoff = Backoff::with_limit(limit);
        self
    }

    /// The upgrade succeeded.
    pub fn handle_open(&mut self, socket: Socket, now: Instant) {
        if socket == self.latest && matches!(self.state, State::Dialing { .. }) {
            self.state = State::Open(Box::new(Channel::new(self.version, now)));
        } else {
            self.actions.push_back(Action::Close(socket));
        }
    }

    /// The attempt failed, or the socket was closed or failed.
    pub fn handle_lost(&mut self, socket: Socket, error: ConnectionError, now: Instant) {
        if socket == self.latest && matches!(self.state, State::Dialing { .. } | State::Open(_)) {
            self.lost(error, now);
        }
    }

    /// A text frame arrived.
    pub fn handle_text(&mut self, socket: Socket, text: &str, now: Instant) {
        let State::Open(channel) = &mut self.state else { return };
        if socket != self.latest {
            return;
        }
        match channel.handle_text(text, now) {
            ChannelEvent::Nothing => {}
            ChannelEvent::Joined => {
                channel.send_first(self.pending.take());
                self.backoff.joined();
                self.events.push_back(Event::Joined);
            }
            ChannelEvent::Message(message) => self.events.push_back(Event::Message(message)),
            ChannelEvent::TokenExpired => self.end(SessionEnd::TokenRejected(TokenRejection::TokenExpired)),
            ChannelEvent::Lost(error) => self.lost(error, now),
        }
    }

    /// The socket has taken the frame that [`poll_transmit`](Self::poll_transmit) returned last.
    pub fn handle_written(&mut self, socket: Socket, now: Instant) {
        if let State::Open(channel) = &mut self.state
            && socket == self.latest
            && let Err(error) = channel.handle_written()
        {
            self.lost(error, now);
        }
    }

    /// Sends a message. Until the join has succeeded, changes of candidates are kept and merged. Other messages are kept
    /// only while the join is in progress and dropped while the portal is unreachable: traffic causes them again.
    pub fn handle_send(&mut self, message: ToPortal) {
        match &mut self.state {
            State::Open(channel) if channel.is_joined() => channel.send(message),
            State::Open(channel) => {
                if let Some(message) = self.pending.absorb(message) {
                    channel.send(message);
                }
            }
            State::Waiting { .. } | State::Dialing { .. } => {
                if self.pending.absorb(message).is_some() {
                    tracing::debug!("dropping a message: the portal is unreachable");
                }
            }
            State::Ended => {}
        }
    }

    /// Reconnects at once. A new key invalidates all connections, so their pending candidates are discarded.
    pub fn reconnect(&mut self, public_key: PublicKey, now: Instant) {
        if matches!(self.state, State::Ended) {
            return;
        }
        self.disconnect();
        if public_key != self.public_key {
            self.public_key = public_key;
            self.pending.clear();
        }
        self.backoff.reset();
        self.dial(now);
    }

    /// Dials at once if it is waiting, because a change of the network makes success more likely.
    pub fn retry_now(&mut self, now: Instant) {
        if matches!(self.state, State::Waiting { .. }) {
            self.backoff.reset();
            self.dial(now);
        }
    }

    /// Ends the connection.
    pub fn close(&mut self) {
        self.disconnect();
        self.state = State::Ended;
    }

    /// Processes deadlines that have passed by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Waiting { until } if now >= *until => self.dial(now),
            State::Dialing { deadline } if now >= *deadline => self.lost(ConnectionError::ConnectTimedOut, now),
            State::Open(channel) => {
                if let Err(error) = channel.handle_timeout(now) {
                    self.lost(error, now);
                }
            }
            State::Waiting { .. } | State::Dialing { .. } | State::Ended => {}
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        match &self.state {
            State::Waiting { until } => Some(Deadline { at: *until, reason: "retry" }),
            State::Dialing { deadline } => Some(Deadline { at: *deadline, reason: "connect" }),
            State::Open(channel) => Some(channel.poll_timeout()),
            State::Ended => None,
        }
    }

    /// The next action for the owner of the sockets.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next frame to write. `None` until the previous frame has been written.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Frame> {
        let State::Open(channel) = &mut self.state else { return None };
        channel.poll_frame(now).map(|text| Frame { socket: self.latest, text })
    }

    /// The next event for the session.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn dial(&mut self, now: Instant) {
        self.latest = Socket(self.latest.0 + 1);
        self.state = State::Dialing { deadline: now + CONNECT_TIMEOUT };
        let request = self.login.request(self.version, self.public_key);
        self.actions.push_back(Action::Dial { socket: self.latest, request });
    }

    fn lost(&mut self, error: ConnectionError, now: Instant) {
        match &error {
            ConnectionError::Dial(DialError::SocketMarkDenied) => return self.end(SessionEnd::SocketMarkDenied),
            ConnectionError::Rejected(rejection) => {
                if let Some(reason) = rejection.token_rejection() {
                    return self.end(SessionEnd::TokenRejected(reason));
                }
                if rejection.status == 404 {
                    self.version = self.version.other();
                }
            }
            _ => {}
        }
        self.disconnect();
        let retry = self.retry(&error);
        if self.backoff.is_exhausted() {
            return self.end(SessionEnd::PortalUnreachable);
        }
        tracing::debug!(error = error.code(), retry_in = ?retry.after, "disconnected from the portal");
        self.state = State::Waiting { until: now + retry.after };
        self.events.push_back(Event::Disconnected { error, retry });
    }

    fn retry(&mut self, error: &ConnectionError) -> Retry {
        match error {
            ConnectionError::Rejected(rejection) => match rejection.retry_after {
                Some(after) => self.backoff.requested(after),
                // The portal did not name the token, so the answer may come from a proxy or a captive portal. Retrying
                // quickly does not help in either case.
                None if rejection.status == 401 => self.backoff.next_after_unauthorized(&mut self.rng),
                None => self.backoff.next(&mut self.rng),
            },
            _ => self.backoff.next(&mut self.rng),
        }
    }

    fn end(&mut self, end: SessionEnd) {
        self.disconnect();
        self.state = State::Ended;
        self.events.push_back(Event::Ended(end));
    }

    /// Closes the current attempt or socket. Candidate changes that were queued but not sent become pending again.
    fn disconnect(&mut self) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Dialing { .. } => self.actions.push_back(Action::Close(self.latest)),
            State::Open(channel) => {
                self.actions.push_back(Action::Close(self.latest));
                for message in channel.into_unsent() {
                    self.pending.absorb(message);
                }
            }
            State::Waiting { .. } | State::Ended => {}
        }
    }
}
