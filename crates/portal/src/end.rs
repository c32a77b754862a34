//! What ends a session for good.

/// Why there is nothing to retry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum End {
    /// The portal said so about the token: the only case in which a token is thrown away.
    #[error("{0}")]
    SignInAgain(Verdict),
    /// Our packets to the portal cannot be kept out of the tunnel. Going on would send the tunnel into itself.
    #[error(
        "cannot mark sockets, so the connection to the portal would loop into the tunnel (CAP_NET_ADMIN is missing)"
    )]
    CannotMark,
    /// The portal has been away for longer than the administrator wants the tunnel to outlive it. The token is kept.
    #[error("the portal has been away for too long")]
    Away,
}

/// What the portal said about the token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Verdict {
    /// It is unknown, deleted or expired, of the wrong kind, or its owner or account is disabled.
    #[error("the portal does not accept the token")]
    InvalidToken,
    /// It got none.
    #[error("the portal got no token")]
    MissingToken,
    /// The session is over. The portal also says this when another device connects with the same identity.
    #[error("the session has expired, or another device with the same identity has connected")]
    TokenExpired,
}

impl Verdict {
    /// The portal's word for it, stable enough for scripts.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidToken => "invalid-token",
            Self::MissingToken => "missing-token",
            Self::TokenExpired => "token-expired",
        }
    }
}

impl End {
    /// A word for scripts.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::SignInAgain(verdict) => verdict.code(),
            Self::CannotMark => "cannot-mark-sockets",
            Self::Away => "portal-away",
        }
    }

    /// Whether the token is worthless now.
    #[must_use]
    pub fn requires_sign_in(self) -> bool {
        matches!(self, Self::SignInAgain(_))
    }
}
