//! Why a session is where it is, as codes that programs may rely on.

use crate::{dictionary::none_if_empty, vocabulary::vocabulary};

vocabulary! {
    /// One code. It may be public: it contains no personal name and no address.
    pub enum Reason {
        /// The portal does not know the token.
        InvalidToken = "invalid_token",
        /// The portal received no token.
        MissingToken = "missing_token",
        /// The token has expired, or another device with the same identity has connected.
        TokenExpired = "token_expired",
        /// The portal, or a proxy before it, refuses the connection, without a word about the token.
        PortalRejected = "portal_rejected",
        /// The portal's certificate is not trusted, or TLS fails otherwise.
        PortalTls = "portal_tls",
        /// The portal does not respond, or the connection broke.
        PortalUnreachable = "portal_unreachable",
        /// No network could carry the connection.
        NoNetwork = "no_network",
        /// The network requires a sign-in with a browser first.
        CaptivePortal = "captive_portal",
        /// This machine sleeps, or has just woken up.
        Suspended = "suspended",
        /// Another program holds the tunnel interface.
        TunBusy = "tun_busy",
        /// The tunnel interface cannot be created.
        TunUnavailable = "tun_unavailable",
        /// The packet thread ended unexpectedly.
        TunnelFailed = "tunnel_failed",
        /// The kernel does not let the daemon mark its sockets, which would loop into the tunnel.
        CannotMark = "cannot_mark_sockets",
    }
}

vocabulary! {
    /// Why a session ended without a request from a user: the portal's verdict on the token.
    pub enum SignOutCause {
        /// The portal does not know the token.
        InvalidToken = "invalid_token",
        /// The portal received no token.
        MissingToken = "missing_token",
        /// The token has expired, or another device with the same identity has connected.
        TokenExpired = "token_expired",
    }
}

vocabulary! {
    /// Why no connection is possible at present.
    pub enum NetworkProblem {
        /// No network could carry the connection.
        NoNetwork = "no_network",
        /// The network requires a sign-in with a browser first.
        CaptivePortal = "captive_portal",
        /// This machine sleeps, or has just woken up.
        Suspended = "suspended",
    }
}

vocabulary! {
    /// Why the last attempt to connect failed. Verdicts on the token occur here in service mode only, where the daemon
    /// tries the same token again later.
    pub enum ConnectionProblem {
        /// The portal does not know the token.
        InvalidToken = "invalid_token",
        /// The portal received no token.
        MissingToken = "missing_token",
        /// The token has expired, or another device with the same identity has connected.
        TokenExpired = "token_expired",
        /// The portal, or a proxy before it, refuses the connection, without a word about the token.
        PortalRejected = "portal_rejected",
        /// The portal's certificate is not trusted, or TLS fails otherwise.
        PortalTls = "portal_tls",
        /// The portal does not respond, or the connection broke.
        PortalUnreachable = "portal_unreachable",
        /// Another program holds the tunnel interface.
        TunBusy = "tun_busy",
        /// The tunnel interface cannot be created.
        TunUnavailable = "tun_unavailable",
        /// The packet thread ended unexpectedly.
        TunnelFailed = "tunnel_failed",
        /// The kernel does not let the daemon mark its sockets, which would loop into the tunnel.
        CannotMark = "cannot_mark_sockets",
    }
}

impl Reason {
    /// From the property or a dictionary, where the empty text means that there is none.
    #[must_use]
    pub fn published(code: &str) -> Option<Self> {
        none_if_empty(code)
    }

    /// Whether the portal refuses, so that an immediate retry is useless.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.condemns_token() || *self == Self::PortalRejected
    }

    /// Whether this is the portal's verdict on the token itself: the only thing that makes a token worthless.
    #[must_use]
    pub fn condemns_token(&self) -> bool {
        matches!(self, Self::InvalidToken | Self::MissingToken | Self::TokenExpired)
    }
}

impl SignOutCause {
    /// Whether the token is worthless from now on. A verdict that this version does not know says nothing about it.
    #[must_use]
    pub fn condemns_token(&self) -> bool {
        match self {
            Self::InvalidToken | Self::MissingToken | Self::TokenExpired => true,
            Self::Other(_) => false,
        }
    }
}
