//! A file descriptor that tells when it can be read or written.

#![allow(unsafe_code, reason = "the runtime must be promised that the descriptor stays the same")]

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

/// A file descriptor that is registered with the runtime for as long as it is open.
#[derive(Debug)]
pub struct WatchedFd(AsyncFd<OwnedFd>);

impl WatchedFd {
    /// To be called within the runtime. The descriptor must be non-blocking.
    pub fn new(fd: OwnedFd, interest: Interest) -> io::Result<Self> {
        // SAFETY: the descriptor is owned by the `AsyncFd`, which is private and of which only shared references are
        // used, so nobody can close or replace the descriptor before the `AsyncFd` is dropped.
        Ok(Self(unsafe { AsyncFd::register_with_interest(fd, interest) }?))
    }

    /// Waits until it can be read, or has failed. Cancel-safe: this only looks.
    ///
    /// A TUN device whose interface was deleted reports an error and nothing else; reading then says which.
    pub async fn readable(&self) -> io::Result<()> {
        self.0.ready(Interest::READABLE | Interest::ERROR).await.map(drop)
    }

    /// Waits until it can be written. Cancel-safe: this only looks.
    pub async fn writable(&self) -> io::Result<()> {
        self.0.writable().await.map(drop)
    }

    /// Reads once. Errors are as in [`try_io`](Self::try_io), and those of the device.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = |interest| self.try_io(interest, |fd| rustix::io::read(fd, &mut *buffer));

        match read(Interest::READABLE) {
            // The runtime looks at one kind of readiness per attempt.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => read(Interest::ERROR),
            result => result,
        }
    }

    /// Writes once. Errors are as in [`try_io`](Self::try_io).
    pub fn write(&self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.try_io(Interest::WRITABLE, |fd| rustix::io::writev(fd, pieces))
    }

    /// Does one read or write. If that would block, or if the runtime has not heard from the kernel yet, the error is
    /// [`WouldBlock`](io::ErrorKind::WouldBlock).
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
