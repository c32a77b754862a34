//! Who answers names on this host.
//!
//! [`facts`] chooses a method for this host, [`resolv_conf`] and [`file`] are the one with the plain file, and [`helper`]
//! writes it for a daemon that is not root; [`resolved`] is the one with systemd-resolved. A method takes the
//! wish, tells the host's own resolvers, and can take everything back.

mod facts;
mod file;
pub mod helper;
mod resolv_conf;
pub(super) mod resolved;

use std::path::Path;

use facts::{Facts, Method, Obstacle};
pub(super) use file::ResolvConf;
use file::{FileError, Outcome};
use resolved::{Resolved, ResolvedError};

use model::Resolver;

use super::applied::{Applied, Warning};
use session::{DnsConfig, DnsControl};

/// The one who tells programs on this host whom to ask.
#[derive(Debug)]
pub(super) struct Dns {
    control: DnsControl,
    file: ResolvConf,
    resolved: Resolved,
}

impl Dns {
    pub(super) fn new(control: DnsControl) -> Self {
        Self { control, file: ResolvConf::of_this_host(), resolved: Resolved::default() }
    }

    /// As [`Self::new`], with another file in the place of `/etc/resolv.conf`.
    pub(super) fn with_file(control: DnsControl, live: &Path) -> Self {
        Self { control, file: ResolvConf::at(live), resolved: Resolved::default() }
    }

    /// Where the host's own resolvers are written.
    pub(super) fn file(&self) -> &ResolvConf {
        &self.file
    }

    /// The same with connections of its own, for somebody else.
    pub(super) fn again(&self) -> Self {
        Self { control: self.control, file: self.file.clone(), resolved: Resolved::default() }
    }

    /// The resolvers that this host would use without us. `link` is ours, if there is one.
    pub(super) async fn system_resolvers(&mut self, link: Option<u32>) -> Vec<Resolver> {
        if !Facts::gather(&self.file).resolved_answers {
            return self.file.system_resolvers().into_iter().map(Resolver::plain).collect();
        }
        self.resolved.servers(link).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "systemd-resolved does not say whom it asks");
            resolved::written_servers()
        })
    }

    /// Has whoever keeps answers on this host forget them.
    pub(super) async fn flush(&mut self) {
        if self.uses_resolved()
            && let Err(error) = self.resolved.flush().await
        {
            tracing::debug!(%error, "old answers may be around for a while");
        }
    }

    /// Whether programs of this host can be sent to another port than the usual one.
    pub(super) fn takes_other_ports(&self) -> bool {
        self.uses_resolved()
    }

    fn uses_resolved(&self) -> bool {
        facts::choose(self.control, &Facts::gather(&self.file)) == Method::Resolved
    }

    /// Makes `want` so, or takes back what carries our mark. `link` is ours, if there is one.
    pub(super) async fn apply(&mut self, want: Option<&DnsConfig>, link: Option<u32>, applied: &mut Applied) {
        let method = match want {
            None => Method::HandsOff,
            Some(dns) if dns.servers.is_empty() => {
                applied.warn(no_servers());
                Method::HandsOff
            }
            Some(_) => facts::choose(self.control, &Facts::gather(&self.file)),
        };
        match (method, want) {
            (Method::ResolvConf, Some(dns)) if dns.port.is_none() => {
                self.forget_link(link, applied).await;
                self.report(self.configure_file(dns.clone()).await, applied);
            }
            (Method::Resolved, Some(dns)) => {
                self.report(self.revert_file().await, applied);
                // Without a link there is a warning already.
                if let Some(link) = link {
                    let outcome = self.resolved.configure(link, dns).await;
                    Self::report_resolved(outcome, applied);
                }
            }
            (method, _) => {
                match method {
                    Method::Unavailable(obstacle) => applied.warn(self.unavailable(&obstacle)),
                    Method::ResolvConf if want.is_some() => applied.warn(self.other_port()),
                    Method::ResolvConf | Method::Resolved | Method::HandsOff => {}
                }
                self.forget_link(link, applied).await;
                self.report(self.revert_file().await, applied);
            }
        }
    }

    /// What systemd-resolved knows about our link, it shall forget; about a link that is gone it knows nothing.
    async fn forget_link(&mut self, link: Option<u32>, applied: &mut Applied) {
        let Some(link) = link else { return };
        if Path::new(resolved::DIRECTORY).exists() {
            let outcome = self.resolved.revert(link).await;
            Self::report_resolved(outcome.map(usize::from), applied);
        }
    }

    /// Files, and whoever writes them for us, may take seconds; nobody else shall wait for that.
    async fn configure_file(&self, dns: DnsConfig) -> Result<Outcome, FileError> {
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || file.configure(&dns)).await.unwrap_or_else(FileError::died)
    }

    async fn revert_file(&self) -> Result<Outcome, FileError> {
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || file.revert()).await.unwrap_or_else(FileError::died)
    }

    fn report(&self, outcome: Result<Outcome, FileError>, applied: &mut Applied) {
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

    fn report_resolved(outcome: Result<usize, ResolvedError>, applied: &mut Applied) {
        match outcome {
            Ok(changes) => applied.changes += changes,
            Err(error) => {
                applied.again |= error.is_passing();
                applied.warn(resolved_failed(&error));
            }
        }
    }

    fn unavailable(&self, obstacle: &Obstacle) -> Warning {
        let file = self.file.path().display();
        let (code, text, remedy) = match obstacle {
            Obstacle::ResolvedInCharge => {
                let text = format!("systemd-resolved answers names on this host ({file} points to it).");
                ("dns-resolved-in-charge", text, "Set the DNS control to auto or systemd-resolved.")
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

    fn other_port(&self) -> Warning {
        let file = self.file.path().display();
        Warning {
            code: "dns-port-taken",
            text: format!(
                "{file} cannot name the port on which names are answered. Names of resources are not resolved."
            ),
            remedy: "Free port 53 (see the log for who has it), then disconnect and connect again.".to_owned(),
        }
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

fn resolved_failed(error: &ResolvedError) -> Warning {
    let (code, remedy) = match error {
        ResolvedError::NoBus(_) => ("dns-bus-missing", "Start the system bus, or let firezoned reach it."),
        ResolvedError::Missing => (
            "dns-resolved-missing",
            "Start systemd-resolved, or make /etc/resolv.conf a plain file with your nameservers.",
        ),
        ResolvedError::Silent => {
            ("dns-resolved-silent", "Nothing, if it only starts over; else restart systemd-resolved.")
        }
        ResolvedError::Denied => {
            ("dns-resolved-denied", "Install the polkit rule 50-dev.firezone.Client.resolved.rules, and polkit.")
        }
        ResolvedError::Managed => {
            ("dns-link-managed", "Have systemd-networkd leave the tunnel alone (Unmanaged=yes for firezone0).")
        }
        ResolvedError::Refused(_) => ("dns-resolved-refused", "Look at the log of systemd-resolved."),
    };
    let text =
        format!("systemd-resolved cannot be told about the tunnel: {error}. Names of resources are not resolved.");
    Warning { code, text, remedy: remedy.to_owned() }
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
        DnsConfig { servers: vec!["100.100.111.1".parse().unwrap()], port: None, search_domain: None }
    }

    #[tokio::test]
    async fn a_link_is_refused_by_a_warning_that_names_its_target() {
        let directory = tempfile::tempdir().unwrap();
        let live = directory.path().join("resolv.conf");
        std::os::unix::fs::symlink("/nowhere/at-all.conf", &live).unwrap();

        let mut applied = Applied::default();
        Dns::with_file(DnsControl::Auto, &live).apply(Some(&wish()), None, &mut applied).await;

        assert_eq!(applied.changes, 0);
        assert_eq!(applied.warnings[0].code, "dns-symlink");
        assert!(applied.warnings[0].text.contains("/nowhere/at-all.conf"));
    }

    #[tokio::test]
    async fn disabled_leaves_the_file_but_still_cleans_up_after_a_crash() {
        let directory = tempfile::tempdir().unwrap();
        let live = directory.path().join("resolv.conf");
        std::fs::write(&live, "nameserver 192.0.2.1\n").unwrap();
        let mut applied = Applied::default();
        Dns::with_file(DnsControl::EtcResolvConf, &live).apply(Some(&wish()), None, &mut applied).await;
        assert_eq!(applied.changes, 1);

        let mut disabled = Dns::with_file(DnsControl::Disabled, &live);
        disabled.apply(Some(&wish()), None, &mut applied).await;
        assert_eq!(std::fs::read_to_string(&live).unwrap(), "nameserver 192.0.2.1\n");
        assert_eq!(disabled.system_resolvers(None).await, [Resolver::plain("192.0.2.1".parse().unwrap())]);
        assert_eq!(applied.warnings, []);
    }

    #[tokio::test]
    async fn a_plain_file_cannot_send_anybody_to_another_port() {
        let directory = tempfile::tempdir().unwrap();
        let live = directory.path().join("resolv.conf");
        std::fs::write(&live, "nameserver 192.0.2.1\n").unwrap();
        let mut dns = Dns::with_file(DnsControl::EtcResolvConf, &live);
        assert!(!dns.takes_other_ports());

        let mut applied = Applied::default();
        let wish = DnsConfig { port: Some(5053), ..wish() };
        dns.apply(Some(&wish), None, &mut applied).await;

        assert_eq!((applied.changes, applied.warnings[0].code), (0, "dns-port-taken"));
        assert_eq!(std::fs::read_to_string(&live).unwrap(), "nameserver 192.0.2.1\n");
    }

    #[tokio::test]
    async fn no_sentinels_means_that_nothing_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let live = directory.path().join("resolv.conf");
        std::fs::write(&live, "nameserver 192.0.2.1\n").unwrap();
        let mut applied = Applied::default();
        Dns::with_file(DnsControl::Auto, &live).apply(Some(&DnsConfig::default()), None, &mut applied).await;
        assert_eq!((applied.changes, applied.warnings[0].code), (0, "dns-no-servers"));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
