//! Why the packet thread cannot start or continue.

use std::io;

use super::sockets::SocketError;

/// Why the packet thread cannot continue.
#[derive(Debug, thiserror::Error)]
pub(super) enum FatalError {
    /// The interface was deleted.
    #[error("the TUN device is gone")]
    Tun(#[source] io::Error),
    /// New sockets could not be opened after a change of the network.
    #[error(transparent)]
    Sockets(#[from] SocketError),
    /// The runtime of the loop failed.
    #[error("the data plane's event loop failed")]
    Loop(#[source] io::Error),
}

/// Why the packet thread cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No sockets.
    #[error(transparent)]
    Sockets(#[from] SocketError),
    /// No randomness.
    #[error("the system has no randomness")]
    Randomness(#[source] rand::rand_core::OsError),
    /// No thread or no event loop.
    #[error("cannot start the data plane's thread")]
    Thread(#[source] io::Error),
}
