//! Detects packets that leave the client outside of the tunnel.
//!
//! Two packet filters inspect every packet. The router knows the permitted destinations of a client with the Internet
//! resource: gateway and relay, the portal, the resolver of before the session, and its own local network. The client's kernel
//! knows the sender: outside of the tunnel only packets with the daemon's mark are permitted, so that a query of another
//! program to the resolver is a leak. The destinations of all other packets are recorded.

use anyhow::Context as _;
use serde_json::Value;

use crate::{
    netns::Host,
    topology::{CLIENT, GATEWAY, PORTAL, RELAY, RESOLVER, Topology},
};

/// The nftables table of the records.
const TABLE: &str = "inet watch";
/// The firewall mark of the daemon's packets.
const MARK: u32 = 0xfd00_2021;

/// The monitor, active until the stand ends.
#[derive(Debug)]
pub struct LeakMonitor {
    watchers: [Host; 2],
}

impl LeakMonitor {
    /// Starts the monitor.
    pub fn start(net: &Topology) -> anyhow::Result<Self> {
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

    /// Destinations of leaked packets since the start or [`restart`](Self::restart).
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

    /// Clears the records and continues.
    pub fn restart(net: &Topology) -> anyhow::Result<Self> {
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

/// Rules at this hook that record the destinations of `which` packets, except for `permitted` ones.
fn rules<'a>(place: &str, which: &str, permitted: impl Iterator<Item = &'a String>) -> String {
    let mut rules = format!(
        "add table {TABLE}; \
         add set {TABLE} leaks4 {{ type ipv4_addr; flags dynamic; size 1024; }}; \
         add set {TABLE} leaks6 {{ type ipv6_addr; flags dynamic; size 1024; }}; \
         add chain {TABLE} watch {{ type filter hook {place} priority -300; policy accept; }};"
    );
    for permitted in permitted {
        rules.push_str(&format!("add rule {TABLE} watch {which} {permitted} return;"));
    }
    rules.push_str(&format!(
        "add rule {TABLE} watch {which} meta nfproto ipv4 update @leaks4 {{ ip daddr }};\
         add rule {TABLE} watch {which} meta nfproto ipv6 update @leaks6 {{ ip6 daddr }}"
    ));
    rules
}
