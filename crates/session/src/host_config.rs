//! What we want the host to look like.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

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
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
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

/// A word that is none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of auto, systemd-resolved, etc-resolv-conf, disabled")]
pub struct UnknownDnsControl;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_environment_round_trip() {
        for (control, word) in DnsControl::WORDS {
            assert_eq!(word.parse(), Ok(control));
            assert_eq!(control.to_string(), word);
        }
        assert_eq!("resolvconf".parse::<DnsControl>(), Err(UnknownDnsControl));
    }
}
