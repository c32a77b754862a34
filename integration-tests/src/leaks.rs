//! A watch on the client's cable: what leaves the client that should not.
//!
//! The router looks at every packet that comes from the client. What a client with the Internet resource may send is known:
//! datagrams to gateway and relay, its conversation with the portal, questions to the resolver that it had before, and
//! whatever it likes to its own local network. The destinations of everything else are written down.

use anyhow::Context as _;
use serde_json::Value;

use crate::{
    netns::Host,
    topology::{CLIENT, GATEWAY, PORTAL, RELAY, RESOLVER, Topology},
};

/// The packet filter's table with the notes.
const TABLE: &str = "inet watch";

/// The watch, from its beginning to the end of the stand.
#[derive(Debug)]
pub struct Watch {
    router: Host,
}

impl Watch {
    /// Begins to watch.
    pub fn begin(net: &Topology) -> anyhow::Result<Self> {
        let fine = [
            format!("ip daddr {{ {}, {} }} meta l4proto udp", GATEWAY.v4, RELAY.v4),
            format!("ip6 daddr {{ {}, {} }} meta l4proto udp", GATEWAY.v6, RELAY.v6),
            format!("ip daddr {} tcp dport 8081", PORTAL.v4),
            format!("ip6 daddr {} tcp dport 8081", PORTAL.v6),
            format!("ip daddr {} meta l4proto {{ tcp, udp }} th dport 53", RESOLVER.v4),
            format!("ip6 daddr {} meta l4proto {{ tcp, udp }} th dport 53", RESOLVER.v6),
            format!("ip daddr {}/28", CLIENT.v4),
            format!("ip6 daddr {}/64", CLIENT.v6),
            "ip daddr 224.0.0.0/4".to_owned(),
            "ip6 daddr { fe80::/10, ff00::/8 }".to_owned(),
        ];
        let mut rules = format!(
            "add table {TABLE}; \
             add set {TABLE} leaks4 {{ type ipv4_addr; flags dynamic; size 1024; }}; \
             add set {TABLE} leaks6 {{ type ipv6_addr; flags dynamic; size 1024; }}; \
             add chain {TABLE} from_client {{ type filter hook prerouting priority -300; policy accept; }};"
        );
        for fine in fine {
            rules.push_str(&format!("add rule {TABLE} from_client iifname client {fine} return;"));
        }
        rules.push_str(&format!(
            "add rule {TABLE} from_client iifname client meta nfproto ipv4 update @leaks4 {{ ip daddr }};\
             add rule {TABLE} from_client iifname client meta nfproto ipv6 update @leaks6 {{ ip6 daddr }}"
        ));
        net.router.nft(&rules)?;
        Ok(Self { router: net.router.clone() })
    }

    /// Where something went that should not have, since the beginning or [`again`](Self::again).
    pub fn leaks(&self) -> anyhow::Result<Vec<String>> {
        let mut all = Vec::new();
        for set in ["leaks4", "leaks6"] {
            let listing: Value = serde_json::from_str(&self.router.nft(&format!("list set {TABLE} {set}"))?)?;
            let objects = listing["nftables"].as_array().context("no list")?;
            let elements = objects.iter().filter_map(|it| it["set"]["elem"].as_array()).flatten();
            all.extend(elements.map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned)));
        }
        Ok(all)
    }

    /// Goes on watching; what was seen so far does not count.
    pub fn again(net: &Topology) -> anyhow::Result<Self> {
        net.router.nft(&format!("flush set {TABLE} leaks4; flush set {TABLE} leaks6"))?;
        Ok(Self { router: net.router.clone() })
    }
}
