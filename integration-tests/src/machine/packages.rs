//! Our Debian packages of the programs that were built: made once, and installed on booted machines.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail};

use super::Machine;
use crate::{
    checkout::{program_dir, source_dir, target_dir},
    process::Finished,
};

/// Directory of the packages on a machine.
const DIRECTORY: &str = "/root/packages";

/// Timeout of dpkg, with the units that packages start and stop.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Version suffix of the newer packages.
const NEXT_SUFFIX: &str = "+next";

/// Sources of the packages, besides the programs.
const SOURCES: [&str; 11] = [
    "CHANGELOG.md",
    "Makefile",
    "crates/dbus-api/xml",
    "dbus-policy",
    "debian",
    "firezone-gtk/data",
    "firezonectl/schemas",
    "man",
    "polkit",
    "scripts/build-deb",
    "systemd",
];

/// A version of the packages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// The version of this checkout.
    This,
    /// A newer version of the same programs.
    Next,
}

impl Machine {
    /// Copies the packages to the machine.
    pub fn with_packages(&self) -> anyhow::Result<()> {
        let made = ready()?;
        let copy = "mkdir -p \"$2\" && cp \"$1\"/*.deb \"$2\"";
        let place = self.files.join(DIRECTORY.trim_start_matches('/'));
        let copy = self.host.program("sh -c").arg(copy).arg("sh").arg(made.display().to_string());
        copy.arg(place.display().to_string()).check().map(drop)
    }

    /// Installs packages and returns the output of dpkg.
    pub fn dpkg_install(&self, packages: &[&str], version: Version) -> anyhow::Result<Finished> {
        let suffix = if version == Version::Next { NEXT_SUFFIX } else { "" };
        let files = packages.iter().map(|name| format!("{DIRECTORY}/{name}_*[0-9]{suffix}_*.deb")).collect::<Vec<_>>();
        self.dpkg(&format!("--install {}", files.join(" ")))
    }

    /// Runs dpkg without standard input.
    pub fn dpkg(&self, command: &str) -> anyhow::Result<Finished> {
        self.program("sh -c").arg(format!("exec dpkg {command} < /dev/null")).within(TIMEOUT).check()
    }
}

/// The directory of the packages, which are rebuilt if programs or sources are newer.
fn ready() -> anyhow::Result<PathBuf> {
    let (built, machines) = (program_dir()?, target_dir()?.join("machines"));
    let place = machines.join("packages");
    fs::create_dir_all(&place)?;
    // Tests run in parallel, in several processes.
    let lock = File::create(machines.join("packages.lock"))?;
    lock.lock()?;

    let stamp = place.join("stamp");
    let newest = newest(&built)?;
    if fs::metadata(&stamp).and_then(|it| it.modified()).is_ok_and(|made| made > newest) {
        return Ok(place);
    }
    tracing::info!("packing the programs; this takes half a minute, once");
    let begun = SystemTime::now();
    run(Command::new(source_dir().join("scripts/build-deb")).arg(&place).arg(&built))?;
    for package in ["firezoned", "firezonectl", "firezone-gtk", "firezone-headless"] {
        run(Command::new("sh").args(["-c", BUILD_NEXT_VERSION, "sh", NEXT_SUFFIX, package]).current_dir(&place))?;
    }
    File::create(&stamp)?.set_modified(begun)?;
    Ok(place)
}

/// Builds a package of the next version.
const BUILD_NEXT_VERSION: &str = "set -e; dpkg-deb --raw-extract $2_*[0-9]_*.deb next; \
    sed -i -E \"s/^(Version: .*)/\\1$1/; s/\\(= ([^)]*)\\)/(= \\1$1)/g\" next/DEBIAN/control; \
    dpkg-deb --root-owner-group -Zgzip -z1 --build next . ; rm -r next";

fn newest(built: &Path) -> anyhow::Result<SystemTime> {
    let programs = ["firezoned", "firezonectl", "firezone-gtk", "firezone-resolv-conf"].map(|name| built.join(name));
    let mut newest = SystemTime::UNIX_EPOCH;
    let mut look_at: Vec<PathBuf> = programs.to_vec();
    look_at.extend(SOURCES.map(|name| source_dir().join(name)).into_iter().filter(|path| path.exists()));
    while let Some(path) = look_at.pop() {
        let facts = fs::metadata(&path).with_context(|| format!("{} is not there", path.display()))?;
        newest = newest.max(facts.modified()?);
        if facts.is_dir() {
            for entry in fs::read_dir(&path)? {
                look_at.push(entry?.path());
            }
        }
    }
    Ok(newest)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
