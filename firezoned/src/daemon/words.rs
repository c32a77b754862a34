//! The words of the rooms below, translated into the session's, and the session's into a line for people.

use dbus_api::State;
use portal::{DialError, End, Lost, Verdict};

use crate::{
    session::{Input, Reason},
    snapshot::Snapshot,
};

pub(crate) fn lost(why: Lost) -> Input {
    Input::Lost(match why {
        Lost::Rejected(rejection) => return Input::Rejected(rejection),
        Lost::Dial(DialError::Certificate | DialError::Tls) => Reason::PortalTls,
        Lost::Dial(DialError::CannotMark) => Reason::CannotMark,
        Lost::Dial(DialError::NoAddress | DialError::Unreachable | DialError::NotAPortal)
        | Lost::ConnectTimedOut
        | Lost::JoinTimedOut
        | Lost::JoinRefused
        | Lost::Silent
        | Lost::Blocked
        | Lost::Closed(_)
        | Lost::ChannelClosed
        | Lost::Truncated
        | Lost::Broken => Reason::PortalUnreachable,
    })
}

pub(crate) fn end(end: End) -> Reason {
    match end {
        End::SignInAgain(Verdict::InvalidToken) => Reason::InvalidToken,
        End::SignInAgain(Verdict::MissingToken) => Reason::MissingToken,
        End::SignInAgain(Verdict::TokenExpired) => Reason::TokenExpired,
        End::CannotMark => Reason::CannotMark,
        End::Away => Reason::PortalUnreachable,
    }
}

/// What the service manager shows.
pub(super) fn status_line(snapshot: &Snapshot) -> String {
    let state = match &snapshot.state {
        State::SignedOut => "Signed out",
        State::WaitingForNetwork => "Waiting for network",
        State::Connecting => "Connecting",
        State::Connected => "Connected",
        State::Reconnecting => "Reconnecting",
        State::SigningOut => "Signing out",
        State::Other(state) => state,
    };
    match snapshot.reason {
        Some(reason) => format!("{state} ({})", reason.code()),
        None => state.to_owned(),
    }
}
