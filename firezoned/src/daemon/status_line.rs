//! The state of the session in one line.

use dbus_api::State;
use session::Snapshot;

/// The status line for the service manager.
pub(super) fn of(snapshot: &Snapshot) -> String {
    let state = match &snapshot.state {
        State::SignedOut => "Signed out",
        State::WaitingForNetwork => "Waiting for network",
        State::Connecting => "Connecting",
        State::Connected => "Connected",
        State::Reconnecting => "Reconnecting",
        State::SigningOut => "Signing out",
        State::Other(state) => state,
    };
    match &snapshot.reason {
        Some(reason) => format!("{state} ({reason})"),
        None => state.to_owned(),
    }
}
