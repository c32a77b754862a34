//! The host as a desired state: addresses, routes, rules and DNS are one value, and [`Host::apply`] makes it so.
//!
//! In the order of a wish's way to the kernel:
//!
//! * `plan`      – what has to change: have × want, pure. Its words: `link`, `address`, `routes`, `rules`, `lan`
//! * `kernel`    – reads what there is and carries out changes, through one `netlink` socket
//! * [`dns`]     – who answers names
//! * [`applied`] – what came of it, with `warnings` for what the host refuses
//! * [`watch`]   – who else was busy

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
mod others;
mod plan;
mod reverse_path;
mod routes;
mod rules;
mod warnings;
pub mod watch;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use ipnet::IpNet;
use model::Resolver;

pub use applied::{Applied, Warning};
use dns::Dns;
use family::Family;
use kernel::Kernel;
use netlink::Refusal;
use plan::{Change, Plan, plan};
use session::{DnsControl, HostConfig};
pub use watch::Watch;

/// The tunnel interface.
pub const INTERFACE: &str = "firezone0";

/// The one owner of what we change on this host.
#[derive(Debug)]
pub struct Host {
    interface: String,
    mark: u32,
    kernel: Kernel,
    dns: Dns,
    wish: HostConfig,
}

impl Host {
    /// Changes nothing yet; apply [`HostConfig::default`] first, to remove what a crash may have left.
    ///
    /// `mark` is on all packets that must not enter the tunnel: our own transport.
    pub async fn open(interface: &str, dns: DnsControl, mark: u32) -> anyhow::Result<Self> {
        Self::with_dns(interface, Dns::new(dns), mark)
    }

    /// As [`Self::open`], with another file in the place of `/etc/resolv.conf`.
    pub async fn open_with_resolv_conf(
        interface: &str,
        dns: DnsControl,
        mark: u32,
        resolv_conf: &Path,
    ) -> anyhow::Result<Self> {
        Self::with_dns(interface, Dns::with_file(dns, resolv_conf), mark)
    }

    fn with_dns(interface: &str, dns: Dns, mark: u32) -> anyhow::Result<Self> {
        let kernel = Kernel::open().context("open a netlink socket")?;
        Ok(Self { interface: interface.to_owned(), mark, kernel, dns, wish: HostConfig::default() })
    }

    /// Makes the host match `want`. Idempotent; touches only what differs; reports every part that failed and still applies
    /// the others.
    pub async fn apply(&mut self, want: &HostConfig) -> Applied {
        self.wish = want.clone();
        let mut applied = Applied::default();

        let mut dns = want.dns.clone();
        let mut link = None;
        let plan = match self.kernel.have(&self.interface).await {
            Ok(have) => {
                link = have.tunnel.as_ref().map(|link| link.index);
                if want.addresses.is_some() && have.tunnel.is_none() {
                    applied.warn(warnings::interface_missing(&self.interface));
                    // Without it the sentinels are nobody's addresses.
                    dns = None;
                }
                let plan = plan(&have, want, self.mark);
                if want.addresses.is_some() {
                    others::warnings(&have).for_each(|warning| applied.warn(warning));
                }
                if want.routes.iter().any(is_everything_v4) && reverse_path::is_strict(&have) {
                    applied.warn(warnings::strict_reverse_path());
                }
                plan
            }
            Err(refusal) => {
                applied.warn(warnings::unreadable(refusal));
                dns = None;
                Plan::default()
            }
        };

        let missing = self.carry_out(&plan.build, &mut applied).await;
        if let Some(dns) = &mut dns {
            dns.servers.retain(|server| !missing.contains(&Family::of(*server)));
        }
        self.dns.apply(dns.as_ref(), link, &mut applied).await;
        self.carry_out(&plan.clear, &mut applied).await;
        applied
    }

    /// Applies the last wish again, because somebody else was busy.
    pub async fn reapply(&mut self) -> Applied {
        let wish = self.wish.clone();
        self.apply(&wish).await
    }

    /// The resolvers that this host would use without us, in order; never one of ours.
    pub async fn system_resolvers(&mut self) -> Vec<Resolver> {
        let link = self.kernel.have(&self.interface).await.ok().and_then(|have| have.tunnel).map(|link| link.index);
        self.dns.system_resolvers(link).await
    }

    /// Whether programs on this host can be sent to a resolver on another port than the usual one.
    #[must_use]
    pub fn takes_other_ports(&self) -> bool {
        self.dns.takes_other_ports()
    }

    /// Has whoever keeps answers on this host forget them, because names have others now.
    pub async fn flush_names(&mut self) {
        self.dns.flush().await;
    }

    /// Starts to watch this host.
    pub fn watch(&self) -> anyhow::Result<Watch> {
        Watch::start(&self.interface, self.dns.again())
    }

    /// Returns the families that this host does not have.
    async fn carry_out(&mut self, changes: &[Change], applied: &mut Applied) -> BTreeSet<Family> {
        let mut missing: BTreeSet<Family> = BTreeSet::new();
        for change in changes {
            if change.family().is_some_and(|family| missing.contains(&family)) {
                continue;
            }
            match (change, self.kernel.make(change).await) {
                (_, Ok(())) => {
                    tracing::debug!(?change, "changed");
                    applied.changes += 1;
                }
                // Kernels before this knob invent an address; it does no harm.
                (Change::StopInventingAddresses(_), Err(refusal)) => {
                    tracing::debug!(%refusal, "addresses are invented")
                }
                (_, Err(refusal)) => {
                    tracing::debug!(?change, %refusal, "refused");
                    applied.warn(warnings::refused(change, refusal));
                    if let (Change::AddAddress(..), Some(family)) = (change, change.family()) {
                        missing.insert(family);
                    }
                    if refusal == Refusal::Silent {
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

fn is_everything_v4(network: &IpNet) -> bool {
    network.prefix_len() == 0 && network.addr().is_ipv4()
}
