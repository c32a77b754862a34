//! Desired states in sequence.

use super::*;

#[test]
fn desired_state_is_applied_once_and_removed_completely() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;
        assert_eq!(host.apply(&HostConfig::default()).await, Applied::default());
        let before = network_state();
        let desired = desired(&with_ranges(&["10.7.0.0/16", "fd77::/64"]));

        let applied = host.apply(&desired).await;
        assert_eq!(applied.warnings, []);

        let link = ip("-d link show firezone0");
        for property in ["mtu 1280", "qlen 10000", "addrgenmode none", "UP"] {
            assert!(link.contains(property), "{property}: {link}");
        }
        let mut addresses: Vec<String> = ip("-o addr show firezone0")
            .lines()
            .map(|line| line.split_whitespace().nth(3).unwrap().to_owned())
            .collect();
        addresses.sort();
        assert_eq!(
            addresses,
            ["100.100.111.1/32", "100.64.0.5/32", "fd00:2021:1111:8000:100:100:111:0/128", "fd00:2021:1111::5/128"]
        );
        assert!(!ip("-6 addr show firezone0").contains("tentative"));
        assert!(!ip("-6 route show").contains("firezone0"), "nothing of ours is in the main table");
        assert_eq!(ip("route show table 0x465a00").lines().count(), 4);
        assert_eq!(ip("-6 route show table 0x465a00").lines().count(), 4);
        for family in ["-4", "-6"] {
            let rules = ip(&format!("{family} rule"));
            let ours: Vec<&str> = rules.lines().filter(|rule| rule.contains("4610560")).collect();
            assert_eq!(ours.len(), 1, "{rules}");
            assert!(ours[0].starts_with("60:") && ours[0].contains("not from all fwmark 0xfd002021"), "{rules}");
        }
        assert!(etc.text().contains("nameserver 100.100.111.1\n"));
        assert_eq!(host.system_resolvers().await, [plain("192.168.50.1")]);

        let up = network_state();
        assert_eq!(host.reapply().await, Applied::default());
        assert_eq!(network_state(), up);

        assert_eq!(host.apply(&HostConfig::default()).await.warnings, []);
        assert_eq!(network_state(), before);
        assert_eq!(etc.text(), "nameserver 192.168.50.1\n");
        assert_eq!(host.reapply().await, Applied::default());
    });
}

#[test]
fn tunnel_traffic_uses_the_tunnel_address_as_source() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;

        assert_eq!(host.apply(&desired(&with_ranges(&["10.7.0.0/16", "fd77::/64", "::/0"]))).await.warnings, []);

        let (v4, v6) = ("100.64.0.5", "fd00:2021:1111::5");
        for (destination, source) in
            [("100.96.0.1", v4), ("10.7.0.1", v4), ("fd00:2021:1111:8000::1", v6), ("fd77::1", v6), ("2600::1", v6)]
        {
            assert!(ip(&format!("route get {destination}")).contains(&format!("src {source} ")), "{destination}");
        }
    });
}

#[test]
fn resources_precede_the_lan_and_the_lan_precedes_the_internet() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;
        let resources = ["192.168.50.128/25", "2001:db8:50:0:8000::/65"];
        let off = desired(&with_ranges(&resources));
        let on = desired(&with_ranges(&[resources[0], resources[1], "0.0.0.0/0", "::/0"]));

        assert_eq!(host.apply(&on).await.warnings, []);

        for (resource, lan, internet) in [
            ("192.168.50.200", "192.168.50.7", "198.51.100.1"),
            ("2001:db8:50:0:8000::7", "2001:db8:50::7", "2001:db8:ffff::1"),
        ] {
            assert_eq!(output_interface(resource, ""), "firezone0");
            assert_eq!(output_interface(lan, ""), "lan0");
            assert_eq!(output_interface(internet, ""), "firezone0");
            for destination in [resource, lan, internet] {
                assert_eq!(
                    output_interface(destination, "mark 0xfd002021"),
                    "lan0",
                    "our own transport never enters the tunnel"
                );
            }
        }

        assert_eq!(host.apply(&off).await.warnings, []);
        assert_eq!(output_interface("198.51.100.1", ""), "lan0");
        assert_eq!(output_interface("192.168.50.200", ""), "firezone0");
        assert_eq!(ip("rule").lines().filter(|rule| rule.contains("46105")).count(), 1);
    });
}

#[test]
fn gateway_without_interface_is_not_resolved_into_the_tunnel() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;
        assert_eq!(host.apply(&desired(&with_ranges(&["0.0.0.0/0"]))).await.warnings, []);

        ip("addr add 172.20.0.2/16 dev lan0");
        ip("route replace default via 172.20.0.1");

        assert!(ip("route show default").contains("dev lan0"));
    });
}

#[test]
fn lan_copies_follow_networks_while_the_internet_resource_is_on() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;
        assert_eq!(host.apply(&desired(&with_ranges(&["0.0.0.0/0", "::/0"]))).await.warnings, []);

        ethernet("wifi0");
        ip("addr add 172.20.0.2/16 dev wifi0");
        ip("addr del 192.168.50.2/24 dev lan0");
        assert_eq!(output_interface("172.20.9.9", ""), "firezone0");
        assert_eq!(host.reapply().await.warnings, []);
        assert_eq!(output_interface("172.20.9.9", ""), "wifi0");
        assert_eq!(output_interface("192.168.50.7", ""), "firezone0");

        // The same network through another interface: replaced, because the kernel refuses a second route.
        ip("addr del 172.20.0.2/16 dev wifi0");
        ip("addr add 172.20.0.2/16 dev lan0");
        assert_eq!(host.reapply().await.warnings, []);
        assert_eq!(output_interface("172.20.9.9", ""), "lan0");

        ip("link set lan0 down");
        assert_eq!(host.reapply().await.warnings, []);
        assert_eq!(output_interface("172.20.9.9", ""), "firezone0");
    });
}

#[test]
fn leftovers_of_a_killed_daemon_are_removed_at_the_next_start() {
    in_namespace(|| async {
        laptop();
        let etc = Etc::new();
        let before = network_state();
        tunnel_interface();
        let mut killed = host(&etc.resolv_conf()).await;
        assert_eq!(killed.apply(&desired(&with_ranges(&["0.0.0.0/0", "::/0"]))).await.warnings, []);
        drop(killed);
        ip("link del firezone0");
        assert_ne!(network_state(), before);

        let mut next = host(&etc.resolv_conf()).await;
        assert_eq!(next.apply(&HostConfig::default()).await.warnings, []);

        assert_eq!(network_state(), before);
        assert_eq!(etc.text(), "nameserver 192.168.50.1\n");
    });
}

#[test]
fn new_address_replaces_the_old_one_and_its_routes() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;
        let mut desired = desired(&with_ranges(&["10.7.0.0/16"]));
        assert_eq!(host.apply(&desired).await.warnings, []);
        let routes = ip("route show table 0x465a00");

        desired.addresses.as_mut().unwrap().v4 = "100.64.0.6".parse().unwrap();
        let applied = host.apply(&desired).await;

        // Two address changes, and four routes that are replaced in place, so that none is ever missing.
        assert_eq!((applied.warnings, applied.changes), (vec![], 6));
        assert_eq!(ip("route show table 0x465a00"), routes.replace("100.64.0.5", "100.64.0.6"));
        assert!(!ip("addr show firezone0").contains("100.64.0.5"));
    });
}
