//! DNS settings of this host.
//!
//! [`method`] chooses how DNS is controlled on this host. One method is the plain file: [`resolv_conf`] is its text, [`file`]
//! reads and writes it with [`outcome`], and [`helper`] writes it for a daemon that is not root, which sends its requests
//! through [`helper_client`]. The other method is systemd-resolved: [`resolved`], recognised by [`resolved_identity`]. Each
//! method applies the desired settings, finds the host's own resolvers, and can revert.

mod file;
pub mod helper;
mod helper_client;
mod method;
mod outcome;
mod resolv_conf;
mod resolved;
pub(super) mod resolved_identity;

use std::path::Path;

use model::Resolver;
use session::{DnsConfig, DnsControl};

use super::applied::{Applied, Warning};
use file::ResolvConf;
use method::{Facts, Method, Obstacle};
use outcome::{FileError, Outcome};
use resolved::{Resolved, ResolvedError};

/// Controls which resolver programs on this host use.
#[derive(Debug)]
pub(super) struct Dns {
    control: DnsControl,
    file: ResolvConf,
    resolved: Resolved,
}

impl Dns {
    pub(super) fn new(control: DnsControl) -> Self {
        Self { control, file: ResolvConf::for_this_host(), resolved: Resolved::default() }
    }

    /// Like [`Self::new`], with another file in place of `/etc/resolv.conf`.
    #[cfg(test)]
    pub(super) fn with_file(control: DnsControl, live: &Path) -> Self {
        Self { control, file: ResolvConf::at(live), resolved: Resolved::default() }
    }

    /// The file with the host's own resolvers.
    pub(super) fn file(&self) -> &ResolvConf {
        &self.file
    }

    /// A copy for another task, with its own bus connection.
    pub(super) fn fresh_copy(&self) -> Self {
        Self { control: self.control, file: self.file.clone(), resolved: Resolved::default() }
    }

    /// The resolvers that this host would use without us. `link` is the index of our interface, if it exists.
    pub(super) async fn system_resolvers(&mut self, link: Option<u32>) -> Vec<Resolver> {
        if !Facts::collect(&self.file).uses_resolved {
            return self.file.system_resolvers().into_iter().map(Resolver::plain).collect();
        }
        self.resolved.servers(link).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "cannot read the servers of systemd-resolved");
            resolved::servers_in_uplink_file()
        })
    }

    /// Flushes the DNS cache of this host, if it has one that we control.
    pub(super) async fn flush(&mut self) {
        if self.uses_resolved()
            && let Err(error) = self.resolved.flush().await
        {
            tracing::debug!(%error, "cannot flush the cache of systemd-resolved");
        }
    }

    /// Whether programs on this host can be directed to a port other than 53.
    pub(super) fn supports_custom_port(&self) -> bool {
        self.uses_resolved()
    }

    fn uses_resolved(&self) -> bool {
        method::choose(self.control, &Facts::collect(&self.file)) == Method::Resolved
    }

    /// Applies `desired`, or reverts what carries our mark. `link` is the index of our interface, if it exists.
    pub(super) async fn apply(&mut self, desired: Option<&DnsConfig>, link: Option<u32>, applied: &mut Applied) {
        let method = match desired {
            None => Method::Unmanaged,
            Some(dns) if dns.servers.is_empty() => {
                applied.warn(no_servers());
                Method::Unmanaged
            }
            Some(_) => method::choose(self.control, &Facts::collect(&self.file)),
        };
        match (method, desired) {
            (Method::ResolvConf, Some(dns)) if dns.port.is_none() => {
                self.revert_link(link, applied).await;
                self.report(self.configure_file(dns.clone()).await, applied);
            }
            (Method::Resolved, Some(dns)) => {
                self.report(self.revert_file().await, applied);
                // A missing interface has been reported already.
                if let Some(link) = link {
                    let outcome = self.resolved.configure(link, dns).await;
                    Self::report_resolved(outcome, applied);
                }
            }
            (method, _) => {
                match method {
                    Method::Unavailable(obstacle) => applied.warn(self.unavailable(&obstacle)),
                    Method::ResolvConf if desired.is_some() => applied.warn(self.other_port()),
                    Method::ResolvConf | Method::Resolved | Method::Unmanaged => {}
                }
                self.revert_link(link, applied).await;
                self.report(self.revert_file().await, applied);
            }
        }
    }

    /// Reverts the settings of our link in systemd-resolved. It discards those of a deleted link itself.
    async fn revert_link(&mut self, link: Option<u32>, applied: &mut Applied) {
        let Some(link) = link else { return };
        if Path::new(resolved_identity::RUNTIME_DIRECTORY).exists() {
            let outcome = self.resolved.revert(link).await;
            Self::report_resolved(outcome.map(usize::from), applied);
        }
    }

    /// Runs on a blocking thread: files and the helper may take seconds.
    async fn configure_file(&self, dns: DnsConfig) -> Result<Outcome, FileError> {
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || file.configure(&dns)).await.unwrap_or_else(FileError::task_failed)
    }

    async fn revert_file(&self) -> Result<Outcome, FileError> {
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || file.revert()).await.unwrap_or_else(FileError::task_failed)
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
                applied.retry |= error.is_transient();
                applied.warn(resolved_failed(&error));
            }
        }
    }

    fn unavailable(&self, obstacle: &Obstacle) -> Warning {
        let file = self.file.path().display();
        let (code, text, remedy) = match obstacle {
            Obstacle::ResolvedInUse => {
                let text = format!("systemd-resolved resolves names on this host ({file} points to it).");
                ("dns-resolved-in-charge", text, "Set the DNS control to auto or systemd-resolved.")
            }
            Obstacle::Symlink(target) => {
                let text = format!("{file} is a symbolic link to {}, so another program owns it.", target.display());
                ("dns-symlink", text, "Replace the link by a plain file, or choose another DNS control.")
            }
            Obstacle::ReadOnly => {
                let text = format!("{file} is not writable.");
                ("dns-read-only", text, "Make it writable for firezoned (it may be immutable or on a read-only mount).")
            }
            Obstacle::Missing => {
                let text = format!("{file} does not exist.");
                ("dns-missing", text, "Create it with your nameservers.")
            }
            Obstacle::NotAFile => {
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
                "{file} cannot specify the port of the tunnel's resolver. Names of resources are not resolved."
            ),
            remedy: "Free port 53 (the log names the program that uses it), then disconnect and connect again."
                .to_owned(),
        }
    }

    fn backup_missing(&self) -> Warning {
        Warning {
            code: "dns-backup-missing",
            text: format!(
                "The backup of {} is missing; only the lines of Firezone were removed.",
                self.file.path().display()
            ),
            remedy: "Reconnect your network, or add your nameservers to the file.".to_owned(),
        }
    }

    fn failed(&self, error: &FileError) -> Warning {
        Warning {
            code: "dns-failed",
            text: format!("{} could not be updated: {error}.", self.file.path().display()),
            remedy: "Check the file, its directory and the free disk space.".to_owned(),
        }
    }
}

fn resolved_failed(error: &ResolvedError) -> Warning {
    let (code, remedy) = match error {
        ResolvedError::NoBus(_) => ("dns-bus-missing", "Start the system bus, or give firezoned access to it."),
        ResolvedError::NotRunning => (
            "dns-resolved-missing",
            "Start systemd-resolved, or make /etc/resolv.conf a plain file with your nameservers.",
        ),
        ResolvedError::NoReply => {
            ("dns-resolved-silent", "None if systemd-resolved is restarting; otherwise restart it.")
        }
        ResolvedError::Denied => {
            ("dns-resolved-denied", "Install polkit and the rule 50-dev.firezone.Client.resolved.rules.")
        }
        ResolvedError::LinkManaged => {
            ("dns-link-managed", "Exclude the interface from systemd-networkd (Unmanaged=yes for firezone0).")
        }
        ResolvedError::Failed(_) => ("dns-resolved-refused", "See the log of systemd-resolved."),
    };
    let text =
        format!("systemd-resolved cannot be configured for the tunnel: {error}. Names of resources are not resolved.");
    Warning { code, text, remedy: remedy.to_owned() }
}

fn no_servers() -> Warning {
    Warning {
        code: "dns-no-servers",
        text: "There is no upstream resolver, so the DNS settings of this host are unchanged.".to_owned(),
        remedy: "Configure a nameserver on this host or in the portal.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired() -> DnsConfig {
        DnsConfig { servers: vec!["100.100.111.1".parse().unwrap()], port: None, search_domain: None }
    }

    #[tokio::test]
    async fn symlink_warning_names_its_target() {
        let directory = tempfile::tempdir().unwrap();
        let live = directory.path().join("resolv.conf");
        std::os::unix::fs::symlink("/nowhere/at-all.conf", &live).unwrap();

        let mut applied = Applied::default();
        Dns::with_file(DnsControl::Auto, &live).apply(Some(&desired()), None, &mut applied).await;

        assert_eq!(applied.changes, 0);
        assert_eq!(applied.warnings[0].code, "dns-symlink");
        assert!(applied.warnings[0].text.contains("/nowhere/at-all.conf"));
    }

    #[tokio::test]
    async fn disabled_control_still_cleans_up_after_a_crash() {
        let directory = tempfile::tempdir().unwrap();
        let live = directory.path().join("resolv.conf");
        std::fs::write(&live, "nameserver 192.0.2.1\n").unwrap();
        let mut applied = Applied::default();
        Dns::with_file(DnsControl::EtcResolvConf, &live).apply(Some(&desired()), None, &mut applied).await;
        assert_eq!(applied.changes, 1);

        let mut disabled = Dns::with_file(DnsControl::Disabled, &live);
        disabled.apply(Some(&desired()), None, &mut applied).await;
        assert_eq!(std::fs::read_to_string(&live).unwrap(), "nameserver 192.0.2.1\n");
        assert_eq!(disabled.system_resolvers(None).await, [Resolver::plain("192.0.2.1".parse().unwrap())]);
        assert_eq!(applied.warnings, []);
    }

    #[tokio::test]
    async fn resolv_conf_cannot_express_another_port() {
        let directory = tempfile::tempdir().unwrap();
        let live = directory.path().join("resolv.conf");
        std::fs::write(&live, "nameserver 192.0.2.1\n").unwrap();
        let mut dns = Dns::with_file(DnsControl::EtcResolvConf, &live);
        assert!(!dns.supports_custom_port());

        let mut applied = Applied::default();
        let desired = DnsConfig { port: Some(5053), ..desired() };
        dns.apply(Some(&desired), None, &mut applied).await;

        assert_eq!((applied.changes, applied.warnings[0].code), (0, "dns-port-taken"));
        assert_eq!(std::fs::read_to_string(&live).unwrap(), "nameserver 192.0.2.1\n");
    }

    #[tokio::test]
    async fn nothing_is_written_without_sentinels() {
        let directory = tempfile::tempdir().unwrap();
        let live = directory.path().join("resolv.conf");
        std::fs::write(&live, "nameserver 192.0.2.1\n").unwrap();
        let mut applied = Applied::default();
        Dns::with_file(DnsControl::Auto, &live).apply(Some(&DnsConfig::default()), None, &mut applied).await;
        assert_eq!((applied.changes, applied.warnings[0].code), (0, "dns-no-servers"));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
