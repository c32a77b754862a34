//! A token on its way from a person or a program to the daemon. It is never typed as an argument, never shown, and
//! travels in sealed memory.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read as _, Write as _},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt as _},
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr},
};
use tokio::{io::AsyncReadExt as _, net::unix::pipe::Receiver};
use zeroize::Zeroizing;

use crate::{failure::Failure, output::spinner};

/// The longest token that the daemon takes.
const LONGEST: usize = 64 * 1024;

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;

/// Reads a token from standard input, to its end.
pub(crate) fn from_stdin() -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    io::stdin().lock().take(LONGEST as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// Asks a person at the terminal, in these words. What is typed or pasted is not shown. Whoever no longer waits for this is
/// asked no longer.
pub(crate) async fn from_terminal(question: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage("there is no terminal to ask at; use --token-stdin".to_owned()));
    }
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let terminal = File::options().read(true).write(true).custom_flags(nonblocking).open("/dev/tty")?;
    let _still = spinner::pause();
    // First silence, then the question: whoever answers at once must be heard, and not shown.
    let silent = Silence::begin(&terminal)?;
    (&mut &*silent.terminal).write_all(question.as_bytes())?;
    read_line(silent.terminal).await
}

/// A terminal that shows nothing, and hands over each byte as it is typed: lines of a terminal end at 4095 bytes, and
/// tokens may be longer. The old settings come back when it is dropped, on a new line.
struct Silence<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silence<'a> {
    fn begin(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        // There is nobody to tell, and nothing else to try.
        let _result = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
        let _result = (&mut &*self.terminal).write_all(b"\n");
    }
}

async fn read_line(terminal: &File) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // A terminal is waited for like a pipe.
    let mut terminal = Receiver::from_file_unchecked(terminal.try_clone()?)?;
    let mut line = Line::default();
    loop {
        let mut byte = Zeroizing::new([0]);
        if terminal.read(&mut *byte).await? == 0 || line.add(byte[0])? {
            return Ok(line.0);
        }
    }
}

/// What was typed so far. It never moves to where its bytes would stay behind.
struct Line(Zeroizing<Vec<u8>>);

impl Default for Line {
    fn default() -> Self {
        Self(Zeroizing::new(Vec::with_capacity(LONGEST + 1)))
    }
}

impl Line {
    /// Takes what was typed next. Says whether the line is complete.
    fn add(&mut self, byte: u8) -> Result<bool, Failure> {
        match byte {
            b'\n' | b'\r' | CTRL_D => return Ok(true),
            CTRL_C => return Err(Failure::Interrupted),
            BACKSPACE | DELETE => drop(self.0.pop()),
            byte => self.0.push(byte),
        }
        Ok(self.0.len() > LONGEST)
    }
}

/// Puts the token into memory that nobody can change any more.
pub(crate) fn seal(text: &[u8]) -> Result<OwnedFd, Failure> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(Failure::TokenRejected("it is empty".to_owned()));
    }
    if text.len() > LONGEST {
        return Err(Failure::TokenRejected("it is longer than 64 KiB".to_owned()));
    }
    let memory =
        memfd_create("firezone-token", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).map_err(io::Error::from)?;
    let mut memory = File::from(memory);
    memory.write_all(text)?;
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(&memory, seals).map_err(io::Error::from)?;
    Ok(memory.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    fn typed(text: &[u8]) -> Result<String, Failure> {
        let mut line = Line::default();
        for byte in text {
            if line.add(*byte)? {
                break;
            }
        }
        Ok(String::from_utf8(line.0.to_vec()).unwrap())
    }

    #[test]
    fn what_is_typed_ends_with_the_line() {
        assert_eq!(typed(b"n.fragment\rmore").unwrap(), "n.fragment");
        assert_eq!(typed(b"n.fragment").unwrap(), "n.fragment");
        assert_eq!(typed(b"n.fx\x7fragment\n").unwrap(), "n.fragment");
        assert_eq!(typed(&[b'x'; 2 * LONGEST]).unwrap().len(), LONGEST + 1);
        assert!(matches!(typed(b"n.frag\x03\n"), Err(Failure::Interrupted)));
    }

    #[test]
    fn a_sealed_token_is_trimmed_and_cannot_be_changed() {
        let memory = File::from(seal(b" n.fragment\r\n").unwrap());
        let mut content = [0; 64];
        let length = memory.read_at(&mut content, 0).unwrap();
        assert_eq!(&content[..length], b"n.fragment");
        assert!(memory.write_at(b"x", 0).is_err());
    }

    #[test]
    fn what_cannot_be_a_token_is_not_handed_over() {
        for text in [&b" \n"[..], &[b'x'; LONGEST + 1]] {
            assert_eq!(seal(text).unwrap_err().code(), 8);
        }
    }
}
