//! The changes from the current to the desired state of the kernel: a pure function.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::family::Family;
use super::lan;
use super::link::Link;
use super::routes::{self, KernelRoute, Route};
use super::rules::{Rule, TIERS};
use session::HostConfig;

/// The interface of an upstream gateway or client.
pub(super) const UPSTREAM_INTERFACE: &str = "tun-firezone";

/// The current state of the kernel.
#[derive(Debug, Clone, Default)]
pub(super) struct KernelState {
    /// The tunnel interface, if it exists.
    pub(super) tunnel: Option<Link>,
    /// Its addresses, without link-local ones.
    pub(super) addresses: BTreeSet<IpNet>,
    /// Rules into our tables, and into upstream's.
    pub(super) rules: BTreeSet<Rule>,
    /// Routes in our tables and in the main table.
    pub(super) routes: Vec<KernelRoute>,
    /// Names of the interfaces through which packets can leave, by index; without loopback and the tunnel.
    pub(super) usable_interfaces: BTreeMap<u32, String>,
    /// Priorities of foreign rules that precede ours and take our traffic.
    pub(super) preceding_rules: BTreeSet<u32>,
    /// Names of other interfaces with addresses in the tunnel's ranges.
    pub(super) interfaces_in_tunnel_ranges: Vec<String>,
    /// Whether [`UPSTREAM_INTERFACE`] exists.
    pub(super) upstream_runs: bool,
}

/// One change of the kernel's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    DisableAddressGeneration(u32),
    ConfigureLink(u32),
    AddAddress(IpNet, u32),
    LinkUp(u32),
    AddRoute(Route),
    /// Adds a route in place of another one with the same key.
    ReplaceRoute(Route),
    AddRule(Rule),
    RemoveRule(Rule),
    RemoveRoute(Route),
    RemoveAddress(IpNet, u32),
    LinkDown(u32),
}

impl Change {
    /// The address family that this change requires.
    pub(super) fn family(&self) -> Option<Family> {
        match self {
            Self::AddAddress(network, _) | Self::RemoveAddress(network, _) => Some(Family::of(network.addr())),
            Self::AddRoute(route) | Self::ReplaceRoute(route) | Self::RemoveRoute(route) => Some(route.family()),
            Self::AddRule(rule) | Self::RemoveRule(rule) => Some(rule.family),
            Self::DisableAddressGeneration(_) => Some(Family::V6),
            Self::ConfigureLink(_) | Self::LinkUp(_) | Self::LinkDown(_) => None,
        }
    }
}

/// The changes in a safe order: first all additions, then all removals. DNS is switched between the two, so that names resolve
/// through us only while the routes exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Addresses, then routes, then the rules that lead to them.
    pub(super) additions: Vec<Change>,
    /// Rules, then routes, then addresses.
    pub(super) removals: Vec<Change>,
}

/// Compares the states. Changes only what differs and what is ours: our interface, our tables, the rules into them, and rules
/// that a terminated upstream client left behind.
pub(super) fn plan(current: &KernelState, desired: &HostConfig, mark: u32) -> Plan {
    let target = TargetState::new(current, desired, mark);
    let ours: BTreeSet<&Route> =
        current.routes.iter().filter(|found| found.is_ours()).map(|found| &found.route).collect();
    let mut plan = Plan::default();

    if let (Some(link), true) = (&current.tunnel, desired.addresses.is_some()) {
        if link.generates_addresses() {
            plan.additions.push(Change::DisableAddressGeneration(link.index));
        }
        if !link.is_configured() {
            plan.additions.push(Change::ConfigureLink(link.index));
        }
        plan.additions
            .extend(target.addresses.difference(&current.addresses).map(|net| Change::AddAddress(*net, link.index)));
        if !link.up {
            plan.additions.push(Change::LinkUp(link.index));
        }
    }

    let mut displaced = BTreeSet::new();
    for route in target.routes.iter().filter(|route| !ours.contains(route)) {
        match ours.iter().find(|old| route.displaces(old)) {
            Some(old) => {
                displaced.insert(*old);
                plan.additions.push(Change::ReplaceRoute(route.clone()));
            }
            None => plan.additions.push(Change::AddRoute(route.clone())),
        }
    }
    plan.additions.extend(target.rules.difference(&current.rules).cloned().map(Change::AddRule));

    let stale_rules = current.rules.iter().filter(|rule| match rule.is_ours() {
        true => !target.rules.contains(rule),
        // Only for the empty state: during a session an upstream client may start.
        false => desired.is_untouched() && !current.upstream_runs,
    });
    plan.removals.extend(stale_rules.rev().cloned().map(Change::RemoveRule));
    let stale_routes = ours.iter().filter(|route| !target.routes.contains(**route) && !displaced.contains(**route));
    plan.removals.extend(stale_routes.rev().map(|route| Change::RemoveRoute((*route).clone())));
    if let Some(link) = &current.tunnel {
        let stale = current.addresses.iter().rev().filter(|network| !target.addresses.contains(network));
        plan.removals.extend(stale.map(|network| Change::RemoveAddress(*network, link.index)));
        if link.up && desired.addresses.is_none() {
            plan.removals.push(Change::LinkDown(link.index));
        }
    }
    plan
}

/// The desired state in the kernel's terms.
#[derive(Debug, Default)]
struct TargetState {
    addresses: BTreeSet<IpNet>,
    routes: BTreeSet<Route>,
    rules: BTreeSet<Rule>,
}

impl TargetState {
    fn new(current: &KernelState, desired: &HostConfig, mark: u32) -> Self {
        let (Some(link), Some(addresses)) = (&current.tunnel, &desired.addresses) else { return Self::default() };

        let mut routes: BTreeSet<Route> =
            desired.routes.iter().map(|network| Route::into_tunnel(*network, link.index, addresses)).collect();
        let full_tunnel = routes.iter().filter(|route| route.table == routes::INTERNET).map(Route::family).collect();
        routes.extend(lan::copies(&current.routes, &current.usable_interfaces, &full_tunnel));

        let filled: BTreeSet<(u32, Family)> = routes.iter().map(|route| (route.table, route.family())).collect();
        let mut rules = BTreeSet::new();
        for family in Family::BOTH {
            let tiers = TIERS.into_iter().filter(|(table, _)| filled.contains(&(*table, family)));
            let before = rules.len();
            rules.extend(tiers.map(|tier| Rule::tier(family, tier, mark)));
            if current.upstream_runs && rules.len() > before {
                rules.extend(Rule::skip_forwarded(family));
            }
        }

        Self { addresses: addresses.iter().map(IpNet::from).collect(), routes, rules }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use session::Addresses;

    const MARK: u32 = 0xfd00_2021;
    const TUNNEL: u32 = 7;
    const ETHERNET: u32 = 2;

    fn desired(routes: &[&str]) -> HostConfig {
        HostConfig {
            addresses: Some(Addresses {
                v4: "100.64.0.5".parse().unwrap(),
                v6: "fd00:2021:1111::5".parse().unwrap(),
                sentinels: vec!["100.100.111.1".parse().unwrap()],
            }),
            routes: routes.iter().map(|route| route.parse().unwrap()).collect(),
            dns: None,
        }
    }

    fn fresh_host() -> KernelState {
        KernelState {
            tunnel: Some(Link::fresh(TUNNEL)),
            usable_interfaces: [(ETHERNET, "eth0".to_owned())].into(),
            ..KernelState::default()
        }
    }

    /// The state after the kernel has executed a plan.
    fn execute(mut current: KernelState, plan: &Plan) -> KernelState {
        for change in plan.additions.iter().chain(&plan.removals).cloned() {
            match change {
                Change::DisableAddressGeneration(_) | Change::ConfigureLink(_) => {}
                Change::LinkUp(index) => current.tunnel = Some(Link::configured(index)),
                Change::LinkDown(_) => current.tunnel.as_mut().unwrap().up = false,
                Change::AddAddress(network, _) => assert!(current.addresses.insert(network)),
                Change::RemoveAddress(network, _) => assert!(current.addresses.remove(&network)),
                Change::AddRoute(route) => {
                    assert!(!current.routes.iter().any(|old| old.route.displaces(&route)), "the kernel would refuse");
                    current.routes.push(in_kernel(route));
                }
                Change::ReplaceRoute(route) => {
                    current.routes.retain(|old| !old.route.displaces(&route));
                    current.routes.push(in_kernel(route));
                }
                Change::RemoveRoute(route) => current.routes.retain(|old| old.route != route),
                Change::AddRule(rule) => assert!(current.rules.insert(rule)),
                Change::RemoveRule(rule) => assert!(current.rules.remove(&rule)),
            }
        }
        current
    }

    fn in_kernel(route: Route) -> KernelRoute {
        KernelRoute { route, gateway: None, single_hop: true, dead: false }
    }

    fn local_network(destination: &str) -> KernelRoute {
        let destination = destination.parse().unwrap();
        in_kernel(Route { table: 254, destination, interface: ETHERNET, metric: 100, source: None })
    }

    fn tables(current: &KernelState) -> Vec<(u32, Family)> {
        current.rules.iter().map(|rule| (rule.table, rule.family)).collect()
    }

    #[test]
    fn addresses_are_added_before_routes_before_rules() {
        let plan = plan(&fresh_host(), &desired(&["10.0.0.0/8"]), MARK);

        let order: Vec<usize> = plan
            .additions
            .iter()
            .map(|change| match change {
                Change::DisableAddressGeneration(_) => 0,
                Change::ConfigureLink(_) => 1,
                Change::AddAddress(..) => 2,
                Change::LinkUp(_) => 3,
                Change::AddRoute(_) => 4,
                Change::AddRule(_) => 5,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(order, [0, 1, 2, 2, 2, 3, 4, 5]);
        assert!(plan.removals.is_empty());
    }

    #[test]
    fn plan_for_the_desired_state_is_empty() {
        let mut current = fresh_host();
        current.routes = vec![local_network("192.168.1.0/24"), local_network("2001:db8:1::/64")];
        let desired = desired(&["10.0.0.0/8", "fd00:2021:1111::/107", "0.0.0.0/0", "::/0"]);

        let current = execute(current.clone(), &plan(&current, &desired, MARK));

        assert_eq!(plan(&current, &desired, MARK), Plan::default());
    }

    #[test]
    fn empty_desired_state_removes_only_ours_in_reverse_order() {
        let mut before = fresh_host();
        before.routes = vec![local_network("192.168.1.0/24")];
        let up = execute(before.clone(), &plan(&before, &desired(&["10.0.0.0/8", "0.0.0.0/0"]), MARK));

        let down = plan(&up, &HostConfig::default(), MARK);

        assert!(down.additions.is_empty());
        assert!(matches!(down.removals.first(), Some(Change::RemoveRule(rule)) if rule.table == routes::INTERNET));
        assert!(matches!(down.removals.last(), Some(Change::LinkDown(TUNNEL))));
        let after = execute(up, &down);
        assert_eq!((after.routes, after.rules, after.addresses), (before.routes, before.rules, before.addresses));
    }

    #[test]
    fn rules_and_copies_are_removed_without_the_interface() {
        let mut current = fresh_host();
        current.routes = vec![local_network("192.168.1.0/24")];
        let up = execute(current.clone(), &plan(&current, &desired(&["0.0.0.0/0"]), MARK));
        let killed = KernelState { tunnel: None, addresses: BTreeSet::new(), ..up };

        let after = execute(killed.clone(), &plan(&killed, &HostConfig::default(), MARK));

        assert!(after.rules.is_empty());
        assert_eq!(after.routes, current.routes);
    }

    #[test]
    fn rule_exists_only_while_its_table_has_routes() {
        let mut current = fresh_host();
        current.routes = vec![local_network("192.168.1.0/24")];
        let resources = execute(current.clone(), &plan(&current, &desired(&["10.0.0.0/8"]), MARK));
        assert_eq!(tables(&resources), [(routes::RESOURCES, Family::V4)]);

        let internet = execute(resources.clone(), &plan(&resources, &desired(&["10.0.0.0/8", "0.0.0.0/0"]), MARK));
        assert_eq!(
            tables(&internet),
            [(routes::RESOURCES, Family::V4), (routes::LAN, Family::V4), (routes::INTERNET, Family::V4)]
        );

        let off_again = execute(internet.clone(), &plan(&internet, &desired(&["10.0.0.0/8"]), MARK));
        assert_eq!(tables(&off_again), tables(&resources));
    }

    #[test]
    fn changed_address_is_added_before_the_old_one_is_removed() {
        let current = execute(fresh_host(), &plan(&fresh_host(), &desired(&[]), MARK));
        let mut moved = desired(&[]);
        moved.addresses.as_mut().unwrap().v4 = "100.64.0.6".parse().unwrap();

        let plan = plan(&current, &moved, MARK);

        assert_eq!(plan.additions, [Change::AddAddress("100.64.0.6/32".parse().unwrap(), TUNNEL)]);
        assert_eq!(plan.removals, [Change::RemoveAddress("100.64.0.5/32".parse().unwrap(), TUNNEL)]);
    }

    #[test]
    fn copy_of_a_former_network_is_removed() {
        let mut current = fresh_host();
        current.routes = vec![local_network("192.168.1.0/24")];
        let desired = desired(&["0.0.0.0/0"]);
        let mut current = execute(current.clone(), &plan(&current, &desired, MARK));
        current.routes.retain(|found| !found.is_main());
        current.routes.push(local_network("172.20.0.0/16"));

        let current = execute(current.clone(), &plan(&current, &desired, MARK));

        let lan: Vec<String> = current
            .routes
            .iter()
            .filter(|found| found.route.table == routes::LAN)
            .map(|found| found.route.destination.to_string())
            .collect();
        assert_eq!(lan, ["172.20.0.0/16"]);
    }

    #[test]
    fn network_moved_to_another_interface_is_replaced() {
        const WIRELESS: u32 = 3;
        let mut current = fresh_host();
        current.usable_interfaces.insert(WIRELESS, "wlan0".to_owned());
        current.routes = vec![local_network("192.168.1.0/24")];
        let desired = desired(&["0.0.0.0/0"]);
        let mut current = execute(current.clone(), &plan(&current, &desired, MARK));
        for found in current.routes.iter_mut().filter(|found| found.is_main()) {
            found.route.interface = WIRELESS;
        }

        let plan = plan(&current, &desired, MARK);

        assert!(matches!(plan.additions.as_slice(), [Change::ReplaceRoute(route)] if route.interface == WIRELESS));
        assert!(plan.removals.is_empty());
    }

    #[test]
    fn rules_beside_a_gateway_skip_forwarded_packets() {
        let current = fresh_host();
        let desired = desired(&["10.0.0.0/8"]);
        let alone = execute(current.clone(), &plan(&current, &desired, MARK));
        let beside = KernelState { upstream_runs: true, ..alone };

        let plan = plan(&beside, &desired, MARK);

        assert_eq!(plan.additions, Rule::skip_forwarded(Family::V4).map(Change::AddRule));
        assert!(plan.removals.is_empty());
    }

    #[test]
    fn leftover_upstream_rules_are_removed_unless_upstream_runs() {
        let left = Rule::tier(Family::V4, (0x2021_fd00, 100), MARK);
        let current = KernelState { rules: [left.clone()].into(), ..fresh_host() };

        assert_eq!(plan(&current, &HostConfig::default(), MARK).removals, [Change::RemoveRule(left)]);
        assert!(plan(&current, &desired(&[]), MARK).removals.is_empty());
        let current = KernelState { upstream_runs: true, ..current };
        assert!(plan(&current, &HostConfig::default(), MARK).removals.is_empty());
    }

    #[test]
    fn nothing_is_added_without_an_interface() {
        let current = KernelState { tunnel: None, ..fresh_host() };
        assert_eq!(plan(&current, &desired(&["10.0.0.0/8"]), MARK), Plan::default());
    }
}
