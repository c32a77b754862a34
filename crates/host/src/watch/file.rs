//! Detects writes to `resolv.conf`, in place or by replacement.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use tokio::io::Interest;

use event_loop::WatchedFd;

/// Size of the inotify buffer in bytes: room for dozens of events.
const BUFFER_SIZE: usize = 4096;

/// One file, watched by inotify: both its directory (the file may be replaced) and its content, because the target of a link or
/// a mounted file is written through another directory.
#[derive(Debug)]
pub(super) struct FileWatch {
    path: PathBuf,
    inotify: WatchedFd,
}

impl FileWatch {
    /// Must be called within a runtime.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("/"));
        let entries = WatchFlags::CLOSE_WRITE | WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
        inotify::add_watch(&inotify, directory, entries | WatchFlags::ONLYDIR)?;

        let watch = Self { path: path.to_owned(), inotify: WatchedFd::new(inotify, Interest::READABLE)? };
        watch.watch_content();
        Ok(watch)
    }

    /// Waits until the file may have changed. Cancel-safe: unread events stay in the kernel.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        loop {
            self.inotify.readable().await?;
            match self.inotify.try_io(Interest::READABLE, |fd| self.has_relevant_event(fd)) {
                Ok(true) => {
                    self.watch_content();
                    return Ok(());
                }
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads a buffer of events. Those of the directory are relevant if they carry the file's name; those of the content carry
    /// no name.
    fn has_relevant_event(&self, inotify: BorrowedFd<'_>) -> rustix::io::Result<bool> {
        let name = self.path.file_name().map(OsStrExt::as_bytes);
        let mut buffer = [MaybeUninit::uninit(); BUFFER_SIZE];
        let mut events = Reader::new(inotify, &mut buffer);
        let mut relevant = false;
        loop {
            let event = events.next()?;
            relevant |= event.file_name().is_none_or(|entry| Some(entry.to_bytes()) == name);
            if events.is_buffer_empty() {
                return Ok(relevant);
            }
        }
    }

    /// Watches the content, which is a new inode after a replacement. If the file is missing, the directory reports its
    /// creation.
    fn watch_content(&self) {
        let content = WatchFlags::CLOSE_WRITE | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF;
        let _ = inotify::add_watch(&self.inotify, &self.path, content);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::process::Command;
    use std::time::Duration;

    use rustix::io::Errno;

    use super::*;
    use crate::applied::Applied;
    use crate::dns::Dns;
    use session::DnsControl;

    const TIMEOUT: Duration = Duration::from_secs(20);

    /// Written by another process: while one of our threads forks, a file that we closed is still open for a moment.
    fn write_from_another_process(path: &Path) {
        let script = format!("echo nameserver 192.0.2.1 > {}", path.display());
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    }

    #[tokio::test]
    async fn own_reads_are_not_reported() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        write_from_another_process(&path);
        let mut watch = FileWatch::new(&path).unwrap();

        let mut dns = Dns::with_file(DnsControl::Auto, &path);
        let mut applied = Applied::default();
        dns.apply(None, None, &mut applied).await;
        dns.system_resolvers(None).await;
        assert_eq!(watch.has_relevant_event(watch.inotify.as_fd()), Err(Errno::AGAIN));

        write_from_another_process(&path);
        tokio::time::timeout(TIMEOUT, watch.changed()).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn other_files_in_the_directory_are_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        let mut watch = FileWatch::new(&path).unwrap();
        write_from_another_process(&directory.path().join("hosts"));
        assert_eq!(watch.has_relevant_event(watch.inotify.as_fd()), Ok(false));
        write_from_another_process(&path);
        tokio::time::timeout(TIMEOUT, watch.changed()).await.unwrap().unwrap();
    }
}
