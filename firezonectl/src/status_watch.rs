//! Notices when the status file of a daemon in service mode is another, or its daemon is gone, without looking all the time.

use std::{io, path::Path};

use rustix::{
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};
// The kind of descriptor does not matter to it: it waits for one, and reads.
use tokio::net::unix::pipe::Receiver;

/// Room for some dozens of notices at once.
const BATCH: usize = 4096;

/// The directory of the file, and the process that writes it.
#[derive(Debug)]
pub(crate) struct StatusWatch {
    directory: Receiver,
    daemon: Receiver,
}

/// What there was to notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notice {
    /// The file may be another.
    File,
    /// The daemon has ended.
    End,
}

impl StatusWatch {
    /// To be called within a runtime, before the file is read. Without the process there is [`io::ErrorKind::NotFound`].
    pub(crate) fn start(file: &Path, daemon: u32) -> io::Result<Self> {
        let directory = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let entries = WatchFlags::CLOSE_WRITE | WatchFlags::DELETE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        inotify::add_watch(&directory, file.parent().unwrap_or(Path::new("/")), entries)?;
        let no_process = || io::Error::from(io::ErrorKind::NotFound);
        let daemon = i32::try_from(daemon).ok().and_then(Pid::from_raw).ok_or_else(no_process)?;
        let daemon = pidfd_open(daemon, PidfdFlags::NONBLOCK)
            .map_err(|error| if error == Errno::SRCH { no_process() } else { error.into() })?;
        let watch = Receiver::from_owned_fd_unchecked;
        Ok(Self { directory: watch(directory)?, daemon: watch(daemon)? })
    }

    /// Waits for the next notice. Cancel-safe: what was not read yet is there the next time.
    pub(crate) async fn next(&self) -> io::Result<Notice> {
        loop {
            tokio::select! {
                biased;
                // Stays readable; nobody has to read it.
                end = self.daemon.readable() => return end.map(|_| Notice::End),
                ready = self.directory.readable() => {
                    ready?;
                    // Whatever it says.
                    match self.directory.try_read(&mut [0; BATCH]) {
                        Ok(_) => return Ok(Notice::File),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[tokio::test]
    async fn another_file_and_the_end_of_the_daemon_are_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("status.json");
        let mut daemon = Command::new("sleep").arg("60").spawn().unwrap();
        let watch = StatusWatch::start(&file, daemon.id()).unwrap();

        fs::write(directory.path().join("draft"), "").unwrap();
        assert_eq!(watch.next().await.unwrap(), Notice::File);
        fs::rename(directory.path().join("draft"), &file).unwrap();
        assert_eq!(watch.next().await.unwrap(), Notice::File);

        daemon.kill().unwrap();
        daemon.wait().unwrap();
        assert_eq!(watch.next().await.unwrap(), Notice::End);
    }

    #[tokio::test]
    async fn a_process_that_is_gone_cannot_be_watched() {
        let directory = tempfile::tempdir().unwrap();
        for gone in [u32::MAX, 0x3fff_fffe] {
            let error = StatusWatch::start(&directory.path().join("status.json"), gone).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }
}
