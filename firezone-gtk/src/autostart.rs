//! Starting with the user's session: a link in `autostart` to our desktop file.

use std::{
    env, fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use crate::APP_ID;

/// Where the desktop file is installed, below each directory of data.
const APPLICATIONS: &str = "applications";
/// The link that the existing client makes. It leads nowhere once that client is gone.
const LEFTOVER: &str = "firezone-client-gui.desktop";

/// Makes the link; a link that is there already is replaced, and one of the existing client that leads nowhere too.
///
/// # Errors
///
/// The user has no home, or it cannot be written; our desktop file is not installed.
pub fn register() -> io::Result<()> {
    let target = desktop_file()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{APP_ID}.desktop is not installed")))?;
    register_in(&directory()?, &target)
}

/// Whoever was at the desktop with the existing client from the start, and has it no more, goes on with us.
pub fn take_over() {
    let outcome = match (directory(), desktop_file()) {
        (Ok(directory), Some(target)) => take_over_in(&directory, &target),
        _ => Ok(()),
    };
    if let Err(error) = outcome {
        tracing::warn!("starting with the session cannot be taken over: {error}");
    }
}

/// Removes the link. It is fine if there is none.
///
/// # Errors
///
/// The user has no home, or it cannot be written.
pub fn unregister() -> io::Result<()> {
    match fs::remove_file(link(&directory()?)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether the link is there and leads somewhere. The file system knows; no setting is asked.
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
    remove_dangling(&directory.join(LEFTOVER))
}

fn take_over_in(directory: &Path, target: &Path) -> io::Result<()> {
    if is_dangling(&directory.join(LEFTOVER)) { register_in(directory, target) } else { Ok(()) }
}

fn remove_dangling(path: &Path) -> io::Result<()> {
    if is_dangling(path) { fs::remove_file(path) } else { Ok(()) }
}

/// Only a link, and only one that leads nowhere: everything else is somebody's.
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
    fn a_link_is_made_and_replaced() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("config/autostart");
        for target in ["/nonexistent/old.desktop", "/usr/share/applications/new.desktop"] {
            register_in(&directory, Path::new(target)).unwrap();
            assert_eq!(fs::read_link(link(&directory)).unwrap(), Path::new(target));
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn the_existing_clients_link_goes_if_it_leads_nowhere() {
        let home = tempfile::tempdir().unwrap();
        let (target, leftover) = (Path::new("/usr/share/applications/new.desktop"), home.path().join(LEFTOVER));
        symlink("/nonexistent/firezone-client-gui.desktop", &leftover).unwrap();
        register_in(home.path(), target).unwrap();
        assert!(fs::symlink_metadata(&leftover).is_err());

        symlink("/dev/null", &leftover).unwrap();
        register_in(home.path(), target).unwrap();
        assert!(fs::symlink_metadata(&leftover).is_ok(), "it leads somewhere");
        fs::remove_file(&leftover).unwrap();
        fs::write(&leftover, "[Desktop Entry]").unwrap();
        register_in(home.path(), target).unwrap();
        assert!(leftover.exists(), "it is no link");
    }

    #[test]
    fn whoever_started_with_the_existing_client_starts_with_us_once_it_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let (target, leftover) = (Path::new("/usr/share/applications/new.desktop"), home.path().join(LEFTOVER));
        take_over_in(home.path(), target).unwrap();
        symlink("/dev/null", &leftover).unwrap();
        take_over_in(home.path(), target).unwrap();
        assert!(fs::symlink_metadata(link(home.path())).is_err(), "nobody has asked for it, or the client is there");

        fs::remove_file(&leftover).unwrap();
        symlink("/nonexistent/firezone-client-gui.desktop", &leftover).unwrap();
        take_over_in(home.path(), target).unwrap();
        assert_eq!(fs::read_link(link(home.path())).unwrap(), target);
        assert!(fs::symlink_metadata(&leftover).is_err());
    }
}
