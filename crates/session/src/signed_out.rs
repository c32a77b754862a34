//! There is no session.

use super::{Account, Context, Effect, Input, Reason, Request, State, connecting::Connecting};
use crate::snapshot::Snapshot;

/// Nobody is signed in, and the host is as we found it.
#[derive(Debug)]
pub(super) struct SignedOut {
    /// Why the last session ended, if not because somebody asked.
    pub(super) reason: Option<Reason>,
}

impl SignedOut {
    pub(super) fn handle(self, input: Input, cx: &mut Context) -> State {
        match input {
            Input::Begin(account) => begin(account, cx),
            Input::Request(Request::SignIn(account, reply)) => {
                cx.asked_by = reply.asker();
                reply.accept();
                begin(account, cx)
            }
            Input::Request(Request::SignOut(reply)) => {
                reply.accept();
                State::SignedOut(Self { reason: None })
            }
            Input::Request(Request::Reset(reply)) => {
                reply.accept();
                State::SignedOut(self)
            }
            Input::Request(Request::SetInternetResource(on, reply)) => {
                cx.internet_resource = on;
                reply.accept();
                State::SignedOut(self)
            }
            Input::ResolversChanged(resolvers) => {
                cx.learn_resolvers(resolvers);
                State::SignedOut(self)
            }
            Input::Stop => State::Stopped,
            // Late news of a session that is over, and things that need one.
            _ => State::SignedOut(self),
        }
    }

    pub(super) fn view(&self) -> Snapshot {
        Snapshot { state: dbus_api::State::SignedOut, reason: self.reason.clone(), ..Snapshot::default() }
    }
}

/// Starts a session.
pub(super) fn begin(account: Account, cx: &mut Context) -> State {
    begin_again(account, 0, None, cx)
}

/// Starts a session that could not be kept `failures` times in a row, the last time because of this.
pub(super) fn begin_again(account: Account, failures: u32, because: Option<Reason>, cx: &mut Context) -> State {
    cx.emit(Effect::OpenTunnel(account.clone()));
    State::Connecting(Connecting::new(account, failures, because))
}
