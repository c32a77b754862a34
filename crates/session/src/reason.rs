//! Why a session is where it is, as codes that programs may rely on.

/// One code. It may be shown to everybody: it names no person, name or address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reason {
    /// The portal does not know the token.
    InvalidToken,
    /// The portal saw no token.
    MissingToken,
    /// The token is too old.
    TokenExpired,
    /// The portal, or something before it, refuses us, but says nothing about the token.
    PortalRejected,
    /// The portal's certificate is not trusted, or TLS fails otherwise.
    PortalTls,
    /// No network could carry the connection.
    NoNetwork,
    /// This network wants somebody to sign in first, with a browser.
    CaptivePortal,
    /// This machine sleeps, or has just woken up.
    Suspended,
    /// The portal does not answer, or the connection broke.
    PortalUnreachable,
    /// Somebody else holds our network interface.
    TunBusy,
    /// The network interface cannot be made.
    TunUnavailable,
    /// The packet thread died.
    TunnelFailed,
    /// The kernel does not let us mark our sockets, which would loop into the tunnel.
    CannotMark,
}

impl Reason {
    /// As on the bus.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidToken => "invalid_token",
            Self::MissingToken => "missing_token",
            Self::TokenExpired => "token_expired",
            Self::PortalRejected => "portal_rejected",
            Self::PortalTls => "portal_tls",
            Self::NoNetwork => "no_network",
            Self::CaptivePortal => "captive_portal",
            Self::Suspended => "suspended",
            Self::PortalUnreachable => "portal_unreachable",
            Self::TunBusy => "tun_busy",
            Self::TunUnavailable => "tun_unavailable",
            Self::TunnelFailed => "tunnel_failed",
            Self::CannotMark => "cannot_mark_sockets",
        }
    }

    /// Whether somebody has said no, so that asking again soon is no help.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        self.condemns_token() || self == Self::PortalRejected
    }

    /// Whether this is the portal's word about the token itself: the only thing that makes a token worthless.
    #[must_use]
    pub fn condemns_token(self) -> bool {
        matches!(self, Self::InvalidToken | Self::MissingToken | Self::TokenExpired)
    }
}
