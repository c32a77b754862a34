//! Sentinels: the local addresses that stand for the upstream resolvers.
//!
//! Each resolver in use has one sentinel of its own address family (DoH: IPv4). When the resolvers change, the new ones
//! get sentinels that the previous ones did not have, so that a program or cache that still uses an old sentinel never
//! reaches a different resolver.

use std::{collections::BTreeSet, net::IpAddr};

use model::{
    Resolver,
    address_plan::{SENTINELS_V4, SENTINELS_V6},
};

use crate::Upstream;

/// The mapping of sentinels to resolvers.
#[derive(Clone, Debug, Default)]
pub struct Sentinels {
    servers: Vec<(IpAddr, Upstream)>,
    /// The resolvers of the current mapping, including those for which no sentinel was left.
    mapped: BTreeSet<Upstream>,
    /// The sentinels of the last mapping that was not empty.
    recent: BTreeSet<IpAddr>,
}

impl Sentinels {
    /// The sentinels in the order of their resolvers.
    #[must_use]
    pub fn servers(&self) -> &[(IpAddr, Upstream)] {
        &self.servers
    }

    /// The resolver that `sentinel` stands for.
    #[must_use]
    pub fn upstream(&self, sentinel: IpAddr) -> Option<&Upstream> {
        self.servers.iter().find(|(ip, _)| *ip == sentinel).map(|(_, upstream)| upstream)
    }

    /// Maps `resolvers`. Returns whether the mapping changed: the same resolvers in another order are no change.
    /// Resolvers beyond the number of sentinels are left out.
    pub(crate) fn map(&mut self, resolvers: &[Upstream]) -> bool {
        let wanted: BTreeSet<_> = resolvers.iter().cloned().collect();
        if wanted == self.mapped {
            return false;
        }
        let mut v4 = SENTINELS_V4.hosts().map(IpAddr::V4).filter(|ip| !self.recent.contains(ip));
        let mut v6 = SENTINELS_V6.hosts().map(IpAddr::V6).filter(|ip| !self.recent.contains(ip));
        let mut servers = Vec::new();
        for upstream in resolvers {
            let sentinel = match upstream {
                Upstream::Do53(address) | Upstream::Dot(Resolver { address, .. }) if address.is_ipv6() => v6.next(),
                Upstream::Do53(_) | Upstream::Dot(_) | Upstream::Doh(_) => v4.next(),
            };
            servers.extend(sentinel.map(|sentinel| (sentinel, upstream.clone())));
        }
        if servers.len() < resolvers.len() {
            tracing::warn!("too many resolvers; the last ones are not used");
        }
        if !servers.is_empty() {
            self.recent = servers.iter().map(|(ip, _)| *ip).collect();
        }
        self.servers = servers;
        self.mapped = wanted;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn upstreams(texts: &[&str]) -> Vec<Upstream> {
        texts.iter().map(|text| Upstream::Do53(SocketAddr::new(text.parse().expect("an address"), 53))).collect()
    }

    fn ips(sentinels: &Sentinels) -> Vec<String> {
        sentinels.servers().iter().map(|(ip, _)| ip.to_string()).collect()
    }

    #[test]
    fn new_resolvers_never_reuse_the_previous_sentinels() {
        let mut sentinels = Sentinels::default();
        assert!(sentinels.map(&upstreams(&["1.1.1.1", "2606:4700:4700::1111"])));
        assert_eq!(ips(&sentinels), ["100.100.111.1", "fd00:2021:1111:8000:100:100:111:0"]);
        assert!(sentinels.map(&upstreams(&["9.9.9.9"])));
        assert_eq!(ips(&sentinels), ["100.100.111.2"]);
        assert!(sentinels.map(&[]));
        assert_eq!(ips(&sentinels), [""; 0]);
        assert!(sentinels.map(&upstreams(&["8.8.8.8"])));
        assert_eq!(ips(&sentinels), ["100.100.111.1"]);
    }

    #[test]
    fn reordered_resolvers_keep_their_sentinels() {
        let mut sentinels = Sentinels::default();
        sentinels.map(&upstreams(&["1.1.1.1", "9.9.9.9"]));
        let before = ips(&sentinels);
        assert!(!sentinels.map(&upstreams(&["9.9.9.9", "1.1.1.1"])));
        assert_eq!(ips(&sentinels), before);
        assert_eq!(sentinels.upstream("100.100.111.2".parse().expect("an address")), upstreams(&["9.9.9.9"]).first());
    }

    #[test]
    fn resolvers_beyond_the_sentinel_range_are_left_out() {
        let many: Vec<_> = (0..=255).map(|i| format!("10.0.0.{i}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let mut sentinels = Sentinels::default();
        sentinels.map(&upstreams(&many));
        assert_eq!(sentinels.servers().len(), 254);
        assert!(!ips(&sentinels).iter().any(|ip| ip.ends_with(".0") || ip.ends_with(".255")));
    }
}
