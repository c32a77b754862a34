//! Errors of the connection to the portal, as inputs of the session.

use portal::{ConnectionError, DialError, SessionEnd, TokenRejection};

use crate::{PortalEvent, Reason};

/// The event for a connection that failed.
#[must_use]
pub fn disconnected(error: ConnectionError) -> PortalEvent {
    PortalEvent::Lost(match error {
        ConnectionError::Rejected(rejection) => return PortalEvent::Rejected(rejection),
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

/// The event for a link that has given up.
#[must_use]
pub fn ended(end: SessionEnd) -> PortalEvent {
    PortalEvent::Ended(match end {
        SessionEnd::TokenRejected(TokenRejection::InvalidToken) => Reason::InvalidToken,
        SessionEnd::TokenRejected(TokenRejection::MissingToken) => Reason::MissingToken,
        SessionEnd::TokenRejected(TokenRejection::TokenExpired) => Reason::TokenExpired,
        SessionEnd::SocketMarkDenied => Reason::CannotMark,
        SessionEnd::PortalUnreachable => Reason::PortalUnreachable,
    })
}
