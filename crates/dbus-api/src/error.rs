//! Why a call is refused, and why there is nobody to call.

use std::io::ErrorKind;

/// Errors under `dev.firezone.Client1.Error`. The text is for logs; people are told what the name means.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "dev.firezone.Client1.Error")]
pub enum Error {
    /// The bus or the library failed, or the error is not one of ours.
    #[zbus(error)]
    ZBus(zbus::Error),
    /// Polkit does not allow this, or cannot be asked. Remedy: join the group `firezone`.
    NotAuthorized(String),
    /// An argument or an option is not one that we know. Remedy: correct the call.
    InvalidArgs(String),
    /// The descriptor is not a pipe or sealed memfd, or what it carries cannot be a token. Remedy: hand over a token.
    InvalidToken(String),
    /// There is no such resource or setting. Remedy: look at the list.
    NotFound(String),
    /// The administrator has fixed this setting, in the place that the text names. Remedy: ask the administrator.
    Locked(String),
    /// The host does not let the daemon do this. Remedy: look into the daemon's log.
    Failed(String),
    /// Too many calls of this caller are in the works. Remedy: wait for their answers.
    LimitReached(String),
    /// The daemon is stopping. Remedy: try again once it runs.
    Stopping(String),
}

/// Whether there is no bus, as in a container, or none that runs, rather than one that does not let us in.
#[must_use]
pub fn is_no_bus(error: &zbus::Error) -> bool {
    let (zbus::Error::InputOutput(error) | zbus::Error::Connection(error, _)) = error else { return false };
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}
