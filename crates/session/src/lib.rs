//! The life of a session, as a machine without I/O.
//!
//! Somebody else owns the sockets: `daemon` feeds [`Input`]s with the time at which they happened and carries out the
//! [`Effect`]s in the order in which they come out. Everything that is decided about a session is decided here: when
//! there is one, when it is rebuilt, when it is taken down, and when a token is worthless.
//!
//! ```text
//!             sign in                     joined, host configured
//! SignedOut ───────────► Connecting ─────────────────────────────► Connected ◄──► Reconnecting
//!     ▲                   │   ▲                                        │ portal lost, joined again
//!     │          fault,   ▼   │ time, network change,                  │
//!     │         rejection │   │ reset                                  │
//!     └──── Ending ◄──────┴─ Waiting ◄─────────── Ending ◄─────────────┘
//! ```
//!
//! * [`signed_out`], [`connecting`], [`connected`], [`reconnecting`], [`waiting`], [`ending`] – one state each
//! * [`live`] – what the three states with a tunnel have in common
//! * [`input`], [`effect`], [`health`] – the words

mod connected;
mod connecting;
mod context;
mod effect;
mod ending;
mod health;
mod host_config;
mod input;
mod live;
#[cfg(test)]
mod long_stories;
pub mod portal_outcome;
mod reconnecting;
mod signed_out;
pub mod snapshot;
#[cfg(test)]
mod stories;
mod waiting;

use std::{collections::VecDeque, time::Instant};

pub use dbus_api::{Reason, Warning};
pub use effect::Effect;
pub use host_config::{Addresses, DnsConfig, DnsControl, HostConfig, UnknownDnsControl};
pub use input::{Account, Input, NamesRequest, Refused, Reply, Request};

use self::{
    connected::Connected, connecting::Connecting, context::Context, ending::Ending, reconnecting::Reconnecting,
    signed_out::SignedOut, waiting::Waiting,
};
pub use snapshot::Snapshot;

/// One daemon's sessions, one after the other.
#[derive(Debug)]
pub struct Session {
    state: State,
    context: Context,
    /// What was published last.
    snapshot: Snapshot,
    started: Instant,
}

/// Where the session is.
#[derive(Debug)]
enum State {
    SignedOut(SignedOut),
    Connecting(Connecting),
    Connected(Connected),
    Reconnecting(Reconnecting),
    Waiting(Waiting),
    Ending(Ending),
    /// The daemon stops; nothing happens any more.
    Stopped,
}

impl Session {
    /// Nobody is signed in. `internet_resource` is the wish that the configuration expresses.
    #[must_use]
    pub fn new(mode: Mode, internet_resource: bool, now: Instant) -> Self {
        let context = Context {
            now,
            mode,
            internet_resource,
            resolvers: Vec::new(),
            online: true,
            captive: false,
            asleep: false,
            asked_by: None,
            effects: VecDeque::new(),
        };
        let state = State::SignedOut(SignedOut { reason: None });
        let mut this = Self { state, context, snapshot: Snapshot::default(), started: now };
        this.snapshot = this.look();
        this
    }

    /// What is published before anything has happened.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Something has happened.
    pub fn handle(&mut self, input: Input, now: Instant) {
        self.context.now = now;
        match &input {
            Input::NetworkLost => self.context.online = false,
            Input::NetworkChanged => self.context.online = true,
            Input::CaptivePortal(captive) => self.context.captive = *captive,
            Input::Asleep(asleep) => self.context.asleep = *asleep,
            // Whoever gets that far is awake, whatever was heard or not.
            Input::Joined => self.context.asleep = false,
            _ => {}
        }
        if let Input::Request(Request::SignOut(reply)) = &input
            && !matches!(self.snapshot.state, dbus_api::State::SignedOut | dbus_api::State::SigningOut)
        {
            self.context.asked_by = reply.asker();
        }
        if let Input::Request(Request::Names(request)) = input {
            // About no session in particular; but a daemon that ends takes no orders.
            if self.is_stopped() {
                Input::Request(Request::Names(request)).refuse();
            } else {
                self.context.emit(Effect::Names(request));
            }
            return;
        }
        let state = std::mem::replace(&mut self.state, State::Stopped);
        let cx = &mut self.context;
        self.state = match state {
            State::SignedOut(state) => state.handle(input, cx),
            State::Connecting(state) => state.handle(input, cx),
            State::Connected(state) => state.handle(input, cx),
            State::Reconnecting(state) => state.handle(input, cx),
            State::Waiting(state) => state.handle(input, cx),
            State::Ending(state) => state.handle(input, cx),
            State::Stopped => {
                input.refuse();
                State::Stopped
            }
        };
        self.publish();
    }

    /// The time has come, if it has.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.handle(Input::TimeIsUp, now);
        }
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting(state) => Some(state.until),
            State::Ending(state) => Some(state.deadline),
            State::SignedOut(_)
            | State::Connecting(_)
            | State::Connected(_)
            | State::Reconnecting(_)
            | State::Stopped => None,
        }
    }

    /// What to do next.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.context.effects.pop_front()
    }

    /// Whose session it is, or will be as soon as possible.
    #[must_use]
    pub fn whose(&self) -> Whose<'_> {
        match &self.state {
            State::SignedOut(_) => Whose::Nobodys,
            State::Connecting(state) => Whose::Of(state.account()),
            State::Connected(state) => Whose::Of(state.account()),
            State::Reconnecting(state) => Whose::Of(state.account()),
            State::Waiting(state) => Whose::Of(&state.account),
            State::Ending(state) => state.next.whose(),
            State::Stopped => Whose::AsBefore,
        }
    }

    /// Whether all is taken down and the process may end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped)
    }

    fn publish(&mut self) {
        let mut next = self.look();
        let resources_changed = next.resources != self.snapshot.resources;
        next.resources_generation = self.snapshot.resources_generation;
        next.generation = self.snapshot.generation;
        next.since = self.snapshot.since;
        if next == self.snapshot {
            return;
        }
        if next.state != self.snapshot.state {
            next.since = self.context.now.saturating_duration_since(self.started);
        }
        if resources_changed {
            next.resources_generation += 1;
        }
        next.generation += 1;
        self.snapshot = next.clone();
        self.context.effects.push_back(Effect::Publish(Box::new(next)));
    }

    fn look(&self) -> Snapshot {
        let mut view = match &self.state {
            State::SignedOut(state) => state.view(),
            State::Connecting(state) => state.view(),
            State::Connected(state) => state.view(),
            State::Reconnecting(state) => state.view(),
            State::Waiting(state) => state.view(),
            State::Ending(state) => state.view(),
            State::Stopped => Snapshot { state: dbus_api::State::SignedOut, ..Snapshot::default() },
        };
        view.internet_resource_active = self.context.internet_resource;
        view.asked_by = self.context.asked_by;
        let is_trying = matches!(view.state, dbus_api::State::Connecting | dbus_api::State::Reconnecting);
        let is_asleep = self.context.asleep && view.state == dbus_api::State::Connected;
        if let Some(obstacle) = self.context.obstacle().filter(|_| is_trying || is_asleep) {
            view.state = dbus_api::State::WaitingForNetwork;
            view.reason = Some(obstacle);
        }
        view
    }
}

/// Whose session it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose<'a> {
    /// Nobody is signed in, or somebody signs out.
    Nobodys,
    /// This account's.
    Of(&'a Account),
    /// The daemon ends, which signs nobody in or out.
    AsBefore,
}

/// Whom the daemon obeys, as far as the session must know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Users, over the bus. A token that the portal condemns is forgotten.
    User,
    /// The administrator. There is always a session to be had, and a condemned token is tried again, slowly: the
    /// portal's administrator may have corrected something.
    Service,
}
