//! The machine: handles an input in the current state and enters the state that follows.

use std::{collections::VecDeque, time::Instant};

use crate::{
    Account, AccountToKeep, Effect, HostEvent, Input, Mode, PortalEvent, Refused, Request, RequestId, Snapshot,
    TunnelCommand, active::Active, context::Context, ending::Ending, next::Next, signed_out::SignedOut,
    waiting::Waiting,
};

/// The sessions of one daemon, one after the other.
#[derive(Debug)]
pub struct Session {
    state: State,
    context: Context,
    /// The snapshot that was published last.
    snapshot: Snapshot,
    started: Instant,
}

#[derive(Debug)]
enum State {
    SignedOut(SignedOut),
    Active(Box<Active>),
    Waiting(Waiting),
    Ending(Box<Ending>),
    /// The daemon may exit.
    Stopped,
}

impl Session {
    /// Starts signed out. `internet_resource` is the configured state of the Internet resource.
    #[must_use]
    pub fn new(mode: Mode, internet_resource: bool, now: Instant) -> Self {
        let context = Context {
            now,
            mode,
            internet_resource,
            resolvers: Vec::new(),
            is_online: true,
            is_captive: false,
            is_asleep: false,
            asked_by: None,
            effects: VecDeque::new(),
        };
        let state = State::SignedOut(SignedOut { reason: None });
        let mut this = Self { state, context, snapshot: Snapshot::default(), started: now };
        this.snapshot = this.current_snapshot();
        this
    }

    /// The snapshot that was published last.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Handles an input that occurred at `now`.
    pub fn handle(&mut self, input: Input, now: Instant) {
        self.context.now = now;
        if let Some(input) = self.handle_in_all_states(input) {
            self.handle_in_state(input);
        }
        self.publish();
    }

    /// Handles the passing of time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.handle(Input::Timeout, now);
        }
    }

    /// The time at which to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting(state) => Some(state.until),
            State::Ending(state) => Some(state.deadline),
            State::SignedOut(_) | State::Active(_) | State::Stopped => None,
        }
    }

    /// The next effect to execute.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.context.effects.pop_front()
    }

    /// The account that the next process of the daemon should sign in with.
    #[must_use]
    pub fn account_to_keep(&self) -> AccountToKeep<'_> {
        match &self.state {
            State::SignedOut(_) => AccountToKeep::None,
            State::Active(state) => AccountToKeep::Account(state.account()),
            State::Waiting(state) => AccountToKeep::Account(&state.account),
            State::Ending(state) => state.next.account_to_keep(),
            State::Stopped => AccountToKeep::Unchanged,
        }
    }

    /// Whether everything is taken down and the process may exit.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped)
    }

    /// Handles what does not depend on the state. Returns the input if the state has to handle it, too.
    fn handle_in_all_states(&mut self, input: Input) -> Option<Input> {
        match &input {
            Input::Request(id, request) => return self.accept(*id, request).then_some(input),
            Input::Host(HostEvent::NetworkLost) => self.context.is_online = false,
            Input::Host(HostEvent::NetworkChanged) => self.context.is_online = true,
            Input::Host(HostEvent::CaptivePortal(is_captive)) => self.context.is_captive = *is_captive,
            Input::Host(HostEvent::Sleeping(is_asleep)) => self.context.is_asleep = *is_asleep,
            Input::Host(HostEvent::ResolversChanged(resolvers)) => {
                if self.context.resolvers == *resolvers {
                    return None;
                }
                self.context.resolvers.clone_from(resolvers);
            }
            // A machine that reaches the portal is awake, even if that was not announced.
            Input::Portal(PortalEvent::Joined) => self.context.is_asleep = false,
            Input::Daemon(_) | Input::Tunnel(_) | Input::Portal(_) | Input::Host(_) | Input::Timeout => {}
        }
        Some(input)
    }

    /// Replies to a request. Returns whether the state has to handle it.
    fn accept(&mut self, id: RequestId, request: &Request) -> bool {
        if self.is_stopping() {
            self.context.emit(Effect::Reply(id, Err(Refused::Stopping)));
            return false;
        }
        self.context.emit(Effect::Reply(id, Ok(())));
        match request {
            Request::SignIn { account, uid } => {
                if !self.is_signed_in_with(account) {
                    self.context.asked_by = Some(*uid);
                }
                true
            }
            Request::SignOut { uid } => {
                if !matches!(self.snapshot.state, dbus_api::State::SignedOut | dbus_api::State::SigningOut) {
                    self.context.asked_by = Some(*uid);
                }
                true
            }
            Request::SetInternetResource(is_on) => {
                std::mem::replace(&mut self.context.internet_resource, *is_on) != *is_on
            }
            Request::Reset => true,
        }
    }

    fn is_stopping(&self) -> bool {
        match &self.state {
            State::Ending(state) => matches!(state.next, Next::Stop),
            State::Stopped => true,
            State::SignedOut(_) | State::Active(_) | State::Waiting(_) => false,
        }
    }

    fn is_signed_in_with(&self, account: &Account) -> bool {
        matches!(&self.state, State::Active(state) if state.account().token == account.token)
    }

    fn handle_in_state(&mut self, input: Input) {
        let cx = &mut self.context;
        let next = match &mut self.state {
            State::SignedOut(state) => state.handle(input),
            State::Active(state) => {
                if let Some(next) = state.handle(input, cx) {
                    let ending = Ending::new(state.account().clone(), state.has_tunnel(), next, cx);
                    self.state = State::Ending(Box::new(ending));
                }
                return;
            }
            State::Waiting(state) => state.handle(input),
            State::Ending(state) => state.handle(input, cx),
            State::Stopped => None,
        };
        if let Some(next) = next {
            self.enter(next);
        }
    }

    fn enter(&mut self, next: Next) {
        self.state = match next {
            Next::SignedOut(reason) => State::SignedOut(SignedOut { reason }),
            Next::Connect(attempt) => {
                self.context.emit(Effect::Tunnel(TunnelCommand::Open(attempt.account.clone())));
                State::Active(Box::new(Active::new(attempt)))
            }
            Next::Wait { account, reason, failures } => {
                State::Waiting(Waiting::new(account, reason, failures, self.context.now))
            }
            Next::Stop => State::Stopped,
        };
    }

    fn publish(&mut self) {
        let mut next = self.current_snapshot();
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
        self.context.emit(Effect::Publish(Box::new(next)));
    }

    fn current_snapshot(&self) -> Snapshot {
        let mut snapshot = match &self.state {
            State::SignedOut(state) => state.snapshot(),
            State::Active(state) => state.snapshot(),
            State::Waiting(state) => state.snapshot(),
            State::Ending(state) => state.snapshot(),
            State::Stopped => Snapshot { state: dbus_api::State::SignedOut, ..Snapshot::default() },
        };
        snapshot.internet_resource_active = self.context.internet_resource;
        snapshot.asked_by = self.context.asked_by;
        let is_trying = matches!(snapshot.state, dbus_api::State::Connecting | dbus_api::State::Reconnecting);
        let is_asleep = self.context.is_asleep && snapshot.state == dbus_api::State::Connected;
        if let Some(problem) = self.context.network_problem().filter(|_| is_trying || is_asleep) {
            snapshot.state = dbus_api::State::WaitingForNetwork;
            snapshot.reason = Some(problem);
        }
        snapshot
    }
}
