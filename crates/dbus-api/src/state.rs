//! The states of a session.

use std::fmt;

/// Where the session is. A text on the bus, so that an old front end survives a new daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum State {
    /// There is no session.
    #[default]
    SignedOut,
    /// There is a session, but no network that could carry it.
    WaitingForNetwork,
    /// The portal or the tunnel is not ready yet.
    Connecting,
    /// Names and networks of the resources work.
    Connected,
    /// The portal is away. What is connected goes on.
    Reconnecting,
    /// The session is being taken down.
    SigningOut,
    /// A state that this version does not know.
    Unknown,
}

impl State {
    /// As on the bus.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignedOut => "signed-out",
            Self::WaitingForNetwork => "waiting-for-network",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Reconnecting => "reconnecting",
            Self::SigningOut => "signing-out",
            Self::Unknown => "unknown",
        }
    }
}

impl From<&str> for State {
    fn from(text: &str) -> Self {
        [
            Self::SignedOut,
            Self::WaitingForNetwork,
            Self::Connecting,
            Self::Connected,
            Self::Reconnecting,
            Self::SigningOut,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
        .unwrap_or(Self::Unknown)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
