//! Notices when somebody writes the file of resolvers, in place or by replacing it.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use tokio::io::Interest;

use event_loop::WatchedFd;

/// Room for some dozens of notices at once.
const BATCH: usize = 4096;

/// One file, watched by inotify. Both its directory (it may be replaced) and its content, wherever that is: a link's target
/// or a mounted file is written through another directory.
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

    /// Waits until the file may have changed. Cancel-safe: what was not read yet is there the next time.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        loop {
            self.inotify.readable().await?;
            match self.inotify.try_io(Interest::READABLE, |fd| self.concerns_us(fd)) {
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

    /// Reads a batch of notices. Of the directory's only those with our name concern us; those of the content have none.
    fn concerns_us(&self, inotify: BorrowedFd<'_>) -> rustix::io::Result<bool> {
        let name = self.path.file_name().map(OsStrExt::as_bytes);
        let mut batch = [MaybeUninit::uninit(); BATCH];
        let mut notices = Reader::new(inotify, &mut batch);
        let mut concerned = false;
        loop {
            let notice = notices.next()?;
            concerned |= notice.file_name().is_none_or(|entry| Some(entry.to_bytes()) == name);
            if notices.is_buffer_empty() {
                return Ok(concerned);
            }
        }
    }

    /// Follows the file to its content, which is another one after a replacement. Without a file there is nothing to
    /// follow, and the directory tells when there is one.
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

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Written by another process: while one of our threads forks, a file that we closed counts as open for a moment.
    fn written_by_somebody(path: &Path) {
        let script = format!("echo nameserver 192.0.2.1 > {}", path.display());
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    }

    #[tokio::test]
    async fn our_own_looking_is_no_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        written_by_somebody(&path);
        let mut watch = FileWatch::new(&path).unwrap();

        let mut dns = Dns::with_file(DnsControl::Auto, &path);
        let mut applied = Applied::default();
        dns.apply(None, None, &mut applied).await;
        dns.system_resolvers(None).await;
        assert_eq!(watch.concerns_us(watch.inotify.as_fd()), Err(Errno::AGAIN));

        written_by_somebody(&path);
        tokio::time::timeout(PATIENCE, watch.changed()).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn neighbours_of_the_file_do_not_concern_us() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        let mut watch = FileWatch::new(&path).unwrap();
        written_by_somebody(&directory.path().join("hosts"));
        assert_eq!(watch.concerns_us(watch.inotify.as_fd()), Ok(false));
        written_by_somebody(&path);
        tokio::time::timeout(PATIENCE, watch.changed()).await.unwrap().unwrap();
    }
}
