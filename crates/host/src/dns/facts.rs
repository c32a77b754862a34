//! Which way of controlling names fits this host: a pure choice over a struct of facts, so that each odd distribution is a
//! row of a table.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::{file::ResolvConf, resolved};
use session::DnsControl;

/// The address on which systemd-resolved answers the C library, and the one without its own search logic.
const RESOLVED_STUBS: [[u8; 4]; 2] = [[127, 0, 0, 53], [127, 0, 0, 54]];

/// Where the links lead that systemd-resolved offers for `/etc/resolv.conf`.
const RESOLVED_FILES: [&str; 3] =
    ["systemd/resolve/stub-resolv.conf", "systemd/resolve/resolv.conf", "lib/systemd/resolv.conf"];

/// What the choice depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) resolv_conf: Kind,
    /// `/etc/resolv.conf` sends programs to systemd-resolved, which is part of this host.
    pub(super) resolved_answers: bool,
}

/// What `/etc/resolv.conf` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Writable,
    ReadOnly,
    Link(PathBuf),
    Missing,
    /// A directory, a device.
    Strange,
}

/// How names are controlled from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Method {
    ResolvConf,
    /// Settings of our link in systemd-resolved.
    Resolved,
    /// As wished by the administrator.
    HandsOff,
    /// It cannot be done here, for this reason.
    Unavailable(Obstacle),
}

/// Why names cannot be controlled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// systemd-resolved would take our sentinels from the file as its own servers, and we would ask it in turn.
    ResolvedInCharge,
    Link(PathBuf),
    ReadOnly,
    Missing,
    Strange,
}

/// Chooses.
pub(super) fn choose(control: DnsControl, facts: &Facts) -> Method {
    match control {
        DnsControl::Disabled => return Method::HandsOff,
        DnsControl::SystemdResolved => return Method::Resolved,
        DnsControl::Auto if facts.resolved_answers => return Method::Resolved,
        DnsControl::Auto | DnsControl::EtcResolvConf => {}
    }
    match &facts.resolv_conf {
        _ if facts.resolved_answers => Method::Unavailable(Obstacle::ResolvedInCharge),
        Kind::Writable => Method::ResolvConf,
        Kind::ReadOnly => Method::Unavailable(Obstacle::ReadOnly),
        Kind::Link(target) => Method::Unavailable(Obstacle::Link(target.clone())),
        Kind::Missing => Method::Unavailable(Obstacle::Missing),
        Kind::Strange => Method::Unavailable(Obstacle::Strange),
    }
}

impl Facts {
    pub(super) fn gather(files: &ResolvConf) -> Self {
        // Not whether it runs this moment: it may be starting over.
        let is_here = Path::new(resolved::DIRECTORY).exists();
        Self {
            resolv_conf: match Kind::of(files.path()) {
                // We may not, but somebody may who does it for us.
                Kind::ReadOnly if files.has_helper() => Kind::Writable,
                kind => kind,
            },
            resolved_answers: is_here && asks_resolved(files),
        }
    }
}

/// Whether the C library's own resolver asks systemd-resolved, or would be told by it whom to ask.
fn asks_resolved(files: &ResolvConf) -> bool {
    let is_its_file = |target: PathBuf| RESOLVED_FILES.iter().any(|file| target.ends_with(file));
    fs::read_link(files.path()).is_ok_and(is_its_file) || files.system_resolvers().into_iter().any(is_resolved)
}

/// Whether this is systemd-resolved itself.
pub(super) fn is_resolved(server: IpAddr) -> bool {
    matches!(server, IpAddr::V4(ip) if RESOLVED_STUBS.contains(&ip.octets()))
}

impl Kind {
    /// Does not open the file: closing it would look like a change to everybody who watches it, ourselves included.
    fn of(path: &Path) -> Self {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_symlink() => Self::Link(fs::read_link(path).unwrap_or_default()),
            Ok(metadata) if metadata.is_file() => match accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS) {
                Ok(()) => Self::Writable,
                Err(_) => Self::ReadOnly,
            },
            Ok(_) => Self::Strange,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            Err(_) => Self::Strange,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain_file() -> Facts {
        Facts { resolv_conf: Kind::Writable, resolved_answers: false }
    }

    fn ubuntu() -> Facts {
        Facts { resolv_conf: Kind::Link("../run/systemd/resolve/stub-resolv.conf".into()), resolved_answers: true }
    }

    fn of(kind: Kind) -> Facts {
        Facts { resolv_conf: kind, ..plain_file() }
    }

    #[test]
    fn the_method_follows_from_the_facts() {
        use DnsControl::{Auto, Disabled, EtcResolvConf, SystemdResolved};
        use Method::{HandsOff, ResolvConf, Resolved, Unavailable};

        let rows = [
            (Auto, plain_file(), ResolvConf),
            (EtcResolvConf, plain_file(), ResolvConf),
            (Auto, ubuntu(), Resolved),
            (Auto, Facts { resolved_answers: true, ..plain_file() }, Resolved),
            (EtcResolvConf, ubuntu(), Unavailable(Obstacle::ResolvedInCharge)),
            (EtcResolvConf, Facts { resolved_answers: true, ..plain_file() }, Unavailable(Obstacle::ResolvedInCharge)),
            (SystemdResolved, ubuntu(), Resolved),
            (SystemdResolved, plain_file(), Resolved),
            (Auto, of(Kind::Link("/x".into())), Unavailable(Obstacle::Link("/x".into()))),
            (EtcResolvConf, of(Kind::ReadOnly), Unavailable(Obstacle::ReadOnly)),
            (Auto, of(Kind::Missing), Unavailable(Obstacle::Missing)),
            (Auto, of(Kind::Strange), Unavailable(Obstacle::Strange)),
            (Disabled, ubuntu(), HandsOff),
            (Disabled, of(Kind::Missing), HandsOff),
        ];
        for (control, facts, method) in rows {
            assert_eq!(choose(control, &facts), method, "{control} on {facts:?}");
        }
    }

    #[test]
    fn files_are_recognised_for_what_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        assert_eq!(Kind::of(&path), Kind::Missing);
        fs::write(&path, "").unwrap();
        assert_eq!(Kind::of(&path), Kind::Writable);
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("../run/somewhere", &path).unwrap();
        assert_eq!(Kind::of(&path), Kind::Link("../run/somewhere".into()));
        assert_eq!(Kind::of(directory.path()), Kind::Strange);
    }
}
