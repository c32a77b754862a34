//! The states of a session.

use crate::vocabulary::vocabulary;

vocabulary! {
    /// Where the session is.
    #[derive(Default)]
    pub enum State {
        /// There is no session.
        #[default]
        SignedOut = "signed-out",
        /// There is a session, but no network that could carry it.
        WaitingForNetwork = "waiting-for-network",
        /// The portal or the tunnel is not ready yet.
        Connecting = "connecting",
        /// Names and networks of the resources work.
        Connected = "connected",
        /// The portal is unreachable. Existing connections keep working.
        Reconnecting = "reconnecting",
        /// The session is being taken down.
        SigningOut = "signing-out",
    }
}
