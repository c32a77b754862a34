//! The policy rules that lead into our tables.
//!
//! Each says "not marked as our own transport: look here first". A rule exists exactly while its table holds something
//! for its family.
//!
//! **A gateway on the same host.** It uses priorities from 100 for the same tunnel ranges, so ours are smaller: what this
//! host itself sends to a client or gateway address is ours. What the gateway *forwards* is not: decrypted packets on
//! their way to a resource that both know would come back into our tunnel, and the answers to its clients would leave
//! through it. While the gateway's interface exists, forwarded packets therefore jump over our rules: `not iif lo goto 90`
//! before them, and a rule 90 behind them that does nothing. (`iif lo` in the rules themselves would not do: "not"
//! inverts a rule's selectors as a whole.) Without a gateway our rules see forwarded packets too, so that containers and
//! virtual machines behind this host reach resources as the host does.

use rtnetlink::packet_route::route::RouteProtocol;
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::family::Family;
use super::routes;

/// Tables and priorities in the order in which they are asked. All below 100, see above.
pub(super) const TIERS: [(u32, u32); 3] = [(routes::RESOURCES, 60), (routes::LAN, 70), (routes::INTERNET, 80)];

/// Where forwarded packets jump over our rules, and where they land.
const DETOUR: u32 = 50;
const LANDING: u32 = 90;

/// Tables of an upstream client or gateway. An upstream client leaves its rules behind when it ends.
const UPSTREAM_TABLES: std::ops::RangeInclusive<u32> = 0x2021_fd00..=0x2021_fd02;

/// Packets that this host sends "come in" by this interface.
const LOOPBACK: &str = "lo";

/// A rule into one of our tables, or one that upstream left.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rule {
    pub(super) family: Family,
    pub(super) priority: u32,
    pub(super) table: u32,
    mark: u32,
    inverted: bool,
    from_interface: Option<String>,
    jump: Option<u32>,
    action: u8,
}

impl Rule {
    /// What is not our own transport looks into the table of a tier.
    pub(super) fn tier(family: Family, (table, priority): (u32, u32), mark: u32) -> Self {
        Self { table, mark, inverted: true, ..Self::plain(family, priority, RuleAction::ToTable) }
    }

    /// What this host does not send itself passes our rules by.
    pub(super) fn detour(family: Family) -> [Self; 2] {
        let jump = Self {
            inverted: true,
            from_interface: Some(LOOPBACK.to_owned()),
            jump: Some(LANDING),
            ..Self::plain(family, DETOUR, RuleAction::Goto)
        };
        [jump, Self::plain(family, LANDING, RuleAction::Nop)]
    }

    /// The table tells whose rule it is, also where the action does not use it.
    fn plain(family: Family, priority: u32, action: RuleAction) -> Self {
        Self {
            family,
            priority,
            table: routes::RESOURCES,
            mark: 0,
            inverted: false,
            from_interface: None,
            jump: None,
            action: action.into(),
        }
    }

    /// `None` for rules that lead elsewhere.
    pub(super) fn read(message: &RuleMessage) -> Option<Self> {
        let family = match message.header.family {
            AddressFamily::Inet => Family::V4,
            AddressFamily::Inet6 => Family::V6,
            _ => return None,
        };
        let mut rule = Self {
            family,
            priority: 0,
            table: u32::from(message.header.table),
            mark: 0,
            inverted: message.header.flags.contains(RuleFlags::Invert),
            from_interface: None,
            jump: None,
            action: message.header.action.into(),
        };
        for attribute in &message.attributes {
            match attribute {
                RuleAttribute::Table(table) => rule.table = *table,
                RuleAttribute::Priority(priority) => rule.priority = *priority,
                RuleAttribute::FwMark(mark) => rule.mark = *mark,
                RuleAttribute::Iifname(name) => rule.from_interface = Some(name.clone()),
                RuleAttribute::Goto(priority) => rule.jump = Some(*priority),
                _ => {}
            }
        }
        (rule.is_ours() || rule.is_upstreams()).then_some(rule)
    }

    pub(super) fn is_ours(&self) -> bool {
        routes::is_ours(self.table)
    }

    pub(super) fn is_upstreams(&self) -> bool {
        UPSTREAM_TABLES.contains(&self.table)
    }

    pub(super) fn creation(&self) -> RouteNetlinkMessage {
        let mut message = self.message();
        if self.inverted {
            message.header.flags |= RuleFlags::Invert;
        }
        // networkd sweeps away rules of other programs, but not those that look like the kernel's own.
        message.attributes.push(RuleAttribute::Protocol(RouteProtocol::Kernel));
        RouteNetlinkMessage::NewRule(message)
    }

    pub(super) fn removal(&self) -> RouteNetlinkMessage {
        RouteNetlinkMessage::DelRule(self.message())
    }

    fn message(&self) -> RuleMessage {
        let mut message = RuleMessage::default();
        message.header.family = self.family.into();
        message.header.action = self.action.into();
        message.attributes.push(RuleAttribute::Table(self.table));
        message.attributes.push(RuleAttribute::Priority(self.priority));
        if self.mark != 0 {
            message.attributes.push(RuleAttribute::FwMark(self.mark));
        }
        message.attributes.extend(self.from_interface.clone().map(RuleAttribute::Iifname));
        message.attributes.extend(self.jump.map(RuleAttribute::Goto));
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_write_is_what_we_read_back() {
        for family in Family::BOTH {
            for rule in TIERS.map(|tier| Rule::tier(family, tier, 0xfd00_2021)).into_iter().chain(Rule::detour(family))
            {
                let RouteNetlinkMessage::NewRule(message) = rule.creation() else { panic!("not a creation") };
                assert_eq!(Rule::read(&message), Some(rule));
            }
        }
    }

    #[test]
    fn our_rules_precede_those_of_a_gateway_and_go_from_resources_to_internet() {
        assert!(TIERS.is_sorted_by_key(|(_, priority)| *priority));
        assert!(TIERS.iter().all(|(_, priority)| (DETOUR..LANDING).contains(priority)));
        const { assert!(LANDING < 100) };
        assert!(TIERS.iter().all(|(table, _)| !UPSTREAM_TABLES.contains(table)));
    }

    #[test]
    fn rules_of_others_are_not_even_seen() {
        let mut message = RuleMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.table = 254;
        assert_eq!(Rule::read(&message), None);
    }
}
