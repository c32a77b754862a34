//! Who answers names on this host: the wish, the choice of a method, and the methods.

use std::fmt;
use std::str::FromStr;

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
