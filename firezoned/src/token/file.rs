//! A token in a file that other users cannot read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use model::Secret;
use zeroize::Zeroizing;

/// The maximum size of the file in bytes.
const MAX_SIZE: u64 = 64 << 10;

/// The conditions that the owner and mode of the file have to satisfy.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trust {
    /// Only this user may own, read or replace it.
    Owner(u32),
    /// A credential from systemd in a private directory; its group bits are the mask of an access list.
    Systemd(u32),
    /// None: the image of the container is trusted.
    Unchecked,
}

/// The problem of a token, and its remedy.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It exists but cannot be read.
    #[error("the token cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// A directory, a pipe, a device.
    #[error("the token is not in a regular file")]
    NotAFile,
    /// Another user owns it.
    #[error(
        "the file belongs to user {uid}, who may know the token: make it root's (chown root:root) and regenerate the token"
    )]
    Owner { uid: u32 },
    /// Other users can read it.
    #[error("others may read the file (mode {mode:04o}): chmod 600 it and regenerate the token, which may have leaked")]
    Exposed { mode: u32 },
    /// Other users can replace it.
    #[error("others may write to {}: make it root's, mode 755, and regenerate the token", .0.display())]
    Directory(PathBuf),
    /// Longer than any token.
    #[error("the file is larger than 64 KiB")]
    TooLarge,
    /// Not UTF-8.
    #[error("the token is not text")]
    NotText,
    /// Only whitespace.
    #[error("the file is empty")]
    Empty,
}

impl Trust {
    pub(super) fn root() -> Self {
        Self::Owner(0)
    }

    /// The conditions for a credential from systemd.
    pub(super) fn for_credential(self) -> Self {
        match self {
            Self::Owner(uid) => Self::Systemd(uid),
            other @ (Self::Systemd(_) | Self::Unchecked) => other,
        }
    }
}

/// The token in the file, `None` if there is no file.
///
/// The checks and the read use one descriptor, so that the file cannot be replaced in between. Symbolic links are followed,
/// because Kubernetes mounts secrets as links.
pub(super) fn read(path: &Path, trust: Trust) -> Result<Option<Secret>, Problem> {
    // Without O_NONBLOCK, opening a pipe would block.
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_dangling_link(path) => return Ok(None),
        Err(error) => return Err(Problem::Unreadable(error)),
    };
    check(&file, trust)?;
    check_directories(path, trust)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(Problem::Unreadable)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(Problem::TooLarge);
    }
    match std::str::from_utf8(&bytes).map_err(|_| Problem::NotText)?.trim() {
        "" => Err(Problem::Empty),
        token => Ok(Some(token.into())),
    }
}

/// Whether the file exists. If so, it must satisfy `trust`. It is not read, so the daemon need not be its owner.
pub(super) fn check_path(path: &Path, trust: Trust) -> Result<bool, Problem> {
    // The standard library requires a mode; O_PATH opens the file without access.
    match OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path) {
        Ok(file) => {
            check(&file, trust)?;
            check_directories(path, trust)?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_dangling_link(path) => Ok(false),
        // A directory that the daemon cannot search is closed to others, too.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        Err(error) => Err(Problem::Unreadable(error)),
    }
}

/// A link without a target is a misconfigured token, not a missing one.
fn is_dangling_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn check(file: &File, trust: Trust) -> Result<(), Problem> {
    let facts = file.metadata().map_err(Problem::Unreadable)?;
    if !facts.is_file() {
        return Err(Problem::NotAFile);
    }
    let (uid, mode) = (facts.uid(), facts.mode() & 0o7777);
    let (is_owner_trusted, forbidden) = match trust {
        Trust::Owner(owner) => (uid == owner, 0o077),
        Trust::Systemd(owner) => (uid == owner || uid == rustix::process::geteuid().as_raw(), 0o007),
        Trust::Unchecked => (true, 0),
    };
    if !is_owner_trusted {
        return Err(Problem::Owner { uid });
    }
    if mode & forbidden != 0 {
        return Err(Problem::Exposed { mode });
    }
    Ok(())
}

/// Checks the directory of the path and, if that is a link, the directory of its target.
fn check_directories(path: &Path, trust: Trust) -> Result<(), Problem> {
    let Trust::Owner(owner) = trust else { return Ok(()) };
    let target = fs::canonicalize(path).map_err(Problem::Unreadable)?;
    for directory in [path.parent(), target.parent()].into_iter().flatten() {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let facts = fs::metadata(directory).map_err(Problem::Unreadable)?;
        let is_group_trusted = facts.gid() == 0 || facts.mode() & 0o020 == 0;
        if facts.mode() & 0o002 != 0 || !is_group_trusted || (facts.uid() != owner && facts.uid() != 0) {
            return Err(Problem::Directory(directory.to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        os::unix::fs::{PermissionsExt as _, symlink},
        sync::atomic::{AtomicU32, Ordering},
    };

    use super::*;

    /// A temporary directory, removed on drop.
    pub(in crate::token) struct Directory(PathBuf);

    impl Directory {
        pub(in crate::token) fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!("firezoned-token-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
            Self(path)
        }

        pub(in crate::token) fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        pub(in crate::token) fn file(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
            let path = self.path(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }

        /// Trusts the user of the tests in the place of root.
        pub(in crate::token) fn trust(&self) -> Trust {
            Trust::Owner(rustix::process::geteuid().as_raw())
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    fn outcome(read: Result<Option<Secret>, Problem>) -> String {
        match read {
            Ok(Some(token)) => token.expose().to_owned(),
            Ok(None) => "no file".to_owned(),
            Err(Problem::Unreadable(_)) => "unreadable".to_owned(),
            Err(Problem::NotAFile) => "not a file".to_owned(),
            Err(Problem::Owner { .. }) => "owner".to_owned(),
            Err(Problem::Exposed { .. }) => "exposed".to_owned(),
            Err(Problem::Directory(_)) => "directory".to_owned(),
            Err(Problem::TooLarge) => "too large".to_owned(),
            Err(Problem::NotText) => "not text".to_owned(),
            Err(Problem::Empty) => "empty".to_owned(),
        }
    }

    #[test]
    fn only_the_owner_may_have_access() {
        let directory = Directory::new();
        let unreadable = if is_root() { "tok" } else { "unreadable" };
        for (mode, expected) in [
            (0o600, "tok"),
            (0o400, "tok"),
            (0o700, "tok"),
            (0o000, unreadable),
            (0o200, unreadable),
            (0o640, "exposed"),
            (0o604, "exposed"),
            (0o660, "exposed"),
            (0o610, "exposed"),
            (0o644, "exposed"),
            (0o777, "exposed"),
        ] {
            let path = directory.file("token", "tok", 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(outcome(read(&path, directory.trust())), expected, "{mode:o}");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn file_of_another_user_is_rejected() {
        let directory = Directory::new();
        let path = directory.file("token", "tok", 0o600);
        let another_user = Trust::Owner(rustix::process::geteuid().as_raw() + 1);
        assert_eq!(outcome(read(&path, another_user)), "owner");
    }

    #[test]
    fn other_group_without_access_is_accepted() {
        if !is_root() {
            return;
        }
        let directory = Directory::new();
        let path = directory.file("token", "tok", 0o600);
        std::os::unix::fs::chown(&path, None, Some(12345)).unwrap();
        assert_eq!(outcome(read(&path, directory.trust())), "tok");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(outcome(read(&path, directory.trust())), "exposed");
    }

    #[test]
    fn content_is_trimmed_and_validated() {
        let directory = Directory::new();
        for (content, expected) in [
            (b"tok\n".to_vec(), "tok"),
            (b"  tok \r\n".to_vec(), "tok"),
            (b"".to_vec(), "empty"),
            (b" \n\t ".to_vec(), "empty"),
            (vec![0xff, 0xfe], "not text"),
            (vec![b'x'; 1 << 20], "too large"),
            (vec![b'x'; (64 << 10) + 1], "too large"),
        ] {
            assert_eq!(outcome(read(&directory.file("token", content, 0o600), directory.trust())), expected);
        }
        let largest = "x".repeat(64 << 10);
        assert_eq!(outcome(read(&directory.file("token", &largest, 0o600), directory.trust())), largest);
    }

    #[test]
    fn links_are_followed_and_their_target_is_checked() {
        let directory = Directory::new();
        directory.file("good", "tok", 0o600);
        directory.file("bad", "tok", 0o644);
        for (target, expected) in [("good", "tok"), ("bad", "exposed"), ("missing", "unreadable"), (".", "not a file")]
        {
            let link = directory.path("link");
            let _ = fs::remove_file(&link);
            symlink(directory.path(target), &link).unwrap();
            assert_eq!(outcome(read(&link, directory.trust())), expected, "{target}");
        }
    }

    #[test]
    fn only_regular_files_are_accepted() {
        let directory = Directory::new();
        let pipe = directory.path("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(outcome(read(&pipe, directory.trust())), "not a file");
        assert_eq!(outcome(read(&directory.path(""), directory.trust())), "not a file");
        assert_eq!(outcome(read(&directory.path("missing"), directory.trust())), "no file");
        assert_eq!(outcome(read(&directory.path("missing/token"), directory.trust())), "no file");
    }

    #[test]
    fn file_that_others_can_replace_is_rejected() {
        let directory = Directory::new();
        let path = directory.file("token", "tok", 0o600);
        for (mode, expected) in [(0o700, "tok"), (0o755, "tok"), (0o777, "directory"), (0o1777, "directory")] {
            fs::set_permissions(directory.path(""), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(outcome(read(&path, directory.trust())), expected, "{mode:o}");
        }
        let elsewhere = Directory::new();
        symlink(&path, elsewhere.path("link")).unwrap();
        assert_eq!(outcome(read(&elsewhere.path("link"), directory.trust())), "directory");
    }

    #[test]
    fn errors_name_the_remedy_and_hide_the_content() {
        let directory = Directory::new();
        let path = directory.file("token", "s3cr3t", 0o644);
        let text = read(&path, directory.trust()).unwrap_err().to_string();
        assert_eq!(
            text,
            "others may read the file (mode 0644): chmod 600 it and regenerate the token, which may have leaked"
        );
    }
}
