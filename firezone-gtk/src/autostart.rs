//! Starting at login: a symlink to our desktop file in the user's `autostart` directory.

use std::{
    env, fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use crate::APP_ID;

/// Directory of desktop files, below each data directory.
const APPLICATIONS: &str = "applications";
/// The link that the official client makes. It dangles once that client is uninstalled.
const OFFICIAL_CLIENT_FILE: &str = "firezone-client-gui.desktop";

/// Makes the link or replaces an existing one. Removes a dangling link of the official client.
///
/// # Errors
///
/// The user has no home directory, it is not writable, or our desktop file is not installed.
pub fn register() -> io::Result<()> {
    let target = desktop_file()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{APP_ID}.desktop is not installed")))?;
    register_in(&directory()?, &target)
}

/// If the official client started at login and is uninstalled now, Firezone starts instead.
pub fn migrate() {
    let outcome = match (directory(), desktop_file()) {
        (Ok(directory), Some(target)) => migrate_in(&directory, &target),
        _ => Ok(()),
    };
    if let Err(error) = outcome {
        tracing::warn!("cannot migrate the autostart link: {error}");
    }
}

/// Removes the link, if it exists.
///
/// # Errors
///
/// The user has no home directory, or it is not writable.
pub fn unregister() -> io::Result<()> {
    match fs::remove_file(link(&directory()?)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether the link exists and its target too. The link itself is the setting; nothing else stores it.
#[must_use]
pub fn is_registered() -> bool {
    directory().is_ok_and(|directory| link(&directory).exists())
}

fn register_in(directory: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let (link, temporary) = (link(directory), directory.join(format!(".{APP_ID}.desktop.new")));
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(target, &temporary)?;
    fs::rename(&temporary, link)?;
    remove_dangling(&directory.join(OFFICIAL_CLIENT_FILE))
}

fn migrate_in(directory: &Path, target: &Path) -> io::Result<()> {
    if is_dangling(&directory.join(OFFICIAL_CLIENT_FILE)) { register_in(directory, target) } else { Ok(()) }
}

fn remove_dangling(path: &Path) -> io::Result<()> {
    if is_dangling(path) { fs::remove_file(path) } else { Ok(()) }
}

/// Whether this is a symlink without a target. Everything else belongs to the user or to another program.
fn is_dangling(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) && !path.exists()
}

fn link(directory: &Path) -> PathBuf {
    directory.join(format!("{APP_ID}.desktop"))
}

fn directory() -> io::Result<PathBuf> {
    let explicit = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let config = explicit.or_else(|| Some(env::home_dir()?.join(".config")));
    config
        .map(|config| config.join("autostart"))
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "you have no home directory"))
}

fn desktop_file() -> Option<PathBuf> {
    let directories = env::var("XDG_DATA_DIRS").ok().filter(|text| !text.is_empty());
    let directories = directories.unwrap_or_else(|| "/usr/local/share:/usr/share".to_owned());
    directories
        .split(':')
        .map(|directory| Path::new(directory).join(APPLICATIONS).join(format!("{APP_ID}.desktop")))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn register_makes_and_replaces_the_link() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("config/autostart");
        for target in ["/nonexistent/old.desktop", "/usr/share/applications/new.desktop"] {
            register_in(&directory, Path::new(target)).unwrap();
            assert_eq!(fs::read_link(link(&directory)).unwrap(), Path::new(target));
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn dangling_link_of_the_official_client_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let (target, official) =
            (Path::new("/usr/share/applications/new.desktop"), home.path().join(OFFICIAL_CLIENT_FILE));
        symlink("/nonexistent/firezone-client-gui.desktop", &official).unwrap();
        register_in(home.path(), target).unwrap();
        assert!(fs::symlink_metadata(&official).is_err());

        symlink("/dev/null", &official).unwrap();
        register_in(home.path(), target).unwrap();
        assert!(fs::symlink_metadata(&official).is_ok(), "its target exists");
        fs::remove_file(&official).unwrap();
        fs::write(&official, "[Desktop Entry]").unwrap();
        register_in(home.path(), target).unwrap();
        assert!(official.exists(), "it is not a link");
    }

    #[test]
    fn autostart_is_migrated_only_after_the_official_client_is_uninstalled() {
        let home = tempfile::tempdir().unwrap();
        let (target, official) =
            (Path::new("/usr/share/applications/new.desktop"), home.path().join(OFFICIAL_CLIENT_FILE));
        migrate_in(home.path(), target).unwrap();
        symlink("/dev/null", &official).unwrap();
        migrate_in(home.path(), target).unwrap();
        assert!(
            fs::symlink_metadata(link(home.path())).is_err(),
            "the user never enabled it, or the official client is installed"
        );

        fs::remove_file(&official).unwrap();
        symlink("/nonexistent/firezone-client-gui.desktop", &official).unwrap();
        migrate_in(home.path(), target).unwrap();
        assert_eq!(fs::read_link(link(home.path())).unwrap(), target);
        assert!(fs::symlink_metadata(&official).is_err());
    }
}
