//! The files of a fresh Debian or Ubuntu, made once and kept: all machines are layers above it.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

/// Which Debian, if `FIREZONE_MACHINE_SUITE` does not name another: programs that were built on a newer one need it.
const SUITE: &str = "bookworm";

/// Suites of Ubuntu. Debian's debootstrap does not know all of them; it makes one like the other.
const UBUNTU: [&str; 1] = ["noble"];
const ARCHIVE_OF_UBUNTU: [&str; 2] = ["http://archive.ubuntu.com/ubuntu", "/usr/share/debootstrap/scripts/gutsy"];

/// What makes a system that boots.
const FIRST: &str = "systemd-sysv,dbus,iproute2,curl,bind9-dnsutils,e2fsprogs,procps,openssl,ca-certificates";

/// What is there in addition. Their installation scripts want a system that is complete.
const SECOND: &str = "libpam-systemd polkitd systemd-resolved network-manager dnsmasq-base stunnel4 strace";

/// What is needed for a desktop app, and a screen that shows nothing. Only machines with a desktop have it.
const DESKTOP: &str = "dbus-user-session desktop-file-utils gnome-keyring libadwaita-1-0 libgtk-4-1 libglib2.0-bin \
     librsvg2-common libsecret-tools pkexec xvfb";

/// Packages that do not get along with one of the others; a machine that wants one installs it from [`PACKAGES`], where
/// [`has_aside`].
const ASIDE: &str = "openresolv";

/// Where the packages of [`ASIDE`] are.
pub const PACKAGES: &str = "/var/cache/firezone-tests";

/// What runs only where a machine wants it.
const DISABLED: &str = "NetworkManager.service NetworkManager-wait-online.service NetworkManager-dispatcher.service \
                        systemd-resolved.service stunnel4.service systemd-networkd.service";

/// Changes when the tree has to be made anew for a reason that the lists do not tell.
const EDITION: u32 = 2;

/// The tree, made if it is not there yet. `target` is where it is kept.
pub(super) fn ready(target: &Path) -> anyhow::Result<PathBuf> {
    let suite = suite();
    kept(target, &suite, &contents(), |draft| make(&suite, draft).context("cannot make a Debian to boot"))
}

/// The same with what a desktop app needs.
pub(super) fn ready_with_desktop(target: &Path) -> anyhow::Result<PathBuf> {
    let below = ready(target)?;
    kept(target, &format!("{}-desktop", suite()), &format!("{}{DESKTOP}\n", contents()), |draft| {
        run(Command::new("cp").args(["--archive", "--reflink=auto"]).args([&below, draft]))?;
        add(draft, &install(DESKTOP)).context("cannot add what a desktop app needs")
    })
}

/// Whether there are the packages that do not get along with others. Ubuntu has not got them.
#[must_use]
pub fn has_aside() -> bool {
    !UBUNTU.contains(&suite().as_str())
}

fn suite() -> String {
    std::env::var("FIREZONE_MACHINE_SUITE").unwrap_or_else(|_| SUITE.to_owned())
}

/// All that is in a tree.
fn contents() -> String {
    format!("{EDITION}\n{FIRST}\n{SECOND}\n{ASIDE}\n{DISABLED}\n")
}

/// The tree of a name with what is wanted in it, made as a draft if it is not there yet.
fn kept(
    target: &Path,
    name: &str,
    wanted: &str,
    make: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let machines = target.join("machines");
    fs::create_dir_all(&machines)?;
    // Tests run at the same time, and in several processes.
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
    // What is mounted and started meanwhile ends with it, however it ends.
    let mut debootstrap = Command::new("unshare");
    debootstrap.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    debootstrap.args(["debootstrap", "--variant=minbase", "--include", FIRST]);
    let is_ubuntu = UBUNTU.contains(&suite);
    if is_ubuntu {
        debootstrap.args(["--components=main,universe", "--force-check-gpg", suite]).arg(tree).args(ARCHIVE_OF_UBUNTU);
    } else {
        debootstrap.arg(suite).arg(tree);
    }
    run(&mut debootstrap)?;

    let aside = if is_ubuntu { String::new() } else { format!("apt-get -qq download {ASIDE}; ") };
    let install = format!(
        "mkdir -p {PACKAGES}; cd {PACKAGES}; chown _apt .; apt-get -qq update; {aside}\
         {}; \
         systemctl --quiet disable {DISABLED}; \
         cd /etc/stunnel; \
         openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -keyout ca.key -out ca.crt -subj /CN=stand; \
         openssl req -newkey rsa:2048 -nodes -keyout {DOT}.key -out {DOT}.csr -subj /CN={DOT} \
         -addext subjectAltName=DNS:{DOT}; \
         openssl x509 -req -in {DOT}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -copy_extensions copy \
         -out {DOT}.crt; \
         cat ca.crt >> /etc/ssl/certs/ca-certificates.crt",
        install(SECOND)
    );
    add(tree, &install)?;
    fs::write(tree.join("etc/hostname"), "machine\n")?;
    Ok(())
}

/// Commands that install packages and leave nothing else.
fn install(packages: &str) -> String {
    format!(
        "apt-get -qq update; apt-get -qq install --yes --no-install-recommends {packages}; \
         apt-get -qq clean; rm -rf /var/lib/apt/lists/*"
    )
}

/// Lets a shell add something to a tree.
fn add(tree: &Path, commands: &str) -> anyhow::Result<()> {
    // Nothing may start, and names are looked up as outside.
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

/// The name in the certificate that all machines trust, for a resolver that speaks TLS. Its key is beside it.
pub const DOT: &str = "dns.stand.example";

/// Lets the tree have the machine's own file for a while.
fn lend(tree: &Path, name: &str) -> anyhow::Result<()> {
    let content = fs::read_to_string(Path::new("/etc").join(name))?;
    replace(&tree.join("etc").join(name), &content)
}

/// It may be a link.
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
