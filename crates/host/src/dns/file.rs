//! `/etc/resolv.conf` and its backup on disk.
//!
//! The file itself is written **in place**: container runtimes mount it, so it cannot be replaced by a rename, and this way
//! owner, mode and security label stay. The order of truncating and writing is chosen so that a process killed in between
//! leaves a file that [`resolv_conf::is_ours`] still recognises; for the same reason the text goes out in one write.
//! The backup is an ordinary file and written atomically.
//!
//! Who is not root reads here and has a [`helper`] write.
//!
//! Nothing is put back unless the live file carries our marker, and the backup is deleted as soon as it has served. So a
//! backup can only ever belong to the crash that it repairs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::{helper, resolv_conf};
use session::DnsConfig;

/// More than any resolver configuration; what is larger is something else.
const LIMIT: u64 = 64 * 1024;

/// Where the files are.
#[derive(Debug, Clone)]
pub(crate) struct ResolvConf {
    live: PathBuf,
    backup: PathBuf,
    /// Where others than we leave originals: we at another time, as another user, or upstream clients.
    other_backup: Option<PathBuf>,
    /// The socket of the one who writes for us.
    helper: Option<PathBuf>,
}

/// Beside the file, under the name that upstream clients use, so that either can repair what the other left.
const BACKUP: &str = "/etc/resolv.conf.before-firezone";

/// What became of the live file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was as wished already.
    Unchanged,
    Written,
    /// The marker is gone, but there was no original to put back.
    BackupMissing,
}

impl ResolvConf {
    /// The file that the C library reads.
    pub(super) fn of_this_host() -> Self {
        let socket = Path::new(helper::SOCKET);
        let must_ask = !rustix::process::geteuid().is_root() && socket.exists();
        if must_ask { Self { helper: Some(socket.to_owned()), ..Self::of_the_helper() } } else { Self::of_root() }
    }

    fn of_root() -> Self {
        Self { other_backup: Some(helper::BACKUP.into()), ..Self::at(Path::new("/etc/resolv.conf")) }
    }

    /// The same file, for the helper. It may write nothing else in `/etc`.
    pub(super) fn of_the_helper() -> Self {
        Self { backup: helper::BACKUP.into(), other_backup: Some(BACKUP.into()), ..Self::of_root() }
    }

    pub(super) fn at(live: &Path) -> Self {
        let mut backup = live.as_os_str().to_owned();
        backup.push(".before-firezone");
        Self { live: live.to_owned(), backup: backup.into(), other_backup: None, helper: None }
    }

    #[cfg(test)]
    pub(super) fn written_by(self, socket: PathBuf) -> Self {
        Self { helper: Some(socket), ..self }
    }

    /// Whether somebody writes for us.
    pub(super) fn has_helper(&self) -> bool {
        self.helper.is_some()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.live
    }

    /// The resolvers of this host without us: those of the live file, unless it is ours; then those of the original.
    pub(crate) fn system_resolvers(&self) -> Vec<IpAddr> {
        let original = match read(&self.live) {
            Ok(text) if resolv_conf::is_ours(&text) => self.read_original(),
            live => live,
        };
        original.map(|text| resolv_conf::nameservers(&text)).unwrap_or_default()
    }

    /// The live file, if it is ours.
    pub(crate) fn our_text(&self) -> Option<Vec<u8>> {
        read(&self.live).ok().filter(|text| resolv_conf::is_ours(text))
    }

    /// Makes `dns` the answer to every name. If somebody else wrote the file since, what they wrote becomes the original.
    pub(super) fn configure(&self, dns: &DnsConfig) -> Result<Outcome, FileError> {
        let live = read(&self.live).map_err(FileError::Read)?;
        let original = match resolv_conf::is_ours(&live) {
            false => live.clone(),
            true => self.read_original().unwrap_or_else(|_| resolv_conf::without_us(&live)),
        };
        let wanted = resolv_conf::ours(&original, dns, &self.backup);
        if live == wanted {
            return Ok(Outcome::Unchanged);
        }
        if let Some(socket) = &self.helper {
            return helper::ask(socket, &helper::Order::Configure(dns.clone()));
        }
        let file = self.open_for_writing().map_err(FileError::Write)?;
        if !resolv_conf::is_ours(&live) || !self.backup.exists() {
            self.write_backup(&original).map_err(FileError::Backup)?;
        }
        write_ours(&file, &wanted).map_err(FileError::Write)?;
        Ok(Outcome::Written)
    }

    /// Puts the original back, if the live file is ours.
    pub(super) fn revert(&self) -> Result<Outcome, FileError> {
        let live = match read(&self.live) {
            Ok(live) if resolv_conf::is_ours(&live) => live,
            Ok(live) => return self.forget_copy_of(&live),
            // No file, or a link that leads nowhere: certainly not ours.
            Err(_) => return Ok(Outcome::Unchanged),
        };
        if let Some(socket) = &self.helper {
            return helper::ask(socket, &helper::Order::Revert);
        }
        match self.read_original() {
            Ok(original) => {
                self.open_for_writing().and_then(|file| write_original(&file, &original)).map_err(FileError::Write)?;
                self.forget_backup();
                Ok(Outcome::Written)
            }
            Err(_) => {
                let rest = resolv_conf::without_us(&live);
                self.open_for_writing().and_then(|file| write_original(&file, &rest)).map_err(FileError::Write)?;
                Ok(Outcome::BackupMissing)
            }
        }
    }

    fn open_for_writing(&self) -> io::Result<File> {
        OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(&self.live)
    }

    fn write_backup(&self, text: &[u8]) -> io::Result<()> {
        let mode = fs::metadata(&self.live)?.permissions().mode() & 0o777;
        let directory = self.backup.parent().unwrap_or(Path::new("/"));
        let mut name = self.backup.clone().into_os_string();
        name.push(".new");
        let temporary = PathBuf::from(name);

        let written = (|| {
            let mut file = File::create(&temporary)?;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.write_all(text)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.backup)?;
            File::open(directory)?.sync_all()
        })();
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// A backup that equals the live file was made by somebody who was killed right after; it tells nothing.
    fn forget_copy_of(&self, live: &[u8]) -> Result<Outcome, FileError> {
        if read(&self.backup).is_ok_and(|backup| backup == live) {
            if let Some(socket) = &self.helper {
                return helper::ask(socket, &helper::Order::Revert);
            }
            self.forget_backup();
        }
        Ok(Outcome::Unchanged)
    }

    /// What the file was before us, wherever it was kept.
    fn read_original(&self) -> io::Result<Vec<u8>> {
        let places = [Some(&self.backup), self.other_backup.as_ref()];
        let mut originals = places.into_iter().flatten().filter_map(|place| read(place).ok());
        originals.find(|text| !resolv_conf::is_ours(text)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The original is safely on disk by now. A backup that cannot be deleted does no harm: nobody looks at it unless the
    /// live file is ours, and then it is written anew first.
    fn forget_backup(&self) {
        if let Err(error) = fs::remove_file(&self.backup) {
            tracing::debug!(%error, "the backup of resolv.conf stays");
        }
    }
}

/// Our text goes over the original first, then what is longer of the original is cut off: the marker is there at every
/// moment.
fn write_ours(file: &File, text: &[u8]) -> io::Result<()> {
    file.write_all_at(text, 0)?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}

/// What is longer of ours is cut off first, then the original goes over it: the marker is there until the last moment.
fn write_original(file: &File, text: &[u8]) -> io::Result<()> {
    let length = text.len() as u64;
    if file.metadata()?.len() > length {
        file.set_len(length)?;
    }
    file.write_all_at(text, 0)?;
    file.sync_all()
}

/// Why the file could not be brought in line.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("read resolv.conf: {0}")]
    Read(#[source] io::Error),
    #[error("write the backup of resolv.conf: {0}")]
    Backup(#[source] io::Error),
    #[error("write resolv.conf: {0}")]
    Write(#[source] io::Error),
    /// Nobody may write it: it is immutable, or on a file system that is read-only.
    #[error("resolv.conf cannot be written")]
    ReadOnly,
    #[error("the helper that writes resolv.conf does not answer: {0}")]
    Helper(#[source] io::Error),
    #[error("the helper that writes resolv.conf says: {0}")]
    HelperRefused(String),
}

impl FileError {
    /// The thread that was at it is gone.
    pub(super) fn died<T>(error: tokio::task::JoinError) -> Result<T, Self> {
        Err(Self::Write(io::Error::other(error)))
    }

    /// Whether trying again makes no sense until somebody changes the file's protection.
    pub(super) fn is_read_only(&self) -> bool {
        use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        match self {
            Self::Write(error) => matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem),
            Self::ReadOnly => true,
            _ => false,
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Never waits: a FIFO in this place must not stop us.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut text = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LIMIT {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    struct Etc {
        directory: tempfile::TempDir,
        files: ResolvConf,
    }

    fn etc(live: &str) -> Etc {
        let directory = tempfile::tempdir().unwrap();
        let files = ResolvConf::at(&directory.path().join("resolv.conf"));
        fs::write(&files.live, live).unwrap();
        Etc { directory, files }
    }

    impl Etc {
        fn live(&self) -> String {
            fs::read_to_string(&self.files.live).unwrap()
        }

        fn entries(&self) -> usize {
            fs::read_dir(self.directory.path()).unwrap().count()
        }
    }

    fn dns(server: &str) -> DnsConfig {
        DnsConfig { servers: vec![server.parse().unwrap()], port: None, search_domain: None }
    }

    const LAN: &str = "search home.lan\nnameserver 192.168.1.1\n";
    const CAFE: &str = "nameserver 10.0.0.1\n";

    #[test]
    fn the_original_comes_back_and_nothing_else_stays() {
        for original in [LAN, CAFE, "", "\n", "nameserver 1.1.1.1", &format!("{LAN}{}", "# long\n".repeat(200))] {
            let etc = etc(original);

            assert_eq!(etc.files.configure(&dns("100.100.111.1")).unwrap(), Outcome::Written);
            assert!(etc.live().contains("nameserver 100.100.111.1\n"));
            assert!(!etc.live().contains("192.168.1.1"));

            assert_eq!(etc.files.revert().unwrap(), Outcome::Written);
            assert_eq!(etc.live(), original);
            assert_eq!(etc.entries(), 1);
        }
    }

    #[test]
    fn twice_changes_nothing() {
        let etc = etc(LAN);
        etc.files.configure(&dns("100.100.111.1")).unwrap();
        assert_eq!(etc.files.configure(&dns("100.100.111.1")).unwrap(), Outcome::Unchanged);
        etc.files.revert().unwrap();
        assert_eq!(etc.files.revert().unwrap(), Outcome::Unchanged);
        assert_eq!(etc.live(), LAN);
    }

    #[test]
    fn new_sentinels_keep_the_original() {
        let etc = etc(LAN);
        etc.files.configure(&dns("100.100.111.1")).unwrap();
        assert_eq!(etc.files.configure(&dns("100.100.111.2")).unwrap(), Outcome::Written);
        assert!(!etc.live().contains("100.100.111.1"));
        etc.files.revert().unwrap();
        assert_eq!(etc.live(), LAN);
    }

    #[test]
    fn a_stale_backup_is_never_put_back() {
        let etc = etc(LAN);
        fs::write(&etc.files.backup, CAFE).unwrap();
        assert_eq!(etc.files.revert().unwrap(), Outcome::Unchanged);
        assert_eq!(etc.live(), LAN);

        etc.files.configure(&dns("100.100.111.1")).unwrap();
        etc.files.revert().unwrap();
        assert_eq!(etc.live(), LAN);
    }

    #[test]
    fn two_sessions_with_different_originals_do_not_mix() {
        let etc = etc(LAN);
        etc.files.configure(&dns("100.100.111.1")).unwrap();
        etc.files.revert().unwrap();
        fs::write(&etc.files.live, CAFE).unwrap();
        etc.files.configure(&dns("100.100.111.1")).unwrap();
        etc.files.revert().unwrap();
        assert_eq!(etc.live(), CAFE);
    }

    #[test]
    fn after_a_crash_the_next_start_puts_the_original_back() {
        let etc = etc(LAN);
        etc.files.configure(&dns("100.100.111.1")).unwrap();
        let after_restart = ResolvConf::at(&etc.files.live);
        after_restart.revert().unwrap();
        assert_eq!(etc.live(), LAN);
    }

    #[test]
    fn a_second_configuration_after_a_crash_does_not_take_our_own_text_for_the_original() {
        let etc = etc(LAN);
        etc.files.configure(&dns("100.100.111.1")).unwrap();
        let after_restart = ResolvConf::at(&etc.files.live);
        after_restart.configure(&dns("100.100.111.2")).unwrap();
        after_restart.revert().unwrap();
        assert_eq!(etc.live(), LAN);
    }

    #[test]
    fn what_a_person_wrote_after_a_crash_survives_the_restart() {
        let etc = etc(LAN);
        etc.files.configure(&dns("100.100.111.1")).unwrap();
        fs::write(&etc.files.live, CAFE).unwrap();
        etc.files.revert().unwrap();
        assert_eq!(etc.live(), CAFE);
        etc.files.configure(&dns("100.100.111.1")).unwrap();
        etc.files.revert().unwrap();
        assert_eq!(etc.live(), CAFE);
    }

    #[test]
    fn what_an_upstream_client_left_behind_is_repaired() {
        let etc = etc("# BEGIN Firezone DNS configuration\n# a\n# b\n# c\nnameserver 100.100.111.1\n");
        fs::write(&etc.files.backup, LAN).unwrap();
        assert_eq!(etc.files.revert().unwrap(), Outcome::Written);
        assert_eq!(etc.live(), LAN);
    }

    #[test]
    fn content_that_somebody_wrote_while_we_are_connected_is_adopted() {
        let etc = etc(LAN);
        etc.files.configure(&dns("100.100.111.1")).unwrap();
        assert_eq!(etc.files.system_resolvers(), ["192.168.1.1".parse::<IpAddr>().unwrap()]);

        fs::write(&etc.files.live, CAFE).unwrap();
        assert_eq!(etc.files.system_resolvers(), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(etc.files.configure(&dns("100.100.111.1")).unwrap(), Outcome::Written);
        assert_eq!(etc.files.system_resolvers(), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert!(etc.live().contains("nameserver 100.100.111.1\n"));

        etc.files.revert().unwrap();
        assert_eq!(etc.live(), CAFE);
    }

    #[test]
    fn the_file_is_written_in_place_so_that_mounts_modes_and_owners_survive() {
        let etc = etc(LAN);
        fs::set_permissions(&etc.files.live, fs::Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(&etc.files.live).unwrap();
        etc.files.configure(&dns("100.100.111.1")).unwrap();
        assert_eq!(fs::metadata(&etc.files.backup).unwrap().mode() & 0o777, 0o640);
        etc.files.revert().unwrap();
        let after = fs::metadata(&etc.files.live).unwrap();
        assert_eq!((before.ino(), before.mode(), before.uid()), (after.ino(), after.mode(), after.uid()));
    }

    #[test]
    fn without_a_place_for_the_backup_the_file_is_not_touched() {
        let etc = etc(LAN);
        let homeless = ResolvConf { backup: etc.directory.path().join("no/such/place"), ..etc.files.clone() };
        assert!(matches!(homeless.configure(&dns("100.100.111.1")), Err(FileError::Backup(_))));
        assert_eq!(etc.live(), LAN);
        assert_eq!(etc.entries(), 1);
    }

    #[test]
    fn a_lost_backup_still_lets_us_leave() {
        let etc = etc(LAN);
        etc.files.configure(&dns("100.100.111.1")).unwrap();
        fs::remove_file(&etc.files.backup).unwrap();
        assert_eq!(etc.files.revert().unwrap(), Outcome::BackupMissing);
        assert_eq!(etc.live(), "search home.lan\noptions ndots:1\n");
    }

    #[test]
    fn a_link_is_not_followed_for_writing() {
        let etc = etc(LAN);
        let target = etc.directory.path().join("target");
        fs::rename(&etc.files.live, &target).unwrap();
        std::os::unix::fs::symlink(&target, &etc.files.live).unwrap();
        assert_eq!(etc.files.system_resolvers(), ["192.168.1.1".parse::<IpAddr>().unwrap()]);
        assert!(matches!(etc.files.configure(&dns("100.100.111.1")), Err(FileError::Write(_))));
        assert_eq!(fs::read_to_string(&target).unwrap(), LAN);
        assert_eq!(etc.entries(), 2);
    }

    #[test]
    fn no_file_is_nothing_to_revert() {
        let etc = etc(LAN);
        fs::remove_file(&etc.files.live).unwrap();
        assert_eq!(etc.files.revert().unwrap(), Outcome::Unchanged);
        assert!(etc.files.system_resolvers().is_empty());
        assert_eq!(etc.entries(), 0);
    }

    #[test]
    fn a_kill_between_the_two_steps_of_putting_back_is_repaired() {
        for original in [LAN, "nameserver 1.1.1.1\n", "#\n"] {
            let etc = etc(original);
            etc.files.configure(&dns("100.100.111.1")).unwrap();
            OpenOptions::new().write(true).open(&etc.files.live).unwrap().set_len(original.len() as u64).unwrap();

            assert_eq!(etc.files.revert().unwrap(), Outcome::Written);
            assert_eq!(etc.live(), original);
            assert_eq!(etc.entries(), 1);
        }
    }

    #[test]
    fn a_kill_between_backup_and_file_leaves_nothing_after_the_next_start() {
        let etc = etc(LAN);
        etc.files.write_backup(LAN.as_bytes()).unwrap();
        assert_eq!(etc.files.revert().unwrap(), Outcome::Unchanged);
        assert_eq!(etc.entries(), 1);
    }
}
