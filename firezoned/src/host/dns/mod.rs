//! Who answers names on this host.
//!
//! [`facts`] chooses a method for this host, [`resolv_conf`] and [`file`] are the one with the plain file, and [`helper`]
//! writes it for a daemon that is not root. A method takes the
//! wish, tells the host's own resolvers, and can take everything back.

mod facts;
mod file;
pub mod helper;
mod resolv_conf;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use facts::{Facts, Method, Obstacle};
pub(super) use file::ResolvConf;
use file::{FileError, Outcome};

use super::applied::{Applied, Warning};
use super::config::DnsConfig;

/// How the host is told to ask us for names. The words are those of `FIREZONE_DNS_CONTROL`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DnsControl {
    /// Whatever fits this host.
    #[default]
    Auto,
    /// Per-link settings of systemd-resolved.
    SystemdResolved,
    /// Nameservers in `/etc/resolv.conf`.
    EtcResolvConf,
    /// Hands off: only programs that ask the sentinels themselves resolve names of resources.
    Disabled,
}

impl DnsControl {
    const WORDS: [(Self, &'static str); 4] = [
        (Self::Auto, "auto"),
        (Self::SystemdResolved, "systemd-resolved"),
        (Self::EtcResolvConf, "etc-resolv-conf"),
        (Self::Disabled, "disabled"),
    ];
}

impl FromStr for DnsControl {
    type Err = UnknownDnsControl;

    fn from_str(word: &str) -> Result<Self, UnknownDnsControl> {
        Self::WORDS.into_iter().find_map(|(control, w)| (w == word).then_some(control)).ok_or(UnknownDnsControl)
    }
}

impl fmt::Display for DnsControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.into_iter().find_map(|(control, w)| (control == *self).then_some(w));
        f.write_str(word.unwrap_or_default())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("DNS control is one of auto, systemd-resolved, etc-resolv-conf, disabled")]
pub struct UnknownDnsControl;

/// The one who tells programs on this host whom to ask.
#[derive(Debug)]
pub(super) struct Dns {
    control: DnsControl,
    file: ResolvConf,
}

impl Dns {
    pub(super) fn new(control: DnsControl) -> Self {
        Self { control, file: ResolvConf::of_this_host() }
    }

    /// As [`Self::new`], with another file in the place of `/etc/resolv.conf`.
    pub(super) fn with_file(control: DnsControl, live: &Path) -> Self {
        Self { control, file: ResolvConf::at(live) }
    }

    /// Where the host's own resolvers are written.
    pub(super) fn file(&self) -> &ResolvConf {
        &self.file
    }

    /// The resolvers that this host would use without us.
    pub(super) fn system_resolvers(&self) -> Vec<IpAddr> {
        self.file.system_resolvers()
    }

    /// Makes `want` so, or takes back what carries our mark.
    pub(super) fn apply(&self, want: Option<&DnsConfig>, applied: &mut Applied) {
        let outcome = match (want, facts::choose(self.control, &Facts::gather(&self.file))) {
            (None, _) | (Some(_), Method::HandsOff) => self.file.revert(),
            (Some(dns), _) if dns.servers.is_empty() => {
                applied.warn(no_servers());
                self.file.revert()
            }
            (Some(dns), Method::ResolvConf) => self.file.configure(dns),
            (Some(_), Method::Unavailable(obstacle)) => {
                applied.warn(self.unavailable(&obstacle));
                self.file.revert()
            }
        };
        match outcome {
            Ok(Outcome::Unchanged) => {}
            Ok(Outcome::Written) => applied.changes += 1,
            Ok(Outcome::BackupMissing) => {
                applied.changes += 1;
                applied.warn(self.backup_missing());
            }
            Err(error) if error.is_read_only() => applied.warn(self.unavailable(&Obstacle::ReadOnly)),
            Err(error) => applied.warn(self.failed(&error)),
        }
    }

    fn unavailable(&self, obstacle: &Obstacle) -> Warning {
        const RESOLVED_REMEDY: &str = "This version cannot control systemd-resolved. Make /etc/resolv.conf a plain file \
             with your real nameservers, or set the DNS control to disabled and ask the sentinels directly.";
        let file = self.file.path().display();
        let (code, text, remedy) = match obstacle {
            Obstacle::ResolvedUnsupported => {
                let text = "The DNS control systemd-resolved is not part of this version.".to_owned();
                ("dns-resolved-unsupported", text, "Set the DNS control to etc-resolv-conf, auto or disabled.")
            }
            Obstacle::ResolvedInCharge => {
                let text = format!("systemd-resolved answers names on this host ({file} points to it).");
                ("dns-resolved-in-charge", text, RESOLVED_REMEDY)
            }
            Obstacle::Link(target) => {
                let text = format!("{file} is a symbolic link to {}, so another program owns it.", target.display());
                ("dns-symlink", text, "Control that program's names instead, or make it a plain file.")
            }
            Obstacle::ReadOnly => {
                let text = format!("{file} cannot be written.");
                ("dns-read-only", text, "Make it writable for firezoned (it may be immutable or on a read-only mount).")
            }
            Obstacle::Missing => {
                let text = format!("{file} does not exist.");
                ("dns-missing", text, "Create it with your nameservers.")
            }
            Obstacle::Strange => {
                let text = format!("{file} is not a file.");
                ("dns-not-a-file", text, "Make it a plain file with your nameservers.")
            }
        };
        Warning { code, text: format!("{text} Names of resources are not resolved."), remedy: remedy.to_owned() }
    }

    fn backup_missing(&self) -> Warning {
        Warning {
            code: "dns-backup-missing",
            text: format!(
                "The original of {} is gone; only our own lines were removed from it.",
                self.file.path().display()
            ),
            remedy: "Reconnect your network, or write your nameservers into it.".to_owned(),
        }
    }

    fn failed(&self, error: &FileError) -> Warning {
        Warning {
            code: "dns-failed",
            text: format!("{} could not be brought in line: {error}.", self.file.path().display()),
            remedy: "Check the file, its directory and the free space there.".to_owned(),
        }
    }
}

fn no_servers() -> Warning {
    Warning {
        code: "dns-no-servers",
        text: "There is no resolver to forward names to, so the host's DNS stays as it is.".to_owned(),
        remedy: "Give this host a nameserver, or set one in the portal.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish() -> DnsConfig {
        DnsConfig { servers: vec!["100.100.111.1".parse().unwrap()], search_domain: None }
    }

    #[test]
    fn words_of_the_environment_round_trip() {
        for (control, word) in DnsControl::WORDS {
            assert_eq!(word.parse(), Ok(control));
            assert_eq!(control.to_string(), word);
        }
        assert_eq!("resolvconf".parse::<DnsControl>(), Err(UnknownDnsControl));
    }

    #[test]
    fn a_link_is_refused_by_a_warning_that_names_its_target() {
        let directory = tempfile::tempdir().unwrap();
        let live = directory.path().join("resolv.conf");
        std::os::unix::fs::symlink("/nowhere/at-all.conf", &live).unwrap();

        let mut applied = Applied::default();
        Dns::with_file(DnsControl::Auto, &live).apply(Some(&wish()), &mut applied);

        assert_eq!(applied.changes, 0);
        assert_eq!(applied.warnings[0].code, "dns-symlink");
        assert!(applied.warnings[0].text.contains("/nowhere/at-all.conf"));
    }

    #[test]
    fn disabled_leaves_the_file_but_still_cleans_up_after_a_crash() {
        let directory = tempfile::tempdir().unwrap();
        let live = directory.path().join("resolv.conf");
        std::fs::write(&live, "nameserver 192.0.2.1\n").unwrap();
        let mut applied = Applied::default();
        Dns::with_file(DnsControl::EtcResolvConf, &live).apply(Some(&wish()), &mut applied);
        assert_eq!(applied.changes, 1);

        let disabled = Dns::with_file(DnsControl::Disabled, &live);
        disabled.apply(Some(&wish()), &mut applied);
        assert_eq!(std::fs::read_to_string(&live).unwrap(), "nameserver 192.0.2.1\n");
        assert_eq!(disabled.system_resolvers(), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(applied.warnings, []);
    }

    #[test]
    fn no_sentinels_means_that_nothing_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let live = directory.path().join("resolv.conf");
        std::fs::write(&live, "nameserver 192.0.2.1\n").unwrap();
        let mut applied = Applied::default();
        Dns::with_file(DnsControl::Auto, &live).apply(Some(&DnsConfig::default()), &mut applied);
        assert_eq!((applied.changes, applied.warnings[0].code), (0, "dns-no-servers"));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
