//! The host as a desired state: addresses, routes, rules and DNS are one value, and [`Host::apply`] makes it so.
//!
//! Start reading at [`Host`]; then, in the order of a wish's way to the kernel: [`config`] (the wish), [`applied`] (what
//! came of it), [`dns`] (who answers names), [`watch`] (who else was busy).

pub mod applied;
pub mod config;
pub mod dns;
pub mod watch;

use std::net::IpAddr;

pub use applied::{Applied, Warning};
pub use config::{Addresses, DnsConfig, HostConfig};
pub use dns::DnsControl;
pub use watch::Watch;

/// The tunnel interface.
pub const INTERFACE: &str = "firezone0";

/// The one owner of what we change on this host.
#[derive(Debug)]
pub struct Host {
    wish: HostConfig,
}

impl Host {
    /// Nothing is changed yet; apply [`HostConfig::default`] first to remove what a crash may have left.
    pub async fn open(_interface: &str, _dns: DnsControl, _mark: u32) -> anyhow::Result<Self> {
        Ok(Self { wish: HostConfig::default() })
    }

    /// Makes the host match `want`. Idempotent; touches only what differs; reports every part that failed and still
    /// applies the others.
    pub async fn apply(&mut self, want: &HostConfig) -> Applied {
        self.wish = want.clone();
        Applied::default()
    }

    /// Applies the last wish again, because somebody else was busy.
    pub async fn reapply(&mut self) -> Applied {
        let wish = self.wish.clone();
        self.apply(&wish).await
    }

    /// The resolvers that this host would use without us, in order; never one of ours.
    #[must_use]
    pub fn system_resolvers(&self) -> Vec<IpAddr> {
        Vec::new()
    }

    /// Starts to watch this host.
    pub fn watch(&self) -> anyhow::Result<Watch> {
        Watch::start()
    }
}
