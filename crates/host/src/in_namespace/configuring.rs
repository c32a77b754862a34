//! Wishes, one after the other.

use super::*;

#[test]
fn everything_appears_exactly_once_and_vanishes() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;
        assert_eq!(host.apply(&HostConfig::default()).await, Applied::default());
        let before = everything();
        let wish = wish(&with_ranges(&["10.7.0.0/16", "fd77::/64"]));

        let applied = host.apply(&wish).await;
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

        let up = everything();
        assert_eq!(host.reapply().await, Applied::default());
        assert_eq!(everything(), up);

        assert_eq!(host.apply(&HostConfig::default()).await.warnings, []);
        assert_eq!(everything(), before);
        assert_eq!(etc.text(), "nameserver 192.168.50.1\n");
        assert_eq!(host.reapply().await, Applied::default());
    });
}

#[test]
fn what_goes_into_the_tunnel_comes_from_our_tunnel_address_and_not_from_a_sentinel() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;

        assert_eq!(host.apply(&wish(&with_ranges(&["10.7.0.0/16", "fd77::/64", "::/0"]))).await.warnings, []);

        let (v4, v6) = ("100.64.0.5", "fd00:2021:1111::5");
        for (destination, source) in
            [("100.96.0.1", v4), ("10.7.0.1", v4), ("fd00:2021:1111:8000::1", v6), ("fd77::1", v6), ("2600::1", v6)]
        {
            assert!(ip(&format!("route get {destination}")).contains(&format!("src {source} ")), "{destination}");
        }
    });
}

#[test]
fn resources_win_over_the_lan_and_the_lan_wins_over_the_internet() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;
        let resources = ["192.168.50.128/25", "2001:db8:50:0:8000::/65"];
        let off = wish(&with_ranges(&resources));
        let on = wish(&with_ranges(&[resources[0], resources[1], "0.0.0.0/0", "::/0"]));

        assert_eq!(host.apply(&on).await.warnings, []);

        for (resource, lan, internet) in [
            ("192.168.50.200", "192.168.50.7", "198.51.100.1"),
            ("2001:db8:50:0:8000::7", "2001:db8:50::7", "2001:db8:ffff::1"),
        ] {
            assert_eq!(way(resource, ""), "firezone0");
            assert_eq!(way(lan, ""), "lan0");
            assert_eq!(way(internet, ""), "firezone0");
            for destination in [resource, lan, internet] {
                assert_eq!(way(destination, "mark 0xfd002021"), "lan0", "our own transport never enters the tunnel");
            }
        }

        assert_eq!(host.apply(&off).await.warnings, []);
        assert_eq!(way("198.51.100.1", ""), "lan0");
        assert_eq!(way("192.168.50.200", ""), "firezone0");
        assert_eq!(ip("rule").lines().filter(|rule| rule.contains("46105")).count(), 1);
    });
}

#[test]
fn who_adds_a_gateway_without_naming_an_interface_never_finds_it_in_the_tunnel() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;
        assert_eq!(host.apply(&wish(&with_ranges(&["0.0.0.0/0"]))).await.warnings, []);

        ip("addr add 172.20.0.2/16 dev lan0");
        ip("route replace default via 172.20.0.1");

        assert!(ip("route show default").contains("dev lan0"));
    });
}

#[test]
fn networks_that_come_and_go_are_followed_while_the_internet_resource_is_on() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;
        assert_eq!(host.apply(&wish(&with_ranges(&["0.0.0.0/0", "::/0"]))).await.warnings, []);

        ethernet("wifi0");
        ip("addr add 172.20.0.2/16 dev wifi0");
        ip("addr del 192.168.50.2/24 dev lan0");
        assert_eq!(way("172.20.9.9", ""), "firezone0");
        assert_eq!(host.reapply().await.warnings, []);
        assert_eq!(way("172.20.9.9", ""), "wifi0");
        assert_eq!(way("192.168.50.7", ""), "firezone0");

        // The same network through another interface: no second route, the kernel would refuse it.
        ip("addr del 172.20.0.2/16 dev wifi0");
        ip("addr add 172.20.0.2/16 dev lan0");
        assert_eq!(host.reapply().await.warnings, []);
        assert_eq!(way("172.20.9.9", ""), "lan0");

        ip("link set lan0 down");
        assert_eq!(host.reapply().await.warnings, []);
        assert_eq!(way("172.20.9.9", ""), "firezone0");
    });
}

#[test]
fn what_outlived_a_killed_daemon_is_removed_at_the_next_start() {
    in_namespace(|| async {
        laptop();
        let etc = Etc::new();
        let before = everything();
        tunnel_interface();
        let mut killed = host(&etc.resolv_conf()).await;
        assert_eq!(killed.apply(&wish(&with_ranges(&["0.0.0.0/0", "::/0"]))).await.warnings, []);
        drop(killed);
        ip("link del firezone0");
        assert_ne!(everything(), before);

        let mut next = host(&etc.resolv_conf()).await;
        assert_eq!(next.apply(&HostConfig::default()).await.warnings, []);

        assert_eq!(everything(), before);
        assert_eq!(etc.text(), "nameserver 192.168.50.1\n");
    });
}

#[test]
fn a_new_address_takes_the_place_of_the_old_one_and_the_routes_follow() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;
        let mut wish = wish(&with_ranges(&["10.7.0.0/16"]));
        assert_eq!(host.apply(&wish).await.warnings, []);
        let routes = ip("route show table 0x465a00");

        wish.addresses.as_mut().unwrap().v4 = "100.64.0.6".parse().unwrap();
        let applied = host.apply(&wish).await;

        // Two addresses, and four routes that are replaced where they are: none is ever missing.
        assert_eq!((applied.warnings, applied.changes), (vec![], 6));
        assert_eq!(ip("route show table 0x465a00"), routes.replace("100.64.0.5", "100.64.0.6"));
        assert!(!ip("addr show firezone0").contains("100.64.0.5"));
    });
}
