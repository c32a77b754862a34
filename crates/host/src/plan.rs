//! What has to change so that the kernel is as wished: a pure function.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::family::Family;
use super::lan;
use super::link::Link;
use super::routes::{self, Found, Route};
use super::rules::{Rule, TIERS};
use session::HostConfig;

/// The interface of an upstream gateway or client.
pub(super) const UPSTREAM_INTERFACE: &str = "tun-firezone";

/// What the kernel has.
#[derive(Debug, Clone, Default)]
pub(super) struct Have {
    /// The tunnel interface, if it exists.
    pub(super) tunnel: Option<Link>,
    /// Its addresses, without link-local ones.
    pub(super) addresses: BTreeSet<IpNet>,
    /// Rules into our tables, and into upstream's.
    pub(super) rules: BTreeSet<Rule>,
    /// Routes in our tables and in the main table.
    pub(super) routes: Vec<Found>,
    /// Interfaces through which packets can leave, with their names; without loopback and the tunnel.
    pub(super) usable: BTreeMap<u32, String>,
    /// Priorities of rules of others that take what should be ours.
    pub(super) preceding: BTreeSet<u32>,
    /// Interfaces of others with addresses out of the tunnel's ranges.
    pub(super) in_our_ranges: Vec<String>,
    /// Whether [`UPSTREAM_INTERFACE`] exists.
    pub(super) upstream_runs: bool,
}

/// One order to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    StopInventingAddresses(u32),
    ConfigureLink(u32),
    AddAddress(IpNet, u32),
    LinkUp(u32),
    AddRoute(Route),
    /// Adds a route where another one has its place now.
    ReplaceRoute(Route),
    AddRule(Rule),
    RemoveRule(Rule),
    RemoveRoute(Route),
    RemoveAddress(IpNet, u32),
    LinkDown(u32),
}

impl Change {
    /// The family without which this makes no sense.
    pub(super) fn family(&self) -> Option<Family> {
        match self {
            Self::AddAddress(network, _) | Self::RemoveAddress(network, _) => Some(Family::of(network.addr())),
            Self::AddRoute(route) | Self::ReplaceRoute(route) | Self::RemoveRoute(route) => Some(route.family()),
            Self::AddRule(rule) | Self::RemoveRule(rule) => Some(rule.family),
            Self::StopInventingAddresses(_) => Some(Family::V6),
            Self::ConfigureLink(_) | Self::LinkUp(_) | Self::LinkDown(_) => None,
        }
    }
}

/// The changes in the order in which they are safe: first all that adds, then all that takes away. DNS is switched between
/// the two: names lead to us only when the routes are there, and no longer when they go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Addresses, then routes, then the rules that lead to them.
    pub(super) build: Vec<Change>,
    /// The reverse.
    pub(super) clear: Vec<Change>,
}

/// Compares. Touches only what differs and only what is ours: our interface, our tables and the rules into them, and the
/// rules that a dead upstream client left behind.
pub(super) fn plan(have: &Have, want: &HostConfig, mark: u32) -> Plan {
    let wanted = Wanted::new(have, want, mark);
    let ours: BTreeSet<&Route> = have.routes.iter().filter(|found| found.is_ours()).map(|found| &found.route).collect();
    let mut plan = Plan::default();

    if let (Some(link), true) = (&have.tunnel, want.addresses.is_some()) {
        if link.invents_addresses() {
            plan.build.push(Change::StopInventingAddresses(link.index));
        }
        if !link.is_configured() {
            plan.build.push(Change::ConfigureLink(link.index));
        }
        plan.build.extend(wanted.addresses.difference(&have.addresses).map(|net| Change::AddAddress(*net, link.index)));
        if !link.up {
            plan.build.push(Change::LinkUp(link.index));
        }
    }

    let mut displaced = BTreeSet::new();
    for route in wanted.routes.iter().filter(|route| !ours.contains(route)) {
        match ours.iter().find(|old| route.displaces(old)) {
            Some(old) => {
                displaced.insert(*old);
                plan.build.push(Change::ReplaceRoute(route.clone()));
            }
            None => plan.build.push(Change::AddRoute(route.clone())),
        }
    }
    plan.build.extend(wanted.rules.difference(&have.rules).cloned().map(Change::AddRule));

    let stale_rules = have.rules.iter().filter(|rule| match rule.is_ours() {
        true => !wanted.rules.contains(rule),
        // Only at the clean-up: while we run, an upstream client may start beside us.
        false => want.is_untouched() && !have.upstream_runs,
    });
    plan.clear.extend(stale_rules.rev().cloned().map(Change::RemoveRule));
    let stale_routes = ours.iter().filter(|route| !wanted.routes.contains(**route) && !displaced.contains(**route));
    plan.clear.extend(stale_routes.rev().map(|route| Change::RemoveRoute((*route).clone())));
    if let Some(link) = &have.tunnel {
        let stale = have.addresses.iter().rev().filter(|network| !wanted.addresses.contains(network));
        plan.clear.extend(stale.map(|network| Change::RemoveAddress(*network, link.index)));
        if link.up && want.addresses.is_none() {
            plan.clear.push(Change::LinkDown(link.index));
        }
    }
    plan
}

/// The wish in the kernel's words.
#[derive(Debug, Default)]
struct Wanted {
    addresses: BTreeSet<IpNet>,
    routes: BTreeSet<Route>,
    rules: BTreeSet<Rule>,
}

impl Wanted {
    fn new(have: &Have, want: &HostConfig, mark: u32) -> Self {
        let (Some(link), Some(addresses)) = (&have.tunnel, &want.addresses) else { return Self::default() };

        let mut routes: BTreeSet<Route> =
            want.routes.iter().map(|network| Route::into_tunnel(*network, link.index, addresses)).collect();
        let full_tunnel = routes.iter().filter(|route| route.table == routes::INTERNET).map(Route::family).collect();
        routes.extend(lan::copies(&have.routes, &have.usable, &full_tunnel));

        let filled: BTreeSet<(u32, Family)> = routes.iter().map(|route| (route.table, route.family())).collect();
        let mut rules = BTreeSet::new();
        for family in Family::BOTH {
            let tiers = TIERS.into_iter().filter(|(table, _)| filled.contains(&(*table, family)));
            let before = rules.len();
            rules.extend(tiers.map(|tier| Rule::tier(family, tier, mark)));
            if have.upstream_runs && rules.len() > before {
                rules.extend(Rule::detour(family));
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

    fn wish(routes: &[&str]) -> HostConfig {
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

    fn fresh_host() -> Have {
        Have { tunnel: Some(Link::fresh(TUNNEL)), usable: [(ETHERNET, "eth0".to_owned())].into(), ..Have::default() }
    }

    /// A kernel that does everything it is told.
    fn obey(mut have: Have, plan: &Plan) -> Have {
        for change in plan.build.iter().chain(&plan.clear).cloned() {
            match change {
                Change::StopInventingAddresses(_) | Change::ConfigureLink(_) => {}
                Change::LinkUp(index) => have.tunnel = Some(Link::configured(index)),
                Change::LinkDown(_) => have.tunnel.as_mut().unwrap().up = false,
                Change::AddAddress(network, _) => assert!(have.addresses.insert(network)),
                Change::RemoveAddress(network, _) => assert!(have.addresses.remove(&network)),
                Change::AddRoute(route) => {
                    assert!(!have.routes.iter().any(|old| old.route.displaces(&route)), "the kernel would refuse");
                    have.routes.push(in_kernel(route));
                }
                Change::ReplaceRoute(route) => {
                    have.routes.retain(|old| !old.route.displaces(&route));
                    have.routes.push(in_kernel(route));
                }
                Change::RemoveRoute(route) => have.routes.retain(|old| old.route != route),
                Change::AddRule(rule) => assert!(have.rules.insert(rule)),
                Change::RemoveRule(rule) => assert!(have.rules.remove(&rule)),
            }
        }
        have
    }

    fn in_kernel(route: Route) -> Found {
        Found { route, gateway: None, plain: true, dead: false }
    }

    fn local_network(destination: &str) -> Found {
        let destination = destination.parse().unwrap();
        in_kernel(Route { table: 254, destination, interface: ETHERNET, metric: 100, source: None })
    }

    fn tables(have: &Have) -> Vec<(u32, Family)> {
        have.rules.iter().map(|rule| (rule.table, rule.family)).collect()
    }

    #[test]
    fn going_up_adds_addresses_then_routes_then_rules() {
        let plan = plan(&fresh_host(), &wish(&["10.0.0.0/8"]), MARK);

        let order: Vec<usize> = plan
            .build
            .iter()
            .map(|change| match change {
                Change::StopInventingAddresses(_) => 0,
                Change::ConfigureLink(_) => 1,
                Change::AddAddress(..) => 2,
                Change::LinkUp(_) => 3,
                Change::AddRoute(_) => 4,
                Change::AddRule(_) => 5,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(order, [0, 1, 2, 2, 2, 3, 4, 5]);
        assert!(plan.clear.is_empty());
    }

    #[test]
    fn the_second_plan_is_empty() {
        let mut have = fresh_host();
        have.routes = vec![local_network("192.168.1.0/24"), local_network("2001:db8:1::/64")];
        let wish = wish(&["10.0.0.0/8", "fd00:2021:1111::/107", "0.0.0.0/0", "::/0"]);

        let have = obey(have.clone(), &plan(&have, &wish, MARK));

        assert_eq!(plan(&have, &wish, MARK), Plan::default());
    }

    #[test]
    fn the_empty_wish_takes_everything_back_in_reverse_and_leaves_the_rest_alone() {
        let mut before = fresh_host();
        before.routes = vec![local_network("192.168.1.0/24")];
        let up = obey(before.clone(), &plan(&before, &wish(&["10.0.0.0/8", "0.0.0.0/0"]), MARK));

        let down = plan(&up, &HostConfig::default(), MARK);

        assert!(down.build.is_empty());
        assert!(matches!(down.clear.first(), Some(Change::RemoveRule(rule)) if rule.table == routes::INTERNET));
        assert!(matches!(down.clear.last(), Some(Change::LinkDown(TUNNEL))));
        let after = obey(up, &down);
        assert_eq!((after.routes, after.rules, after.addresses), (before.routes, before.rules, before.addresses));
    }

    #[test]
    fn rules_and_copies_that_outlived_the_interface_are_removed() {
        let mut have = fresh_host();
        have.routes = vec![local_network("192.168.1.0/24")];
        let up = obey(have.clone(), &plan(&have, &wish(&["0.0.0.0/0"]), MARK));
        let killed = Have { tunnel: None, addresses: BTreeSet::new(), ..up };

        let after = obey(killed.clone(), &plan(&killed, &HostConfig::default(), MARK));

        assert!(after.rules.is_empty());
        assert_eq!(after.routes, have.routes);
    }

    #[test]
    fn a_rule_exists_only_while_its_table_holds_something() {
        let mut have = fresh_host();
        have.routes = vec![local_network("192.168.1.0/24")];
        let resources = obey(have.clone(), &plan(&have, &wish(&["10.0.0.0/8"]), MARK));
        assert_eq!(tables(&resources), [(routes::RESOURCES, Family::V4)]);

        let internet = obey(resources.clone(), &plan(&resources, &wish(&["10.0.0.0/8", "0.0.0.0/0"]), MARK));
        assert_eq!(
            tables(&internet),
            [(routes::RESOURCES, Family::V4), (routes::LAN, Family::V4), (routes::INTERNET, Family::V4)]
        );

        let off_again = obey(internet.clone(), &plan(&internet, &wish(&["10.0.0.0/8"]), MARK));
        assert_eq!(tables(&off_again), tables(&resources));
    }

    #[test]
    fn only_the_address_that_differs_is_touched_and_the_new_one_comes_first() {
        let have = obey(fresh_host(), &plan(&fresh_host(), &wish(&[]), MARK));
        let mut moved = wish(&[]);
        moved.addresses.as_mut().unwrap().v4 = "100.64.0.6".parse().unwrap();

        let plan = plan(&have, &moved, MARK);

        assert_eq!(plan.build, [Change::AddAddress("100.64.0.6/32".parse().unwrap(), TUNNEL)]);
        assert_eq!(plan.clear, [Change::RemoveAddress("100.64.0.5/32".parse().unwrap(), TUNNEL)]);
    }

    #[test]
    fn a_copy_of_a_network_that_we_left_is_removed() {
        let mut have = fresh_host();
        have.routes = vec![local_network("192.168.1.0/24")];
        let wish = wish(&["0.0.0.0/0"]);
        let mut have = obey(have.clone(), &plan(&have, &wish, MARK));
        have.routes.retain(|found| !found.is_main());
        have.routes.push(local_network("172.20.0.0/16"));

        let have = obey(have.clone(), &plan(&have, &wish, MARK));

        let lan: Vec<String> = have
            .routes
            .iter()
            .filter(|found| found.route.table == routes::LAN)
            .map(|found| found.route.destination.to_string())
            .collect();
        assert_eq!(lan, ["172.20.0.0/16"]);
    }

    #[test]
    fn a_network_that_moved_to_another_interface_is_replaced_because_the_kernel_refuses_a_second_one() {
        const WIRELESS: u32 = 3;
        let mut have = fresh_host();
        have.usable.insert(WIRELESS, "wlan0".to_owned());
        have.routes = vec![local_network("192.168.1.0/24")];
        let wish = wish(&["0.0.0.0/0"]);
        let mut have = obey(have.clone(), &plan(&have, &wish, MARK));
        for found in have.routes.iter_mut().filter(|found| found.is_main()) {
            found.route.interface = WIRELESS;
        }

        let plan = plan(&have, &wish, MARK);

        assert!(matches!(plan.build.as_slice(), [Change::ReplaceRoute(route)] if route.interface == WIRELESS));
        assert!(plan.clear.is_empty());
    }

    #[test]
    fn beside_a_gateway_our_rules_see_only_what_this_host_sends_itself() {
        let have = fresh_host();
        let wish = wish(&["10.0.0.0/8"]);
        let alone = obey(have.clone(), &plan(&have, &wish, MARK));
        let beside = Have { upstream_runs: true, ..alone };

        let plan = plan(&beside, &wish, MARK);

        assert_eq!(plan.build, Rule::detour(Family::V4).map(Change::AddRule));
        assert!(plan.clear.is_empty());
    }

    #[test]
    fn rules_that_upstream_left_go_at_the_clean_up_unless_upstream_runs() {
        let left = Rule::tier(Family::V4, (0x2021_fd00, 100), MARK);
        let have = Have { rules: [left.clone()].into(), ..fresh_host() };

        assert_eq!(plan(&have, &HostConfig::default(), MARK).clear, [Change::RemoveRule(left)]);
        assert!(plan(&have, &wish(&[]), MARK).clear.is_empty());
        let have = Have { upstream_runs: true, ..have };
        assert!(plan(&have, &HostConfig::default(), MARK).clear.is_empty());
    }

    #[test]
    fn without_an_interface_there_is_nothing_to_build() {
        let have = Have { tunnel: None, ..fresh_host() };
        assert_eq!(plan(&have, &wish(&["10.0.0.0/8"]), MARK), Plan::default());
    }
}
