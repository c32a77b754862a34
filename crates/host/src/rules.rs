//! The policy rules that lead into our tables.
//!
//! Each rule directs packets without our transport mark into one table. A rule exists exactly while its table contains a route
//! of its family.
//!
//! **A gateway on the same host.** It uses priorities from 100 for the same tunnel ranges, so ours are smaller: packets that
//! this host itself sends to a client or gateway address use our tunnel. Packets that the gateway *forwards* must not:
//! decrypted packets to a resource that both know would re-enter our tunnel, and replies to its clients would leave through
//! it. While the gateway's interface exists, forwarded packets therefore skip our rules: `not iif lo goto 90` before them,
//! and a rule 90 behind them that does nothing. (`iif lo` in the rules themselves would not work: "not" inverts the
//! selectors of a rule as a whole.) Without a gateway our rules match forwarded packets too, so that containers and virtual
//! machines behind this host reach resources like the host itself.

use rtnetlink::packet_route::route::RouteProtocol;
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::family::Family;
use super::routes;

/// Tables and priorities in order of evaluation. All below 100, see above.
pub(super) const TIERS: [(u32, u32); 3] = [(routes::RESOURCES, 60), (routes::LAN, 70), (routes::INTERNET, 80)];

/// Priorities of the rule by which forwarded packets skip ours, and of its target.
const SKIP_PRIORITY: u32 = 50;
const SKIP_TARGET_PRIORITY: u32 = 90;

/// Tables of the official client and gateway. The client leaves its rules behind when it exits.
const UPSTREAM_TABLES: std::ops::RangeInclusive<u32> = 0x2021_fd00..=0x2021_fd02;

/// The input interface of packets that this host sends.
const LOOPBACK: &str = "lo";

/// A rule into one of our tables, or one that an upstream client left behind.
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
    /// Directs packets without our transport mark into the table of a tier.
    pub(super) fn tier(family: Family, (table, priority): (u32, u32), mark: u32) -> Self {
        Self { table, mark, inverted: true, ..Self::plain(family, priority, RuleAction::ToTable) }
    }

    /// Makes forwarded packets skip our rules.
    pub(super) fn skip_forwarded(family: Family) -> [Self; 2] {
        let jump = Self {
            inverted: true,
            from_interface: Some(LOOPBACK.to_owned()),
            jump: Some(SKIP_TARGET_PRIORITY),
            ..Self::plain(family, SKIP_PRIORITY, RuleAction::Goto)
        };
        [jump, Self::plain(family, SKIP_TARGET_PRIORITY, RuleAction::Nop)]
    }

    /// The table identifies the owner of a rule, even if the action does not use it.
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
    pub(super) fn parse(message: &RuleMessage) -> Option<Self> {
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
        (rule.is_ours() || rule.is_upstream()).then_some(rule)
    }

    pub(super) fn is_ours(&self) -> bool {
        routes::is_ours(self.table)
    }

    pub(super) fn is_upstream(&self) -> bool {
        UPSTREAM_TABLES.contains(&self.table)
    }

    pub(super) fn add_request(&self) -> RouteNetlinkMessage {
        let mut message = self.message();
        if self.inverted {
            message.header.flags |= RuleFlags::Invert;
        }
        // systemd-networkd removes rules of other programs, except those with the kernel's protocol.
        message.attributes.push(RuleAttribute::Protocol(RouteProtocol::Kernel));
        RouteNetlinkMessage::NewRule(message)
    }

    pub(super) fn delete_request(&self) -> RouteNetlinkMessage {
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
    fn written_message_is_parsed_back() {
        for family in Family::BOTH {
            for rule in
                TIERS.map(|tier| Rule::tier(family, tier, 0xfd00_2021)).into_iter().chain(Rule::skip_forwarded(family))
            {
                let RouteNetlinkMessage::NewRule(message) = rule.add_request() else { panic!("not a creation") };
                assert_eq!(Rule::parse(&message), Some(rule));
            }
        }
    }

    #[test]
    fn rule_priorities_precede_a_gateways_and_follow_the_tiers() {
        assert!(TIERS.is_sorted_by_key(|(_, priority)| *priority));
        assert!(TIERS.iter().all(|(_, priority)| (SKIP_PRIORITY..SKIP_TARGET_PRIORITY).contains(priority)));
        const { assert!(SKIP_TARGET_PRIORITY < 100) };
        assert!(TIERS.iter().all(|(table, _)| !UPSTREAM_TABLES.contains(table)));
    }

    #[test]
    fn foreign_rules_are_ignored() {
        let mut message = RuleMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.table = 254;
        assert_eq!(Rule::parse(&message), None);
    }
}
