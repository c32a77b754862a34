//! Which routes of the main table are local networks, to be kept beside the Internet resource.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::family::Family;
use super::routes::{self, Found, Route};

/// Copies of the on-link networks of `main` for our LAN table: those of `families`, through one of the interfaces in
/// `usable` (which must not contain ours).
///
/// Only IPv4 has a scope that says "on the link"; for both families the test is that a route names an interface and no
/// gateway. A network through an interface that is down is not copied: it would be a black hole where the tunnel
/// has a way.
pub(super) fn copies(main: &[Found], usable: &BTreeMap<u32, String>, families: &BTreeSet<Family>) -> BTreeSet<Route> {
    main.iter()
        .filter(|found| found.is_main() && found.plain && found.gateway.is_none() && !found.dead)
        .filter(|found| usable.contains_key(&found.route.interface))
        .filter(|found| families.contains(&found.route.family()))
        .filter(|found| is_local_network(&found.route.destination))
        .map(|found| Route { table: routes::LAN, ..found.route.clone() })
        .collect()
}

/// Sorts out what is on-link by form but not a local network: default routes of point-to-point links, the halves and
/// eighths of the address space that other VPNs take, and what never leaves a link anyway.
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

    fn on_link(destination: &str, interface: u32) -> Found {
        let destination: IpNet = destination.parse().unwrap();
        Found {
            route: Route { table: 254, destination, interface, metric: 100, source: None },
            gateway: None,
            plain: true,
            dead: false,
        }
    }

    fn usable() -> BTreeMap<u32, String> {
        [(ETHERNET, "eth0".to_owned())].into()
    }

    fn copied(main: &[Found]) -> Vec<String> {
        let families = Family::BOTH.into_iter().collect();
        copies(main, &usable(), &families).into_iter().map(|route| route.destination.to_string()).collect()
    }

    #[test]
    fn networks_on_the_link_are_copied_for_both_families() {
        let main = [on_link("192.168.1.0/24", ETHERNET), on_link("2001:db8:1::/64", ETHERNET)];
        assert_eq!(copied(&main), ["192.168.1.0/24", "2001:db8:1::/64"]);
    }

    #[test]
    fn a_network_through_an_interface_that_is_down_is_not_copied() {
        let dead = Found { dead: true, ..on_link("10.9.0.0/24", ETHERNET) };
        assert!(copied(&[on_link("192.168.2.0/24", WIRELESS), dead]).is_empty());
    }

    #[test]
    fn what_only_looks_like_a_local_network_is_not_copied() {
        let main = [
            on_link("0.0.0.0/0", ETHERNET),
            on_link("128.0.0.0/1", ETHERNET),
            on_link("::/0", ETHERNET),
            on_link("2000::/3", ETHERNET),
            on_link("fe80::/64", ETHERNET),
            on_link("ff00::/8", ETHERNET),
            on_link("224.0.0.0/4", ETHERNET),
            Found { gateway: Some("192.168.1.1".parse().unwrap()), ..on_link("10.0.0.0/8", ETHERNET) },
            Found { plain: false, ..on_link("10.0.0.0/8", ETHERNET) },
        ];
        assert!(copied(&main).is_empty());
    }

    #[test]
    fn only_families_with_a_default_route_of_ours_need_copies() {
        let main = [on_link("192.168.1.0/24", ETHERNET), on_link("2001:db8:1::/64", ETHERNET)];
        let copies = copies(&main, &usable(), &[Family::V6].into());
        assert!(copies.iter().all(|route| route.family() == Family::V6));
    }

    #[test]
    fn a_copy_differs_from_the_original_in_nothing_but_the_table() {
        let original = on_link("192.168.1.0/24", ETHERNET);
        let copies = copies(std::slice::from_ref(&original), &usable(), &[Family::V4].into());
        assert_eq!(copies.into_iter().next(), Some(Route { table: routes::LAN, ..original.route }));
    }
}
