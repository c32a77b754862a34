//! A descriptor to which a report is written.
//!
//! A descriptor from a caller can be anything, and writing to most kinds may block: a pipe without a reader, a file on an
//! unreachable server, or a file system that the caller serves itself. Memory does not block, so only a memfd is accepted.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::fs::{OFlags, SealFlags, fcntl_get_seals, fcntl_getfl, ftruncate};

/// The reason why a descriptor is rejected.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReportFdError {
    #[error("the descriptor is not a memfd")]
    NotAMemfd,
    #[error("the memfd cannot be written")]
    NotWritable,
    #[error("cannot write the report")]
    Io(#[from] io::Error),
}

/// Memory for a report.
#[derive(Debug)]
pub(super) struct ReportMemory(OwnedFd);

impl ReportMemory {
    /// Checks the descriptor without reading or writing.
    pub(super) fn new(fd: OwnedFd) -> Result<Self, ReportFdError> {
        // Only memfds and files on a tmpfs have seals (fcntl(2)). The kernel checks this without the file system, which might
        // be the caller's.
        let Ok(seals) = fcntl_get_seals(&fd) else { return Err(ReportFdError::NotAMemfd) };
        let flags = fcntl_getfl(&fd).map_err(io::Error::from)?;
        let is_open = matches!(flags & OFlags::RWMODE, OFlags::WRONLY | OFlags::RDWR) && !flags.contains(OFlags::PATH);
        let forbidden = SealFlags::WRITE | SealFlags::FUTURE_WRITE | SealFlags::GROW | SealFlags::SHRINK;
        if is_open && !seals.intersects(forbidden) { Ok(Self(fd)) } else { Err(ReportFdError::NotWritable) }
    }

    /// Replaces the content.
    pub(super) fn write(&self, text: &str) -> Result<(), ReportFdError> {
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
    fn report_replaces_the_previous_content() {
        let fd = memory();
        let mut file = File::from(fd.try_clone().unwrap());
        std::io::Write::write_all(&mut file, &[b'x'; 100_000]).unwrap();
        let text = "y".repeat(70_000);
        ReportMemory::new(fd.try_clone().unwrap()).unwrap().write(&text).unwrap();
        let mut read = String::new();
        // A separate open file, so that its offset is 0.
        File::open(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap().read_to_string(&mut read).unwrap();
        assert_eq!(read, text);
    }

    #[test]
    fn descriptors_other_than_memfds_are_rejected_for_reports() {
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
            assert!(matches!(ReportMemory::new(fd), Err(ReportFdError::NotAMemfd)));
        }
    }

    #[test]
    fn memfd_that_is_not_writable_is_rejected() {
        for seal in [SealFlags::WRITE, SealFlags::GROW, SealFlags::SHRINK] {
            let fd = memory();
            fcntl_add_seals(&fd, seal).unwrap();
            assert!(matches!(ReportMemory::new(fd), Err(ReportFdError::NotWritable)));
        }
        let fd = memory();
        let read_only = File::open(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
        assert!(matches!(ReportMemory::new(read_only.into()), Err(ReportFdError::NotWritable)));
    }
}
