//! A file descriptor that reports when it can be read or written.

#![allow(unsafe_code, reason = "the runtime requires a promise that the descriptor stays the same")]

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

/// A file descriptor that is registered with the runtime for as long as it is open.
#[derive(Debug)]
pub struct WatchedFd(AsyncFd<OwnedFd>);

impl WatchedFd {
    /// Must be called within the runtime. The descriptor must be non-blocking.
    ///
    /// # Errors
    /// The runtime cannot watch the descriptor.
    pub fn new(fd: OwnedFd, interest: Interest) -> io::Result<Self> {
        // SAFETY: the descriptor is owned by the `AsyncFd`, which is private and of which only shared references are
        // used, so the descriptor cannot be closed or replaced before the `AsyncFd` is dropped.
        Ok(Self(unsafe { AsyncFd::register_with_interest(fd, interest) }?))
    }

    /// Waits until it can be read, or has failed. Cancel-safe: nothing is consumed.
    ///
    /// A TUN device whose interface was deleted reports only an error; a read then returns which.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn readable(&self) -> io::Result<()> {
        self.0.ready(Interest::READABLE | Interest::ERROR).await.map(drop)
    }

    /// Waits until it can be written. Cancel-safe: nothing is consumed.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn writable(&self) -> io::Result<()> {
        self.0.writable().await.map(drop)
    }

    /// Reads once.
    ///
    /// # Errors
    /// As in [`try_io`](Self::try_io), and those of the device.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = |interest| self.try_io(interest, |fd| rustix::io::read(fd, &mut *buffer));

        match read(Interest::READABLE) {
            // The runtime checks one kind of readiness per attempt.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => read(Interest::ERROR),
            result => result,
        }
    }

    /// Writes once.
    ///
    /// # Errors
    /// As in [`try_io`](Self::try_io).
    pub fn write(&self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.try_io(Interest::WRITABLE, |fd| rustix::io::writev(fd, pieces))
    }

    /// Does one read or write.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if it would block, or if the kernel has not reported readiness yet; otherwise
    /// that of `io`.
    pub fn try_io<R>(
        &self,
        interest: Interest,
        io: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<R>,
    ) -> io::Result<R> {
        self.0.try_io(interest, |fd| Ok(io(fd.as_fd())?))
    }
}

impl AsFd for WatchedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
