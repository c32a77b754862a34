//! Everything that a daemon could leave on a machine, as comparable text.

use super::Machine;

/// Commands that show the state of the kernel and systemd-resolved.
const COMMANDS: [&str; 7] = [
    "ip rule",
    "ip -6 rule",
    "ip route show table all",
    "ip -6 route show table all",
    "ip -brief address",
    "nft list ruleset",
    // The server that it used last, and the column widths, change by themselves. Only if it runs: the command would
    // start it.
    "systemctl --quiet is-active systemd-resolved && resolvectl --no-pager status | sed -e '/Current DNS Server/d' -e 's/^ *//'",
];

/// Files that change all the time or mirror the kernel. Polkit starts with its first call, on
/// newer systems with directories of its own.
const IGNORED_FILES: [&str; 15] = [
    "/dev",
    "/proc",
    "/sys",
    "/run/agetty.reload",
    "/run/log",
    "/run/systemd",
    "/run/udev",
    "/run/utmp",
    "/run/user",
    "/var/log",
    "/var/lib/systemd",
    "/run/NetworkManager",
    "/var/lib/NetworkManager",
    "'/tmp/systemd-private-*-polkit.service-*'",
    "'/var/tmp/systemd-private-*-polkit.service-*'",
];

impl Machine {
    /// Addresses, rules, routes, resolvers, and all files with owner, mode and content (below `/usr` time instead).
    pub fn footprint(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        for command in COMMANDS {
            let answer = self.program("sh -c").arg(command).run()?;
            text.push_str(&format!("$ {command}\n{}", answer.text()));
        }
        let skipped = IGNORED_FILES.map(|path| format!("-path {path}")).join(" -o ");
        let files = format!(
            "find / \\( {skipped} \\) -prune -o -type d -printf '%p %y %m %u:%g\\n' -o \
             -path '/usr/*' -printf '%p %y %m %u:%g %s %T@ %l\\n' -o -printf '%p %y %m %u:%g %s %l\\n' | sort; \
             find /etc /run /var \\( {skipped} \\) -prune -o -type f -print0 | sort -z | xargs -0 sha256sum"
        );
        text.push_str(&self.program("sh -c").arg(files).check()?.text());
        Ok(text)
    }

    /// The DNS configuration of this machine: resolv.conf, its type, and the state of systemd-resolved if it runs.
    pub fn resolvers(&self) -> anyhow::Result<String> {
        let [.., resolved] = COMMANDS;
        let file =
            "find /etc -maxdepth 1 -name 'resolv.conf*' -printf '%p %y %m %u:%g %l\\n' | sort; cat /etc/resolv.conf";
        Ok(self.program("sh -c").arg(format!("{file}; {resolved}")).run()?.text())
    }
}

/// The lines that differ between two footprints.
#[must_use]
pub fn difference(before: &str, after: &str) -> String {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let (before, after) = (lines(before), lines(after));
    let gone = before.difference(&after).map(|line| format!("- {line}"));
    let new = after.difference(&before).map(|line| format!("+ {line}"));
    gone.chain(new).collect::<Vec<_>>().join("\n")
}
