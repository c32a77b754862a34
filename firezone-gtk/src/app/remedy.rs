//! What the app can do about what is in its way, if an administrator agrees: the desktop asks for the password, and the
//! app never sees it.

use std::ffi::OsStr;

use dbus_api::{GROUP, UNIT};
use gtk::{gio, glib, prelude::*};

use super::App;
use crate::bus::{Failure, Report, Request};

/// Runs one program as root, if polkit says so.
const PKEXEC: &str = "pkexec";
/// What adds to groups. Its folder is not where the programs of users are looked for.
const USERMOD: &str = "/usr/sbin/usermod";
/// How long somebody may take to find a password, in milliseconds.
const PATIENCE: i32 = 120_000;

impl App {
    /// Starts the service.
    pub(super) fn start_service(&self) {
        self.heal(start_unit());
    }

    /// Adds this user to the group.
    pub(super) fn join_group(&self) {
        let user = self.model.borrow().user.clone();
        self.heal(async move { add_to_group(&user).await });
    }

    /// Waits for the remedy. If it worked, the daemon shows it.
    fn heal(&self, remedy: impl Future<Output = Result<(), Failure>> + 'static) {
        let this = self.this.clone();
        glib::spawn_future_local(async move {
            let outcome = remedy.await;
            let Some(app) = this.upgrade() else { return };
            match outcome {
                Ok(()) => app.bus.ask(Request::Look),
                Err(failure) => app.handle(Report::Failed(failure)),
            }
        });
    }
}

/// Whether there is what asks for a password.
pub(super) fn can_join_group() -> bool {
    glib::find_program_in_path(PKEXEC).is_some()
}

async fn start_unit() -> Result<(), Failure> {
    const NAME: &str = "org.freedesktop.systemd1";
    const PATH: &str = "/org/freedesktop/systemd1";
    let failed = |error: glib::Error| match error.kind::<gio::DBusError>() {
        Some(gio::DBusError::AccessDenied) => Failure::NotPermitted,
        _ => Failure::Other(format!("the service cannot be started: {}", error.message())),
    };
    let bus = gio::bus_get_future(gio::BusType::System).await.map_err(failed)?;
    let what = (UNIT, "replace").to_variant();
    let flags = gio::DBusCallFlags::ALLOW_INTERACTIVE_AUTHORIZATION;
    let interface = "org.freedesktop.systemd1.Manager";
    bus.call_future(Some(NAME), PATH, interface, "StartUnit", Some(&what), None, flags, PATIENCE)
        .await
        .map(drop)
        .map_err(failed)
}

async fn add_to_group(user: &str) -> Result<(), Failure> {
    let failed = |error: glib::Error| Failure::Other(format!("{PKEXEC}: {}", error.message()));
    let arguments = [PKEXEC, "--disable-internal-agent", USERMOD, "--append", "--groups", GROUP, "--", user];
    let program = gio::Subprocess::newv(&arguments.map(OsStr::new), gio::SubprocessFlags::NONE).map_err(failed)?;
    program.wait_future().await.map_err(failed)?;
    match program.has_exited().then(|| program.exit_status()) {
        Some(0) => Ok(()),
        // pkexec(1): dismissed, or not authorised.
        Some(126 | 127) => Err(Failure::NotPermitted),
        status => Err(Failure::Other(format!("{USERMOD}: {status:?}"))),
    }
}
