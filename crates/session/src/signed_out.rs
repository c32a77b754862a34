//! The state without a session.

use dbus_api::State;

use crate::{
    DaemonEvent, Input, Reason, Request, Snapshot,
    next::{Attempt, Next},
};

/// No user is signed in, and the host is unchanged.
#[derive(Debug)]
pub(super) struct SignedOut {
    /// Why the last session ended, unless a user asked for it.
    pub(super) reason: Option<Reason>,
}

impl SignedOut {
    pub(super) fn handle(&mut self, input: Input) -> Option<Next> {
        match input {
            Input::Daemon(DaemonEvent::Start(account)) | Input::Request(_, Request::SignIn { account, .. }) => {
                Some(Next::Connect(Attempt::first(account)))
            }
            Input::Request(_, Request::SignOut { .. }) => Some(Next::SignedOut(None)),
            Input::Daemon(DaemonEvent::Stop) => Some(Next::Stop),
            // Late events of the last session, and requests that need one.
            _ => None,
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { state: State::SignedOut, reason: self.reason.clone(), ..Snapshot::default() }
    }
}
