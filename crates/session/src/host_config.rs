//! The configuration that the host should have.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::IpNet;

/// The whole configuration of the host. The default value leaves the host unchanged, and therefore also removes everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// Local addresses of the tunnel interface.
    pub addresses: Option<Addresses>,
    /// Networks that are routed into the tunnel. `0.0.0.0/0` and `::/0` mean everything but the local networks.
    pub routes: BTreeSet<IpNet>,
    /// The DNS servers of programs on the host; `None` leaves them unchanged.
    pub dns: Option<DnsConfig>,
}

impl HostConfig {
    /// Whether the host is left unchanged.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        *self == Self::default()
    }
}

/// Addresses of the interface. Each is added as a /32 or /128, so that none brings a route of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
    /// Where the stub resolver listens. They are local addresses, so the kernel handles UDP and TCP.
    pub sentinels: Vec<IpAddr>,
}

impl Addresses {
    /// All addresses.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        [IpAddr::V4(self.v4), IpAddr::V6(self.v6)].into_iter().chain(self.sentinels.iter().copied())
    }
}

/// The DNS servers of programs on this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsConfig {
    /// Sentinels, in the order of preference.
    pub servers: Vec<IpAddr>,
    /// Their port, if it is not 53. Only systemd-resolved supports another one.
    pub port: Option<u16>,
    /// The search domain for single-label names.
    pub search_domain: Option<String>,
}

/// How the host is configured to use the sentinels. The words are those of `FIREZONE_DNS_CONTROL`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DnsControl {
    /// Detected from the host.
    #[default]
    Auto,
    /// Per-link settings of systemd-resolved.
    SystemdResolved,
    /// Nameservers in `/etc/resolv.conf`.
    EtcResolvConf,
    /// No change: only programs that query the sentinels themselves resolve names of resources.
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

/// An unknown word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of auto, systemd-resolved, etc-resolv-conf, disabled")]
pub struct UnknownDnsControl;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_control_words_round_trip() {
        for (control, word) in DnsControl::WORDS {
            assert_eq!(word.parse(), Ok(control));
            assert_eq!(control.to_string(), word);
        }
        assert_eq!("resolvconf".parse::<DnsControl>(), Err(UnknownDnsControl));
    }
}
