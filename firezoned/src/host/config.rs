//! What we want the host to look like.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// One wish for the whole host. The default value is "as if we had never been here" and therefore also the clean-up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// Local addresses of the tunnel interface.
    pub addresses: Option<Addresses>,
    /// Networks that belong into the tunnel. `0.0.0.0/0` and `::/0` mean "everything but the local networks".
    pub routes: BTreeSet<IpNet>,
    /// Who answers names.
    pub dns: Option<DnsConfig>,
}

impl HostConfig {
    /// Whether this is the clean-up.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        *self == Self::default()
    }
}

/// The interface's own addresses. Each becomes a /32 or /128, so that none brings a route of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
    /// Where the stub resolver listens. They are local addresses, so the kernel itself speaks UDP and TCP for us.
    pub sentinels: Vec<IpAddr>,
}

impl Addresses {
    pub(super) fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        [IpAddr::V4(self.v4), IpAddr::V6(self.v6)].into_iter().chain(self.sentinels.iter().copied())
    }
}

/// The resolvers that programs on this host shall ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsConfig {
    /// Sentinels, in the order in which they should be asked.
    pub servers: Vec<IpAddr>,
    /// Their port, if it is not the usual one. Only systemd-resolved can be told about another.
    pub port: Option<u16>,
    /// The domain in which single-label names are looked up.
    pub search_domain: Option<String>,
}
