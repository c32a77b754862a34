//! From the first attempt to the last word: dialling, waiting, being joined, and what survives in between.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use model::{Deadline, FromPortal, PeerId, PublicKey, ToPortal};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::{
    Dialect, End, Login, Lost, Request, Verdict,
    backoff::Backoff,
    channel::{Channel, Heard},
    held::Held,
    lost::{DialError, Retry},
};

/// TCP, TLS and the upgrade together. Load balancers accept and then say nothing.
const CONNECT: Duration = Duration::from_secs(15);

/// The connection to the portal as a machine without sockets.
///
/// Driving it: carry out what [`poll_action`](Self::poll_action) says; report what becomes of each socket by
/// [`handle_open`](Self::handle_open), [`handle_text`](Self::handle_text) and [`handle_lost`](Self::handle_lost); write
/// what [`poll_transmit`](Self::poll_transmit) hands out and say [`handle_written`](Self::handle_written) when the socket
/// has taken it; call [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) is due. After
/// each, drain `poll_action`, `poll_transmit` and `poll_event`.
///
/// Each attempt has a [`Socket`] of its own, and what is reported about an older one is not heard. That matters: the portal
/// tells the older of two connections of one device that its token has expired.
#[derive(Debug)]
pub struct Connection {
    login: Login,
    /// The key of the next attempt. The portal derives secrets from it, so a new key takes a new socket.
    public_key: PublicKey,
    /// What the portal turned out to speak.
    dialect: Dialect,
    state: State,
    backoff: Backoff,
    /// What is to be said once we are joined.
    held: Held,
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

/// One attempt to have a socket, and the socket if it succeeds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Socket(u64);

/// What is to be done about sockets.
#[derive(Debug)]
pub enum Action {
    /// Connect and upgrade.
    Dial { socket: Socket, request: Request },
    /// Close this one, or give up the attempt.
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

/// What the session should know.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// The portal listens to us; the snapshot follows.
    Joined,
    /// It does not, or no longer.
    Lost { why: Lost, retry: Retry },
    /// Something for the tunnel.
    Message(FromPortal),
    /// It is over; nothing more will happen.
    Ended(End),
}

impl Connection {
    /// Begins by dialling.
    #[must_use]
    pub fn new(login: Login, public_key: PublicKey, now: Instant, seed: u64) -> Self {
        let mut it = Self {
            login,
            public_key,
            dialect: Dialect::default(),
            state: State::Waiting { until: now },
            backoff: Backoff::default(),
            held: Held::default(),
            latest: Socket(0),
            rng: StdRng::seed_from_u64(seed),
            actions: VecDeque::new(),
            events: VecDeque::new(),
        };
        it.dial(now);
        it
    }

    /// Ends when the portal has been away for so long after it was joined, as far as waiting counts.
    #[must_use]
    pub fn with_limit(mut self, limit: Option<Duration>) -> Self {
        self.backoff = Backoff::limited(limit);
        self
    }

    /// The upgrade succeeded.
    pub fn handle_open(&mut self, socket: Socket, now: Instant) {
        if socket == self.latest && matches!(self.state, State::Dialing { .. }) {
            self.state = State::Open(Box::new(Channel::new(self.dialect, now)));
        } else {
            self.actions.push_back(Action::Close(socket));
        }
    }

    /// The attempt failed, or the socket did.
    pub fn handle_lost(&mut self, socket: Socket, why: Lost, now: Instant) {
        if socket == self.latest && matches!(self.state, State::Dialing { .. } | State::Open(_)) {
            self.lost(why, now);
        }
    }

    /// A text frame arrived.
    pub fn handle_text(&mut self, socket: Socket, text: &str, now: Instant) {
        let State::Open(channel) = &mut self.state else { return };
        if socket != self.latest {
            return;
        }
        match channel.handle_text(text, now) {
            Heard::Nothing => {}
            Heard::Joined => {
                channel.send_first(self.held.take());
                self.backoff.joined();
                self.events.push_back(Event::Joined);
            }
            Heard::Message(message) => self.events.push_back(Event::Message(message)),
            Heard::TokenExpired => self.end(End::SignInAgain(Verdict::TokenExpired)),
            Heard::Lost(why) => self.lost(why, now),
        }
    }

    /// The socket has taken the frame that was handed out last.
    pub fn handle_written(&mut self, socket: Socket, now: Instant) {
        if let State::Open(channel) = &mut self.state
            && socket == self.latest
            && let Err(why) = channel.handle_written()
        {
            self.lost(why, now);
        }
    }

    /// Says something. Until we are joined, news about candidates is kept and merged; what else is said is kept only while
    /// the join is being answered, because traffic asks again.
    pub fn handle_send(&mut self, message: ToPortal) {
        match &mut self.state {
            State::Open(channel) if channel.is_joined() => channel.send(message),
            State::Open(channel) => {
                if let Some(message) = self.held.keep(message) {
                    channel.send(message);
                }
            }
            State::Waiting { .. } | State::Dialing { .. } => {
                if self.held.keep(message).is_some() {
                    tracing::debug!("a message is lost because the portal is away");
                }
            }
            State::Ended => {}
        }
    }

    /// The connection with this peer is gone.
    pub fn forget(&mut self, peer: PeerId) {
        self.held.forget(peer);
    }

    /// Connects anew, now. A new key voids all connections, and with them what was held for them.
    pub fn reconnect(&mut self, public_key: PublicKey, now: Instant) {
        if matches!(self.state, State::Ended) {
            return;
        }
        self.leave();
        if public_key != self.public_key {
            self.public_key = public_key;
            self.held.clear();
        }
        self.backoff.forget();
        self.dial(now);
    }

    /// Something changed that makes success more likely: does not wait any longer, if it waits.
    pub fn hurry(&mut self, now: Instant) {
        if matches!(self.state, State::Waiting { .. }) {
            self.backoff.forget();
            self.dial(now);
        }
    }

    /// Ends it from our side.
    pub fn close(&mut self) {
        self.leave();
        self.state = State::Ended;
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) announced has come, or may have.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Waiting { until } if now >= *until => self.dial(now),
            State::Dialing { deadline } if now >= *deadline => self.lost(Lost::ConnectTimedOut, now),
            State::Open(channel) => {
                if let Err(why) = channel.handle_timeout(now) {
                    self.lost(why, now);
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

    /// What to do next about sockets.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What to write next. There is nothing until the frame before has been written.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Frame> {
        let State::Open(channel) = &mut self.state else { return None };
        channel.poll_frame(now).map(|text| Frame { socket: self.latest, text })
    }

    /// What the session should know next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn dial(&mut self, now: Instant) {
        self.latest = Socket(self.latest.0 + 1);
        self.state = State::Dialing { deadline: now + CONNECT };
        let request = self.login.request(self.dialect, self.public_key);
        self.actions.push_back(Action::Dial { socket: self.latest, request });
    }

    fn lost(&mut self, why: Lost, now: Instant) {
        match &why {
            Lost::Dial(DialError::CannotMark) => return self.end(End::CannotMark),
            Lost::Rejected(rejection) => {
                if let Some(verdict) = rejection.verdict() {
                    return self.end(End::SignInAgain(verdict));
                }
                if rejection.status == 404 {
                    self.dialect = self.dialect.other();
                }
            }
            _ => {}
        }
        self.leave();
        let retry = self.retry(&why);
        if self.backoff.is_exhausted() {
            return self.end(End::Away);
        }
        tracing::debug!(why = why.code(), after = ?retry.after, "lost the portal");
        self.state = State::Waiting { until: now + retry.after };
        self.events.push_back(Event::Lost { why, retry });
    }

    fn retry(&mut self, why: &Lost) -> Retry {
        match why {
            Lost::Rejected(rejection) => match rejection.retry_after {
                Some(after) => self.backoff.asked(after),
                // Nobody's verdict on the token, perhaps a captive portal's opinion. Either way haste does not help.
                None if rejection.status == 401 => self.backoff.reluctant(&mut self.rng),
                None => self.backoff.next(&mut self.rng),
            },
            _ => self.backoff.next(&mut self.rng),
        }
    }

    fn end(&mut self, end: End) {
        self.leave();
        self.state = State::Ended;
        self.events.push_back(Event::Ended(end));
    }

    /// Gives up the present attempt or socket. What was to be said about candidates and never was is held again.
    fn leave(&mut self) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Dialing { .. } => self.actions.push_back(Action::Close(self.latest)),
            State::Open(channel) => {
                self.actions.push_back(Action::Close(self.latest));
                for message in channel.into_unsent() {
                    self.held.keep(message);
                }
            }
            State::Waiting { .. } | State::Ended => {}
        }
    }
}
