//! A descriptor into which a report is written.
//!
//! A descriptor from a stranger can be anything, and writing into most of it may block: a pipe that nobody reads, a file
//! on a server that is gone, or one that the caller serves itself. Memory cannot, so a memfd is all that is taken.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::fs::{OFlags, SealFlags, fcntl_get_seals, fcntl_getfl, ftruncate};

/// Why the descriptor is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("the descriptor is no memfd")]
    Kind,
    #[error("the memfd cannot be written")]
    ReadOnly,
    #[error("cannot write the report")]
    Broken(#[from] io::Error),
}

/// Memory that takes a report.
#[derive(Debug)]
pub(super) struct Memory(OwnedFd);

impl Memory {
    /// Looks at the descriptor, without touching what it stands for.
    pub(super) fn new(fd: OwnedFd) -> Result<Self, Unusable> {
        // Only memory has seals (fcntl(2)), and files on a tmpfs, which are memory too. The kernel knows it without asking
        // a file system, which might be the caller's.
        let Ok(seals) = fcntl_get_seals(&fd) else { return Err(Unusable::Kind) };
        let flags = fcntl_getfl(&fd).map_err(io::Error::from)?;
        let is_open = matches!(flags & OFlags::RWMODE, OFlags::WRONLY | OFlags::RDWR) && !flags.contains(OFlags::PATH);
        let forbidden = SealFlags::WRITE | SealFlags::FUTURE_WRITE | SealFlags::GROW | SealFlags::SHRINK;
        if is_open && !seals.intersects(forbidden) { Ok(Self(fd)) } else { Err(Unusable::ReadOnly) }
    }

    /// Replaces what is in it.
    pub(super) fn write(&self, text: &str) -> Result<(), Unusable> {
        let mut rest = text.as_bytes();
        ftruncate(&self.0, 0).map_err(io::Error::from)?;
        while !rest.is_empty() {
            let offset = (text.len() - rest.len()) as u64;
            match rustix::io::pwrite(self.0.as_fd(), rest, offset).map_err(io::Error::from)? {
                0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                written => rest = rest.get(written..).unwrap_or_default(),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read as _, os::fd::AsRawFd as _};

    use rustix::fs::{MemfdFlags, fcntl_add_seals, memfd_create};

    use super::*;

    fn memory() -> OwnedFd {
        memfd_create("report", MemfdFlags::ALLOW_SEALING).unwrap()
    }

    #[test]
    fn a_report_replaces_what_was_there() {
        let fd = memory();
        let mut file = File::from(fd.try_clone().unwrap());
        std::io::Write::write_all(&mut file, &[b'x'; 100_000]).unwrap();
        let text = "y".repeat(70_000);
        Memory::new(fd.try_clone().unwrap()).unwrap().write(&text).unwrap();
        let mut read = String::new();
        // A description of its own, so that the offset is not where we wrote.
        File::open(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap().read_to_string(&mut read).unwrap();
        assert_eq!(read, text);
    }

    #[test]
    fn other_descriptors_are_refused_untouched() {
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let (reader, writer) = io::pipe().unwrap();
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let file = File::create(directory.path().join("file")).unwrap();
        for fd in [
            OwnedFd::from(File::open(directory.path()).unwrap()),
            File::options().write(true).open("/dev/null").unwrap().into(),
            File::options().write(true).open("/dev/full").unwrap().into(),
            File::open("/proc/self/status").unwrap().into(),
            reader.into(),
            writer.into(),
            socket.into(),
            file.into(),
        ] {
            assert!(matches!(Memory::new(fd), Err(Unusable::Kind)));
        }
    }

    #[test]
    fn memory_that_cannot_be_written_is_refused() {
        for seal in [SealFlags::WRITE, SealFlags::GROW, SealFlags::SHRINK] {
            let fd = memory();
            fcntl_add_seals(&fd, seal).unwrap();
            assert!(matches!(Memory::new(fd), Err(Unusable::ReadOnly)));
        }
        let fd = memory();
        let read_only = File::open(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
        assert!(matches!(Memory::new(read_only.into()), Err(Unusable::ReadOnly)));
    }
}
