//! The words of the rooms below, translated into the session's, and the session's into a line for people.

use dbus_api::State;
use portal::{DialError, End, Lost, Verdict};

use crate::{session::Reason, snapshot::Snapshot};

pub(super) fn lost(why: &Lost) -> Reason {
    match why {
        Lost::Dial(DialError::Certificate | DialError::Tls) => Reason::PortalTls,
        Lost::Dial(DialError::CannotMark) => Reason::CannotMark,
        Lost::Rejected(rejection) if rejection.needs_an_administrator() => Reason::PortalRejected,
        _ => Reason::PortalUnreachable,
    }
}

pub(super) fn end(end: End) -> Reason {
    match end {
        End::SignInAgain(Verdict::InvalidToken) => Reason::InvalidToken,
        End::SignInAgain(Verdict::MissingToken) => Reason::MissingToken,
        End::SignInAgain(Verdict::TokenExpired) => Reason::TokenExpired,
        End::CannotMark => Reason::CannotMark,
    }
}

/// What the service manager shows.
pub(super) fn status_line(snapshot: &Snapshot) -> String {
    let state = match snapshot.state {
        State::SignedOut => "Signed out",
        State::WaitingForNetwork => "Waiting for network",
        State::Connecting => "Connecting",
        State::Connected => "Connected",
        State::Reconnecting => "Reconnecting",
        State::SigningOut => "Signing out",
        State::Unknown => "Unknown",
    };
    match snapshot.reason {
        Some(reason) => format!("{state} ({})", reason.code()),
        None => state.to_owned(),
    }
}
