//! Why there is no connection just now.

use std::time::Duration;

use crate::Rejection;

/// Why an attempt to connect failed, or why a connection went away. None of these ends a session.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Lost {
    /// The attempt failed.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The portal refused.
    #[error(transparent)]
    Rejected(Rejection),
    /// TCP, TLS and upgrade together took too long.
    #[error("the portal did not answer in time")]
    ConnectTimedOut,
    /// The join was never answered.
    #[error("the portal did not answer the join")]
    JoinTimedOut,
    /// The join was answered with an error.
    #[error("the portal refused the join")]
    JoinRefused,
    /// Heartbeats were not answered.
    #[error("the portal went silent")]
    Silent,
    /// The path takes no more bytes.
    #[error("the path to the portal is blocked")]
    Blocked,
    /// The portal closed the socket, perhaps with a reason.
    #[error("the portal closed the connection")]
    Closed(Option<u16>),
    /// The portal closed our channel and left the socket open.
    #[error("the portal closed the channel")]
    ChannelClosed,
    /// A frame was cut short.
    #[error("the portal sent half a message")]
    Truncated,
    /// The socket failed.
    #[error("the connection to the portal broke")]
    Broken,
}

/// Why an attempt failed before the portal could say anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DialError {
    /// No address of the portal could be found.
    #[error("the portal's name could not be resolved")]
    NoAddress,
    /// No address accepted a connection.
    #[error("the portal cannot be reached")]
    Unreachable,
    /// Its certificate is not one that this machine trusts.
    #[error("the portal's certificate is not trusted")]
    Certificate,
    /// TLS failed in another way.
    #[error("TLS with the portal failed")]
    Tls,
    /// What answered does not speak WebSocket.
    #[error("what answered is not a portal")]
    NotAPortal,
    /// The kernel does not let us mark sockets. The one failure that is final.
    #[error("sockets cannot be marked")]
    CannotMark,
}

/// How long it has been going on, as far as a person who waits is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outage {
    /// A moment ago, or since a moment ago all went well.
    Brief,
    /// Long enough that a person who waits for the first connection should be told.
    Lasting,
}

/// When the next attempt is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retry {
    /// In which time.
    pub after: Duration,
    /// How long it has been going on.
    pub outage: Outage,
}

impl Lost {
    /// A word for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Dial(DialError::NoAddress) => "portal-name-not-resolved",
            Self::Dial(DialError::Unreachable) => "portal-unreachable",
            Self::Dial(DialError::Certificate) => "portal-certificate",
            Self::Dial(DialError::Tls) => "portal-tls",
            Self::Dial(DialError::NotAPortal) => "not-a-portal",
            Self::Dial(DialError::CannotMark) => "cannot-mark-sockets",
            Self::Rejected(_) => "portal-rejected",
            Self::ConnectTimedOut | Self::JoinTimedOut | Self::Silent | Self::Blocked => "portal-silent",
            Self::JoinRefused => "join-refused",
            Self::Closed(_) | Self::ChannelClosed | Self::Truncated | Self::Broken => "portal-closed",
        }
    }

    /// Whether this is how a network that is not there looks.
    #[must_use]
    pub fn looks_like_no_network(&self) -> bool {
        matches!(self, Self::Dial(DialError::NoAddress | DialError::Unreachable))
    }

    /// Whether this is part of ordinary life, not worth showing to anyone: the portal admits one attempt a second.
    #[must_use]
    pub fn is_ordinary(&self) -> bool {
        matches!(self, Self::Rejected(rejection) if rejection.is_rate_limit())
    }
}
