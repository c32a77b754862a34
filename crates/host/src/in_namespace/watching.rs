//! What is noticed, and what is not.

use super::*;

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
