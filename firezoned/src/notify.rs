//! What the service manager is told: sd_notify(3), over the datagram socket that `NOTIFY_SOCKET` names.

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
    /// Finds the service manager by the environment.
    #[must_use]
    pub(crate) fn from_env() -> Self {
        let manager = std::env::var_os("NOTIFY_SOCKET").and_then(|path| connect(&path));
        Self { manager, watchdog: watchdog() }
    }

    /// Whether there is one.
    #[must_use]
    pub(crate) fn is_heard(&self) -> bool {
        self.manager.is_some()
    }

    /// We can serve.
    pub(crate) fn ready(&self) {
        self.send("READY=1");
    }

    /// We read again what we were told; [`Self::ready`] follows.
    pub(crate) fn reloading(&self) {
        self.reloading_at(Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default());
    }

    /// By the time the manager tells which of several reloads this is.
    fn reloading_at(&self, now: Duration) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
    }

    /// We are going.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// One line for people.
    pub(crate) fn status(&self, line: &str) {
        self.send(&format!("STATUS={line}"));
    }

    /// We are alive.
    pub(crate) fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// How often to say that we are alive: twice as often as we are asked to.
    #[must_use]
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.manager.as_ref()?;
        self.watchdog.map(|limit| limit / 2)
    }

    /// This is to be kept for the process that comes after us, by a name. Says whether it was sent.
    pub(crate) fn keep(&self, name: &str, fd: BorrowedFd<'_>) -> bool {
        let Some((socket, manager)) = &self.manager else { return false };
        let (fds, message) = ([fd], format!("FDSTORE=1\nFDNAME={name}"));
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let sent = control.push(SendAncillaryMessage::ScmRights(&fds)) && {
            let message = [IoSlice::new(message.as_bytes())];
            again(manager).is_some_and(|manager| {
                sendmsg_addr(socket, &manager, &message, &mut control, SendFlags::empty()).is_ok()
            })
        };
        if !sent {
            tracing::debug!("cannot have the service manager keep anything");
        }
        sent
    }

    /// What was kept by this name no longer is. Says whether it was sent.
    pub(crate) fn forget(&self, name: &str) -> bool {
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
    // A manager that does not read must not stop us.
    socket.set_nonblocking(true).ok()?;
    Some((socket, address.ok()?))
}

/// The same address, as those want it who send descriptors.
fn again(manager: &SocketAddr) -> Option<SocketAddrUnix> {
    match manager.as_pathname() {
        Some(path) => SocketAddrUnix::new(path).ok(),
        None => SocketAddrUnix::new_abstract_name(manager.as_abstract_name()?).ok(),
    }
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
    use std::{
        io::{IoSliceMut, Read as _, Write as _},
        os::fd::AsFd as _,
    };

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

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
    fn the_manager_gets_what_it_is_to_keep() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notify = Notify { manager: connect(&path.into_os_string()), watchdog: None };
        let (mut reader, writer) = std::io::pipe().unwrap();

        assert!(notify.keep("thing", writer.as_fd()));
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

        assert!(notify.forget("thing"));
        let length = manager.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"FDSTOREREMOVE=1\nFDNAME=thing");
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        Notify { manager: connect(&OsString::from("relative")), watchdog: None }.ready();
    }
}
