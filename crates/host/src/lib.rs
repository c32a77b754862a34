//! Applies the desired state of the host and watches for changes by other programs.
//!
//! This crate owns the addresses, routes, rules and DNS settings that we add to the host. It must not know why a state is
//! desired: sessions, the portal and the tunnel are unknown here. [`Host::apply`] takes one value for everything; a pure plan
//! compares it with the kernel's state, and the kernel and DNS modules execute the difference.
//!
//! In the order in which a desired state reaches the kernel:
//!
//! * `plan`      – the changes from the current to the desired state. Its terms: `link`, `address`, `routes`, `rules`, `lan`
//! * `kernel`    – reads the current state and applies changes, through one `netlink` socket
//! * [`dns`]     – the DNS settings of the host
//! * [`applied`] – the result, with `warnings`, `vpn_conflicts` and `reverse_path` for what does not work
//! * [`watch`]   – changes by other programs

mod address;
pub mod applied;
pub mod dns;
mod family;
#[cfg(test)]
mod in_namespace;
mod kernel;
mod lan;
mod link;
mod netlink;
mod plan;
mod reverse_path;
mod routes;
mod rules;
mod vpn_conflicts;
mod warnings;
pub mod watch;

use std::collections::BTreeSet;

use anyhow::Context as _;
use ipnet::IpNet;
use model::Resolver;

pub use applied::{Applied, Warning};
use dns::Dns;
use family::Family;
use kernel::Kernel;
use netlink::KernelError;
use plan::{Change, Plan, plan};
use session::{DnsControl, HostConfig};
pub use watch::Watch;

/// The tunnel interface.
pub const INTERFACE: &str = "firezone0";

/// Owner of everything that we change on this host.
#[derive(Debug)]
pub struct Host {
    interface: String,
    mark: u32,
    kernel: Kernel,
    dns: Dns,
    desired: HostConfig,
}

impl Host {
    /// Changes nothing yet; apply [`HostConfig::default`] first, to remove what a crash may have left.
    ///
    /// `mark` is the mark of packets that must not enter the tunnel: our own transport.
    ///
    /// # Errors
    /// A netlink socket cannot be opened.
    pub async fn open(interface: &str, dns: DnsControl, mark: u32) -> anyhow::Result<Self> {
        Self::with_dns(interface, Dns::new(dns), mark)
    }

    fn with_dns(interface: &str, dns: Dns, mark: u32) -> anyhow::Result<Self> {
        let kernel = Kernel::open().context("open a netlink socket")?;
        Ok(Self { interface: interface.to_owned(), mark, kernel, dns, desired: HostConfig::default() })
    }

    /// Brings the host to the `desired` state. Idempotent; changes only what differs; reports every part that failed and still
    /// applies the others.
    pub async fn apply(&mut self, desired: &HostConfig) -> Applied {
        self.desired = desired.clone();
        let mut applied = Applied::default();

        let mut dns = desired.dns.clone();
        let mut link = None;
        let plan = match self.kernel.read_state(&self.interface).await {
            Ok(current) => {
                link = current.tunnel.as_ref().map(|link| link.index);
                if desired.addresses.is_some() && current.tunnel.is_none() {
                    applied.warn(warnings::interface_missing(&self.interface));
                    // Without the interface the sentinels are unreachable.
                    dns = None;
                }
                let plan = plan(&current, desired, self.mark);
                if desired.addresses.is_some() {
                    vpn_conflicts::warnings(&current).for_each(|warning| applied.warn(warning));
                }
                if desired.routes.iter().any(is_default_v4) && reverse_path::is_strict(&current) {
                    applied.warn(warnings::strict_reverse_path());
                }
                plan
            }
            Err(error) => {
                applied.warn(warnings::unreadable(error));
                dns = None;
                Plan::default()
            }
        };

        let missing = self.execute(&plan.additions, &mut applied).await;
        if let Some(dns) = &mut dns {
            dns.servers.retain(|server| !missing.contains(&Family::of(*server)));
        }
        self.dns.apply(dns.as_ref(), link, &mut applied).await;
        self.execute(&plan.removals, &mut applied).await;
        applied
    }

    /// Applies the last desired state again, after a change by another program.
    pub async fn reapply(&mut self) -> Applied {
        let desired = self.desired.clone();
        self.apply(&desired).await
    }

    /// The resolvers that this host would use without us, in order of preference. Contains no sentinel.
    pub async fn system_resolvers(&mut self) -> Vec<Resolver> {
        let state = self.kernel.read_state(&self.interface).await;
        let link = state.ok().and_then(|current| current.tunnel).map(|link| link.index);
        self.dns.system_resolvers(link).await
    }

    /// Whether programs on this host can be directed to a resolver on a port other than 53.
    #[must_use]
    pub fn supports_custom_port(&self) -> bool {
        self.dns.supports_custom_port()
    }

    /// Flushes the DNS cache of this host, because names have new addresses.
    pub async fn flush_dns_caches(&mut self) {
        self.dns.flush().await;
    }

    /// Starts to watch this host.
    ///
    /// # Errors
    /// A netlink socket cannot be opened.
    pub fn watch(&self) -> anyhow::Result<Watch> {
        Watch::start(&self.interface, self.dns.fresh_copy())
    }

    /// Applies the changes in order. Returns the address families that are unavailable on this host.
    async fn execute(&mut self, changes: &[Change], applied: &mut Applied) -> BTreeSet<Family> {
        let mut missing: BTreeSet<Family> = BTreeSet::new();
        for change in changes {
            if change.family().is_some_and(|family| missing.contains(&family)) {
                continue;
            }
            match (change, self.kernel.apply(change).await) {
                (_, Ok(())) => {
                    tracing::debug!(?change, "applied a change");
                    applied.changes += 1;
                }
                // Older kernels lack this attribute; a generated address is harmless.
                (Change::DisableAddressGeneration(_), Err(error)) => {
                    tracing::debug!(%error, "cannot disable address generation")
                }
                (_, Err(error)) => {
                    tracing::debug!(?change, %error, "the kernel refused a change");
                    applied.warn(warnings::refused(change, error));
                    if let (Change::AddAddress(..), Some(family)) = (change, change.family()) {
                        missing.insert(family);
                    }
                    if error == KernelError::NoReply {
                        break;
                    }
                }
            }
        }
        if missing.len() == Family::BOTH.len() {
            applied.warn(warnings::no_addresses());
        }
        missing
    }
}

fn is_default_v4(network: &IpNet) -> bool {
    network.prefix_len() == 0 && network.addr().is_ipv4()
}
