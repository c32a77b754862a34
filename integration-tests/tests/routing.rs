//! Routing: through the tunnel, on the local network, and leaks.

use std::{net::IpAddr, time::Duration};

use integration_tests::{
    account::{PRIVATE_NAME, SITE, cidr_resource},
    leaks::LeakMonitor,
    process::{Running, wait_until},
    stand::{INTERFACE, Stand, with_stand},
    topology::{CLIENT, RESOLVER, SERVER},
};
use serde_json::json;
use uuid::{Uuid, uuid};

const NETWORK: Uuid = uuid!("c1d20000-0000-4000-8000-00000000000a");
const NETWORK_V6: Uuid = uuid!("c1d20000-0000-4000-8000-00000000000b");
const INTERNET: Uuid = uuid!("1e7e7000-0000-4000-8000-000000000001");
const TIMEOUT: Duration = Duration::from_secs(20);

/// Whether the kernel would send packets to this address into the tunnel.
fn goes_into_the_tunnel(stand: &Stand, to: IpAddr) -> bool {
    let route = stand.client().program(&format!("ip route get {to}")).run();
    route.is_ok_and(|it| it.text().contains(&format!("dev {INTERFACE} ")))
}

/// A public web server on the host of the resolver, and one on the client's own network.
fn public_and_local_servers(stand: &Stand) -> anyhow::Result<[Running; 2]> {
    let (public, local) = (RESOLVER, CLIENT.router());
    let serve = |host: &integration_tests::netns::Host, place: integration_tests::topology::Place, log: &str| {
        let program = format!("dev-server {}:80 [{}]:80", place.v4, place.v6);
        let running = host.program(&program).start("dev-server", stand.logs.open(log))?;
        host.wait_for_port("tcp", 80)?;
        anyhow::Ok(running)
    };
    Ok([serve(&stand.net.resolver, public, "public-server")?, serve(&stand.net.router, local, "local-server")?])
}

/// Whether both web servers of a host respond.
fn is_reached(stand: &Stand, place: integration_tests::topology::Place) -> anyhow::Result<bool> {
    for url in [format!("http://{}/bytes/1", place.v4), format!("http://[{}]/bytes/1", place.v6)] {
        if !stand.fetch(&url).arg("--max-time").arg("8").run()?.status.success() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn switch_internet(stand: &Stand, on: bool) -> anyhow::Result<()> {
    let call = "busctl --system call dev.firezone.Client /dev/firezone/Client dev.firezone.Client1.Resources \
                SetInternetResource ba{sv}";
    stand.client().program(&format!("{call} {on} 0")).as_user("anna").check().map(drop)
}

#[test]
#[ignore = "needs root: make integration"]
fn resource_changes_apply_immediately() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.portal("DELETE", "/resources/c1d20000-0000-4000-8000-000000000004", None)?;
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        let server = SERVER.v4.into();
        assert!(!goes_into_the_tunnel(stand, server));

        let network = serde_json::to_value(cidr_resource("Lab, again", "10.20.0.0/16"))?;
        stand.portal("PUT", &format!("/resources/{NETWORK}"), Some(&network))?;
        wait_until("the network is routed", TIMEOUT, || goes_into_the_tunnel(stand, server))?;
        stand.download(&server.to_string(), 1, 4)?;

        stand.portal("DELETE", &format!("/resources/{NETWORK}"), None)?;
        wait_until("the network is routed no longer", TIMEOUT, || !goes_into_the_tunnel(stand, server))?;
        assert!(!stand.fetch(&format!("http://{server}/")).arg("--max-time").arg("3").run()?.status.success());
        // Everything else works as before.
        stand.download(PRIVATE_NAME, 1, 4)
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn resource_overlapping_the_lan_takes_precedence() -> anyhow::Result<()> {
    with_stand(|stand| {
        let internet = json!({"type": "internet", "site": SITE});
        stand.portal("PUT", &format!("/resources/{INTERNET}"), Some(&internet))?;
        stand.start_bus()?;
        let _daemon = stand.start_on_bus(stand.daemon())?;
        stand.sign_in("anna")?;
        stand.download(PRIVATE_NAME, 1, 4)?;

        // The client's router is inside of each network, so the daemon's own packets have to bypass them.
        let neighbour = CLIENT.router();
        let networks =
            [(neighbour.v4.into(), "203.0.113.16/28", NETWORK), (neighbour.v6.into(), "2001:db8:10::/64", NETWORK_V6)];
        for with_internet in [false, true] {
            switch_internet(stand, with_internet)?;
            let everything = RESOLVER.v4.into();
            wait_until("the Internet goes its way", TIMEOUT, || {
                goes_into_the_tunnel(stand, everything) == with_internet
            })?;
            for (neighbour, network, id) in networks {
                assert!(!goes_into_the_tunnel(stand, neighbour), "{neighbour} is on the local network");
                let resource = serde_json::to_value(cidr_resource("Another network", network))?;
                stand.portal("PUT", &format!("/resources/{id}"), Some(&resource))?;
                let gained = format!("the resource has the addresses of {network}");
                wait_until(&gained, TIMEOUT, || goes_into_the_tunnel(stand, neighbour))?;
            }
            stand.download(PRIVATE_NAME, 1, 4)?;
            stand.download(PRIVATE_NAME, 1, 6)?;
            for (neighbour, network, id) in networks {
                stand.portal("DELETE", &format!("/resources/{id}"), None)?;
                let lost = format!("the local network has {network} back");
                wait_until(&lost, TIMEOUT, || !goes_into_the_tunnel(stand, neighbour))?;
            }
            stand.download(PRIVATE_NAME, 1, 4)?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn internet_resource_toggles_under_traffic_without_leaks() -> anyhow::Result<()> {
    with_stand(|stand| {
        let _servers = public_and_local_servers(stand)?;
        let internet = json!({"type": "internet", "site": SITE});
        stand.portal("PUT", &format!("/resources/{INTERNET}"), Some(&internet))?;
        stand.start_bus()?;
        let _daemon = stand.start_on_bus(stand.daemon())?;
        stand.sign_in("anna")?;
        let public = RESOLVER;
        assert!(!goes_into_the_tunnel(stand, public.v4.into()), "it is off by default");
        assert!(is_reached(stand, public)? && is_reached(stand, CLIENT.router())?);

        // A download that began outside of the tunnel retries while routes change.
        let url = format!("http://{}/bytes/64", public.v4);
        let slow = stand.fetch(&url).arg("--limit-rate").arg("200K").arg("--max-time").arg("600");
        let mut slow = slow.start("curl", stand.logs.open("slow-download"))?;
        for round in 0..3 {
            switch_internet(stand, true)?;
            for ip in [IpAddr::from(public.v4), public.v6.into()] {
                wait_until("everything is routed into the tunnel", TIMEOUT, || goes_into_the_tunnel(stand, ip))?;
            }
            let watch = if round == 0 { LeakMonitor::start(&stand.net)? } else { LeakMonitor::restart(&stand.net)? };
            wait_until("the public server is reached through the gateway", TIMEOUT, || {
                is_reached(stand, public).unwrap_or(false)
            })?;
            let local = CLIENT.router();
            assert!(is_reached(stand, local)?, "the local network is where it was");
            for ip in [IpAddr::from(local.v4), local.v6.into()] {
                assert!(!goes_into_the_tunnel(stand, ip), "{ip} is on the local network");
            }
            stand.download(PRIVATE_NAME, 1, 4)?;
            // An unreachable destination, and queries that bypass the daemon: only the daemon may use the public resolver.
            for stray in ["198.51.100.7".to_owned(), public.v4.to_string(), public.v6.to_string()] {
                let _ = stand.client().program(&format!("dig +time=1 +tries=1 @{stray} www.example A")).run()?;
            }
            assert_eq!(watch.leaks()?, [""; 0], "round {round}: something left outside of the tunnel");

            if round == 1 {
                // Without a gateway nothing is reachable, and nothing leaks.
                stand.stop_gateway()?;
                assert!(!is_reached(stand, public)?, "who has answered?");
                assert_eq!(watch.leaks()?, [""; 0], "without a gateway something left outside of the tunnel");
                stand.start_gateway()?;
                wait_until("the public server is reached again", TIMEOUT, || {
                    is_reached(stand, public).unwrap_or(false)
                })?;
                assert_eq!(watch.leaks()?, [""; 0], "with a new gateway something left outside of the tunnel");
            }

            switch_internet(stand, false)?;
            for ip in [IpAddr::from(public.v4), public.v6.into()] {
                wait_until("only resources are routed", TIMEOUT, || !goes_into_the_tunnel(stand, ip))?;
            }
            wait_until("the public server is reached directly", TIMEOUT, || {
                is_reached(stand, public).unwrap_or(false)
            })?;
            assert!(!watch.leaks()?.is_empty(), "the watch sees what goes outside");
            assert!(is_reached(stand, CLIENT.router())?);
        }
        assert!(slow.is_running(), "the download from before has ended: {}", slow.log().text());
        Ok(())
    })
}
