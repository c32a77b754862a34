//! A token that somebody has handed over by a descriptor.
//!
//! Secrets do not travel in messages, which bus monitors can see. But a descriptor from a stranger can be anything: an
//! endless device, a file on a server that is gone, a pipe that nobody closes. So only two kinds are taken, a pipe and a
//! memfd that is sealed, and both are read with limits.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use model::Secret;
use rustix::fs::{FileType, SealFlags, fcntl_get_seals, fstat};
use tokio::{io::AsyncReadExt as _, net::unix::pipe};
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

/// Reads the token, once.
pub(super) async fn read(fd: OwnedFd) -> Result<Secret, Unusable> {
    let bytes = match FileType::from_raw_mode(fstat(&fd).map_err(io::Error::from)?.st_mode) {
        FileType::Fifo => tokio::time::timeout(PATIENCE, from_pipe(fd)).await.map_err(|_| Unusable::TooSlow)??,
        FileType::RegularFile if is_sealed(&fd) => from_memory(&fd)?,
        _ => return Err(Unusable::Kind),
    };
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

async fn from_pipe(fd: OwnedFd) -> Result<Zeroizing<Vec<u8>>, Unusable> {
    let pipe = pipe::Receiver::from_owned_fd(fd).map_err(|_| Unusable::Kind)?;
    // All of it at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    pipe.take(LONGEST as u64 + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > LONGEST { Err(Unusable::TooLong) } else { Ok(bytes) }
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
    use std::{fs::File, io::Write as _};

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

    #[tokio::test]
    async fn a_token_is_trimmed() {
        for fd in [memory(b"  n.fragment\r\n", SEALS), pipe_with(b"\tn.fragment \n")] {
            assert_eq!(read(fd).await.unwrap().expose(), "n.fragment");
        }
    }

    #[tokio::test]
    async fn an_empty_token_is_none() {
        for fd in [memory(b"", SEALS), memory(b" \n", SEALS), pipe_with(b""), pipe_with(b"\n\n")] {
            assert!(matches!(read(fd).await, Err(Unusable::Empty)));
        }
    }

    #[tokio::test]
    async fn what_cannot_be_a_header_is_no_token() {
        for content in [&b"\xff\xfe"[..], b"two words", b"line\nline", "t\u{f6}ken".as_bytes()] {
            assert!(matches!(read(memory(content, SEALS)).await, Err(Unusable::NotText)));
        }
    }

    #[tokio::test]
    async fn sixty_four_kibibytes_are_the_limit() {
        let longest = vec![b'x'; LONGEST];
        assert_eq!(read(memory(&longest, SEALS)).await.unwrap().expose().len(), LONGEST);
        let longer = vec![b'x'; LONGEST + 1];
        assert!(matches!(read(memory(&longer, SEALS)).await, Err(Unusable::TooLong)));
        let huge = memfd_create("token", MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&huge, 1 << 40).unwrap();
        fcntl_add_seals(&huge, SEALS).unwrap();
        assert!(matches!(read(huge).await, Err(Unusable::TooLong)));
    }

    #[tokio::test]
    async fn an_endless_pipe_is_cut_off() {
        let (reader, mut writer) = io::pipe().unwrap();
        let endless = std::thread::spawn(move || while writer.write_all(&[b'x'; 4096]).is_ok() {});
        assert!(matches!(read(reader.into()).await, Err(Unusable::TooLong)));
        endless.join().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_pipe_that_nobody_closes_is_given_up() {
        let (reader, _writer) = io::pipe().unwrap();
        assert!(matches!(read(reader.into()).await, Err(Unusable::TooSlow)));
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
            assert!(matches!(read(fd).await, Err(Unusable::Kind)));
        }
    }
}
