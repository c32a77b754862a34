//! Reads a token from the descriptor that a caller has passed.
//!
//! Bus monitors can read messages, so secrets are not sent in them. A descriptor from a caller can be anything: an endless
//! device, a file on an unreachable server, a pipe that is never closed. So only a pipe and a sealed memfd are accepted, and
//! both are read with limits.
//!
//! The open file is shared with the caller, which could drain the pipe between `poll` and `read`, or clear `O_NONBLOCK`. So a
//! separate thread reads it and may block. It holds the pending call ([`super::call_limiter`]), which limits the number of
//! such threads.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use model::Secret;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, SealFlags, fcntl_get_seals, fcntl_getfl, fstat},
    io::Errno,
    pipe::fcntl_getpipe_size,
};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// The maximum size of a token in bytes.
const MAX_SIZE: usize = 64 * 1024;
/// How long the writer of a pipe may take.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The reason why a descriptor is rejected.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenFdError {
    #[error("the descriptor is neither a pipe nor a sealed memfd")]
    WrongKind,
    #[error("the token is longer than 64 KiB")]
    TooLong,
    #[error("the token did not arrive in time")]
    TimedOut,
    #[error("the token is empty")]
    Empty,
    #[error("the token is not plain text")]
    NotText,
    #[error("cannot read the token")]
    Io(#[from] io::Error),
}

/// Reads the token once. `held` is dropped when the thread has ended.
pub(super) async fn read(fd: OwnedFd, held: impl Send + 'static) -> Result<Secret, TokenFdError> {
    let (result, outcome) = oneshot::channel();
    thread::Builder::new().name("token".to_owned()).spawn(move || {
        let bytes = read_content(&fd, Instant::now() + READ_TIMEOUT);
        drop(fd);
        drop(held);
        // After a timeout, there is no receiver.
        drop(result.send(bytes));
    })?;
    let outcome = tokio::time::timeout(READ_TIMEOUT, outcome).await.map_err(|_| TokenFdError::TimedOut)?;
    let bytes = outcome.map_err(|_| io::Error::other("the reading thread failed"))??;
    let text = std::str::from_utf8(&bytes).map_err(|_| TokenFdError::NotText)?.trim();
    if text.is_empty() {
        return Err(TokenFdError::Empty);
    }
    // It becomes the value of an HTTP header.
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenFdError::NotText);
    }
    Ok(Secret::from(text))
}

/// Reads the content of an accepted descriptor. The kernel reports the kind without the file system, which might be the
/// caller's.
fn read_content(fd: &OwnedFd, until: Instant) -> Result<Zeroizing<Vec<u8>>, TokenFdError> {
    let is_readable = fcntl_getfl(fd).is_ok_and(|flags| flags & OFlags::RWMODE != OFlags::WRONLY);
    match fcntl_getpipe_size(fd) {
        Ok(_) if is_readable => from_pipe(fd, until),
        Err(_) if is_readable && is_sealed(fd) => from_memory(fd),
        _ => Err(TokenFdError::WrongKind),
    }
}

/// Reads a pipe to its end.
fn from_pipe(fd: &OwnedFd, until: Instant) -> Result<Zeroizing<Vec<u8>>, TokenFdError> {
    // Allocated at once, because a growing vector leaves copies behind.
    let mut bytes = Zeroizing::new(vec![0; MAX_SIZE + 1]);
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        wait(fd, until)?;
        match rustix::io::read(fd, rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
    if filled > MAX_SIZE {
        return Err(TokenFdError::TooLong);
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Waits until the pipe has data or no writer.
fn wait(fd: &OwnedFd, until: Instant) -> Result<(), TokenFdError> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| TokenFdError::TimedOut)?;
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(TokenFdError::TimedOut),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
}

/// Whether the memory cannot be changed or shrunk, so that reading neither blocks nor fails.
fn is_sealed(fd: impl AsFd) -> bool {
    fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW))
}

fn from_memory(fd: impl AsFd) -> Result<Zeroizing<Vec<u8>>, TokenFdError> {
    let size = fstat(&fd).map_err(io::Error::from)?.st_size;
    let size = usize::try_from(size).ok().filter(|size| *size <= MAX_SIZE).ok_or(TokenFdError::TooLong)?;
    let mut bytes = Zeroizing::new(vec![0; size]);
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(&fd, rest, filled as u64).map_err(io::Error::from)? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write as _, sync::Arc};

    use rustix::fs::{MemfdFlags, fcntl_add_seals, memfd_create};

    use super::*;

    const SEALS: SealFlags = SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW);

    fn memory(content: &[u8], seals: SealFlags) -> OwnedFd {
        let fd = memfd_create("token", MemfdFlags::ALLOW_SEALING).unwrap();
        let mut file = File::from(fd);
        file.write_all(content).unwrap();
        fcntl_add_seals(&file, seals).unwrap();
        file.into()
    }

    fn pipe_with(content: &[u8]) -> OwnedFd {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(content).unwrap();
        reader.into()
    }

    async fn token_in(fd: OwnedFd) -> Result<Secret, TokenFdError> {
        read(fd, ()).await
    }

    #[tokio::test]
    async fn token_is_trimmed() {
        for fd in [memory(b"  n.fragment\r\n", SEALS), pipe_with(b"\tn.fragment \n")] {
            assert_eq!(token_in(fd).await.unwrap().expose(), "n.fragment");
        }
    }

    #[tokio::test]
    async fn empty_token_is_rejected() {
        for fd in [memory(b"", SEALS), memory(b" \n", SEALS), pipe_with(b""), pipe_with(b"\n\n")] {
            assert!(matches!(token_in(fd).await, Err(TokenFdError::Empty)));
        }
    }

    #[tokio::test]
    async fn token_with_invalid_header_characters_is_rejected() {
        for content in [&b"\xff\xfe"[..], b"two words", b"line\nline", "t\u{f6}ken".as_bytes()] {
            assert!(matches!(token_in(memory(content, SEALS)).await, Err(TokenFdError::NotText)));
        }
    }

    #[tokio::test]
    async fn token_is_limited_to_64_kib() {
        let longest = vec![b'x'; MAX_SIZE];
        assert_eq!(token_in(memory(&longest, SEALS)).await.unwrap().expose().len(), MAX_SIZE);
        let longer = vec![b'x'; MAX_SIZE + 1];
        assert!(matches!(token_in(memory(&longer, SEALS)).await, Err(TokenFdError::TooLong)));
        let huge = memfd_create("token", MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&huge, 1 << 40).unwrap();
        fcntl_add_seals(&huge, SEALS).unwrap();
        assert!(matches!(token_in(huge).await, Err(TokenFdError::TooLong)));
    }

    #[tokio::test]
    async fn endless_pipe_is_rejected_at_the_limit() {
        let (reader, mut writer) = io::pipe().unwrap();
        let endless = std::thread::spawn(move || while writer.write_all(&[b'x'; 4096]).is_ok() {});
        assert!(matches!(token_in(reader.into()).await, Err(TokenFdError::TooLong)));
        endless.join().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn pipe_that_stays_open_times_out() {
        let (reader, _writer) = io::pipe().unwrap();
        assert!(matches!(token_in(reader.into()).await, Err(TokenFdError::TimedOut)));
    }

    #[tokio::test(start_paused = true)]
    async fn blocked_read_holds_only_the_pending_call_of_its_caller() {
        let (reader, writer) = io::pipe().unwrap();
        let caller = OwnedFd::from(reader);
        let ours = caller.try_clone().unwrap();
        rustix::io::ioctl_fionbio(&ours, true).unwrap();
        let place = Arc::new(());
        let reading = read(ours, Arc::clone(&place));
        // Both descriptors share the open file with its flags.
        rustix::io::ioctl_fionbio(&caller, false).unwrap();
        assert!(matches!(reading.await, Err(TokenFdError::TimedOut)));
        assert_eq!(Arc::strong_count(&place), 2, "the thread still waits for the pipe");
        drop(writer);
        while Arc::strong_count(&place) > 1 {
            thread::yield_now();
        }
    }

    #[tokio::test]
    async fn write_end_of_a_pipe_is_rejected() {
        let (_reader, writer) = io::pipe().unwrap();
        assert!(matches!(token_in(writer.into()).await, Err(TokenFdError::WrongKind)));
    }

    #[tokio::test]
    async fn descriptors_other_than_pipes_and_sealed_memfds_are_rejected() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "token").unwrap();
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        for fd in [
            OwnedFd::from(File::open(directory.path()).unwrap()),
            File::open("/dev/zero").unwrap().into(),
            File::open(&file).unwrap().into(),
            File::open("/proc/self/status").unwrap().into(),
            memory(b"token", SealFlags::empty()),
            socket.into(),
        ] {
            assert!(matches!(token_in(fd).await, Err(TokenFdError::WrongKind)));
        }
    }
}
