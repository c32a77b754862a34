//! The uplinks of this host, as far as a session depends on them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::address::InterfaceAddress;
use crate::family::Family;
use crate::routes::KernelRoute;

/// The default routes in use, and the addresses of their links. Two values tell whether connections have to be re-established.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Uplinks {
    routes_in_use: BTreeSet<DefaultRoute>,
    addresses: BTreeSet<(u32, IpNet)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct DefaultRoute {
    family: Family,
    destination: IpNet,
    interface: u32,
    gateway: Option<IpAddr>,
}

/// The difference between two observations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UplinkChange {
    /// All routes and addresses in use still exist.
    None,
    Changed,
    Lost,
}

impl Uplinks {
    /// Whether there is no default route at all.
    pub(super) fn is_empty(&self) -> bool {
        self.routes_in_use.is_empty()
    }

    /// From the routes of the main table and all addresses of the host.
    pub(super) fn new(routes: &[KernelRoute], addresses: &[InterfaceAddress], tunnel: Option<u32>) -> Self {
        // Other VPNs cover the default route with two halves.
        let leading_out = routes.iter().filter(|found| {
            found.is_main()
                && !found.dead
                && found.route.destination.prefix_len() <= 1
                && tunnel != Some(found.route.interface)
        });
        let mut best: BTreeMap<IpNet, (u32, Vec<&KernelRoute>)> = BTreeMap::new();
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

        let routes_in_use: BTreeSet<DefaultRoute> = best
            .into_values()
            .flat_map(|(_, chosen)| chosen)
            .map(|found| DefaultRoute {
                family: found.route.family(),
                destination: found.route.destination,
                interface: found.route.interface,
                gateway: found.gateway,
            })
            .collect();
        let is_source = |found: &&InterfaceAddress| {
            let family = Family::of(found.network.addr());
            routes_in_use.iter().any(|route| route.interface == found.interface && route.family == family)
        };
        let addresses = addresses
            .iter()
            .filter(|found| !found.unstable && !found.is_link_local())
            .filter(is_source)
            .map(|found| (found.interface, found.network))
            .collect();
        Self { routes_in_use, addresses }
    }

    /// What the step from `self` to `next` means for a session. Additions, such as an IPv6 route a second after the IPv4 route
    /// or another address, are no change.
    pub(super) fn change_to(&self, next: &Self) -> UplinkChange {
        if next.routes_in_use.is_empty() {
            return if self.routes_in_use.is_empty() { UplinkChange::None } else { UplinkChange::Lost };
        }
        let still_present =
            self.routes_in_use.is_subset(&next.routes_in_use) && self.addresses.is_subset(&next.addresses);
        if still_present && !self.routes_in_use.is_empty() { UplinkChange::None } else { UplinkChange::Changed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::Route;

    const ETHERNET: u32 = 2;
    const WIRELESS: u32 = 3;

    fn default_route(gateway: &str, interface: u32, metric: u32) -> KernelRoute {
        let gateway: IpAddr = gateway.parse().unwrap();
        let destination: IpNet = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" }.parse().unwrap();
        KernelRoute {
            route: Route { table: 254, destination, interface, metric, source: None },
            gateway: Some(gateway),
            single_hop: true,
            dead: false,
        }
    }

    fn address(network: &str, interface: u32) -> InterfaceAddress {
        InterfaceAddress { interface, network: network.parse().unwrap(), unstable: false }
    }

    fn at_home() -> Uplinks {
        Uplinks::new(&[default_route("192.168.1.1", WIRELESS, 600)], &[address("192.168.1.7/24", WIRELESS)], None)
    }

    #[test]
    fn changed_address_gateway_or_interface_is_a_change() {
        let home = at_home();
        let route = default_route("192.168.1.1", WIRELESS, 600);
        for (route, address) in [
            (route.clone(), address("192.168.1.8/24", WIRELESS)),
            (default_route("192.168.1.2", WIRELESS, 600), address("192.168.1.7/24", WIRELESS)),
            (default_route("192.168.1.1", ETHERNET, 100), address("192.168.1.7/24", ETHERNET)),
        ] {
            assert_eq!(home.change_to(&Uplinks::new(&[route], &[address], None)), UplinkChange::Changed);
        }
    }

    #[test]
    fn better_route_is_a_change_and_worse_route_is_not() {
        let wireless = default_route("192.168.1.1", WIRELESS, 600);
        let addresses = [address("192.168.1.7/24", WIRELESS), address("10.0.0.7/24", ETHERNET)];
        let better = Uplinks::new(&[wireless.clone(), default_route("10.0.0.1", ETHERNET, 100)], &addresses, None);
        let worse = Uplinks::new(&[wireless, default_route("10.0.0.1", ETHERNET, 700)], &addresses, None);
        assert_eq!(at_home().change_to(&better), UplinkChange::Changed);
        assert_eq!(at_home().change_to(&worse), UplinkChange::None);
    }

    #[test]
    fn added_ipv6_route_is_no_change() {
        let routes = [default_route("192.168.1.1", WIRELESS, 600), default_route("fe80::1", WIRELESS, 600)];
        let addresses = [address("192.168.1.7/24", WIRELESS), address("2001:db8::7/64", WIRELESS)];
        let both = Uplinks::new(&routes, &addresses, None);
        assert_eq!(at_home().change_to(&both), UplinkChange::None);
        assert_eq!(both.change_to(&at_home()), UplinkChange::Changed);
    }

    #[test]
    fn last_route_lost_and_restored_are_distinguished() {
        let nowhere = Uplinks::default();
        assert_eq!(at_home().change_to(&nowhere), UplinkChange::Lost);
        assert_eq!(nowhere.change_to(&nowhere), UplinkChange::None);
        assert_eq!(nowhere.change_to(&at_home()), UplinkChange::Changed);
    }

    #[test]
    fn unstable_link_local_and_unrelated_addresses_are_ignored() {
        let routes = [default_route("192.168.1.1", WIRELESS, 600), default_route("fe80::1", WIRELESS, 600)];
        let lasting = [address("192.168.1.7/24", WIRELESS), address("2001:db8::7/64", WIRELESS)];
        let mut more = lasting.to_vec();
        more.push(InterfaceAddress { unstable: true, ..address("2001:db8::beef/64", WIRELESS) });
        more.push(address("fe80::7/64", WIRELESS));
        more.push(address("172.17.0.1/16", ETHERNET));
        assert_eq!(Uplinks::new(&routes, &lasting, None), Uplinks::new(&routes, &more, None));
    }

    #[test]
    fn tunnel_interface_is_not_an_uplink() {
        assert_eq!(Uplinks::new(&[default_route("192.168.1.1", 7, 0)], &[], Some(7)), Uplinks::default());
    }
}
