//! Changes that need an administrator's password. The desktop asks for the password; the app never sees it.

use std::ffi::OsStr;

use dbus_api::{GROUP, UNIT};
use gtk::{gio, glib, prelude::*};

use crate::bus::Failure;

/// Runs one program as root, if polkit allows it.
const PKEXEC: &str = "pkexec";
/// Adds users to groups. Its directory is not in the `PATH` of users.
const USERMOD: &str = "/usr/sbin/usermod";
/// Timeout of a call during which an administrator may have to type a password, in milliseconds.
const PASSWORD_TIMEOUT_MS: i32 = 120_000;

/// Whether a program that can ask for a password is installed.
pub(crate) fn can_join_group() -> bool {
    glib::find_program_in_path(PKEXEC).is_some()
}

/// Starts the daemon's unit.
///
/// # Errors
///
/// The request was not authorized, or systemd is missing or fails.
pub(crate) async fn start_service() -> Result<(), Failure> {
    const NAME: &str = "org.freedesktop.systemd1";
    const PATH: &str = "/org/freedesktop/systemd1";
    let failed = |error: glib::Error| match error.kind::<gio::DBusError>() {
        Some(gio::DBusError::AccessDenied) => Failure::NotPermitted,
        _ => Failure::Other(format!("the service cannot be started: {}", error.message())),
    };
    let bus = gio::bus_get_future(gio::BusType::System).await.map_err(failed)?;
    let arguments = (UNIT, "replace").to_variant();
    let flags = gio::DBusCallFlags::ALLOW_INTERACTIVE_AUTHORIZATION;
    let interface = "org.freedesktop.systemd1.Manager";
    bus.call_future(Some(NAME), PATH, interface, "StartUnit", Some(&arguments), None, flags, PASSWORD_TIMEOUT_MS)
        .await
        .map(drop)
        .map_err(failed)
}

/// Adds a user to the group that may use the daemon.
///
/// # Errors
///
/// The request was not authorized, or a program is missing or fails.
pub(crate) async fn add_to_group(user: &str) -> Result<(), Failure> {
    let failed = |error: glib::Error| Failure::Other(format!("{PKEXEC}: {}", error.message()));
    let arguments = [PKEXEC, "--disable-internal-agent", USERMOD, "--append", "--groups", GROUP, "--", user];
    let program = gio::Subprocess::newv(&arguments.map(OsStr::new), gio::SubprocessFlags::NONE).map_err(failed)?;
    program.wait_future().await.map_err(failed)?;
    match program.has_exited().then(|| program.exit_status()) {
        Some(0) => Ok(()),
        // pkexec(1): the dialog was dismissed, or the authorization failed.
        Some(126 | 127) => Err(Failure::NotPermitted),
        status => Err(Failure::Other(format!("{USERMOD}: {status:?}"))),
    }
}
