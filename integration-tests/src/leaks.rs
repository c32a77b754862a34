//! A watch on the client's cable: what leaves the client that should not.
//!
//! Two look at every packet, each at what only it can see. The router knows where a client with the Internet resource may
//! send to: datagrams to gateway and relay, its conversation with the portal, questions to the resolver that it had before,
//! and whatever it likes to its own local network. The client's kernel knows who sends: past the tunnel goes only what
//! carries the daemon's mark, whatever its destination; a question of another program to the resolver does not. The
//! destinations of everything else are written down.

use anyhow::Context as _;
use serde_json::Value;

use crate::{
    netns::Host,
    topology::{CLIENT, GATEWAY, PORTAL, RELAY, RESOLVER, Topology},
};

/// The packet filter's table with the notes.
const TABLE: &str = "inet watch";
/// What the daemon's own sockets put on their packets.
const MARK: u32 = 0xfd00_2021;

/// The watch, from its beginning to the end of the stand.
#[derive(Debug)]
pub struct Watch {
    watchers: [Host; 2],
}

impl Watch {
    /// Begins to watch.
    pub fn begin(net: &Topology) -> anyhow::Result<Self> {
        let local = [
            format!("ip daddr {}/28", CLIENT.v4),
            format!("ip6 daddr {}/64", CLIENT.v6),
            "ip daddr 224.0.0.0/4".to_owned(),
            "ip6 daddr { fe80::/10, ff00::/8 }".to_owned(),
        ];
        let known = [
            format!("ip daddr {{ {}, {} }} meta l4proto udp", GATEWAY.v4, RELAY.v4),
            format!("ip6 daddr {{ {}, {} }} meta l4proto udp", GATEWAY.v6, RELAY.v6),
            format!("ip daddr {} tcp dport 8081", PORTAL.v4),
            format!("ip6 daddr {} tcp dport 8081", PORTAL.v6),
            format!("ip daddr {} meta l4proto {{ tcp, udp }} th dport 53", RESOLVER.v4),
            format!("ip6 daddr {} meta l4proto {{ tcp, udp }} th dport 53", RESOLVER.v6),
        ];
        let marked = [format!("meta mark {MARK:#x}")];
        net.router.nft(&rules("prerouting", "iifname client", local.iter().chain(&known)))?;
        net.client.nft(&rules("postrouting", "oifname eth0", local.iter().chain(&marked)))?;
        Ok(Self::of(net))
    }

    /// Where something went that should not have, since the beginning or [`again`](Self::again).
    pub fn leaks(&self) -> anyhow::Result<Vec<String>> {
        let mut all = Vec::new();
        for watcher in &self.watchers {
            for set in ["leaks4", "leaks6"] {
                let listing: Value = serde_json::from_str(&watcher.nft(&format!("list set {TABLE} {set}"))?)?;
                let objects = listing["nftables"].as_array().context("no list")?;
                let elements = objects.iter().filter_map(|it| it["set"]["elem"].as_array()).flatten();
                all.extend(elements.map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned)));
            }
        }
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// Goes on watching; what was seen so far does not count.
    pub fn again(net: &Topology) -> anyhow::Result<Self> {
        let watch = Self::of(net);
        for watcher in &watch.watchers {
            watcher.nft(&format!("flush set {TABLE} leaks4; flush set {TABLE} leaks6"))?;
        }
        Ok(watch)
    }

    fn of(net: &Topology) -> Self {
        Self { watchers: [net.router.clone(), net.client.clone()] }
    }
}

/// At this place in the kernel, the destinations of `which` packets are noted, unless they are `fine`.
fn rules<'a>(place: &str, which: &str, fine: impl Iterator<Item = &'a String>) -> String {
    let mut rules = format!(
        "add table {TABLE}; \
         add set {TABLE} leaks4 {{ type ipv4_addr; flags dynamic; size 1024; }}; \
         add set {TABLE} leaks6 {{ type ipv6_addr; flags dynamic; size 1024; }}; \
         add chain {TABLE} watch {{ type filter hook {place} priority -300; policy accept; }};"
    );
    for fine in fine {
        rules.push_str(&format!("add rule {TABLE} watch {which} {fine} return;"));
    }
    rules.push_str(&format!(
        "add rule {TABLE} watch {which} meta nfproto ipv4 update @leaks4 {{ ip daddr }};\
         add rule {TABLE} watch {which} meta nfproto ipv6 update @leaks6 {{ ip6 daddr }}"
    ));
    rules
}
