//! A token that somebody has handed over by a descriptor.
//!
//! Secrets do not travel in messages, which bus monitors can see. But a descriptor from a stranger can be anything: an
//! endless device, a file on a server that is gone, a pipe that nobody closes. So only two kinds are taken, a pipe and a
//! memfd that is sealed, and both are read with limits.
//!
//! What a descriptor stands for is shared with whoever handed it over: they could empty the pipe between our look and our
//! read, or clear a flag that says not to wait. So a thread of its own reads it, which may wait as long as they please. It
//! holds the place of its call ([`super::limits`]), so that nobody can have many of them.

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

/// The longest text that is taken.
const LONGEST: usize = 64 * 1024;
/// How long whoever writes into a pipe may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the descriptor is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("the descriptor is neither a pipe nor a sealed memfd")]
    Kind,
    #[error("the token is longer than 64 KiB")]
    TooLong,
    #[error("the token did not arrive in time")]
    TooSlow,
    #[error("the token is empty")]
    Empty,
    #[error("the token is not plain text")]
    NotText,
    #[error("cannot read the token")]
    Broken(#[from] io::Error),
}

/// Reads the token, once. `held` is kept until nothing waits for the descriptor any more.
pub(super) async fn read(fd: OwnedFd, held: impl Send + 'static) -> Result<Secret, Unusable> {
    let (result, outcome) = oneshot::channel();
    thread::Builder::new().name("token".to_owned()).spawn(move || {
        let bytes = take(&fd, Instant::now() + PATIENCE);
        drop(fd);
        drop(held);
        // Whoever has waited in vain does not take it any more.
        drop(result.send(bytes));
    })?;
    let outcome = tokio::time::timeout(PATIENCE, outcome).await.map_err(|_| Unusable::TooSlow)?;
    let bytes = outcome.map_err(|_| io::Error::other("the reading thread died"))??;
    let text = std::str::from_utf8(&bytes).map_err(|_| Unusable::NotText)?.trim();
    if text.is_empty() {
        return Err(Unusable::Empty);
    }
    // It becomes the value of an HTTP header.
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Unusable::NotText);
    }
    Ok(Secret::from(text))
}

/// What is in it, if it is of a kind that we take. Which kind it is, the kernel says without asking a file system, which
/// might be the caller's.
fn take(fd: &OwnedFd, until: Instant) -> Result<Zeroizing<Vec<u8>>, Unusable> {
    let is_readable = fcntl_getfl(fd).is_ok_and(|flags| flags & OFlags::RWMODE != OFlags::WRONLY);
    match fcntl_getpipe_size(fd) {
        Ok(_) if is_readable => from_pipe(fd, until),
        Err(_) if is_readable && is_sealed(fd) => from_memory(fd),
        _ => Err(Unusable::Kind),
    }
}

/// Everything up to the end of the pipe.
fn from_pipe(fd: &OwnedFd, until: Instant) -> Result<Zeroizing<Vec<u8>>, Unusable> {
    // All of it at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(vec![0; LONGEST + 1]);
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
    if filled > LONGEST {
        return Err(Unusable::TooLong);
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Waits until there is something in the pipe, or nobody who could write.
fn wait(fd: &OwnedFd, until: Instant) -> Result<(), Unusable> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| Unusable::TooSlow)?;
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(Unusable::TooSlow),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
}

/// Memory that nobody can change or shrink any more: reading it neither blocks nor fails.
fn is_sealed(fd: impl AsFd) -> bool {
    fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW))
}

fn from_memory(fd: impl AsFd) -> Result<Zeroizing<Vec<u8>>, Unusable> {
    let size = fstat(&fd).map_err(io::Error::from)?.st_size;
    let size = usize::try_from(size).ok().filter(|size| *size <= LONGEST).ok_or(Unusable::TooLong)?;
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

    async fn token_in(fd: OwnedFd) -> Result<Secret, Unusable> {
        read(fd, ()).await
    }

    #[tokio::test]
    async fn a_token_is_trimmed() {
        for fd in [memory(b"  n.fragment\r\n", SEALS), pipe_with(b"\tn.fragment \n")] {
            assert_eq!(token_in(fd).await.unwrap().expose(), "n.fragment");
        }
    }

    #[tokio::test]
    async fn an_empty_token_is_none() {
        for fd in [memory(b"", SEALS), memory(b" \n", SEALS), pipe_with(b""), pipe_with(b"\n\n")] {
            assert!(matches!(token_in(fd).await, Err(Unusable::Empty)));
        }
    }

    #[tokio::test]
    async fn what_cannot_be_a_header_is_no_token() {
        for content in [&b"\xff\xfe"[..], b"two words", b"line\nline", "t\u{f6}ken".as_bytes()] {
            assert!(matches!(token_in(memory(content, SEALS)).await, Err(Unusable::NotText)));
        }
    }

    #[tokio::test]
    async fn sixty_four_kibibytes_are_the_limit() {
        let longest = vec![b'x'; LONGEST];
        assert_eq!(token_in(memory(&longest, SEALS)).await.unwrap().expose().len(), LONGEST);
        let longer = vec![b'x'; LONGEST + 1];
        assert!(matches!(token_in(memory(&longer, SEALS)).await, Err(Unusable::TooLong)));
        let huge = memfd_create("token", MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&huge, 1 << 40).unwrap();
        fcntl_add_seals(&huge, SEALS).unwrap();
        assert!(matches!(token_in(huge).await, Err(Unusable::TooLong)));
    }

    #[tokio::test]
    async fn an_endless_pipe_is_cut_off() {
        let (reader, mut writer) = io::pipe().unwrap();
        let endless = std::thread::spawn(move || while writer.write_all(&[b'x'; 4096]).is_ok() {});
        assert!(matches!(token_in(reader.into()).await, Err(Unusable::TooLong)));
        endless.join().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_pipe_that_nobody_closes_is_given_up() {
        let (reader, _writer) = io::pipe().unwrap();
        assert!(matches!(token_in(reader.into()).await, Err(Unusable::TooSlow)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_has_us_wait_keeps_their_own_place_and_nothing_else() {
        let (reader, writer) = io::pipe().unwrap();
        let caller = OwnedFd::from(reader);
        let ours = caller.try_clone().unwrap();
        rustix::io::ioctl_fionbio(&ours, true).unwrap();
        let place = Arc::new(());
        let reading = read(ours, Arc::clone(&place));
        // They share what our descriptor stands for, flags included.
        rustix::io::ioctl_fionbio(&caller, false).unwrap();
        assert!(matches!(reading.await, Err(Unusable::TooSlow)));
        assert_eq!(Arc::strong_count(&place), 2, "somebody still waits for the pipe");
        drop(writer);
        while Arc::strong_count(&place) > 1 {
            thread::yield_now();
        }
    }

    #[tokio::test]
    async fn the_end_into_which_one_writes_is_no_token() {
        let (_reader, writer) = io::pipe().unwrap();
        assert!(matches!(token_in(writer.into()).await, Err(Unusable::Kind)));
    }

    #[tokio::test]
    async fn other_descriptors_are_refused_unread() {
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
            assert!(matches!(token_in(fd).await, Err(Unusable::Kind)));
        }
    }
}
