//! Our ways to the outside, as far as a session depends on them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::address;
use crate::family::Family;
use crate::routes::Found;

/// The default routes that are in use, and the addresses of their links. Two of them tell whether sessions have to start
/// over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outside {
    ways: BTreeSet<Way>,
    addresses: BTreeSet<(u32, IpNet)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    family: Family,
    destination: IpNet,
    interface: u32,
    gateway: Option<IpAddr>,
}

/// What became of the ways between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Everything that we relied on is still there.
    None,
    Changed,
    Lost,
}

impl Outside {
    /// Whether there is no way out at all.
    pub(super) fn leads_nowhere(&self) -> bool {
        self.ways.is_empty()
    }

    /// Of the routes of the main table, and all addresses of the host.
    pub(super) fn new(routes: &[Found], addresses: &[address::Found], tunnel: Option<u32>) -> Self {
        // Other VPNs cover the default route with two halves.
        let leading_out = routes.iter().filter(|found| {
            found.is_main()
                && !found.dead
                && found.route.destination.prefix_len() <= 1
                && tunnel != Some(found.route.interface)
        });
        let mut best: BTreeMap<IpNet, (u32, Vec<&Found>)> = BTreeMap::new();
        for found in leading_out {
            let metric = found.route.metric;
            let (lowest, chosen) = best.entry(found.route.destination).or_insert((metric, Vec::new()));
            if metric < *lowest {
                *lowest = metric;
                chosen.clear();
            }
            if metric == *lowest {
                chosen.push(found);
            }
        }

        let ways: BTreeSet<Way> = best
            .into_values()
            .flat_map(|(_, chosen)| chosen)
            .map(|found| Way {
                family: found.route.family(),
                destination: found.route.destination,
                interface: found.route.interface,
                gateway: found.gateway,
            })
            .collect();
        let is_source = |found: &&address::Found| {
            let family = Family::of(found.network.addr());
            ways.iter().any(|way| way.interface == found.interface && way.family == family)
        };
        let addresses = addresses
            .iter()
            .filter(|found| !found.fleeting && !found.is_link_local())
            .filter(is_source)
            .map(|found| (found.interface, found.network))
            .collect();
        Self { ways, addresses }
    }

    /// What it means for a session that `self` became `next`. That something was added (an IPv6 route that comes a second
    /// after the IPv4 one, another address) disturbs nobody.
    pub(super) fn turn(&self, next: &Self) -> Turn {
        if next.ways.is_empty() {
            return if self.ways.is_empty() { Turn::None } else { Turn::Lost };
        }
        let relied_on_is_there = self.ways.is_subset(&next.ways) && self.addresses.is_subset(&next.addresses);
        if relied_on_is_there && !self.ways.is_empty() { Turn::None } else { Turn::Changed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::Route;

    const ETHERNET: u32 = 2;
    const WIRELESS: u32 = 3;

    fn default_route(gateway: &str, interface: u32, metric: u32) -> Found {
        let gateway: IpAddr = gateway.parse().unwrap();
        let destination: IpNet = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" }.parse().unwrap();
        Found {
            route: Route { table: 254, destination, interface, metric, source: None },
            gateway: Some(gateway),
            plain: true,
            dead: false,
        }
    }

    fn address(network: &str, interface: u32) -> address::Found {
        address::Found { interface, network: network.parse().unwrap(), fleeting: false }
    }

    fn at_home() -> Outside {
        Outside::new(&[default_route("192.168.1.1", WIRELESS, 600)], &[address("192.168.1.7/24", WIRELESS)], None)
    }

    #[test]
    fn another_address_or_gateway_or_interface_is_a_change() {
        let home = at_home();
        let route = default_route("192.168.1.1", WIRELESS, 600);
        for (route, address) in [
            (route.clone(), address("192.168.1.8/24", WIRELESS)),
            (default_route("192.168.1.2", WIRELESS, 600), address("192.168.1.7/24", WIRELESS)),
            (default_route("192.168.1.1", ETHERNET, 100), address("192.168.1.7/24", ETHERNET)),
        ] {
            assert_eq!(home.turn(&Outside::new(&[route], &[address], None)), Turn::Changed);
        }
    }

    #[test]
    fn a_better_route_is_a_change_and_a_worse_one_is_not() {
        let wireless = default_route("192.168.1.1", WIRELESS, 600);
        let addresses = [address("192.168.1.7/24", WIRELESS), address("10.0.0.7/24", ETHERNET)];
        let better = Outside::new(&[wireless.clone(), default_route("10.0.0.1", ETHERNET, 100)], &addresses, None);
        let worse = Outside::new(&[wireless, default_route("10.0.0.1", ETHERNET, 700)], &addresses, None);
        assert_eq!(at_home().turn(&better), Turn::Changed);
        assert_eq!(at_home().turn(&worse), Turn::None);
    }

    #[test]
    fn ipv6_that_comes_a_second_later_disturbs_nobody() {
        let routes = [default_route("192.168.1.1", WIRELESS, 600), default_route("fe80::1", WIRELESS, 600)];
        let addresses = [address("192.168.1.7/24", WIRELESS), address("2001:db8::7/64", WIRELESS)];
        let both = Outside::new(&routes, &addresses, None);
        assert_eq!(at_home().turn(&both), Turn::None);
        assert_eq!(both.turn(&at_home()), Turn::Changed);
    }

    #[test]
    fn losing_the_last_way_and_finding_one_again_are_told() {
        let nowhere = Outside::default();
        assert_eq!(at_home().turn(&nowhere), Turn::Lost);
        assert_eq!(nowhere.turn(&nowhere), Turn::None);
        assert_eq!(nowhere.turn(&at_home()), Turn::Changed);
    }

    #[test]
    fn temporary_and_link_local_addresses_and_other_links_do_not_count() {
        let routes = [default_route("192.168.1.1", WIRELESS, 600), default_route("fe80::1", WIRELESS, 600)];
        let lasting = [address("192.168.1.7/24", WIRELESS), address("2001:db8::7/64", WIRELESS)];
        let mut more = lasting.to_vec();
        more.push(address::Found { fleeting: true, ..address("2001:db8::beef/64", WIRELESS) });
        more.push(address("fe80::7/64", WIRELESS));
        more.push(address("172.17.0.1/16", ETHERNET));
        assert_eq!(Outside::new(&routes, &lasting, None), Outside::new(&routes, &more, None));
    }

    #[test]
    fn our_own_interface_is_no_way_to_the_outside() {
        assert_eq!(Outside::new(&[default_route("192.168.1.1", 7, 0)], &[], Some(7)), Outside::default());
    }
}
