//! Conflicts with other VPNs on this host.
//!
//! Our rules have small priorities, so they precede those of nearly every other VPN. Two kinds conflict all the same: a VPN
//! whose rule precedes ours and matches everything, and a VPN that uses addresses in the tunnel's own ranges (RFC 6598 assigns
//! 100.64.0.0/10 to carriers, and several products use it internally). We change neither; the first may be intended.

use std::collections::BTreeMap;

use ipnet::IpNet;
use model::address_plan;
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};

use super::address::InterfaceAddress;
use super::applied::Warning;
use super::plan::KernelState;
use super::rules::TIERS;

/// The table of local addresses.
const LOCAL_TABLE: u32 = 255;

/// The priority of a foreign rule that takes our traffic: it precedes our rules and does not select by address, interface or
/// user. A rule that matches a mark is selective; one that matches all packets *without* a mark is not.
pub(super) fn precedes_our_rules(message: &RuleMessage) -> Option<u32> {
    let header = &message.header;
    let decides = matches!(
        header.action,
        RuleAction::ToTable | RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit
    );
    let mut is_selective = header.src_len > 0 || header.dst_len > 0 || header.tos > 0;
    let (mut priority, mut table) = (0, u32::from(header.table));
    let inverted = header.flags.contains(RuleFlags::Invert);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(number) => priority = *number,
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::FwMark(mark) if *mark != 0 => is_selective |= !inverted,
            RuleAttribute::Iifname(_)
            | RuleAttribute::Oifname(_)
            | RuleAttribute::UidRange(_)
            | RuleAttribute::IpProtocol(_)
            | RuleAttribute::SourcePortRange(_)
            | RuleAttribute::DestinationPortRange(_) => is_selective = true,
            _ => {}
        }
    }
    let our_last_priority = TIERS.last().map_or(0, |(_, priority)| *priority);
    (decides && !is_selective && table != LOCAL_TABLE && priority <= our_last_priority).then_some(priority)
}

/// The names of those interfaces in `names` that have an address in the tunnel's ranges, sorted.
pub(super) fn interfaces_in_tunnel_ranges(
    addresses: &[InterfaceAddress],
    names: &BTreeMap<u32, String>,
) -> Vec<String> {
    let is_in_range = |network: &IpNet| address_plan::ranges().iter().any(|range| range.contains(&network.addr()));
    let mut found: Vec<String> = addresses
        .iter()
        .filter(|address| is_in_range(&address.network))
        .filter_map(|address| names.get(&address.interface).cloned())
        .collect();
    found.sort();
    found.dedup();
    found
}

/// At most one warning for each kind of conflict.
pub(super) fn warnings(current: &KernelState) -> impl Iterator<Item = Warning> {
    let rules = current.preceding_rules.first().map(|priority| Warning {
        code: "another-vpn-first",
        text: format!("A routing rule of another program (priority {priority}) precedes those of Firezone and may divert traffic to resources."),
        remedy: "Stop the other VPN while you are signed in, or configure it to use a rule priority above 100 (ip rule).".to_owned(),
    });
    let ranges = current.interfaces_in_tunnel_ranges.first().map(|interface| Warning {
        code: "tunnel-range-in-use",
        text: format!("The interface {interface} has an address in the tunnel's ranges; its network is unreachable while you are signed in."),
        remedy: "Stop the other VPN while you are signed in, or use a network without addresses in 100.64.0.0/10.".to_owned(),
    });
    rules.into_iter().chain(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(priority: u32, attributes: Vec<RuleAttribute>) -> RuleMessage {
        let mut message = RuleMessage::default();
        message.header.action = RuleAction::ToTable;
        message.attributes = attributes;
        message.attributes.push(RuleAttribute::Priority(priority));
        message.attributes.push(RuleAttribute::Table(1000));
        message
    }

    #[test]
    fn unselective_rule_before_ours_is_a_conflict() {
        let mark = || vec![RuleAttribute::FwMark(0x51)];
        assert_eq!(precedes_our_rules(&rule(50, vec![])), Some(50));
        assert_eq!(precedes_our_rules(&rule(50, mark())), None, "only what is marked");
        let mut inverted = rule(50, mark());
        inverted.header.flags |= RuleFlags::Invert;
        assert_eq!(precedes_our_rules(&inverted), Some(50));
        assert_eq!(precedes_our_rules(&rule(50, vec![RuleAttribute::Iifname("eth0".to_owned())])), None);
        let mut from = rule(50, vec![]);
        from.header.src_len = 24;
        assert_eq!(precedes_our_rules(&from), None);

        // wg-quick, Tailscale, the kernel's own.
        for later in [32764, 5270, 100, 32766] {
            assert_eq!(precedes_our_rules(&rule(later, vec![])), None);
        }
        let mut local = rule(0, vec![]);
        local.attributes = vec![];
        local.header.table = 255;
        assert_eq!(precedes_our_rules(&local), None);
    }

    #[test]
    fn tunnel_range_addresses_are_found_on_other_interfaces() {
        let names = BTreeMap::from([(2, "eth0".to_owned()), (5, "tailscale0".to_owned())]);
        let address = |interface, network: &str| InterfaceAddress {
            interface,
            network: network.parse().unwrap(),
            unstable: false,
        };
        let found = interfaces_in_tunnel_ranges(
            &[
                address(2, "192.168.1.2/24"),
                address(5, "100.101.102.103/32"),
                address(5, "fd00:2021:1111::9/128"),
                address(9, "100.64.0.1/32"),
            ],
            &names,
        );
        assert_eq!(found, ["tailscale0"], "the tunnel interface and a gateway's are not in the map");
    }
}
