//! Hosts in network namespaces, held by file descriptors.
//!
//! Nothing here can outlive this process. Network and mount namespaces belong to open descriptors of this
//! process, other processes belong to a PID namespace whose first process ends with it, and files are on a tmpfs that only these
//! mount namespaces see. After any end (return, panic, Ctrl-C, SIGKILL) the kernel removes everything, and the
//! machine is unchanged.

use std::{
    fs::{File, Metadata},
    io::{BufRead as _, BufReader},
    os::{
        fd::AsFd as _,
        unix::{
            fs::{MetadataExt as _, PermissionsExt as _},
            process::CommandExt as _,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use anyhow::{Context as _, bail};
use nix::{
    fcntl::{OFlag, open, openat},
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    sys::stat::{Mode, SFlag, makedev, mknod},
    unistd::fchdir,
};

use crate::checkout::{source_dir, target_dir};

/// Directory of the lab's files. It exists in the lab only.
pub const FILES: &str = "/run/lab";

/// What all hosts share: the PID namespace and the initial mount namespace.
#[derive(Debug)]
pub struct Lab {
    end: Arc<End>,
    shared: Arc<Shared>,
}

/// All labs of this process, for [`end_all_labs`].
static LABS: Mutex<Vec<Weak<End>>> = Mutex::new(Vec::new());

/// Ends a lab, from any thread.
#[derive(Debug)]
struct End {
    /// Ends at the end of its input, that is, with this process. All processes of the lab end with it.
    first_process: Mutex<Child>,
}

#[derive(Debug)]
struct Shared {
    processes: File,
    files: File,
}

/// A host with its own network and mount namespace.
#[derive(Clone, Debug)]
pub struct Host {
    name: &'static str,
    shared: Arc<Shared>,
    network: Arc<File>,
    files: Arc<File>,
}

impl Lab {
    /// An empty lab with private `/proc`, `/run` and `/tmp`, and overlays of the directories in which tests change files.
    pub fn new() -> anyhow::Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("this needs root, for network namespaces; `make test` and `make demo` take care of that");
        }

        let mut first_process = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"])
            // It reaps orphans without waiting for them.
            .args(["sh", "-c", "echo ready; exec env --ignore-signal=CHLD cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("cannot run unshare")?;
        let (output, id) = (first_process.stdout.take(), first_process.id());
        let end = Arc::new(End { first_process: Mutex::new(first_process) });
        LABS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&end));
        let mut greeting = String::new();
        let output = output.context("no output of unshare")?;
        BufReader::new(output).read_line(&mut greeting)?;
        if greeting.trim() != "ready" {
            bail!("cannot create namespaces; is this a container without privileges?");
        }

        let of = |kind: &str| File::open(format!("/proc/{id}/ns/{kind}"));
        let shared = Arc::new(Shared { processes: of("pid_for_children")?, files: of("mnt")? });
        let lab = Self { end, shared };
        // Inside of the lab, `/proc` does not show this process, so the path of its executable is unknown there.
        let checkout = [source_dir(), target_dir()?];
        lab.inside(|| prepare_files(checkout))??;
        Ok(lab)
    }

    /// A new host without links, with a copy of the lab's current mounts.
    pub fn host(&self, name: &'static str) -> anyhow::Result<Host> {
        // The names in this directory follow the thread that opened it, also into other namespaces.
        let (network, files) = self.inside_with(
            || open("/proc/thread-self/ns", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()),
            |own| -> anyhow::Result<_> {
                let own = own?;
                unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
                let namespace = |kind: &str| openat(&own, kind, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
                Ok((File::from(namespace("net")?), File::from(namespace("mnt")?)))
            },
        )??;

        let host = Host { name, shared: self.shared.clone(), network: Arc::new(network), files: Arc::new(files) };
        host.ip(&["link set lo up"])?;
        Ok(host)
    }

    /// Runs `task` in the mount namespace of the lab.
    pub fn inside<T: Send>(&self, task: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        self.inside_with(|| (), |()| task())
    }

    fn inside_with<A, T: Send>(
        &self,
        before: impl FnOnce() -> A + Send,
        task: impl FnOnce(A) -> T + Send,
    ) -> anyhow::Result<T> {
        on_a_thread(|| {
            let prepared = before();
            enter_files(&self.shared.files)?;
            Ok(task(prepared))
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.end.now();
    }
}

/// Ends all processes of all labs, and returns when the last one has ended. Further use of a lab fails.
pub fn end_all_labs() {
    for lab in LABS.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        if let Some(end) = lab.upgrade() {
            end.now();
        }
    }
}

impl End {
    fn now(&self) {
        let mut first_process = self.first_process.lock().unwrap_or_else(PoisonError::into_inner);
        drop(first_process.stdin.take());
        if let Err(error) = first_process.wait() {
            tracing::warn!(%error, "the first process cannot be waited for");
        }
    }
}

impl Host {
    /// Its name in logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Connects two hosts by a cable. Each end has a name.
    pub fn cable(&self, end: &str, other: &Host, other_end: &str) -> anyhow::Result<()> {
        use std::os::fd::AsRawFd as _;

        // `ip` accepts the path of a namespace as its name.
        let there = format!("/proc/{}/fd/{}", std::process::id(), other.network.as_raw_fd());
        self.ip(&[&format!("link add {end} type veth peer name {other_end} netns {there}")])?;
        self.ip(&[&format!("link set {end} up")])?;
        other.ip(&[&format!("link set {other_end} up")])
    }

    /// Runs commands of `ip` in order.
    pub fn ip(&self, commands: &[&str]) -> anyhow::Result<()> {
        for command in commands {
            let output = self.in_network(|| Command::new("ip").args(command.split(' ')).output())?;
            let output = output.context("cannot run ip")?;
            if !output.status.success() {
                bail!("{}: ip {command}: {}", self.name, String::from_utf8_lossy(&output.stderr).trim());
            }
        }
        Ok(())
    }

    /// Sets a kernel parameter of this host's network.
    pub fn sysctl(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        self.in_network(|| std::fs::write(&path, value))?.with_context(|| format!("{}: cannot set {name}", self.name))
    }

    /// Loads rules into this host's packet filter.
    pub fn nft(&self, rules: &str) -> anyhow::Result<String> {
        let output =
            self.in_network(|| Command::new("nft").arg("-j").arg(rules).output())?.context("cannot run nft")?;
        if !output.status.success() {
            bail!("{}: nft: {}", self.name, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Whether a program listens on this TCP (`tcp`) or UDP (`udp`) port, on any address.
    pub fn listens(&self, protocol: &str, port: u16) -> bool {
        let marker = format!(":{port:04X} ");
        let table = |suffix: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{protocol}{suffix}"));
        let found = self.in_network(|| {
            ["", "6"].into_iter().filter_map(|suffix| table(suffix).ok()).any(|table| {
                // The second column is the local address; TCP sockets have to be in state "listen".
                table.lines().skip(1).any(|line| {
                    let mut columns = line.split_whitespace().skip(1);
                    columns.next().is_some_and(|local| format!("{local} ").ends_with(&marker))
                        && (protocol == "udp" || columns.nth(1) == Some("0A"))
                })
            })
        });
        found.unwrap_or(false)
    }

    /// Binds a file with `content` to `path` on this host only. It can be written but not replaced, such as a container's
    /// `/etc/resolv.conf`.
    pub fn bind_file(&self, path: &str, content: &str) -> anyhow::Result<()> {
        let own = format!("{FILES}/{}{}", self.name, path.replace('/', "-"));
        self.in_files(|| -> anyhow::Result<()> {
            std::fs::write(&own, content)?;
            bind(Path::new(&own), Path::new(path))
        })?
    }

    /// The content of a file as this host sees it.
    pub fn read(&self, path: &str) -> anyhow::Result<String> {
        self.in_files(|| std::fs::read_to_string(path))?.with_context(|| format!("{}: cannot read {path}", self.name))
    }

    /// Writes a file as this host sees it.
    pub fn write(&self, path: &str, content: &str) -> anyhow::Result<()> {
        self.in_files(|| std::fs::write(path, content))?.with_context(|| format!("{}: cannot write {path}", self.name))
    }

    /// Runs `task` in this host's network namespace, with the files of this machine.
    pub fn in_network<T: Send>(&self, task: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        on_a_thread(|| {
            setns(self.network.as_fd(), CloneFlags::CLONE_NEWNET).context("cannot enter the network")?;
            Ok(task())
        })
    }

    /// Runs `task` in this host's mount namespace.
    pub fn in_files<T: Send>(&self, task: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        on_a_thread(|| {
            enter_files(&self.files)?;
            Ok(task())
        })
    }

    /// Starts a process on this host, in a process group of its own.
    pub fn spawn(&self, command: &mut Command) -> anyhow::Result<Child> {
        on_a_thread(|| {
            setns(self.network.as_fd(), CloneFlags::CLONE_NEWNET).context("cannot enter the network")?;
            setns(self.shared.processes.as_fd(), CloneFlags::CLONE_NEWPID).context("cannot enter the processes")?;
            enter_files(&self.files)?;
            command.process_group(0);
            command.spawn().with_context(|| format!("{}: cannot run {}", self.name, command.get_program().display()))
        })
    }
}

/// Bind mount of `source` at `path`.
pub(crate) fn bind(source: &Path, path: &Path) -> anyhow::Result<()> {
    mount(Some(source), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("cannot mount on {}", path.display()))
}

/// Namespaces are a property of threads; a task that changes them gets a thread of its own.
fn on_a_thread<T: Send>(task: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    let outcome = std::thread::scope(|scope| scope.spawn(task).join());
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn enter_files(files: &File) -> anyhow::Result<()> {
    // Threads share their working directory, which prevents them from changing mount namespaces.
    unshare(CloneFlags::CLONE_FS)?;
    setns(files.as_fd(), CloneFlags::CLONE_NEWNS).context("cannot enter the files")
}

/// Mounts private, writable directories over those of this machine. The checkout keeps its paths, wherever it is.
fn prepare_files(checkout: [PathBuf; 2]) -> anyhow::Result<()> {
    // Mounts in here and mounts of this machine must not propagate to each other.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    let checkout = checkout.map(PinnedDirectory::open);
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
    mount(Some("tmpfs"), "/tmp", Some("tmpfs"), MsFlags::empty(), Some("mode=1777"))?;
    std::fs::create_dir(FILES)?;

    for path in ["/dev", "/etc", "/var/lib", "/usr/share/dbus-1", "/usr/share/polkit-1"] {
        if !Path::new(path).exists() {
            continue;
        }
        let layer = format!("{FILES}/layers{}", path.replace('/', "-"));
        let (upper, work) = (format!("{layer}/upper"), format!("{layer}/work"));
        std::fs::create_dir_all(&upper)?;
        std::fs::create_dir_all(&work)?;
        let options = format!("lowerdir={path},upperdir={upper},workdir={work}");
        mount(Some("overlay"), path, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
            .with_context(|| format!("cannot mount an overlay on {path}; the kernel has to know overlayfs"))?;
    }
    for directory in checkout {
        directory?.restore()?;
    }
    create_tun_device()
}

/// A directory that is to be found at its path again after mounts have hidden it.
#[derive(Debug)]
struct PinnedDirectory {
    path: PathBuf,
    directory: File,
}

impl PinnedDirectory {
    fn open(path: PathBuf) -> anyhow::Result<Self> {
        let directory = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { path, directory })
    }

    /// Binds it to its path, unless the path still leads to it.
    fn restore(&self) -> anyhow::Result<()> {
        let expected = self.directory.metadata()?;
        let is_same = |found: Metadata| (found.dev(), found.ino()) == (expected.dev(), expected.ino());
        if std::fs::metadata(&self.path).is_ok_and(is_same) {
            return Ok(());
        }
        std::fs::create_dir_all(&self.path).with_context(|| format!("cannot create {}", self.path.display()))?;
        // Neither its path nor `/proc/self/fd` leads to it: `/proc` shows the processes of the lab only.
        fchdir(&self.directory)?;
        mount(Some("."), &self.path, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
            .with_context(|| format!("cannot mount on {}", self.path.display()))?;
        Ok(std::env::set_current_dir("/")?)
    }
}

/// Creates the TUN device node as udev does: all users may open it, and the kernel checks capabilities.
fn create_tun_device() -> anyhow::Result<()> {
    let (directory, device) = (Path::new("/dev/net"), Path::new("/dev/net/tun"));
    std::fs::create_dir_all(directory)?;
    if !device.exists() {
        mknod(device, SFlag::S_IFCHR, Mode::empty(), makedev(10, 200))?;
    }
    std::fs::set_permissions(device, std::fs::Permissions::from_mode(0o666))?;
    Ok(())
}
