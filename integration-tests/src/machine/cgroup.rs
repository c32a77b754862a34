//! A control group of its own for each machine: two service managers in one would end each other's services.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::Context as _;

use crate::process::wait_until;

const ROOT: &str = "/sys/fs/cgroup";
/// Prefix of our groups, followed by the ID of the process that created them.
const PREFIX: &str = "firezone-machine-";

/// The group in each hierarchy in which systemd tracks processes. It is removed after its last process.
#[derive(Debug)]
pub(super) struct Cgroup {
    directories: Vec<PathBuf>,
}

impl Cgroup {
    pub(super) fn new() -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut directories = Vec::new();
        for hierarchy in hierarchies() {
            sweep(&hierarchy);
            let directory = hierarchy.join(&name);
            fs::create_dir(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
            directories.push(directory);
        }
        Ok(Self { directories })
    }

    /// Shell commands that put the shell into the group.
    pub(super) fn enter(&self) -> String {
        self.directories.iter().map(|it| format!("echo 0 > {}/cgroup.procs; ", it.display())).collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for directory in &self.directories {
            // Killed processes need a moment to end.
            let gone = wait_until("the control group is empty", Duration::from_secs(5), || remove(directory).is_ok());
            if let Err(error) = gone {
                tracing::warn!(%error, directory = %directory.display(), "a control group stays");
            }
        }
    }
}

fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return vec![root.to_owned()];
    }
    ["systemd", "unified"].iter().map(|name| root.join(name)).filter(|it| it.join("cgroup.procs").exists()).collect()
}

/// Removes groups of killed tests. Groups with processes cannot be removed.
fn sweep(hierarchy: &Path) {
    for entry in fs::read_dir(hierarchy).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if maker.is_some_and(|maker| !Path::new("/proc").join(maker).exists())
            && let Err(error) = remove(&entry.path())
        {
            tracing::debug!(%error, "an old control group is in use");
        }
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries.flatten() {
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}
