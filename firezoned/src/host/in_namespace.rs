//! Stories in a network namespace of their own, against the real kernel. They need root, and say so when they are skipped.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use super::*;

const MARK: u32 = 0xfd00_2021;

/// Runs `story` on a thread in a fresh network namespace, which ends with the thread.
fn in_namespace<F: Future<Output = ()> + 'static>(story: fn() -> F) {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root for a network namespace");
        return;
    }
    let told = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        ip("link set lo up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(story());
    });
    if let Err(panic) = told.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `ip` with these words and returns what it prints.
fn plain(address: &str) -> Resolver {
    Resolver::plain(address.parse().unwrap())
}

fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A host with one local network and a default route in it.
fn laptop() {
    ethernet("lan0");
    std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "2").unwrap();
    ip("addr add 192.168.50.2/24 dev lan0");
    ip("addr add 2001:db8:50::2/64 dev lan0 nodad");
    ip("route add default via 192.168.50.1");
    ip("route add default via 2001:db8:50::1");
}

/// An interface with a cable that leads to a peer.
fn ethernet(name: &str) {
    ip(&format!("link add {name} type veth peer name {name}-peer"));
    for end in [name.to_owned(), format!("{name}-peer")] {
        ip(&format!("link set {end} addrgenmode none"));
        ip(&format!("link set {end} up"));
    }
}

fn tunnel_interface() {
    ip("tuntap add dev firezone0 mode tun");
}

struct Etc(tempfile::TempDir);

impl Etc {
    fn new() -> Self {
        let etc = Self(tempfile::tempdir().unwrap());
        std::fs::write(etc.resolv_conf(), "nameserver 192.168.50.1\n").unwrap();
        etc
    }

    fn resolv_conf(&self) -> std::path::PathBuf {
        self.0.path().join("resolv.conf")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.resolv_conf()).unwrap()
    }
}

async fn host(resolv_conf: &Path) -> Host {
    Host::open_with_resolv_conf(INTERFACE, DnsControl::EtcResolvConf, MARK, resolv_conf).await.unwrap()
}

fn wish(routes: &[&str]) -> HostConfig {
    let sentinels: Vec<IpAddr> =
        vec!["100.100.111.1".parse().unwrap(), "fd00:2021:1111:8000:100:100:111:0".parse().unwrap()];
    HostConfig {
        addresses: Some(Addresses {
            v4: "100.64.0.5".parse().unwrap(),
            v6: "fd00:2021:1111::5".parse().unwrap(),
            sentinels: sentinels.clone(),
        }),
        routes: routes.iter().map(|route| route.parse().unwrap()).collect(),
        dns: Some(DnsConfig { servers: sentinels, search_domain: None }),
    }
}

const RANGES: [&str; 6] = [
    "100.64.0.0/11",
    "100.96.0.0/11",
    "100.100.111.0/24",
    "fd00:2021:1111::/107",
    "fd00:2021:1111:8000::/107",
    "fd00:2021:1111:8000:100:100:111:0/120",
];

fn with_ranges(more: &[&'static str]) -> Vec<&'static str> {
    RANGES.iter().chain(more).copied().collect()
}

/// Everything that must be as before when we are gone.
fn everything() -> [String; 5] {
    [
        ip("rule"),
        ip("-6 rule"),
        ip("route show table all"),
        ip("-6 route show table all"),
        // Without the counters and timers of the links.
        ip("-o addr")
            .lines()
            .map(|line| line.split("valid_lft").next().unwrap_or_default().to_owned() + "\n")
            .collect(),
    ]
}

/// The interface that a packet to `destination` leaves by; `more` as for `ip route get`.
fn way(destination: &str, more: &str) -> String {
    let answer = ip(&format!("route get {destination} {more}"));
    let mut words = answer.split_whitespace();
    words.find(|word| *word == "dev");
    words.next().unwrap_or_default().to_owned()
}

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

#[test]
fn without_ipv6_the_rest_works_and_a_warning_says_so() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        for scope in ["all", "default", "firezone0"] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1").unwrap();
        }
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;

        let applied = host.apply(&wish(&with_ranges(&["10.7.0.0/16", "0.0.0.0/0", "::/0"]))).await;

        let codes: Vec<&str> = applied.warnings.iter().map(|warning| warning.code).collect();
        assert_eq!(codes, ["ipv6-disabled"]);
        assert_eq!(way("10.7.0.1", ""), "firezone0");
        assert!(etc.text().contains("nameserver 100.100.111.1\n"));
        assert!(!etc.text().contains("nameserver fd00"));
        assert_eq!(ip("-6 rule").lines().filter(|rule| rule.contains("46105")).count(), 0);

        let again = host.reapply().await;
        assert_eq!((again.warnings, again.changes), (applied.warnings, 0));
    });
}

#[test]
fn a_gateway_on_the_same_host_keeps_what_it_forwards() {
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

        assert_eq!(host.apply(&wish(&with_ranges(&["10.7.0.0/16", "0.0.0.0/0"]))).await.warnings, []);

        assert_eq!(way("100.64.3.3", ""), "firezone0", "what this host sends is ours");
        assert_eq!(way("10.7.0.1", ""), "firezone0");
        assert_eq!(way("100.64.3.3", "from 192.168.50.9 iif lan0"), "tun-firezone", "answers to the gateway's clients");
        assert_eq!(way("10.7.0.1", "from 100.64.3.3 iif tun-firezone"), "lan0", "a resource that both know");

        assert_eq!(host.apply(&HostConfig::default()).await.warnings, []);
        assert!(ip("rule").contains("lookup 539098368"), "the gateway's rule is not ours to remove");
        assert!(!ip("rule").contains("46105"));

        ip("link del tun-firezone");
        assert_eq!(host.reapply().await.warnings, []);
        assert!(!ip("rule").contains("539098368"), "left behind by upstream");
    });
}

#[test]
fn forwarded_packets_of_containers_use_the_tunnel_where_there_is_no_gateway() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;
        assert_eq!(host.apply(&wish(&with_ranges(&["10.7.0.0/16"]))).await.warnings, []);
        assert_eq!(way("10.7.0.1", "from 192.168.50.9 iif lan0"), "firezone0");
    });
}

#[test]
fn a_missing_interface_is_named_and_names_stay_with_the_host() {
    in_namespace(|| async {
        laptop();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;
        let applied = host.apply(&wish(&RANGES)).await;
        assert_eq!((applied.changes, applied.warnings[0].code), (0, "interface-missing"));
        assert_eq!(etc.text(), "nameserver 192.168.50.1\n");
    });
}

#[test]
fn a_strict_reverse_path_filter_is_named_while_the_internet_resource_is_on() {
    in_namespace(|| async {
        laptop();
        tunnel_interface();
        std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "0").unwrap();
        std::fs::write("/proc/sys/net/ipv4/conf/lan0/rp_filter", "1").unwrap();
        let etc = Etc::new();
        let mut host = host(&etc.resolv_conf()).await;
        let codes = |applied: Applied| applied.warnings.iter().map(|warning| warning.code).collect::<Vec<_>>();
        assert!(codes(host.apply(&wish(&with_ranges(&["10.7.0.0/16"]))).await).is_empty());
        assert_eq!(codes(host.apply(&wish(&with_ranges(&["0.0.0.0/0"]))).await), ["strict-reverse-path"]);
        std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "2").unwrap();
        assert!(codes(host.reapply().await).is_empty());
    });
}

#[test]
fn flapping_links_and_growing_wishes_at_the_same_time_do_not_disturb_each_other() {
    in_namespace(|| async {
        let etc = Etc::new();
        let (mut host, _watch) = watched(&etc).await;
        ethernet("usb0");
        let mut wish = wish(&with_ranges(&["0.0.0.0/0", "::/0"]));
        for round in 0..20_u8 {
            ip(&format!("addr add 172.30.{round}.2/24 dev usb0"));
            wish.routes.insert(format!("10.{round}.0.0/16").parse().unwrap());
            assert_eq!(host.apply(&wish).await.warnings, []);
            ip(&format!("addr del 172.30.{round}.2/24 dev usb0"));
        }
        assert_eq!(ip("route show table 0x465a00").lines().count(), 23);
    });
}

/// Long enough for a loaded machine; nothing waits that long when all is well.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

async fn next(watch: &mut Watch) -> watch::Event {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("nothing was announced").expect("the watch died")
}

/// The next event beside [`watch::Event::Drifted`], which may come in between: the kernel takes its time with carriers.
async fn next_beside_drift(watch: &mut Watch) -> watch::Event {
    loop {
        match next(watch).await {
            watch::Event::Drifted => {}
            event => return event,
        }
    }
}

/// A watch on a host with a tunnel and everything quiet.
async fn watched(etc: &Etc) -> (Host, Watch) {
    laptop();
    tunnel_interface();
    let mut host = host(&etc.resolv_conf()).await;
    assert_eq!(host.apply(&wish(&with_ranges(&["0.0.0.0/0", "::/0"]))).await.warnings, []);
    let mut watch = host.watch().unwrap();
    watch.ready().await;
    (host, watch)
}

/// Makes a change that is always announced, so that silence before it can be asserted without waiting for nothing.
fn lose_the_network() {
    ip("link set lan0 down");
}

#[test]
fn a_new_default_route_is_announced_once_however_many_steps_it_took() {
    in_namespace(|| async {
        let etc = Etc::new();
        let (_host, mut watch) = watched(&etc).await;

        ip("route del default");
        ip("addr add 10.99.0.2/24 dev lan0");
        ip("addr del 192.168.50.2/24 dev lan0");
        ip("route add default via 10.99.0.1");

        assert_eq!(next_beside_drift(&mut watch).await, watch::Event::NetworkChanged);
        lose_the_network();
        assert_eq!(next_beside_drift(&mut watch).await, watch::Event::NetworkLost);
    });
}

#[test]
fn a_network_that_goes_and_comes_again_is_announced_as_both() {
    in_namespace(|| async {
        let etc = Etc::new();
        let (_host, mut watch) = watched(&etc).await;
        lose_the_network();
        assert_eq!(next_beside_drift(&mut watch).await, watch::Event::NetworkLost);
        ip("link set lan0 up");
        ip("route add default via 192.168.50.1");
        assert_eq!(next_beside_drift(&mut watch).await, watch::Event::NetworkChanged);
    });
}

#[test]
fn what_we_do_ourselves_is_not_announced_as_a_change_of_the_network() {
    in_namespace(|| async {
        let etc = Etc::new();
        let (mut host, mut watch) = watched(&etc).await;
        let mut more = wish(&with_ranges(&["0.0.0.0/0", "::/0", "10.7.0.0/16"]));
        more.addresses.as_mut().unwrap().sentinels.push("100.100.111.2".parse().unwrap());
        assert_eq!(host.apply(&more).await.warnings, []);
        lose_the_network();
        assert_eq!(next_beside_drift(&mut watch).await, watch::Event::NetworkLost);
    });
}

#[test]
fn what_somebody_else_takes_from_us_is_put_back() {
    in_namespace(|| async {
        let etc = Etc::new();
        let (mut host, mut watch) = watched(&etc).await;
        let before = everything();

        ip("rule del priority 60");
        ip("route flush table 0x465a00");
        assert_eq!(next(&mut watch).await, watch::Event::Drifted);
        assert_eq!(host.reapply().await.warnings, []);

        assert_eq!(everything(), before);
    });
}

#[test]
fn a_local_network_that_appears_is_a_reason_to_apply_again() {
    in_namespace(|| async {
        let etc = Etc::new();
        let (mut host, mut watch) = watched(&etc).await;
        ethernet("usb0");
        ip("addr add 172.30.0.2/16 dev usb0");
        assert_eq!(next(&mut watch).await, watch::Event::Drifted);
        assert_eq!(host.reapply().await.warnings, []);
        assert_eq!(way("172.30.1.1", ""), "usb0");
    });
}

#[test]
fn a_rewritten_resolv_conf_is_adopted_and_taken_back() {
    in_namespace(|| async {
        let etc = Etc::new();
        let (mut host, mut watch) = watched(&etc).await;

        // As NetworkManager and dhclient do it: another file takes the place.
        let new = etc.0.path().join("new");
        std::fs::write(&new, "nameserver 10.0.0.53\n").unwrap();
        std::fs::rename(&new, etc.resolv_conf()).unwrap();

        assert_eq!(next(&mut watch).await, watch::Event::Drifted);
        assert_eq!(next(&mut watch).await, watch::Event::ResolversChanged(vec![plain("10.0.0.53")]));
        assert_eq!(host.reapply().await.warnings, []);
        assert!(etc.text().contains("nameserver 100.100.111.1\n"));
        assert_eq!(host.system_resolvers().await, [plain("10.0.0.53")]);

        // In place, through another name of the same file, as the host's side of a mount is written.
        std::fs::hard_link(etc.resolv_conf(), etc.0.path().join("other-name")).unwrap();
        std::fs::write(etc.0.path().join("other-name"), "nameserver 10.0.0.54\n").unwrap();
        assert_eq!(next(&mut watch).await, watch::Event::Drifted);
        assert_eq!(next(&mut watch).await, watch::Event::ResolversChanged(vec![plain("10.0.0.54")]));
        assert_eq!(host.apply(&HostConfig::default()).await.warnings, []);
        assert_eq!(etc.text(), "nameserver 10.0.0.54\n");
    });
}
