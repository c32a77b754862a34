//! Containers: our image, run on the client by the kind of runtime that container engines use.
//!
//! The image is the archive of `scripts/container-image`; the settings come from its configuration. What an engine adds by
//! itself is added here: its usual capabilities and mounts, and the network of the host.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    account::PORTAL_URL,
    checkout::{program_dir, source_dir},
    logs::Logs,
    netns::{FILES, Host},
    process::{Finished, Program, Running, wait_until},
    stand::{LOG_FILTER, Stand},
    web::sha256,
};

/// Default capabilities of root in a container.
const CAPABILITIES: [&str; 12] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Starts the runtime in a mount namespace without control groups, because not every machine has the version that it needs.
const RUNTIME: &str = "#!/bin/sh\n\
    exec unshare --mount --propagation private sh -c \
    'mount -t tmpfs none /sys/fs/cgroup && exec crun --root \"$0\" --cgroup-manager=disabled \"$@\"' \
    /run/lab/containers \"$@\"\n";

/// The unpacked image.
#[derive(Debug)]
pub struct Image {
    host: Host,
    logs: Arc<Logs>,
    /// Configuration of the image.
    pub settings: Value,
    /// Root directory of the image, as the host sees it.
    pub root: PathBuf,
}

/// Options of a container.
#[derive(Clone, Debug)]
pub struct ContainerOptions {
    /// Environment variables.
    pub environment: Vec<(&'static str, String)>,
    /// Whether it has `CAP_NET_ADMIN`.
    pub net_admin: bool,
    /// Whether it has no other capabilities except `CAP_NET_BIND_SERVICE`.
    pub nothing_else: bool,
    /// Whether it has `/dev/net/tun`.
    pub tun: bool,
    /// Files of the host with their paths in the container, as in `PATH:ro`. Devices among them are
    /// not usable there.
    pub files: Vec<(String, &'static str)>,
}

/// A container, running or stopped.
#[derive(Debug)]
pub struct Container<'a> {
    image: &'a Image,
    name: String,
    /// The runtime, which ends with the exit status of the first process.
    pub process: Running,
}

impl Default for ContainerOptions {
    /// Everything that the README recommends.
    fn default() -> Self {
        Self {
            environment: vec![("FIREZONE_API_URL", PORTAL_URL.to_owned()), ("RUST_LOG", LOG_FILTER.to_owned())],
            net_admin: true,
            nothing_else: false,
            tun: true,
            files: vec![("/etc/resolv.conf".to_owned(), "/etc/resolv.conf")],
        }
    }
}

impl ContainerOptions {
    /// Adds an environment variable.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// Adds a file of the host.
    #[must_use]
    pub fn with_host_file(mut self, file: &str, place: &'static str) -> Self {
        self.files.push((file.to_owned(), place));
        self
    }
}

impl Image {
    /// Builds the archive, verifies it as an engine would, and unpacks it.
    pub fn build(stand: &Stand) -> anyhow::Result<Self> {
        let (host, work) = (stand.client().clone(), Path::new(FILES).join("image"));
        let (archive, layout, root) = (work.join("firezone.tar"), work.join("layout"), work.join("root"));
        host.program("sh -c")
            .arg(
                "set -e; umask 022; mkdir -p \"$3\" \"$4\"; \"$1/scripts/container-image\" \"$2\" \"$5\"; \
                 tar --extract --file \"$5\" --directory \"$3\"; rm \"$5\"",
            )
            .arg("sh")
            .arg(source_dir().display().to_string())
            .arg(program_dir()?.display().to_string())
            .arg(layout.display().to_string())
            .arg(root.display().to_string())
            .arg(archive.display().to_string())
            .check()?;

        let index = host.in_files(|| std::fs::read(layout.join("index.json")))??;
        let index: Value = serde_json::from_slice(&index)?;
        let manifest: Value = serde_json::from_slice(&blob(&host, &layout, &index["manifests"][0])?)?;
        let settings: Value = serde_json::from_slice(&blob(&host, &layout, &manifest["config"])?)?;
        let layer = blob(&host, &layout, &manifest["layers"][0])?;
        let packed = work.join("layer.tar.gz");
        host.in_files(|| std::fs::write(&packed, layer))??;
        host.program("tar --extract --numeric-owner --gzip --file")
            .arg(packed.display().to_string())
            .arg("--directory")
            .arg(root.display().to_string())
            .check()?;
        host.in_files(|| -> std::io::Result<()> {
            let runtime = Path::new(FILES).join("bin/container-runtime");
            std::fs::write(&runtime, RUNTIME)?;
            std::fs::set_permissions(&runtime, std::fs::Permissions::from_mode(0o755))
        })??;
        Ok(Self { host, logs: stand.logs.clone(), settings, root })
    }

    /// Starts a container; the output of its first process is in the log `name`.
    pub fn start(&self, name: &str, given: &ContainerOptions) -> anyhow::Result<Container<'_>> {
        let bundle = Path::new(FILES).join("bundles").join(name);
        let config = serde_json::to_vec_pretty(&self.config(given))?;
        self.host.in_files(|| -> std::io::Result<()> {
            std::fs::create_dir_all(&bundle)?;
            std::fs::write(bundle.join("config.json"), config)
        })??;
        let run = self.host.program("container-runtime run --bundle").arg(bundle.display().to_string()).arg(name);
        Ok(Container { image: self, name: name.to_owned(), process: run.start(name, self.logs.open(name))? })
    }

    /// Runs a container to its end. Returns its exit status and output.
    pub fn run(&self, name: &str, given: &ContainerOptions) -> anyhow::Result<(Option<i32>, String)> {
        let mut container = self.start(name, given)?;
        let status = container.process.wait(Duration::from_secs(20))?;
        // Another thread reads the output.
        let log = container.process.log();
        wait_until("its last words are heard", Duration::from_secs(5), || !log.text().is_empty())?;
        Ok((status.code(), log.text()))
    }

    fn config(&self, given: &ContainerOptions) -> Value {
        let settings = &self.settings["config"];
        let variables = given.environment.iter().map(|(name, value)| json!(format!("{name}={value}")));
        let env: Vec<Value> =
            settings["Env"].as_array().cloned().unwrap_or_default().into_iter().chain(variables).collect();
        let mut capabilities = if given.nothing_else { vec!["CAP_NET_BIND_SERVICE"] } else { CAPABILITIES.to_vec() };
        if given.net_admin {
            capabilities.push("CAP_NET_ADMIN");
        }
        let dev = ["nosuid", "strictatime", "mode=755", "size=65536k"];
        let mut mounts = vec![
            json!({"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]}),
            json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": dev}),
            json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}),
        ];
        for (file, place) in &given.files {
            let (place, access) = place.strip_suffix(":ro").map_or((*place, "rw"), |place| (place, "ro"));
            mounts
                .push(json!({"destination": place, "type": "bind", "source": file, "options": ["rbind", "rprivate", "nodev", access]}));
        }
        let devices = if given.tun {
            json!([{"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o666, "uid": 0, "gid": 0}])
        } else {
            json!([])
        };
        json!({
            "ociVersion": "1.0.0",
            "process": {
                "args": settings["Entrypoint"],
                "env": env,
                "cwd": "/",
                "user": {"uid": 0, "gid": 0},
                "capabilities": {
                    "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
                    "inheritable": [], "ambient": [],
                },
            },
            "root": {"path": self.root, "readonly": false},
            "hostname": "container",
            "mounts": mounts,
            "linux": {
                "namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
                "devices": devices,
                "maskedPaths": ["/proc/kcore", "/proc/keys", "/sys/firmware"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            },
        })
    }
}

impl Container<'_> {
    /// Prepares to run a command line in it, as `docker exec --user` does.
    pub fn program(&self, user: &str, command: &str) -> Program<'_> {
        let exec = format!("container-runtime exec --user {user} {} {command}", self.name);
        self.image.host.program(&exec)
    }

    /// Runs the health check of the image.
    pub fn health(&self) -> anyhow::Result<Finished> {
        let test = self.image.settings["config"]["Healthcheck"]["Test"].as_array().context("no health check")?;
        let words: Vec<&str> = test.iter().filter_map(Value::as_str).collect();
        ensure!(words.first() == Some(&"CMD"), "{words:?}");
        self.program("0", &words[1..].join(" ")).run()
    }

    /// Waits until it is healthy.
    pub fn wait_until_healthy(&mut self) -> anyhow::Result<()> {
        wait_until("the container is healthy", Duration::from_secs(30), || {
            self.health().is_ok_and(|it| it.status.success()) || !self.process.is_running()
        })?;
        ensure!(self.process.is_running(), "it has ended: {}", self.process.log().text());
        Ok(())
    }

    /// The ID of its first process in the PID namespace of the lab.
    pub fn first_process(&self) -> anyhow::Result<u32> {
        let state = self.image.host.program("container-runtime state").arg(&self.name).check()?.json()?;
        u32::try_from(state["pid"].as_u64().context("no process")?).context("no such process")
    }

    /// Sends a signal to its first process, as `docker kill` and `docker stop` do.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let kill = self.image.host.program("container-runtime kill").arg(&self.name);
        kill.arg(signal.as_str()).check().map(drop)
    }
}

/// A blob of the image, with size and digest verified.
fn blob(host: &Host, layout: &Path, reference: &Value) -> anyhow::Result<Vec<u8>> {
    let digest = reference["digest"].as_str().and_then(|it| it.strip_prefix("sha256:")).context("no digest")?;
    let path = layout.join("blobs/sha256").join(digest);
    let content = host.in_files(|| std::fs::read(&path))?.with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(sha256(&content) == digest, "{digest} is another");
    ensure!(reference["size"] == content.len(), "{digest} has another size");
    Ok(content)
}
