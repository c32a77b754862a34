//! A file descriptor that tells when it can be read or written.

#![allow(unsafe_code, reason = "the runtime must be promised that the descriptor stays the same")]

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

/// A file descriptor that is registered with the runtime for as long as it is open.
#[derive(Debug)]
pub(crate) struct Watched(AsyncFd<OwnedFd>);

impl Watched {
    /// To be called within the runtime. The descriptor must be non-blocking.
    pub(crate) fn new(fd: OwnedFd, interest: Interest) -> io::Result<Self> {
        // SAFETY: the descriptor is owned by the `AsyncFd`, which is private and of which only shared references are
        // used, so nobody can close or replace the descriptor before the `AsyncFd` is dropped.
        Ok(Self(unsafe { AsyncFd::register_with_interest(fd, interest) }?))
    }

    /// Waits until it can be read. Cancel-safe: this only looks.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }

    /// Waits until it can be written. Cancel-safe: this only looks.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.0.writable().await.map(drop)
    }

    /// Does one read or write. If it would block, the runtime learns that.
    pub(crate) fn try_io<R>(
        &self,
        interest: Interest,
        io: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<R>,
    ) -> io::Result<R> {
        self.0.try_io(interest, |fd| Ok(io(fd.as_fd())?))
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
