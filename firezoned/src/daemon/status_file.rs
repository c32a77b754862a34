//! Writes the status file, for programs that cannot use the bus.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
    time::Duration,
};

use session::{Mode, Snapshot};

/// The status file.
#[derive(Debug)]
pub(super) struct StatusFile {
    path: PathBuf,
    mode: dbus_api::Mode,
    started: Duration,
    group: Option<u32>,
}

impl StatusFile {
    pub(super) fn new(mode: Mode, started: Duration) -> Self {
        let mode = match mode {
            Mode::User => dbus_api::Mode::User,
            Mode::Service => dbus_api::Mode::Service,
        };
        Self { path: PathBuf::from(dbus_api::status_file::PATH), mode, started, group: group_id(dbus_api::GROUP) }
    }

    /// Replaces the file atomically.
    pub(super) fn write(&mut self, snapshot: &Snapshot) {
        if let Err(error) = self.try_write(snapshot) {
            tracing::warn!(%error, path = %self.path.display(), "cannot write the status file");
        }
    }

    /// Removes the file, because a stopped daemon has no status.
    pub(super) fn remove(&self) {
        remove(&self.path);
    }

    fn try_write(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(&snapshot.to_file(self.mode.clone(), self.started))?;
        text.push(b'\n');
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let draft = draft_of(&self.path);
        let mut file = create_new(&draft)?;
        // A setgid directory has already set the group.
        if let Some(group) = self.group.filter(|group| file.metadata().is_ok_and(|facts| facts.gid() != *group)) {
            // A daemon without root may use its own groups only. Then only root can read the file.
            if let Err(error) = fchown(&file, None, Some(group)) {
                tracing::debug!(%error, "cannot set the group of the status file");
                self.group = None;
            }
        }
        // Independent of the umask.
        file.set_permissions(fs::Permissions::from_mode(0o640))?;
        file.write_all(&text)?;
        fs::rename(&draft, &self.path)
    }
}

/// Removes the file of a daemon that was killed.
pub(super) fn clean_up() {
    remove(Path::new(dbus_api::status_file::PATH));
}

fn remove(path: &Path) {
    for path in [path, &draft_of(path)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "cannot remove the status file");
            }
            _ => {}
        }
    }
}

fn draft_of(path: &Path) -> PathBuf {
    path.with_extension("json.new")
}

/// Creates a file that no other process has open: an existing draft is removed, not reused.
fn create_new(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Looks the group up in `/etc/group`. Without it, the file keeps the group of root.
fn group_id(name: &str) -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    find_group(&groups, name)
}

fn find_group(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_is_found_by_name() {
        let groups = "root:x:0:\nfirezone-client:x:7:\nfirezone:x:995:anna,ben\n";
        assert_eq!(find_group(groups, "firezone"), Some(995));
        assert_eq!(find_group(groups, "nobody"), None);
    }

    #[test]
    fn status_file_is_replaced_and_not_world_readable() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/status.json");
        let mut file = StatusFile {
            path: path.clone(),
            mode: dbus_api::Mode::Service,
            started: Duration::from_secs(7),
            group: None,
        };

        file.write(&Snapshot::default());
        file.write(&Snapshot { state: dbus_api::State::Connected, ..Snapshot::default() });

        let written: dbus_api::StatusFile = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!((written.schema, written.mode.as_str(), written.status.state.as_str()), (1, "service", "connected"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        fs::write(draft_of(&path), "half").unwrap();
        file.remove();
        file.remove();
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }
}
