//! Why the portal was lost, or the session ended, in the words of a session.

use portal::{ConnectionError, DialError, SessionEnd, TokenRejection};

use crate::{Input, Reason};

/// What it means for a session that the portal was lost.
#[must_use]
pub fn lost(error: ConnectionError) -> Input {
    Input::Lost(match error {
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

/// Why the session ends, if the link to the portal has given up.
#[must_use]
pub fn end(end: SessionEnd) -> Reason {
    match end {
        SessionEnd::TokenRejected(TokenRejection::InvalidToken) => Reason::InvalidToken,
        SessionEnd::TokenRejected(TokenRejection::MissingToken) => Reason::MissingToken,
        SessionEnd::TokenRejected(TokenRejection::TokenExpired) => Reason::TokenExpired,
        SessionEnd::SocketMarkDenied => Reason::CannotMark,
        SessionEnd::PortalUnreachable => Reason::PortalUnreachable,
    }
}
