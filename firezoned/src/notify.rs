//! What the service manager is told: sd_notify(3), over the datagram socket that `NOTIFY_SOCKET` names.

use std::{
    ffi::OsString,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

/// The service manager, if there is one.
#[derive(Debug)]
pub struct Notify {
    manager: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// Finds the service manager by the environment.
    #[must_use]
    pub fn from_env() -> Self {
        let manager = std::env::var_os("NOTIFY_SOCKET").and_then(|path| connect(&path));
        Self { manager, watchdog: watchdog() }
    }

    /// We can serve.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// We read again what we were told; [`Self::ready`] follows.
    pub fn reloading(&self) {
        self.reloading_at(Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default());
    }

    /// By the time the manager tells which of several reloads this is.
    fn reloading_at(&self, now: Duration) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
    }

    /// We are going.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// One line for people.
    pub fn status(&self, line: &str) {
        self.send(&format!("STATUS={line}"));
    }

    /// We are alive.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// How often to say that we are alive: twice as often as we are asked to.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.manager.as_ref()?;
        self.watchdog.map(|limit| limit / 2)
    }

    fn send(&self, message: &str) {
        let Some((socket, manager)) = &self.manager else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), manager) {
            tracing::debug!(%error, "cannot notify the service manager");
        }
    }
}

fn connect(path: &OsString) -> Option<(UnixDatagram, SocketAddr)> {
    let bytes = path.as_bytes();
    let address = match bytes.split_first()? {
        (b'@', name) => SocketAddr::from_abstract_name(name),
        (b'/', _) => SocketAddr::from_pathname(path),
        _ => return None,
    };
    let socket = UnixDatagram::unbound().ok()?;
    // A manager that does not read must not stop us.
    socket.set_nonblocking(true).ok()?;
    Some((socket, address.ok()?))
}

fn watchdog() -> Option<Duration> {
    let process = std::env::var("WATCHDOG_PID").ok();
    if process.is_some_and(|process| process != std::process::id().to_string()) {
        return None;
    }
    let limit = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (limit > 0).then(|| Duration::from_micros(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_hears_what_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notify = Notify { manager: connect(&path.into_os_string()), watchdog: None };

        notify.ready();
        notify.status("connected");
        notify.reloading_at(Duration::from_millis(1500));
        notify.stopping();
        notify.alive();

        let mut buffer = [0; 64];
        for expected in
            ["READY=1", "STATUS=connected", "RELOADING=1\nMONOTONIC_USEC=1500000", "STOPPING=1", "WATCHDOG=1"]
        {
            let length = manager.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], expected.as_bytes());
        }
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        Notify { manager: connect(&OsString::from("relative")), watchdog: None }.ready();
    }
}
