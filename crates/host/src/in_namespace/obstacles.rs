//! Conflicts with other programs, and refusals of the kernel.

use super::*;

fn codes(applied: &Applied) -> Vec<&'static str> {
    applied.warnings.iter().map(|warning| warning.code).collect()
}

#[test]
fn ipv4_works_with_a_warning_if_ipv6_is_disabled() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        for scope in ["all", "default", "firezone0"] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1").unwrap();
        }
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;

        let applied = host.apply(&desired(&with_ranges(&["10.7.0.0/16", "0.0.0.0/0", "::/0"]))).await;

        assert_eq!(codes(&applied), ["ipv6-disabled"]);
        assert_eq!(output_interface("10.7.0.1", ""), "firezone0");
        assert!(etc.text().contains("nameserver 100.100.111.1\n"));
        assert!(!etc.text().contains("nameserver fd00"));
        assert_eq!(ip("-6 rule").lines().filter(|rule| rule.contains("46105")).count(), 0);

        let again = host.reapply().await;
        assert_eq!((again.warnings, again.changes), (applied.warnings, 0));
    });
}

#[test]
fn traffic_forwarded_by_a_local_gateway_bypasses_our_rules() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        ip("tuntap add dev tun-firezone mode tun");
        ip("link set tun-firezone up");
        ip("addr add 100.64.0.1/32 dev tun-firezone");
        ip("rule add not fwmark 0xfd002021 lookup 0x2021fd00 priority 100");
        ip("route add 100.64.0.0/11 dev tun-firezone table 0x2021fd00");
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;

        assert_eq!(host.apply(&desired(&with_ranges(&["10.7.0.0/16", "0.0.0.0/0"]))).await.warnings, []);

        assert_eq!(output_interface("100.64.3.3", ""), "firezone0", "what this host sends is ours");
        assert_eq!(output_interface("10.7.0.1", ""), "firezone0");
        assert_eq!(
            output_interface("100.64.3.3", "from 192.168.50.9 iif lan0"),
            "tun-firezone",
            "answers to the gateway's clients"
        );
        assert_eq!(
            output_interface("10.7.0.1", "from 100.64.3.3 iif tun-firezone"),
            "lan0",
            "a resource that both know"
        );

        assert_eq!(host.apply(&HostConfig::default()).await.warnings, []);
        assert!(ip("rule").contains("lookup 539098368"), "the gateway's rule is not ours to remove");
        assert!(!ip("rule").contains("46105"));

        ip("link del tun-firezone");
        assert_eq!(host.reapply().await.warnings, []);
        assert!(!ip("rule").contains("539098368"), "left behind by upstream");
    });
}

#[test]
fn forwarded_container_traffic_uses_the_tunnel_without_a_gateway() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;
        assert_eq!(host.apply(&desired(&with_ranges(&["10.7.0.0/16"]))).await.warnings, []);
        assert_eq!(output_interface("10.7.0.1", "from 192.168.50.9 iif lan0"), "firezone0");
    });
}

#[test]
fn missing_interface_is_reported_and_dns_stays_unchanged() {
    in_namespace(|| async {
        laptop();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;
        let applied = host.apply(&desired(&RANGES)).await;
        assert_eq!((applied.changes, applied.warnings[0].code), (0, "interface-missing"));
        assert_eq!(etc.text(), "nameserver 192.168.50.1\n");
    });
}

#[test]
fn strict_reverse_path_filter_is_reported_with_the_internet_resource() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "0").unwrap();
        std::fs::write("/proc/sys/net/ipv4/conf/lan0/rp_filter", "1").unwrap();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;
        assert!(codes(&host.apply(&desired(&with_ranges(&["10.7.0.0/16"]))).await).is_empty());
        assert_eq!(codes(&host.apply(&desired(&with_ranges(&["0.0.0.0/0"]))).await), ["strict-reverse-path"]);
        std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "2").unwrap();
        assert!(codes(&host.reapply().await).is_empty());
    });
}

#[test]
fn conflicting_vpn_is_reported_during_a_session() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;
        assert!(codes(&host.apply(&desired(&RANGES)).await).is_empty());

        ip("rule add priority 40 lookup 51820");
        assert_eq!(codes(&host.reapply().await), ["another-vpn-first"]);
        ip("rule del priority 40");

        ethernet("vpn0");
        ip("addr add 100.100.1.1/32 dev vpn0");
        let applied = host.reapply().await;
        assert_eq!(codes(&applied), ["tunnel-range-in-use"]);
        assert!(applied.warnings[0].text.contains("vpn0"), "{:?}", applied.warnings);
        assert!(codes(&host.apply(&HostConfig::default()).await).is_empty());
    });
}
