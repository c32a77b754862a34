//! Booted machines: a Debian with systemd as its first process, on the network of the client.
//!
//! * [`base_image`] – the shared lower layer, made once by debootstrap
//! * `cgroup`       – a control group for each machine
//! * [`packages`]   – our Debian packages
//! * [`footprint`]  – everything that a daemon could leave on a machine
//!
//! Each machine is an overlay in memory that ends with the stand. Files written before [`Machine::boot`] are as
//! if an administrator had written it before the machine was switched on.

pub mod base_image;
mod cgroup;
pub mod footprint;
pub mod packages;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use nix::{
    mount::{MsFlags, mount},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use self::cgroup::Cgroup;
use crate::{
    account::{ACCOUNT, CLIENT_TOKEN, PORTAL_URL, PRIVATE_NAME},
    checkout::{program_dir, source_dir, target_dir},
    logs::Logs,
    netns::{FILES, Host},
    process::{Program, Running, wait_until},
    stand::{LOG_FILTER, Stand},
    topology::RESOLVER,
    web,
};

/// The unit of the daemon.
pub const UNIT: &str = "firezone-client.service";

/// Timeout for boot and shutdown.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A machine, booted or not.
#[derive(Debug)]
pub struct Machine {
    /// The host whose network it uses.
    host: Host,
    logs: Arc<Logs>,
    files: PathBuf,
    on: Option<Booted>,
}

/// A booted machine. Fields are dropped in the order of a shutdown.
#[derive(Debug)]
struct Booted {
    nspawn: Running,
    first_process: FirstProcess,
    _cgroup: Cgroup,
}

/// The first process of a machine, which ends all others.
#[derive(Clone, Copy, Debug)]
struct FirstProcess {
    /// Its ID in our PID namespace.
    id: Pid,
    /// Its ID in the PID namespace of the lab.
    in_stand: u32,
}

impl Drop for Booted {
    fn drop(&mut self) {
        // It survives its parent. After a shutdown it has ended.
        if self.nspawn.is_running() && kill(self.first_process.id, Signal::SIGKILL).is_ok() {
            drop(self.nspawn.wait(TIMEOUT));
        }
    }
}

impl Machine {
    /// A plain Debian, not booted. `/etc/resolv.conf` is a plain file.
    pub fn new(stand: &Stand) -> anyhow::Result<Self> {
        Self::above(&base_image()?, stand)
    }

    /// The same with a display and the dependencies of the desktop app.
    pub fn with_desktop(stand: &Stand) -> anyhow::Result<Self> {
        Self::above(&base_image::ready_with_desktop(&target_dir()?)?, stand)
    }

    fn above(tree: &Path, stand: &Stand) -> anyhow::Result<Self> {
        let host = stand.client().clone();
        let files = Path::new(FILES).join("machine");
        host.in_files(|| overlay(tree, &files))??;

        let machine = Self { host, logs: stand.logs.clone(), files: files.join("root"), on: None };
        machine.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")?;
        // The journal goes to the console: a reader inside of the machine would delay its shutdown.
        machine.write(
            "/etc/systemd/journald.conf.d/console.conf",
            "[Journal]\nForwardToConsole=yes\nMaxLevelConsole=debug\n",
        )?;
        machine.write("/etc/resolv.conf", &format!("# written by the administrator\nnameserver {}\n", RESOLVER.v4))?;
        Ok(machine)
    }

    /// Installs a target of the Makefile and enables the units.
    pub fn install(&self, target: &str) -> anyhow::Result<()> {
        self.make(target)?;
        self.inside("systemd-sysusers").check()?;
        self.systemctl_offline(&format!("enable {UNIT} firezone-client-dns.socket"))?;
        let settings = format!("FIREZONE_API_URL={PORTAL_URL}\nRUST_LOG={LOG_FILTER}\n");
        self.write("/etc/default/firezone-client", &settings)
    }

    /// Installs the files of a target of the Makefile.
    pub fn make(&self, target: &str) -> anyhow::Result<()> {
        let built = program_dir()?;
        self.host
            .program("make --silent --no-print-directory")
            .arg(format!("--directory={}", source_dir().display()))
            .arg(target)
            .arg(format!("DESTDIR={}", self.files.display()))
            .arg(format!("BUILT={}", built.display()))
            .check()
            .map(drop)
    }

    /// Installs one of our programs that no package contains.
    pub fn install_program(&self, program: &str) -> anyhow::Result<()> {
        let place = self.files.join("usr/local/bin").join(program);
        let install =
            self.host.program("install -D --mode=755").arg(program_dir()?.join(program).display().to_string());
        install.arg(place.display().to_string()).check().map(drop)
    }

    /// Adds a user in the group `firezone`.
    pub fn add_member(&self, name: &str) -> anyhow::Result<()> {
        self.inside("useradd --no-create-home --groups firezone").arg(name).check().map(drop)
    }

    /// Signs in as a user and waits until connected.
    pub fn sign_in(&self, user: &str) -> anyhow::Result<()> {
        let command = format!("firezonectl sign-in --token-stdin --account-slug {ACCOUNT} --wait=60");
        self.program(&command).as_user(user).input(CLIENT_TOKEN).check().map(drop)
    }

    /// Signs out as a user and waits until signed out.
    pub fn sign_out(&self, user: &str) -> anyhow::Result<()> {
        self.program("firezonectl sign-out --wait=60").as_user(user).check().map(drop)
    }

    /// Fetches the private server's greeting, by its name.
    pub fn check_private_server(&self) -> anyhow::Result<()> {
        let curl = "curl --silent --show-error --fail --max-time 30 --retry 2 --retry-all-errors";
        let greeting = self.program(&format!("{curl} http://{PRIVATE_NAME}/")).check()?.text();
        anyhow::ensure!(greeting == web::GREETING, "the server said {greeting}");
        Ok(())
    }

    /// Waits for a status text of the unit.
    pub fn wait_for_unit_status(&self, status: &str) -> anyhow::Result<()> {
        wait_until(&format!("the unit says {status}"), TIMEOUT, || {
            self.property(UNIT, "StatusText").is_ok_and(|text| text.contains(status))
        })
    }

    /// Writes a file, and the directories above it.
    pub fn write(&self, path: &str, content: &str) -> anyhow::Result<()> {
        self.inside("sh -c").arg("mkdir -p \"${1%/*}\" && cat > \"$1\"").arg("sh").arg(path).input(content).check()?;
        Ok(())
    }

    /// The content of a file.
    pub fn read(&self, path: &str) -> anyhow::Result<String> {
        Ok(self.inside("cat").arg(path).check()?.text())
    }

    /// Boots it and waits until all enabled units are started. Its console and journal are in the log `machine`.
    pub fn boot(&mut self) -> anyhow::Result<()> {
        let cgroup = Cgroup::new()?;
        // It shares the network namespace of its parent.
        let nspawn = format!(
            "systemd-nspawn --boot --quiet --directory={} --machine=machine --register=no --keep-unit --console=read-only \
             --resolv-conf=off --link-journal=no --bind=/dev/net/tun --capability=CAP_NET_ADMIN",
            self.files.display()
        );
        let nspawn = self
            .host
            .program("sh -c")
            .arg(format!("{}exec {nspawn}", cgroup.enter()))
            .start("systemd-nspawn", self.logs.open("machine"))?;

        let mut first_process = None;
        wait_until("the machine has a first process", TIMEOUT, || {
            first_process = child_of(nspawn.id());
            first_process.is_some()
        })?;
        let first_process = first_process.context("no first process")?;
        self.on = Some(Booted { nspawn, first_process, _cgroup: cgroup });
        wait_until("the machine is up", TIMEOUT, || {
            let state = self.program("systemctl is-system-running").run();
            state.is_ok_and(|state| ["running", "degraded"].contains(&state.text().trim()))
        })?;
        wait_until("all addresses are in use", TIMEOUT, || {
            let tentative = self.program("ip -6 address show tentative").run();
            tentative.is_ok_and(|it| it.status.success() && it.text().is_empty())
        })?;
        let failed = self.program("systemctl list-units --failed --plain --no-legend").check()?.text();
        if !failed.is_empty() {
            bail!("not everything has started: {failed}");
        }
        Ok(())
    }

    /// Shuts it down, as its power button does. Its files stay.
    pub fn shut_down(&mut self) -> anyhow::Result<()> {
        self.program("systemctl poweroff").check()?;
        if let Some(mut on) = self.on.take() {
            on.nspawn.wait(TIMEOUT)?;
        }
        Ok(())
    }

    /// Prepares to run a command line on it, as root.
    pub fn program(&self, command: &str) -> Program<'_> {
        let entrance = match &self.on {
            Some(on) => format!("nsenter --target={} --all --wd=/", on.first_process.in_stand),
            None => "false".to_owned(),
        };
        self.host.program(command).behind(&entrance)
    }

    /// Runs a command of `systemctl`.
    pub fn systemctl(&self, command: &str) -> anyhow::Result<()> {
        self.program(&format!("systemctl {command}")).check().map(drop)
    }

    /// The same before it is booted.
    pub fn systemctl_offline(&self, command: &str) -> anyhow::Result<()> {
        self.inside(&format!("systemctl --quiet {command}")).check().map(drop)
    }

    /// A property of a unit.
    pub fn property(&self, unit: &str, property: &str) -> anyhow::Result<String> {
        let answer = self.program(&format!("systemctl show --value --property={property} {unit}")).check()?;
        Ok(answer.text().trim().to_owned())
    }

    /// Prepares to run a command line with its files, booted or not.
    pub fn inside(&self, command: &str) -> Program<'_> {
        match &self.on {
            Some(_) => self.program(command),
            None => self.host.program(command).behind(&format!("chroot {}", self.files.display())),
        }
    }

    /// The addresses that a program gets for a name, as the C library finds them; none if there is no such name.
    pub fn look_up(&self, name: &str) -> anyhow::Result<BTreeSet<IpAddr>> {
        let answer = self.program("getent ahosts").arg(name).run()?.text();
        let words = answer.lines().filter_map(|line| line.split_whitespace().next());
        words.map(|word| word.parse().with_context(|| format!("{word} is no address"))).collect()
    }
}

/// Serves DNS over TLS (RFC 7858) on the resolver, as [`base_image::DOT_NAME`].
pub fn serve_dns_over_tls(stand: &Stand) -> anyhow::Result<Running> {
    let tree = base_image()?;
    let (resolver, name) = (&stand.net.resolver, base_image::DOT_NAME);
    let settings = format!(
        "foreground = yes\npid =\nsyslog = no\n[dot]\naccept = {address}:853\nconnect = {address}:53\n\
         cert = /etc/stunnel/{name}.crt\nkey = /etc/stunnel/{name}.key\n",
        address = RESOLVER.v4
    );
    let stunnel = resolver.program("chroot").arg(tree.display().to_string());
    let stunnel = stunnel.arg("stunnel4").arg("-fd").arg("0").input(settings);
    let running = stunnel.start("stunnel", stand.logs.open("stunnel"))?;
    resolver.wait_for_port("tcp", 853)?;
    Ok(running)
}

fn base_image() -> anyhow::Result<PathBuf> {
    base_image::ready(&target_dir()?)
}

/// Mounts the files of a machine above the base image.
fn overlay(tree: &Path, files: &Path) -> anyhow::Result<()> {
    // A limit; memory is used as files grow.
    std::fs::create_dir_all(files)?;
    mount(Some("tmpfs"), files, Some("tmpfs"), MsFlags::empty(), Some("mode=755,size=75%"))?;
    let [upper, work, root] = ["upper", "work", "root"].map(|name| files.join(name));
    for directory in [&upper, &work, &root] {
        std::fs::create_dir(directory)?;
    }
    // Colons and commas separate directories and options.
    let lower = tree.display().to_string().replace(':', "\\:").replace(',', "\\,");
    let options = format!("lowerdir={lower},upperdir={},workdir={}", upper.display(), work.display());
    mount(Some("overlay"), &root, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .context("cannot mount an overlay; the kernel has to know overlayfs")
}

/// The child of a process that is the first of its PID namespace.
fn child_of(process: u32) -> Option<FirstProcess> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().find_map(|child| {
        let status = std::fs::read_to_string(format!("/proc/{child}/status")).ok()?;
        let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        let ids: Vec<u32> = ids.split_whitespace().filter_map(|id| id.parse().ok()).collect();
        // IDs in our namespace, possibly others, in the lab, in the machine.
        match ids.as_slice() {
            [.., in_stand, 1] => Some(FirstProcess { id: Pid::from_raw(child.parse().ok()?), in_stand: *in_stand }),
            _ => None,
        }
    })
}
