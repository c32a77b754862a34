//! Everything that a daemon could have left on a machine, as text that can be compared.

use super::Machine;

/// What the kernel and systemd-resolved say.
const COMMANDS: [&str; 7] = [
    "ip rule",
    "ip -6 rule",
    "ip route show table all",
    "ip -6 route show table all",
    "ip -brief address",
    "nft list ruleset",
    // Which server it asked last is its own affair, and how wide that makes its table. Only if it runs: the question would
    // start it.
    "systemctl --quiet is-active systemd-resolved && resolvectl --no-pager status | sed -e '/Current DNS Server/d' -e 's/^ *//'",
];

/// Files whose owners change them all the time, and what only mirrors the kernel. Polkit starts when it is first asked, on
/// newer systems with directories of its own.
const NOT_OURS: [&str; 15] = [
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
        let skipped = NOT_OURS.map(|path| format!("-path {path}")).join(" -o ");
        let files = format!(
            "find / \\( {skipped} \\) -prune -o -type d -printf '%p %y %m %u:%g\\n' -o \
             -path '/usr/*' -printf '%p %y %m %u:%g %s %T@ %l\\n' -o -printf '%p %y %m %u:%g %s %l\\n' | sort; \
             find /etc /run /var \\( {skipped} \\) -prune -o -type f -print0 | sort -z | xargs -0 sha256sum"
        );
        text.push_str(&self.program("sh -c").arg(files).check()?.text());
        Ok(text)
    }

    /// Who answers names on this machine: the file, what it is, and what systemd-resolved says if it runs.
    pub fn resolvers(&self) -> anyhow::Result<String> {
        let [.., resolved] = COMMANDS;
        let file =
            "find /etc -maxdepth 1 -name 'resolv.conf*' -printf '%p %y %m %u:%g %l\\n' | sort; cat /etc/resolv.conf";
        Ok(self.program("sh -c").arg(format!("{file}; {resolved}")).run()?.text())
    }
}

/// The lines in which two footprints differ; empty if they do not.
#[must_use]
pub fn difference(before: &str, after: &str) -> String {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let (before, after) = (lines(before), lines(after));
    let gone = before.difference(&after).map(|line| format!("- {line}"));
    let new = after.difference(&before).map(|line| format!("+ {line}"));
    gone.chain(new).collect::<Vec<_>>().join("\n")
}
