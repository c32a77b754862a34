//! Chooses how DNS is controlled on this host: a pure choice over a struct of facts, so that each odd distribution is a row
//! of a table.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use session::DnsControl;

use super::file::ResolvConf;
use super::resolved_identity;

/// What the choice depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) resolv_conf: FileKind,
    /// systemd-resolved is part of this host, and `/etc/resolv.conf` directs programs to it.
    pub(super) uses_resolved: bool,
}

/// What `/etc/resolv.conf` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileKind {
    Writable,
    ReadOnly,
    Symlink(PathBuf),
    Missing,
    /// A directory or a device.
    NotAFile,
}

/// How DNS is controlled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Method {
    ResolvConf,
    /// Settings of our link in systemd-resolved.
    Resolved,
    /// Not at all, as configured.
    Unmanaged,
    /// Not possible on this host.
    Unavailable(Obstacle),
}

/// Why DNS cannot be controlled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// systemd-resolved would read our sentinels from the file as its upstream servers, and we would query it in turn.
    ResolvedInUse,
    Symlink(PathBuf),
    ReadOnly,
    Missing,
    NotAFile,
}

/// Chooses the method.
pub(super) fn choose(control: DnsControl, facts: &Facts) -> Method {
    match control {
        DnsControl::Disabled => return Method::Unmanaged,
        DnsControl::SystemdResolved => return Method::Resolved,
        DnsControl::Auto if facts.uses_resolved => return Method::Resolved,
        DnsControl::Auto | DnsControl::EtcResolvConf => {}
    }
    match &facts.resolv_conf {
        _ if facts.uses_resolved => Method::Unavailable(Obstacle::ResolvedInUse),
        FileKind::Writable => Method::ResolvConf,
        FileKind::ReadOnly => Method::Unavailable(Obstacle::ReadOnly),
        FileKind::Symlink(target) => Method::Unavailable(Obstacle::Symlink(target.clone())),
        FileKind::Missing => Method::Unavailable(Obstacle::Missing),
        FileKind::NotAFile => Method::Unavailable(Obstacle::NotAFile),
    }
}

impl Facts {
    pub(super) fn collect(files: &ResolvConf) -> Self {
        // Not whether it runs at this moment: it may be restarting.
        let has_run = Path::new(resolved_identity::RUNTIME_DIRECTORY).exists();
        Self {
            resolv_conf: match FileKind::of(files.path()) {
                // The helper writes for us.
                FileKind::ReadOnly if files.has_helper() => FileKind::Writable,
                kind => kind,
            },
            uses_resolved: has_run && points_to_resolved(files),
        }
    }
}

/// Whether the C library's resolver queries systemd-resolved, or reads its server list from it.
fn points_to_resolved(files: &ResolvConf) -> bool {
    let is_its_file = |target: PathBuf| resolved_identity::LINK_TARGETS.iter().any(|file| target.ends_with(file));
    fs::read_link(files.path()).is_ok_and(is_its_file)
        || files.system_resolvers().into_iter().any(resolved_identity::is_stub)
}

impl FileKind {
    /// Does not open the file: closing it would look like a change to every program that watches it, this one included.
    fn of(path: &Path) -> Self {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_symlink() => Self::Symlink(fs::read_link(path).unwrap_or_default()),
            Ok(metadata) if metadata.is_file() => match accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS) {
                Ok(()) => Self::Writable,
                Err(_) => Self::ReadOnly,
            },
            Ok(_) => Self::NotAFile,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            Err(_) => Self::NotAFile,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain_file() -> Facts {
        Facts { resolv_conf: FileKind::Writable, uses_resolved: false }
    }

    fn ubuntu() -> Facts {
        Facts { resolv_conf: FileKind::Symlink("../run/systemd/resolve/stub-resolv.conf".into()), uses_resolved: true }
    }

    fn host_with(kind: FileKind) -> Facts {
        Facts { resolv_conf: kind, ..plain_file() }
    }

    #[test]
    fn dns_method_follows_from_facts() {
        use DnsControl::{Auto, Disabled, EtcResolvConf, SystemdResolved};
        use Method::{ResolvConf, Resolved, Unavailable, Unmanaged};

        let rows = [
            (Auto, plain_file(), ResolvConf),
            (EtcResolvConf, plain_file(), ResolvConf),
            (Auto, ubuntu(), Resolved),
            (Auto, Facts { uses_resolved: true, ..plain_file() }, Resolved),
            (EtcResolvConf, ubuntu(), Unavailable(Obstacle::ResolvedInUse)),
            (EtcResolvConf, Facts { uses_resolved: true, ..plain_file() }, Unavailable(Obstacle::ResolvedInUse)),
            (SystemdResolved, ubuntu(), Resolved),
            (SystemdResolved, plain_file(), Resolved),
            (Auto, host_with(FileKind::Symlink("/x".into())), Unavailable(Obstacle::Symlink("/x".into()))),
            (EtcResolvConf, host_with(FileKind::ReadOnly), Unavailable(Obstacle::ReadOnly)),
            (Auto, host_with(FileKind::Missing), Unavailable(Obstacle::Missing)),
            (Auto, host_with(FileKind::NotAFile), Unavailable(Obstacle::NotAFile)),
            (Disabled, ubuntu(), Unmanaged),
            (Disabled, host_with(FileKind::Missing), Unmanaged),
        ];
        for (control, facts, method) in rows {
            assert_eq!(choose(control, &facts), method, "{control} on {facts:?}");
        }
    }

    #[test]
    fn kind_of_file_is_recognised() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        assert_eq!(FileKind::of(&path), FileKind::Missing);
        fs::write(&path, "").unwrap();
        assert_eq!(FileKind::of(&path), FileKind::Writable);
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("../run/somewhere", &path).unwrap();
        assert_eq!(FileKind::of(&path), FileKind::Symlink("../run/somewhere".into()));
        assert_eq!(FileKind::of(directory.path()), FileKind::NotAFile);
    }
}
