//! The words of the rooms below, translated into the session's, and the session's into a line for people.

use dbus_api::State;
use portal::{ConnectionError, DialError, SessionEnd, TokenRejection};

use crate::{
    session::{Input, Reason},
    snapshot::Snapshot,
};

pub(crate) fn lost(why: ConnectionError) -> Input {
    Input::Lost(match why {
        ConnectionError::Rejected(rejection) => return Input::Rejected(rejection),
        ConnectionError::Dial(DialError::Certificate | DialError::Tls) => Reason::PortalTls,
        ConnectionError::Dial(DialError::SocketMarkDenied) => Reason::CannotMark,
        ConnectionError::Dial(DialError::NameNotResolved | DialError::Unreachable | DialError::NotAPortal)
        | ConnectionError::ConnectTimedOut
        | ConnectionError::JoinTimedOut
        | ConnectionError::JoinRefused
        | ConnectionError::HeartbeatTimedOut
        | ConnectionError::WriteTimedOut
        | ConnectionError::Closed(_)
        | ConnectionError::ChannelClosed
        | ConnectionError::TruncatedFrame
        | ConnectionError::SocketFailed => Reason::PortalUnreachable,
    })
}

pub(crate) fn end(end: SessionEnd) -> Reason {
    match end {
        SessionEnd::TokenRejected(TokenRejection::InvalidToken) => Reason::InvalidToken,
        SessionEnd::TokenRejected(TokenRejection::MissingToken) => Reason::MissingToken,
        SessionEnd::TokenRejected(TokenRejection::TokenExpired) => Reason::TokenExpired,
        SessionEnd::SocketMarkDenied => Reason::CannotMark,
        SessionEnd::PortalUnreachable => Reason::PortalUnreachable,
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
