//! Events of the watch.

use super::*;

/// Upper bound for a loaded machine; a passing test never waits that long.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

async fn next(watch: &mut Watch) -> watch::Event {
    tokio::time::timeout(TIMEOUT, watch.next()).await.expect("no event").expect("the watch died")
}

/// The next event other than [`watch::Event::Drifted`], which may come in between, because carrier changes are delayed.
async fn next_except_drift(watch: &mut Watch) -> watch::Event {
    loop {
        match next(watch).await {
            watch::Event::Drifted => {}
            event => return event,
        }
    }
}

/// A watch on a host with a tunnel and no pending events.
async fn watched(etc: &Etc) -> (Host, Watch) {
    laptop();
    tunnel_interface();
    let mut host = host(&etc.resolv_conf()).await;
    assert_eq!(host.apply(&desired(&with_ranges(&["0.0.0.0/0", "::/0"]))).await.warnings, []);
    let mut watch = host.watch().unwrap();
    watch.ready().await;
    (host, watch)
}

/// Makes a change that is always reported, so that the absence of earlier events can be asserted without a delay.
fn lose_the_network() {
    ip("link set lan0 down");
}

#[test]
fn new_default_route_in_several_steps_is_reported_once() {
    in_namespace(|| async {
        let etc = Etc::new();
        let (_host, mut watch) = watched(&etc).await;

        ip("route del default");
        ip("addr add 10.99.0.2/24 dev lan0");
        ip("addr del 192.168.50.2/24 dev lan0");
        ip("route add default via 10.99.0.1");

        assert_eq!(next_except_drift(&mut watch).await, watch::Event::NetworkChanged);
        lose_the_network();
        assert_eq!(next_except_drift(&mut watch).await, watch::Event::NetworkLost);
    });
}

#[test]
fn lost_and_restored_network_are_both_reported() {
    in_namespace(|| async {
        let etc = Etc::new();
        let (_host, mut watch) = watched(&etc).await;
        lose_the_network();
        assert_eq!(next_except_drift(&mut watch).await, watch::Event::NetworkLost);
        ip("link set lan0 up");
        ip("route add default via 192.168.50.1");
        assert_eq!(next_except_drift(&mut watch).await, watch::Event::NetworkChanged);
    });
}

#[test]
fn own_changes_are_not_reported() {
    in_namespace(|| async {
        let etc = Etc::new();
        let (mut host, mut watch) = watched(&etc).await;
        let mut more = desired(&with_ranges(&["0.0.0.0/0", "::/0", "10.7.0.0/16"]));
        more.addresses.as_mut().unwrap().sentinels.push("100.100.111.2".parse().unwrap());
        assert_eq!(host.apply(&more).await.warnings, []);
        lose_the_network();
        assert_eq!(next_except_drift(&mut watch).await, watch::Event::NetworkLost);
    });
}

#[test]
fn removed_rules_and_routes_are_restored() {
    in_namespace(|| async {
        let etc = Etc::new();
        let (mut host, mut watch) = watched(&etc).await;
        let before = network_state();

        ip("rule del priority 60");
        ip("route flush table 0x465a00");
        assert_eq!(next(&mut watch).await, watch::Event::Drifted);
        assert_eq!(host.reapply().await.warnings, []);

        assert_eq!(network_state(), before);
    });
}

#[test]
fn new_local_network_is_reported_as_drift() {
    in_namespace(|| async {
        let etc = Etc::new();
        let (mut host, mut watch) = watched(&etc).await;
        ethernet("usb0");
        ip("addr add 172.30.0.2/16 dev usb0");
        assert_eq!(next(&mut watch).await, watch::Event::Drifted);
        assert_eq!(host.reapply().await.warnings, []);
        assert_eq!(output_interface("172.30.1.1", ""), "usb0");
    });
}

#[test]
fn rewritten_resolv_conf_is_adopted_and_reverted() {
    in_namespace(|| async {
        let etc = Etc::new();
        let (mut host, mut watch) = watched(&etc).await;

        // Like NetworkManager and dhclient: the file is replaced.
        let new = etc.0.path().join("new");
        std::fs::write(&new, "nameserver 10.0.0.53\n").unwrap();
        std::fs::rename(&new, etc.resolv_conf()).unwrap();

        assert_eq!(next(&mut watch).await, watch::Event::Drifted);
        assert_eq!(next(&mut watch).await, watch::Event::ResolversChanged(vec![plain("10.0.0.53")]));
        assert_eq!(host.reapply().await.warnings, []);
        assert!(etc.text().contains("nameserver 100.100.111.1\n"));
        assert_eq!(host.system_resolvers().await, [plain("10.0.0.53")]);

        // In place, through another name of the same file, like a bind mount written on the host.
        std::fs::hard_link(etc.resolv_conf(), etc.0.path().join("other-name")).unwrap();
        std::fs::write(etc.0.path().join("other-name"), "nameserver 10.0.0.54\n").unwrap();
        assert_eq!(next(&mut watch).await, watch::Event::Drifted);
        assert_eq!(next(&mut watch).await, watch::Event::ResolversChanged(vec![plain("10.0.0.54")]));
        assert_eq!(host.apply(&HostConfig::default()).await.warnings, []);
        assert_eq!(etc.text(), "nameserver 10.0.0.54\n");
    });
}

#[test]
fn flapping_links_and_growing_desired_state_do_not_interfere() {
    in_namespace(|| async {
        let etc = Etc::new();
        let (mut host, _watch) = watched(&etc).await;
        ethernet("usb0");
        let mut desired = desired(&with_ranges(&["0.0.0.0/0", "::/0"]));
        for round in 0..20_u8 {
            ip(&format!("addr add 172.30.{round}.2/24 dev usb0"));
            desired.routes.insert(format!("10.{round}.0.0/16").parse().unwrap());
            assert_eq!(host.apply(&desired).await.warnings, []);
            ip(&format!("addr del 172.30.{round}.2/24 dev usb0"));
        }
        assert_eq!(ip("route show table 0x465a00").lines().count(), 23);
    });
}
