//! Local networks in the main table, which stay reachable beside the Internet resource.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::family::Family;
use super::routes::{self, KernelRoute, Route};

/// Copies of the on-link networks of `main` for our LAN table: those of `families`, through one of the interfaces in
/// `usable_interfaces` (which must not contain ours).
///
/// Only IPv4 routes have a link scope, so for both families the test is that a route has an interface and no gateway. A
/// network of an interface that is down is not copied: the copy would be a black hole, while the tunnel may have a route.
pub(super) fn copies(
    main: &[KernelRoute],
    usable_interfaces: &BTreeMap<u32, String>,
    families: &BTreeSet<Family>,
) -> BTreeSet<Route> {
    main.iter()
        .filter(|found| found.is_main() && found.single_hop && found.gateway.is_none() && !found.dead)
        .filter(|found| usable_interfaces.contains_key(&found.route.interface))
        .filter(|found| families.contains(&found.route.family()))
        .filter(|found| is_local_network(&found.route.destination))
        .map(|found| Route { table: routes::LAN, ..found.route.clone() })
        .collect()
}

/// Excludes on-link routes that are no local networks: default routes of point-to-point links, the halves and eighths of the
/// address space that other VPNs use, and link-local and multicast networks.
fn is_local_network(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() >= 8 && !network.addr().is_multicast(),
        IpNet::V6(network) => {
            let address = network.addr();
            network.prefix_len() >= 32 && !address.is_multicast() && !address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETHERNET: u32 = 2;
    const WIRELESS: u32 = 3;

    fn on_link(destination: &str, interface: u32) -> KernelRoute {
        let destination: IpNet = destination.parse().unwrap();
        KernelRoute {
            route: Route { table: 254, destination, interface, metric: 100, source: None },
            gateway: None,
            single_hop: true,
            dead: false,
        }
    }

    fn usable_interfaces() -> BTreeMap<u32, String> {
        [(ETHERNET, "eth0".to_owned())].into()
    }

    fn copied(main: &[KernelRoute]) -> Vec<String> {
        let families = Family::BOTH.into_iter().collect();
        copies(main, &usable_interfaces(), &families).into_iter().map(|route| route.destination.to_string()).collect()
    }

    #[test]
    fn on_link_networks_are_copied_for_both_families() {
        let main = [on_link("192.168.1.0/24", ETHERNET), on_link("2001:db8:1::/64", ETHERNET)];
        assert_eq!(copied(&main), ["192.168.1.0/24", "2001:db8:1::/64"]);
    }

    #[test]
    fn network_of_an_interface_that_is_down_is_not_copied() {
        let dead = KernelRoute { dead: true, ..on_link("10.9.0.0/24", ETHERNET) };
        assert!(copied(&[on_link("192.168.2.0/24", WIRELESS), dead]).is_empty());
    }

    #[test]
    fn on_link_routes_that_are_no_local_networks_are_not_copied() {
        let main = [
            on_link("0.0.0.0/0", ETHERNET),
            on_link("128.0.0.0/1", ETHERNET),
            on_link("::/0", ETHERNET),
            on_link("2000::/3", ETHERNET),
            on_link("fe80::/64", ETHERNET),
            on_link("ff00::/8", ETHERNET),
            on_link("224.0.0.0/4", ETHERNET),
            KernelRoute { gateway: Some("192.168.1.1".parse().unwrap()), ..on_link("10.0.0.0/8", ETHERNET) },
            KernelRoute { single_hop: false, ..on_link("10.0.0.0/8", ETHERNET) },
        ];
        assert!(copied(&main).is_empty());
    }

    #[test]
    fn only_requested_families_are_copied() {
        let main = [on_link("192.168.1.0/24", ETHERNET), on_link("2001:db8:1::/64", ETHERNET)];
        let copies = copies(&main, &usable_interfaces(), &[Family::V6].into());
        assert!(copies.iter().all(|route| route.family() == Family::V6));
    }

    #[test]
    fn copy_differs_only_in_its_table() {
        let original = on_link("192.168.1.0/24", ETHERNET);
        let copies = copies(std::slice::from_ref(&original), &usable_interfaces(), &[Family::V4].into());
        assert_eq!(copies.into_iter().next(), Some(Route { table: routes::LAN, ..original.route }));
    }
}
