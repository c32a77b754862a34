//! The state in which a session is taken down.
//!
//! The order is fixed: connections to the gateways, connection to the portal, host configuration. Each step has a time
//! limit, and a step that exceeds it does not prevent the next one.

use std::time::{Duration, Instant};

use dbus_api::{PortalState, State};

use crate::{
    Account, DaemonEvent, Effect, HostConfig, HostEvent, Input, PortalCommand, Request, Snapshot, TunnelCommand,
    TunnelEvent,
    context::Context,
    next::{Attempt, Next},
};

/// The time limit for closing the tunnel. The packet thread itself needs at most one second.
const TUNNEL_TIMEOUT: Duration = Duration::from_secs(2);
/// The time limit for restoring the host.
const HOST_TIMEOUT: Duration = Duration::from_secs(5);

/// The session is being taken down.
#[derive(Debug)]
pub(super) struct Ending {
    account: Account,
    step: Step,
    pub(super) next: Next,
    /// When the step is given up.
    pub(super) deadline: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    CloseTunnel,
    RestoreHost,
}

impl Ending {
    /// Begins to take the session of `account` down.
    pub(super) fn new(account: Account, has_tunnel: bool, next: Next, cx: &mut Context) -> Self {
        let mut this = Self { account, step: Step::CloseTunnel, next, deadline: cx.now + TUNNEL_TIMEOUT };
        if has_tunnel {
            cx.emit(Effect::Tunnel(TunnelCommand::Close));
        } else {
            this.restore_host(cx);
        }
        this
    }

    /// Returns what follows once everything is taken down.
    pub(super) fn handle(&mut self, input: Input, cx: &mut Context) -> Option<Next> {
        match input {
            Input::Tunnel(TunnelEvent::Closed | TunnelEvent::Died) if self.step == Step::CloseTunnel => {
                self.restore_host(cx);
            }
            Input::Host(HostEvent::Applied { config, .. })
                if self.step == Step::RestoreHost && config.is_untouched() =>
            {
                return Some(self.take_next());
            }
            Input::Timeout => match self.step {
                Step::CloseTunnel => self.restore_host(cx),
                Step::RestoreHost => return Some(self.take_next()),
            },

            Input::Daemon(DaemonEvent::Stop) => self.next = Next::Stop,
            Input::Daemon(DaemonEvent::Start(account)) if !matches!(self.next, Next::Stop) => {
                self.next = Next::Connect(Attempt::first(account));
            }
            // A daemon that stops accepts no requests.
            Input::Request(_, Request::SignIn { account, .. }) => self.next = Next::Connect(Attempt::first(account)),
            Input::Request(_, Request::SignOut { .. }) => self.next = Next::SignedOut(None),
            // Late events of the session.
            _ => {}
        }
        None
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let (state, reason) = match &self.next {
            Next::SignedOut(reason) => (State::SigningOut, reason.clone()),
            Next::Stop => (State::SigningOut, None),
            Next::Connect(_) => (State::Connecting, None),
            Next::Wait { reason, .. } => (State::Connecting, Some(reason.clone())),
        };
        let account = match &self.next {
            Next::Connect(attempt) => &attempt.account,
            Next::SignedOut(_) | Next::Wait { .. } | Next::Stop => &self.account,
        };
        Snapshot {
            state,
            reason,
            account_slug: account.slug.clone(),
            actor_name: account.actor.clone(),
            portal: PortalState::Away,
            ..Snapshot::default()
        }
    }

    fn restore_host(&mut self, cx: &mut Context) {
        self.step = Step::RestoreHost;
        self.deadline = cx.now + HOST_TIMEOUT;
        cx.emit(Effect::Portal(PortalCommand::Close));
        cx.emit(Effect::Host(HostConfig::default()));
    }

    fn take_next(&mut self) -> Next {
        std::mem::replace(&mut self.next, Next::Stop)
    }
}
