//! Who is signed in, from one process of the daemon to the next.
//!
//! A token of a user is never written to a file, so a daemon that is restarted (by an upgrade, or because it crashed) would
//! not know it any more. The service manager keeps it meanwhile: in a memfd that is sealed, in the unit's file descriptor
//! store (`FileDescriptorStoreMax=` in systemd.service(5)), which it empties when the unit is stopped. Signing out takes it
//! out of there.

use std::{
    env,
    fs::File,
    io::{self, Write as _},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt as _,
    },
};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use session::Account;

/// What the descriptor is called in the store.
pub(crate) const NAME: &str = "sign-in";

/// The descriptors that a service manager passes begin here: sd_listen_fds(3).
const FIRST: u32 = 3;

/// The longest text that is taken back. What is put there is a token of 64 KiB at most, and two names.
const LONGEST: u64 = 256 * 1024;

const SEALS: SealFlags = SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::SEAL);

/// A session that goes on after a restart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SignIn {
    /// Whose it is.
    pub(crate) account: Account,
    /// Whether the Internet resource was switched on.
    pub(crate) internet_resource: bool,
}

/// The same as text.
#[derive(Serialize, Deserialize)]
struct Text<T, N> {
    token: T,
    slug: Option<N>,
    actor: Option<N>,
    internet_resource: bool,
}

impl SignIn {
    /// Puts it where nobody can change it any more.
    pub(crate) fn to_memory(&self) -> io::Result<OwnedFd> {
        let account = &self.account;
        let text = Text {
            token: account.token.expose(),
            slug: account.slug.as_deref(),
            actor: account.actor.as_deref(),
            internet_resource: self.internet_resource,
        };
        let bytes = Zeroizing::new(serde_json::to_vec(&text)?);
        let mut file = File::from(memfd_create(NAME, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        file.write_all(&bytes)?;
        fcntl_add_seals(&file, SEALS)?;
        Ok(file.into())
    }

    /// What an earlier process of ours has put there.
    fn from_memory(file: &File) -> io::Result<Self> {
        if !fcntl_get_seals(file.as_fd())?.contains(SEALS) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not sealed"));
        }
        let length = usize::try_from(file.metadata()?.len().min(LONGEST + 1)).unwrap_or(usize::MAX);
        if length as u64 > LONGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = Zeroizing::new(vec![0; length]);
        file.read_exact_at(&mut bytes, 0)?;
        let text: Text<model::Secret, String> = serde_json::from_slice(&bytes)?;
        let account = Account { token: text.token, slug: text.slug, actor: text.actor };
        Ok(Self { account, internet_resource: text.internet_resource })
    }
}

/// What the service manager has kept for us, if it has.
pub(crate) fn take_back() -> Option<SignIn> {
    let variable = |name| env::var(name).ok();
    let number = number(variable("LISTEN_PID")?, std::process::id(), &variable("LISTEN_FDNAMES")?)?;
    // Opened anew: the descriptor itself belongs to nobody in this program.
    let kept = File::open(format!("/proc/self/fd/{number}")).and_then(|file| SignIn::from_memory(&file));
    kept.inspect_err(|error| tracing::warn!(%error, "cannot read who was signed in before")).ok()
}

/// Which descriptor it is among those that were passed to this process.
fn number(for_process: String, this_process: u32, names: &str) -> Option<u32> {
    if for_process != this_process.to_string() {
        return None;
    }
    let position = names.split(':').position(|name| name == NAME)?;
    u32::try_from(position).ok()?.checked_add(FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annas() -> SignIn {
        let account = Account { token: "n.fragment".into(), slug: Some("acme".to_owned()), actor: None };
        SignIn { account, internet_resource: true }
    }

    #[test]
    fn what_was_kept_comes_back_as_it_was() {
        let memory = File::from(annas().to_memory().unwrap());
        assert_eq!(SignIn::from_memory(&memory).unwrap(), annas());
    }

    #[test]
    fn nobody_can_change_what_is_kept() {
        let mut memory = File::from(annas().to_memory().unwrap());
        assert!(memory.write_all(b"x").is_err());
        assert!(memory.set_len(0).is_err());
    }

    #[test]
    fn only_what_is_sealed_comes_back() {
        let unsealed = || File::from(memfd_create("x", MemfdFlags::ALLOW_SEALING).unwrap());
        let mut whole = unsealed();
        whole.write_all(br#"{"token":"t","slug":null,"actor":null,"internet_resource":false}"#).unwrap();
        assert!(SignIn::from_memory(&whole).is_err());
        let mut nonsense = unsealed();
        nonsense.write_all(b"{").unwrap();
        fcntl_add_seals(&nonsense, SEALS).unwrap();
        assert!(SignIn::from_memory(&nonsense).is_err());
        let endless = unsealed();
        endless.set_len(1 << 40).unwrap();
        fcntl_add_seals(&endless, SEALS).unwrap();
        assert!(SignIn::from_memory(&endless).is_err());
    }

    #[test]
    fn it_is_found_by_its_name_among_those_for_this_process() {
        assert_eq!(number("7".to_owned(), 7, "sign-in"), Some(3));
        assert_eq!(number("7".to_owned(), 7, "stored:sign-in:other"), Some(4));
        assert_eq!(number("7".to_owned(), 7, "stored"), None);
        assert_eq!(number("8".to_owned(), 7, "sign-in"), None);
    }

    #[test]
    fn nothing_here_prints_the_token() {
        assert!(!format!("{:?}", annas()).contains("fragment"));
    }
}
