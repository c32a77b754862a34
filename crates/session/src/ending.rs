//! A session is taken down.
//!
//! The order is always the same: goodbyes to the gateways, the portal, the host's configuration. Each step has a time
//! limit, and a step that does not end in time does not keep the others from happening.

use std::time::{Duration, Instant};

use dbus_api::PortalState;

use super::{
    Account, Context, Effect, Input, Reason, Request, State, Whose,
    signed_out::{self, SignedOut},
    waiting::Waiting,
};
use crate::{host_config::HostConfig, snapshot::Snapshot};

/// How long the goodbyes may take. The packet thread itself takes a second at most.
const GOODBYES: Duration = Duration::from_secs(2);
/// How long the host may take.
const CLEAN_UP: Duration = Duration::from_secs(5);

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
    Goodbyes,
    CleanUp,
}

/// What comes after the session.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing; for this reason, if nobody asked for it.
    SignedOut(Option<Reason>),
    /// Another session.
    SignIn(Account),
    /// The same session, later: why, and how often in a row that has happened before.
    Wait(Account, Reason, u32),
    /// The daemon's end.
    Stop,
}

impl Ending {
    /// Takes the session of `account` down.
    pub(super) fn begin(account: Account, next: Next, has_tunnel: bool, cx: &mut Context) -> State {
        let mut this = Self { account, step: Step::Goodbyes, next, deadline: cx.now + GOODBYES };
        if has_tunnel {
            cx.emit(Effect::CloseTunnel);
        } else {
            this.clean_up(cx);
        }
        State::Ending(this)
    }

    pub(super) fn handle(mut self, input: Input, cx: &mut Context) -> State {
        match input {
            Input::TunnelClosed | Input::TunnelDied if self.step == Step::Goodbyes => self.clean_up(cx),
            Input::HostApplied { wish, .. } if self.step == Step::CleanUp && wish.is_untouched() => {
                return self.next.state(cx);
            }
            Input::TimeIsUp => match self.step {
                Step::Goodbyes => self.clean_up(cx),
                Step::CleanUp => return self.next.state(cx),
            },

            Input::Stop => self.next = Next::Stop,
            Input::Begin(account) if !matches!(self.next, Next::Stop) => self.next = Next::SignIn(account),
            Input::Request(request) if matches!(self.next, Next::Stop) => Input::Request(request).refuse(),
            Input::Request(Request::SignIn(account, reply)) => {
                cx.asked_by = reply.asker();
                reply.accept();
                self.next = Next::SignIn(account);
            }
            Input::Request(Request::SignOut(reply)) => {
                reply.accept();
                self.next = Next::SignedOut(None);
            }
            Input::Request(Request::Reset(reply)) => reply.accept(),
            Input::Request(Request::SetInternetResource(on, reply)) => {
                cx.internet_resource = on;
                reply.accept();
            }
            Input::ResolversChanged(resolvers) => {
                cx.learn_resolvers(resolvers);
            }
            // The session's last words interest nobody.
            _ => {}
        }
        State::Ending(self)
    }

    pub(super) fn view(&self) -> Snapshot {
        let (state, reason) = match &self.next {
            Next::SignedOut(reason) => (dbus_api::State::SigningOut, reason.clone()),
            Next::Stop => (dbus_api::State::SigningOut, None),
            Next::SignIn(_) => (dbus_api::State::Connecting, None),
            Next::Wait(_, reason, _) => (dbus_api::State::Connecting, Some(reason.clone())),
        };
        let account = match &self.next {
            Next::SignIn(account) => account,
            Next::SignedOut(_) | Next::Wait(..) | Next::Stop => &self.account,
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

    fn clean_up(&mut self, cx: &mut Context) {
        self.step = Step::CleanUp;
        self.deadline = cx.now + CLEAN_UP;
        cx.emit(Effect::CloseLink);
        cx.emit(Effect::Host(HostConfig::default()));
    }
}

impl Next {
    /// Whose session comes next.
    pub(super) fn whose(&self) -> Whose<'_> {
        match self {
            Self::SignedOut(_) => Whose::Nobodys,
            Self::SignIn(account) | Self::Wait(account, ..) => Whose::Of(account),
            Self::Stop => Whose::AsBefore,
        }
    }

    /// The state itself, once everything is taken down.
    pub(super) fn state(self, cx: &mut Context) -> State {
        match self {
            Self::SignedOut(reason) => State::SignedOut(SignedOut { reason }),
            Self::SignIn(account) => signed_out::begin(account, cx),
            Self::Wait(account, why, failures) => State::Waiting(Waiting::new(account, why, failures, cx)),
            Self::Stop => State::Stopped,
        }
    }
}
