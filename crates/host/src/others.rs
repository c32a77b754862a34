//! Other VPNs on this host, as far as they are in our way.
//!
//! Our rules come early, so nearly every other VPN is asked after us. Two kinds are in the way all the same: one whose own
//! rule comes before ours and takes everything, and one that uses addresses out of the tunnel's own ranges (RFC 6598 gives
//! 100.64.0.0/10 to carriers, and several products use it inside). Neither is ours to change; the first may be wished.

use std::collections::BTreeMap;

use ipnet::IpNet;
use model::address_plan;
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};

use super::address;
use super::applied::Warning;
use super::plan::Have;
use super::rules::TIERS;

/// The kernel's own rule for local addresses.
const LOCAL: u32 = 255;

/// The priority of a rule of somebody else that takes what should be ours: before our rules, and without a choice of
/// addresses, interfaces or users. A rule for packets with a mark takes the marked; one for all *but* the marked takes all.
pub(super) fn precedes_us(message: &RuleMessage) -> Option<u32> {
    let header = &message.header;
    let decides = matches!(
        header.action,
        RuleAction::ToTable | RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit
    );
    let mut is_choosy = header.src_len > 0 || header.dst_len > 0 || header.tos > 0;
    let (mut priority, mut table) = (0, u32::from(header.table));
    let inverted = header.flags.contains(RuleFlags::Invert);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(number) => priority = *number,
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::FwMark(mark) if *mark != 0 => is_choosy |= !inverted,
            RuleAttribute::Iifname(_)
            | RuleAttribute::Oifname(_)
            | RuleAttribute::UidRange(_)
            | RuleAttribute::IpProtocol(_)
            | RuleAttribute::SourcePortRange(_)
            | RuleAttribute::DestinationPortRange(_) => is_choosy = true,
            _ => {}
        }
    }
    let last_of_ours = TIERS.last().map_or(0, |(_, priority)| *priority);
    (decides && !is_choosy && table != LOCAL && priority <= last_of_ours).then_some(priority)
}

/// Interfaces, of those with names here, that have an address out of the tunnel's ranges.
pub(super) fn in_our_ranges(addresses: &[address::Found], names: &BTreeMap<u32, String>) -> Vec<String> {
    let is_in_ours = |network: &IpNet| address_plan::ranges().iter().any(|range| range.contains(&network.addr()));
    let mut found: Vec<String> = addresses
        .iter()
        .filter(|address| is_in_ours(&address.network))
        .filter_map(|address| names.get(&address.interface).cloned())
        .collect();
    found.sort();
    found.dedup();
    found
}

/// What there is to say about them.
pub(super) fn warnings(have: &Have) -> impl Iterator<Item = Warning> {
    let rules = have.preceding.first().map(|priority| Warning {
        code: "another-vpn-first",
        text: format!("A routing rule of another program (priority {priority}) is asked before ours; what it leads elsewhere is not reached."),
        remedy: "Stop the other VPN while you use this one, or have it use a priority above 100 (ip rule).".to_owned(),
    });
    let ranges = have.in_our_ranges.first().map(|interface| Warning {
        code: "tunnel-range-in-use",
        text: format!("The interface {interface} has an address out of the tunnel's own ranges; its network is hidden while you are signed in."),
        remedy: "Stop the other VPN while you use this one, or use a network without carrier-grade addresses (100.64.0.0/10).".to_owned(),
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
    fn a_rule_is_in_the_way_if_it_comes_first_and_takes_everything() {
        let mark = || vec![RuleAttribute::FwMark(0x51)];
        assert_eq!(precedes_us(&rule(50, vec![])), Some(50));
        assert_eq!(precedes_us(&rule(50, mark())), None, "only what is marked");
        let mut inverted = rule(50, mark());
        inverted.header.flags |= RuleFlags::Invert;
        assert_eq!(precedes_us(&inverted), Some(50));
        assert_eq!(precedes_us(&rule(50, vec![RuleAttribute::Iifname("eth0".to_owned())])), None);
        let mut from = rule(50, vec![]);
        from.header.src_len = 24;
        assert_eq!(precedes_us(&from), None);

        // wg-quick, Tailscale, the kernel's own.
        for later in [32764, 5270, 100, 32766] {
            assert_eq!(precedes_us(&rule(later, vec![])), None);
        }
        let mut local = rule(0, vec![]);
        local.attributes = vec![];
        local.header.table = 255;
        assert_eq!(precedes_us(&local), None);
    }

    #[test]
    fn addresses_out_of_our_ranges_are_found_on_other_interfaces() {
        let names = BTreeMap::from([(2, "eth0".to_owned()), (5, "tailscale0".to_owned())]);
        let address =
            |interface, network: &str| address::Found { interface, network: network.parse().unwrap(), fleeting: false };
        let found = in_our_ranges(
            &[
                address(2, "192.168.1.2/24"),
                address(5, "100.101.102.103/32"),
                address(5, "fd00:2021:1111::9/128"),
                address(9, "100.64.0.1/32"),
            ],
            &names,
        );
        assert_eq!(found, ["tailscale0"], "ours and a gateway's have no names here");
    }
}
