//! Passes the sign-in from one process of the daemon to the next.
//!
//! A user's token is never written to a file, so a restart (an upgrade or a crash) would lose it. The service manager stores
//! it meanwhile: in a sealed memfd in the unit's file descriptor store (`FileDescriptorStoreMax=` in systemd.service(5)),
//! which it empties when the unit is stopped. Sign-out removes it from there.

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

/// The name of the descriptor in the store.
pub(crate) const NAME: &str = "sign-in";

/// The first descriptor that a service manager passes: sd_listen_fds(3).
const FIRST_FD: u32 = 3;

/// The maximum size in bytes. The content is a token of at most 64 KiB and two names.
const MAX_SIZE: u64 = 256 * 1024;

const SEALS: SealFlags = SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::SEAL);

/// A session that continues after a restart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SignIn {
    /// The account of the session.
    pub(crate) account: Account,
    /// Whether the Internet resource was switched on.
    pub(crate) internet_resource: bool,
}

/// The serialized form.
#[derive(Serialize, Deserialize)]
struct Serialized<T, N> {
    token: T,
    slug: Option<N>,
    actor: Option<N>,
    internet_resource: bool,
}

impl SignIn {
    /// Writes it to a sealed memfd.
    pub(crate) fn to_memory(&self) -> io::Result<OwnedFd> {
        let account = &self.account;
        let serialized = Serialized {
            token: account.token.expose(),
            slug: account.slug.as_deref(),
            actor: account.actor.as_deref(),
            internet_resource: self.internet_resource,
        };
        let bytes = Zeroizing::new(serde_json::to_vec(&serialized)?);
        let mut file = File::from(memfd_create(NAME, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        file.write_all(&bytes)?;
        fcntl_add_seals(&file, SEALS)?;
        Ok(file.into())
    }

    /// Reads what an earlier process has written.
    fn from_memory(file: &File) -> io::Result<Self> {
        if !fcntl_get_seals(file.as_fd())?.contains(SEALS) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the memfd is not sealed"));
        }
        let length = usize::try_from(file.metadata()?.len().min(MAX_SIZE + 1)).unwrap_or(usize::MAX);
        if length as u64 > MAX_SIZE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = Zeroizing::new(vec![0; length]);
        file.read_exact_at(&mut bytes, 0)?;
        let serialized: Serialized<model::Secret, String> = serde_json::from_slice(&bytes)?;
        let account = Account { token: serialized.token, slug: serialized.slug, actor: serialized.actor };
        Ok(Self { account, internet_resource: serialized.internet_resource })
    }
}

/// The sign-in that the service manager has stored, if there is one.
pub(crate) fn load() -> Option<SignIn> {
    let variable = |name| env::var(name).ok();
    let number = fd_number(variable("LISTEN_PID")?, std::process::id(), &variable("LISTEN_FDNAMES")?)?;
    // Opened again, because the inherited descriptor has no owner in this program.
    let stored = File::open(format!("/proc/self/fd/{number}")).and_then(|file| SignIn::from_memory(&file));
    stored.inspect_err(|error| tracing::warn!(%error, "cannot read the stored sign-in")).ok()
}

/// The number of the descriptor among those that were passed to this process.
fn fd_number(for_process: String, this_process: u32, names: &str) -> Option<u32> {
    if for_process != this_process.to_string() {
        return None;
    }
    let position = names.split(':').position(|name| name == NAME)?;
    u32::try_from(position).ok()?.checked_add(FIRST_FD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign_in() -> SignIn {
        let account = Account { token: "n.fragment".into(), slug: Some("acme".to_owned()), actor: None };
        SignIn { account, internet_resource: true }
    }

    #[test]
    fn stored_sign_in_is_read_back_unchanged() {
        let memory = File::from(sign_in().to_memory().unwrap());
        assert_eq!(SignIn::from_memory(&memory).unwrap(), sign_in());
    }

    #[test]
    fn stored_memfd_cannot_be_changed() {
        let mut memory = File::from(sign_in().to_memory().unwrap());
        assert!(memory.write_all(b"x").is_err());
        assert!(memory.set_len(0).is_err());
    }

    #[test]
    fn unsealed_or_oversized_memfds_are_rejected() {
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
    fn descriptor_is_found_by_name_if_it_was_passed_to_this_process() {
        assert_eq!(fd_number("7".to_owned(), 7, "sign-in"), Some(3));
        assert_eq!(fd_number("7".to_owned(), 7, "stored:sign-in:other"), Some(4));
        assert_eq!(fd_number("7".to_owned(), 7, "stored"), None);
        assert_eq!(fd_number("8".to_owned(), 7, "sign-in"), None);
    }

    #[test]
    fn sign_in_debug_output_hides_the_token() {
        assert!(!format!("{:?}", sign_in()).contains("fragment"));
    }
}
