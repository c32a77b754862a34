//! The files of a fresh Debian or Ubuntu, made once: the lower layer of all machines.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

/// Default suite; `FIREZONE_MACHINE_SUITE` overrides it, because programs built on a newer system need a newer one.
const DEFAULT_SUITE: &str = "bookworm";

/// Suites of Ubuntu. Debian's debootstrap does not know all of them; it makes one like the other.
const UBUNTU: [&str; 1] = ["noble"];
const ARCHIVE_OF_UBUNTU: [&str; 2] = ["http://archive.ubuntu.com/ubuntu", "/usr/share/debootstrap/scripts/gutsy"];

/// Packages of a system that boots.
const BASE_PACKAGES: &str = "systemd-sysv,dbus,iproute2,curl,bind9-dnsutils,e2fsprogs,procps,openssl,ca-certificates";

/// Further packages, whose installation scripts need a complete system.
const ADDED_PACKAGES: &str = "libpam-systemd polkitd systemd-resolved network-manager dnsmasq-base stunnel4 strace";

/// Packages for the desktop app and a virtual display.
const DESKTOP_PACKAGES: &str = "dbus-user-session desktop-file-utils gnome-keyring libadwaita-1-0 libgtk-4-1 libglib2.0-bin \
     librsvg2-common libsecret-tools pkexec xvfb";

/// A package that conflicts with another one. A machine installs it from [`PACKAGE_CACHE`] if
/// [`has_openresolv`].
const CONFLICTING_PACKAGE: &str = "openresolv";

/// Directory of the downloaded [`CONFLICTING_PACKAGE`].
pub const PACKAGE_CACHE: &str = "/var/cache/firezone-tests";

/// Units that are enabled by individual tests only.
const DISABLED_UNITS: &str = "NetworkManager.service NetworkManager-wait-online.service NetworkManager-dispatcher.service \
                        systemd-resolved.service stunnel4.service systemd-networkd.service";

/// Increase this to rebuild images for a reason other than the lists above.
const IMAGE_VERSION: u32 = 2;

/// The base image below `target`, built if it is missing or outdated.
pub(super) fn ready(target: &Path) -> anyhow::Result<PathBuf> {
    let suite = suite();
    kept(target, &suite, &contents(), |draft| make(&suite, draft).context("cannot make a Debian to boot"))
}

/// The same with the packages for the desktop app.
pub(super) fn ready_with_desktop(target: &Path) -> anyhow::Result<PathBuf> {
    let below = ready(target)?;
    kept(target, &format!("{}-desktop", suite()), &format!("{}{DESKTOP_PACKAGES}\n", contents()), |draft| {
        run(Command::new("cp").args(["--archive", "--reflink=auto"]).args([&below, draft]))?;
        add(draft, &install(DESKTOP_PACKAGES)).context("cannot add what a desktop app needs")
    })
}

/// Whether [`CONFLICTING_PACKAGE`] is available; Ubuntu does not have it.
#[must_use]
pub fn has_openresolv() -> bool {
    !UBUNTU.contains(&suite().as_str())
}

fn suite() -> String {
    std::env::var("FIREZONE_MACHINE_SUITE").unwrap_or_else(|_| DEFAULT_SUITE.to_owned())
}

/// Everything that an image is made of.
fn contents() -> String {
    format!("{IMAGE_VERSION}\n{BASE_PACKAGES}\n{ADDED_PACKAGES}\n{CONFLICTING_PACKAGE}\n{DISABLED_UNITS}\n")
}

/// The image of this name and content, built as a draft if it is missing.
fn kept(
    target: &Path,
    name: &str,
    wanted: &str,
    make: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let machines = target.join("machines");
    fs::create_dir_all(&machines)?;
    // Tests run in parallel, in several processes.
    let lock = File::create(machines.join(format!("{name}.lock")))?;
    lock.lock()?;

    let (tree, stamp) = (machines.join(name), machines.join(format!("{name}.stamp")));
    if tree.exists() && fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(tree);
    }
    let draft = machines.join(format!("{name}.new"));
    for old in [&draft, &tree] {
        if old.exists() {
            run(Command::new("rm").args(["-rf", "--one-file-system"]).arg(old))?;
        }
    }
    tracing::info!("making the files of machines that boot; this takes a minute or two, once");
    make(&draft)?;
    fs::rename(&draft, &tree)?;
    fs::write(&stamp, wanted)?;
    Ok(tree)
}

fn make(suite: &str, tree: &Path) -> anyhow::Result<()> {
    // Its mounts and processes end with it.
    let mut debootstrap = Command::new("unshare");
    debootstrap.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    debootstrap.args(["debootstrap", "--variant=minbase", "--include", BASE_PACKAGES]);
    let is_ubuntu = UBUNTU.contains(&suite);
    if is_ubuntu {
        debootstrap.args(["--components=main,universe", "--force-check-gpg", suite]).arg(tree).args(ARCHIVE_OF_UBUNTU);
    } else {
        debootstrap.arg(suite).arg(tree);
    }
    run(&mut debootstrap)?;

    let aside = if is_ubuntu { String::new() } else { format!("apt-get -qq download {CONFLICTING_PACKAGE}; ") };
    let install = format!(
        "mkdir -p {PACKAGE_CACHE}; cd {PACKAGE_CACHE}; chown _apt .; apt-get -qq update; {aside}\
         {}; \
         systemctl --quiet disable {DISABLED_UNITS}; \
         cd /etc/stunnel; \
         openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -keyout ca.key -out ca.crt -subj /CN=stand; \
         openssl req -newkey rsa:2048 -nodes -keyout {DOT_NAME}.key -out {DOT_NAME}.csr -subj /CN={DOT_NAME} \
         -addext subjectAltName=DNS:{DOT_NAME}; \
         openssl x509 -req -in {DOT_NAME}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -copy_extensions copy \
         -out {DOT_NAME}.crt; \
         cat ca.crt >> /etc/ssl/certs/ca-certificates.crt",
        install(ADDED_PACKAGES)
    );
    add(tree, &install)?;
    fs::write(tree.join("etc/hostname"), "machine\n")?;
    Ok(())
}

/// Commands that install packages and clean up.
fn install(packages: &str) -> String {
    format!(
        "apt-get -qq update; apt-get -qq install --yes --no-install-recommends {packages}; \
         apt-get -qq clean; rm -rf /var/lib/apt/lists/*"
    )
}

/// Runs shell commands inside an image.
fn add(tree: &Path, commands: &str) -> anyhow::Result<()> {
    // No service may start, and names are resolved as on this machine.
    let guard = tree.join("usr/sbin/policy-rc.d");
    fs::write(&guard, "#!/bin/sh\nexit 101\n")?;
    fs::set_permissions(&guard, fs::Permissions::from_mode(0o755))?;
    lend(tree, "resolv.conf")?;
    lend(tree, "hosts")?;
    let mut chroot = Command::new("unshare");
    chroot.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "sh", "-c"]);
    chroot.arg("mount -t proc proc \"$1/proc\" && exec chroot \"$1\" sh -c \"$2\"").arg("sh");
    run(chroot.arg(tree).arg(format!("set -e; export DEBIAN_FRONTEND=noninteractive; {commands}")))?;

    fs::remove_file(&guard)?;
    fs::write(tree.join("etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n")?;
    replace(&tree.join("etc/resolv.conf"), "")
}

/// Name of the DNS-over-TLS resolver, in a certificate that all machines trust.
pub const DOT_NAME: &str = "dns.stand.example";

/// Copies a file of this machine into the image.
fn lend(tree: &Path, name: &str) -> anyhow::Result<()> {
    let content = fs::read_to_string(Path::new("/etc").join(name))?;
    replace(&tree.join("etc").join(name), &content)
}

/// Replaces a file that may be a link.
fn replace(path: &Path, content: &str) -> anyhow::Result<()> {
    if fs::symlink_metadata(path).is_ok() {
        fs::remove_file(path)?;
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| {
        format!("cannot run {}; `make tools` installs what is missing", command.get_program().display())
    })?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let last: Vec<&str> = said.lines().rev().take(20).collect();
        bail!("{command:?}: {}\n{}", output.status, last.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}
