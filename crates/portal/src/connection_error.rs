//! Transient errors, after which the connection is tried again.

use std::time::Duration;

use crate::Rejection;

/// Why an attempt to connect failed, or why a connection was lost. None of these ends a session.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConnectionError {
    /// No WebSocket could be opened.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The portal answered the upgrade with an HTTP error.
    #[error(transparent)]
    Rejected(Rejection),
    /// TCP, TLS and upgrade together took too long.
    #[error("the portal did not answer in time")]
    ConnectTimedOut,
    /// The join was not answered.
    #[error("the portal did not answer the join")]
    JoinTimedOut,
    /// The join was answered with an error.
    #[error("the portal refused the join")]
    JoinRefused,
    /// Too many heartbeats in a row were not answered.
    #[error("the portal does not answer heartbeats")]
    HeartbeatTimedOut,
    /// The socket did not take a frame in time.
    #[error("sending to the portal timed out")]
    WriteTimedOut,
    /// The portal closed the socket, perhaps with a status code of RFC 6455.
    #[error("the portal closed the connection")]
    Closed(Option<u16>),
    /// The portal closed the channel and left the socket open.
    #[error("the portal closed the channel")]
    ChannelClosed,
    /// A text frame ended in the middle of its JSON.
    #[error("the portal sent a truncated message")]
    TruncatedFrame,
    /// Reading from or writing to the socket failed.
    #[error("the connection to the portal failed")]
    SocketFailed,
}

/// Why no WebSocket could be opened, other than by the portal's own answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DialError {
    /// No address was found for the portal's name.
    #[error("the portal's name could not be resolved")]
    NameNotResolved,
    /// No address accepted a connection.
    #[error("the portal is unreachable")]
    Unreachable,
    /// This machine does not trust the portal's certificate.
    #[error("the portal's certificate is not trusted")]
    Certificate,
    /// TLS failed for another reason.
    #[error("TLS with the portal failed")]
    Tls,
    /// The server does not speak WebSocket.
    #[error("the server is not a Firezone portal")]
    NotAPortal,
    /// The kernel does not permit marking sockets. The only one of these errors that ends a session.
    #[error("sockets cannot be marked")]
    SocketMarkDenied,
}

/// Whether an outage is worth reporting to a user who waits for the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outage {
    /// Short so far.
    Brief,
    /// So long that the user should learn of it.
    Lasting,
}

/// The next attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retry {
    /// Delay until the attempt.
    pub after: Duration,
    /// How long the outage has lasted.
    pub outage: Outage,
}

impl ConnectionError {
    /// A stable identifier for logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Dial(DialError::NameNotResolved) => "portal-name-not-resolved",
            Self::Dial(DialError::Unreachable) => "portal-unreachable",
            Self::Dial(DialError::Certificate) => "portal-certificate",
            Self::Dial(DialError::Tls) => "portal-tls",
            Self::Dial(DialError::NotAPortal) => "not-a-portal",
            Self::Dial(DialError::SocketMarkDenied) => "cannot-mark-sockets",
            Self::Rejected(_) => "portal-rejected",
            Self::ConnectTimedOut | Self::JoinTimedOut | Self::HeartbeatTimedOut | Self::WriteTimedOut => {
                "portal-silent"
            }
            Self::JoinRefused => "join-refused",
            Self::Closed(_) | Self::ChannelClosed | Self::TruncatedFrame | Self::SocketFailed => "portal-closed",
        }
    }
}
