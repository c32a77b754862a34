//! Final errors, which end a session.

/// Why a session has ended. There is nothing to retry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SessionEnd {
    /// The portal rejected the token by name. Only then the token is discarded.
    #[error("{0}")]
    TokenRejected(TokenRejection),
    /// Sockets cannot be marked, so packets to the portal would be routed into the tunnel, which needs the portal.
    #[error(
        "cannot mark sockets, so the connection to the portal would loop into the tunnel (CAP_NET_ADMIN is missing)"
    )]
    SocketMarkDenied,
    /// The portal was unreachable for longer than the administrator allows. The token is kept.
    #[error("the portal has been unreachable for too long")]
    PortalUnreachable,
}

/// Why the portal rejected the token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenRejection {
    /// The token is unknown, deleted, expired or of the wrong kind, or its owner or account is disabled.
    #[error("the portal does not accept the token")]
    InvalidToken,
    /// The request contained no token.
    #[error("the portal received no token")]
    MissingToken,
    /// The session has expired. The portal reports the same when another device connects with the same identity.
    #[error("the session has expired, or another device with the same identity has connected")]
    TokenExpired,
}
