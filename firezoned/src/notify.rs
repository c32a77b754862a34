//! Notifications to the service manager: sd_notify(3), over the datagram socket in `NOTIFY_SOCKET`.
//!
//! Not by the crate `sd-notify`: its socket is blocking, so a service manager that does not read would stop the daemon.

use std::{
    ffi::OsString,
    io::IoSlice,
    mem::MaybeUninit,
    os::{
        fd::BorrowedFd,
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use rustix::{
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr},
    time::{ClockId, clock_gettime},
};

/// The service manager, if there is one.
#[derive(Debug)]
pub(crate) struct Notify {
    manager: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// Reads the environment variables of the service manager.
    #[must_use]
    pub(crate) fn from_env() -> Self {
        let manager = std::env::var_os("NOTIFY_SOCKET").and_then(|path| connect(&path));
        Self { manager, watchdog: watchdog() }
    }

    /// Whether a service manager is present.
    #[must_use]
    pub(crate) fn is_present(&self) -> bool {
        self.manager.is_some()
    }

    /// The daemon has started, or has finished reloading.
    pub(crate) fn ready(&self) {
        self.send("READY=1");
    }

    /// The daemon reloads its configuration; [`Self::ready`] must follow.
    pub(crate) fn reloading(&self) {
        self.reloading_at(Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default());
    }

    /// The service manager distinguishes reloads by the monotonic time `now`.
    fn reloading_at(&self, now: Duration) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
    }

    /// The daemon is stopping.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// A status line for display.
    pub(crate) fn status(&self, line: &str) {
        self.send(&format!("STATUS={line}"));
    }

    /// Resets the watchdog.
    pub(crate) fn watchdog_ping(&self) {
        self.send("WATCHDOG=1");
    }

    /// The interval of [`Self::watchdog_ping`]: half the timeout of the watchdog.
    #[must_use]
    pub(crate) fn watchdog_interval(&self) -> Option<Duration> {
        self.manager.as_ref()?;
        self.watchdog.map(|timeout| timeout / 2)
    }

    /// Stores a descriptor under a name in the service manager, for the next process. Returns whether the request was sent.
    pub(crate) fn store_fd(&self, name: &str, fd: BorrowedFd<'_>) -> bool {
        let Some((socket, manager)) = &self.manager else { return false };
        let (fds, message) = ([fd], format!("FDSTORE=1\nFDNAME={name}"));
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let sent = control.push(SendAncillaryMessage::ScmRights(&fds)) && {
            let message = [IoSlice::new(message.as_bytes())];
            rustix_address(manager).is_some_and(|manager| {
                sendmsg_addr(socket, &manager, &message, &mut control, SendFlags::empty()).is_ok()
            })
        };
        if !sent {
            tracing::debug!("cannot store a descriptor in the service manager");
        }
        sent
    }

    /// Removes the stored descriptors with this name. Returns whether the request was sent.
    pub(crate) fn remove_fd(&self, name: &str) -> bool {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"))
    }

    fn send(&self, message: &str) -> bool {
        let Some((socket, manager)) = &self.manager else { return false };
        let sent = socket.send_to_addr(message.as_bytes(), manager);
        sent.inspect_err(|error| tracing::debug!(%error, "cannot notify the service manager")).is_ok()
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
    // A service manager that does not read must not block the daemon.
    socket.set_nonblocking(true).ok()?;
    Some((socket, address.ok()?))
}

/// The address in the type of `rustix`, which sends descriptors.
fn rustix_address(manager: &SocketAddr) -> Option<SocketAddrUnix> {
    match manager.as_pathname() {
        Some(path) => SocketAddrUnix::new(path).ok(),
        None => SocketAddrUnix::new_abstract_name(manager.as_abstract_name()?).ok(),
    }
}

fn watchdog() -> Option<Duration> {
    let pid = std::env::var("WATCHDOG_PID").ok();
    if pid.is_some_and(|pid| pid != std::process::id().to_string()) {
        return None;
    }
    let timeout = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (timeout > 0).then(|| Duration::from_micros(timeout))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{IoSliceMut, Read as _, Write as _},
        os::fd::AsFd as _,
    };

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

    use super::*;

    #[test]
    fn notifications_are_sent_to_the_service_manager() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notify = Notify { manager: connect(&path.into_os_string()), watchdog: None };

        notify.ready();
        notify.status("connected");
        notify.reloading_at(Duration::from_millis(1500));
        notify.stopping();
        notify.watchdog_ping();

        let mut buffer = [0; 64];
        for expected in
            ["READY=1", "STATUS=connected", "RELOADING=1\nMONOTONIC_USEC=1500000", "STOPPING=1", "WATCHDOG=1"]
        {
            let length = manager.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], expected.as_bytes());
        }
    }

    #[test]
    fn descriptors_are_stored_in_and_removed_from_the_service_manager() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notify = Notify { manager: connect(&path.into_os_string()), watchdog: None };
        let (mut reader, writer) = std::io::pipe().unwrap();

        assert!(notify.store_fd("thing", writer.as_fd()));
        drop(writer);
        let (mut text, mut space) = ([0; 64], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))]);
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let buffer = &mut [IoSliceMut::new(&mut text)];
        let received = recvmsg(&manager, buffer, &mut control, RecvFlags::empty()).unwrap();
        assert_eq!(&text[..received.bytes], b"FDSTORE=1\nFDNAME=thing");
        let Some(RecvAncillaryMessage::ScmRights(mut fds)) = control.drain().next() else { panic!("no descriptor") };
        std::fs::File::from(fds.next().unwrap()).write_all(b"kept").unwrap();
        let mut kept = [0; 4];
        reader.read_exact(&mut kept).unwrap();
        assert_eq!(&kept, b"kept");

        assert!(notify.remove_fd("thing"));
        let length = manager.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"FDSTOREREMOVE=1\nFDNAME=thing");
    }

    #[test]
    fn notifications_without_a_service_manager_are_ignored() {
        Notify { manager: connect(&OsString::from("relative")), watchdog: None }.ready();
    }
}
