//! `/etc/resolv.conf` and its backup on disk.
//!
//! The file itself is written **in place**: container runtimes mount it, so it cannot be replaced by a rename, and owner, mode
//! and security label stay. The order of truncating and writing is chosen so that a process killed in between leaves a file
//! that [`resolv_conf::is_ours`] still recognises; for the same reason the text is written by one system call. The backup is
//! an ordinary file and is replaced atomically.
//!
//! A process that is not root reads here and writes through the [`helper_client`].
//!
//! The original is restored only if the live file carries our marker, and the backup is deleted right after. So a backup can
//! only belong to the crash that it repairs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use session::DnsConfig;

use super::helper_client::{self, HelperRequest};
use super::outcome::{FileError, Outcome};
use super::resolv_conf;

/// Size limit in bytes. Larger files are not resolver configurations.
const MAX_FILE_SIZE: u64 = 64 * 1024;

/// The paths of the live file and its backups, and how it is written.
#[derive(Debug, Clone)]
pub(crate) struct ResolvConf {
    live: PathBuf,
    backup: PathBuf,
    /// A second place to look for the original: where the daemon as another user or the official client keeps it.
    other_backup: Option<PathBuf>,
    /// The socket of the helper that writes for us.
    helper: Option<PathBuf>,
}

/// Beside the live file, under the name that the official client uses, so that either client can repair what the other left.
const SHARED_BACKUP: &str = "/etc/resolv.conf.before-firezone";

impl ResolvConf {
    /// The file that the C library reads.
    pub(super) fn for_this_host() -> Self {
        let socket = Path::new(helper_client::SOCKET);
        let needs_helper = !rustix::process::geteuid().is_root() && socket.exists();
        if needs_helper { Self { helper: Some(socket.to_owned()), ..Self::for_helper() } } else { Self::for_root() }
    }

    fn for_root() -> Self {
        Self { other_backup: Some(helper_client::BACKUP.into()), ..Self::at(Path::new("/etc/resolv.conf")) }
    }

    /// The same file as the helper sees it: it may write nothing else in `/etc`.
    pub(super) fn for_helper() -> Self {
        Self { backup: helper_client::BACKUP.into(), other_backup: Some(SHARED_BACKUP.into()), ..Self::for_root() }
    }

    pub(super) fn at(live: &Path) -> Self {
        let mut backup = live.as_os_str().to_owned();
        backup.push(".before-firezone");
        Self { live: live.to_owned(), backup: backup.into(), other_backup: None, helper: None }
    }

    #[cfg(test)]
    pub(super) fn with_helper(self, socket: PathBuf) -> Self {
        Self { helper: Some(socket), ..self }
    }

    /// Whether a helper writes for us.
    pub(super) fn has_helper(&self) -> bool {
        self.helper.is_some()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.live
    }

    /// The resolvers of this host without us: those of the live file, or of the original if the live file is ours.
    pub(crate) fn system_resolvers(&self) -> Vec<IpAddr> {
        let original = match read(&self.live) {
            Ok(text) if resolv_conf::is_ours(&text) => self.read_original(),
            live => live,
        };
        original.map(|text| resolv_conf::nameservers(&text)).unwrap_or_default()
    }

    /// The content of the live file, if it is ours.
    pub(crate) fn our_text(&self) -> Option<Vec<u8>> {
        read(&self.live).ok().filter(|text| resolv_conf::is_ours(text))
    }

    /// Makes `dns` the resolver of every name. If another program has written the file since, its content becomes the
    /// original.
    pub(super) fn configure(&self, dns: &DnsConfig) -> Result<Outcome, FileError> {
        let live = read(&self.live).map_err(FileError::Read)?;
        let original = match resolv_conf::is_ours(&live) {
            false => live.clone(),
            true => self.read_original().unwrap_or_else(|_| resolv_conf::without_us(&live)),
        };
        let desired = resolv_conf::ours(&original, dns, &self.backup);
        if live == desired {
            return Ok(Outcome::Unchanged);
        }
        if let Some(socket) = &self.helper {
            return helper_client::send(socket, &HelperRequest::Configure(dns.clone()));
        }
        let file = self.open_for_writing().map_err(FileError::Write)?;
        if !resolv_conf::is_ours(&live) || !self.backup.exists() {
            self.write_backup(&original).map_err(FileError::Backup)?;
        }
        write_ours(&file, &desired).map_err(FileError::Write)?;
        Ok(Outcome::Written)
    }

    /// Restores the original, if the live file is ours.
    pub(super) fn revert(&self) -> Result<Outcome, FileError> {
        let live = match read(&self.live) {
            Ok(live) if resolv_conf::is_ours(&live) => live,
            Ok(live) => return self.delete_redundant_backup(&live),
            // A missing file or a dangling link is not ours.
            Err(_) => return Ok(Outcome::Unchanged),
        };
        if let Some(socket) = &self.helper {
            return helper_client::send(socket, &HelperRequest::Revert);
        }
        match self.read_original() {
            Ok(original) => {
                self.open_for_writing().and_then(|file| write_original(&file, &original)).map_err(FileError::Write)?;
                self.delete_backup();
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

    /// Deletes a backup that equals the live file: its writer was killed before it changed the live file.
    fn delete_redundant_backup(&self, live: &[u8]) -> Result<Outcome, FileError> {
        if read(&self.backup).is_ok_and(|backup| backup == live) {
            if let Some(socket) = &self.helper {
                return helper_client::send(socket, &HelperRequest::Revert);
            }
            self.delete_backup();
        }
        Ok(Outcome::Unchanged)
    }

    /// The content of the file before us, from either backup.
    fn read_original(&self) -> io::Result<Vec<u8>> {
        let places = [Some(&self.backup), self.other_backup.as_ref()];
        let mut originals = places.into_iter().flatten().filter_map(|place| read(place).ok());
        originals.find(|text| !resolv_conf::is_ours(text)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// To be called when the original is safely on disk. A backup that cannot be deleted is harmless: it is read only while
    /// the live file is ours, and is rewritten before that.
    fn delete_backup(&self) {
        if let Err(error) = fs::remove_file(&self.backup) {
            tracing::debug!(%error, "cannot delete the backup of resolv.conf");
        }
    }
}

/// Overwrites the original with our text, then truncates. The marker is present at every moment.
fn write_ours(file: &File, text: &[u8]) -> io::Result<()> {
    file.write_all_at(text, 0)?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}

/// Truncates our text to the length of the original, then overwrites it. The marker is present until the last moment.
fn write_original(file: &File, text: &[u8]) -> io::Result<()> {
    let length = text.len() as u64;
    if file.metadata()?.len() > length {
        file.set_len(length)?;
    }
    file.write_all_at(text, 0)?;
    file.sync_all()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Never blocks, even if the path is a FIFO.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut text = Vec::new();
    file.take(MAX_FILE_SIZE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE_SIZE {
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
    fn original_is_restored_and_no_backup_stays() {
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
    fn second_configure_and_second_revert_change_nothing() {
        let etc = etc(LAN);
        etc.files.configure(&dns("100.100.111.1")).unwrap();
        assert_eq!(etc.files.configure(&dns("100.100.111.1")).unwrap(), Outcome::Unchanged);
        etc.files.revert().unwrap();
        assert_eq!(etc.files.revert().unwrap(), Outcome::Unchanged);
        assert_eq!(etc.live(), LAN);
    }

    #[test]
    fn changed_sentinels_keep_the_original() {
        let etc = etc(LAN);
        etc.files.configure(&dns("100.100.111.1")).unwrap();
        assert_eq!(etc.files.configure(&dns("100.100.111.2")).unwrap(), Outcome::Written);
        assert!(!etc.live().contains("100.100.111.1"));
        etc.files.revert().unwrap();
        assert_eq!(etc.live(), LAN);
    }

    #[test]
    fn stale_backup_is_never_restored() {
        let etc = etc(LAN);
        fs::write(&etc.files.backup, CAFE).unwrap();
        assert_eq!(etc.files.revert().unwrap(), Outcome::Unchanged);
        assert_eq!(etc.live(), LAN);

        etc.files.configure(&dns("100.100.111.1")).unwrap();
        etc.files.revert().unwrap();
        assert_eq!(etc.live(), LAN);
    }

    #[test]
    fn each_session_restores_its_own_original() {
        let etc = etc(LAN);
        etc.files.configure(&dns("100.100.111.1")).unwrap();
        etc.files.revert().unwrap();
        fs::write(&etc.files.live, CAFE).unwrap();
        etc.files.configure(&dns("100.100.111.1")).unwrap();
        etc.files.revert().unwrap();
        assert_eq!(etc.live(), CAFE);
    }

    #[test]
    fn next_start_after_crash_restores_the_original() {
        let etc = etc(LAN);
        etc.files.configure(&dns("100.100.111.1")).unwrap();
        let after_restart = ResolvConf::at(&etc.files.live);
        after_restart.revert().unwrap();
        assert_eq!(etc.live(), LAN);
    }

    #[test]
    fn configure_after_crash_keeps_the_original() {
        let etc = etc(LAN);
        etc.files.configure(&dns("100.100.111.1")).unwrap();
        let after_restart = ResolvConf::at(&etc.files.live);
        after_restart.configure(&dns("100.100.111.2")).unwrap();
        after_restart.revert().unwrap();
        assert_eq!(etc.live(), LAN);
    }

    #[test]
    fn manual_edit_after_crash_survives_the_restart() {
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
    fn leftovers_of_the_official_client_are_repaired() {
        let etc = etc("# BEGIN Firezone DNS configuration\n# a\n# b\n# c\nnameserver 100.100.111.1\n");
        fs::write(&etc.files.backup, LAN).unwrap();
        assert_eq!(etc.files.revert().unwrap(), Outcome::Written);
        assert_eq!(etc.live(), LAN);
    }

    #[test]
    fn content_written_by_another_program_becomes_the_original() {
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
    fn in_place_write_keeps_inode_mode_and_owner() {
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
    fn file_is_untouched_if_the_backup_cannot_be_written() {
        let etc = etc(LAN);
        let homeless = ResolvConf { backup: etc.directory.path().join("no/such/place"), ..etc.files.clone() };
        assert!(matches!(homeless.configure(&dns("100.100.111.1")), Err(FileError::Backup(_))));
        assert_eq!(etc.live(), LAN);
        assert_eq!(etc.entries(), 1);
    }

    #[test]
    fn revert_without_backup_removes_our_lines() {
        let etc = etc(LAN);
        etc.files.configure(&dns("100.100.111.1")).unwrap();
        fs::remove_file(&etc.files.backup).unwrap();
        assert_eq!(etc.files.revert().unwrap(), Outcome::BackupMissing);
        assert_eq!(etc.live(), "search home.lan\noptions ndots:1\n");
    }

    #[test]
    fn symlink_is_not_followed_for_writing() {
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
    fn missing_file_needs_no_revert() {
        let etc = etc(LAN);
        fs::remove_file(&etc.files.live).unwrap();
        assert_eq!(etc.files.revert().unwrap(), Outcome::Unchanged);
        assert!(etc.files.system_resolvers().is_empty());
        assert_eq!(etc.entries(), 0);
    }

    #[test]
    fn interrupted_restore_is_completed_by_the_next_start() {
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
    fn interrupted_configure_leaves_no_backup_after_the_next_start() {
        let etc = etc(LAN);
        etc.files.write_backup(LAN.as_bytes()).unwrap();
        assert_eq!(etc.files.revert().unwrap(), Outcome::Unchanged);
        assert_eq!(etc.entries(), 1);
    }
}
