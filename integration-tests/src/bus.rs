//! A private system bus with the configuration of the distribution, our policy, and polkit.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};

use crate::{
    logs::Logs,
    netns::Host,
    process::{Running, wait_until},
};

/// The service file of polkit, for the path of its daemon, which differs between distributions.
const POLKIT_SERVICE: &str = "/usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service";

/// Files that packages install for the bus: source path and installed path.
const INSTALLED: [(&str, &str); 3] = [
    ("dbus-policy/dev.firezone.Client.conf", "/usr/share/dbus-1/system.d/dev.firezone.Client.conf"),
    ("polkit/dev.firezone.Client.policy", "/usr/share/polkit-1/actions/dev.firezone.Client.policy"),
    ("polkit/50-dev.firezone.Client.rules", "/usr/share/polkit-1/rules.d/50-dev.firezone.Client.rules"),
];

/// The bus daemon and polkit.
#[derive(Debug)]
pub struct Bus {
    polkit: Option<Running>,
    _daemon: Running,
}

impl Bus {
    /// Starts them on `host`. `tree` is the root of the source tree.
    pub fn start(host: &Host, tree: &Path, logs: &Logs) -> anyhow::Result<Self> {
        for (source, place) in INSTALLED {
            let source = tree.join(source);
            let content =
                std::fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
            host.write(place, &content)?;
        }
        host.in_files(|| std::fs::create_dir_all("/run/dbus"))??;

        let daemon = host
            .program("dbus-daemon --system --nofork --nopidfile --nosyslog")
            .start("dbus-daemon", logs.open("dbus-daemon"))?;
        wait_until("the bus answers", Duration::from_secs(10), || names(host).is_some())?;

        let polkit = host.program(&polkit_command(host)?).start("polkit", logs.open("polkit"))?;
        let bus = Self { polkit: Some(polkit), _daemon: daemon };
        wait_until("polkit is on the bus", Duration::from_secs(10), || owns(host, "org.freedesktop.PolicyKit1"))?;
        Ok(bus)
    }

    /// Stops polkit from responding, or lets it continue.
    pub fn pause_polkit(&self, host: &Host, pause: bool) -> anyhow::Result<()> {
        let signal = if pause { "STOP" } else { "CONT" };
        let ask = "busctl --system call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus \
                   GetConnectionUnixProcessID s org.freedesktop.PolicyKit1";
        let answer = host.program(ask).check()?.text();
        let process = answer.trim().trim_start_matches("u ").to_owned();
        host.program(&format!("kill -{signal}")).arg(process).check().map(drop)
    }

    /// Ends polkit and prevents that the bus starts it again.
    pub fn stop_polkit(&mut self, host: &Host) -> anyhow::Result<()> {
        host.write(POLKIT_SERVICE, "[D-BUS Service]\nName=org.freedesktop.PolicyKit1\nExec=/bin/false\nUser=root\n")?;
        host.program(
            "busctl --system call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig",
        )
        .check()?;
        if let Some(polkit) = self.polkit.take() {
            polkit.stop()?;
        }
        wait_until("polkit is gone", Duration::from_secs(10), || !owns(host, "org.freedesktop.PolicyKit1"))
    }
}

/// Whether `name` has an owner on the bus of `host`.
#[must_use]
pub fn owns(host: &Host, name: &str) -> bool {
    names(host).is_some_and(|names| names.lines().any(|line| line.trim() == name))
}

/// Monitors all messages on the bus that this user may see.
pub fn monitor(host: &Host, user: &str, logs: &Arc<Logs>) -> anyhow::Result<Running> {
    let log = logs.open(&format!("monitor-of-{user}"));
    host.program("dbus-monitor --system").as_user(user).start("dbus-monitor", log)
}

fn names(host: &Host) -> Option<String> {
    let call = "dbus-send --system --print-reply=literal --dest=org.freedesktop.DBus /org/freedesktop/DBus \
                org.freedesktop.DBus.ListNames";
    let answer = host.program(call).check().ok()?;
    // One line with all names, separated by spaces.
    Some(answer.text().split_whitespace().collect::<Vec<_>>().join("\n"))
}

fn polkit_command(host: &Host) -> anyhow::Result<String> {
    let service = host.read(POLKIT_SERVICE).context("polkit is not installed")?;
    match service.lines().find_map(|line| line.strip_prefix("Exec=")) {
        Some(command) => Ok(command.trim().to_owned()),
        None => bail!("{POLKIT_SERVICE} does not say how to start polkit"),
    }
}
