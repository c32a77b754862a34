//! Device pools: two clients, each with its own daemon, that reach each other.

use std::time::Duration;

use integration_tests::{
    account::{CLIENT_TOKEN, PORTAL_ADDRESS, SITE},
    process::{Running, wait_until},
    stand::{Stand, with_stand},
};
use serde_json::{Value, json};
use uuid::{Uuid, uuid};

const POOL: Uuid = uuid!("9001d000-0000-4000-8000-000000000001");
const TIMEOUT: Duration = Duration::from_secs(30);

/// A second client on the host of the resolver, with files of its own and a web server.
fn second_client(stand: &Stand) -> anyhow::Result<[Running; 2]> {
    let host = &stand.net.resolver;
    for directory in ["/run/dev.firezone.client", "/var/lib/dev.firezone.client"] {
        host.program("mkdir -p").arg(directory).check()?;
        host.program("mount -t tmpfs tmpfs").arg(directory).check()?;
    }
    let daemon = host
        .program("firezoned --no-ipc")
        .env("FIREZONE_TOKEN", CLIENT_TOKEN)
        .env("FIREZONE_ID", "client-two")
        .env("FIREZONE_NAME", "client-two")
        .env("FIREZONE_API_URL", PORTAL_ADDRESS)
        .env("FIREZONE_DNS_CONTROL", "disabled")
        .env("RUST_LOG", "debug");
    let daemon = daemon.start("firezoned", stand.logs.open("firezoned-two"))?;
    let server = host.program("dev-server [::]:80").start("dev-server", stand.logs.open("server-two"))?;
    host.wait_for_port("tcp", 80)?;
    Ok([daemon, server])
}

/// The portal's view of a client, once it is connected.
fn device(stand: &Stand, name: &str) -> anyhow::Result<Value> {
    let find = || {
        let state = stand.portal("GET", "/state", None).ok()?;
        state["devices"].as_array()?.iter().find(|it| it["name"] == name).cloned()
    };
    wait_until(&format!("{name} is known"), TIMEOUT, || find().is_some())?;
    find().ok_or_else(|| anyhow::anyhow!("{name} is gone"))
}

#[test]
#[ignore = "needs root: make integration"]
fn device_pools_permit_traffic_between_clients() -> anyhow::Result<()> {
    with_stand(|stand| {
        let _two = second_client(stand)?;
        let _one = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        let (two, one) = (device(stand, "client-two")?, device(stand, "headless client")?);
        let url = |device: &Value, rest: &str| match device["ipv4"].as_str() {
            Some(ip) => format!("http://{ip}{rest}"),
            None => String::new(),
        };
        let reaches_two = || {
            let fetched = stand.fetch(&url(&two, "/bytes/1")).arg("--max-time").arg("10").run();
            fetched.is_ok_and(|it| it.status.success())
        };
        assert!(!reaches_two(), "access without a grant");

        let pool = json!({
            "type": "static_device_pool", "site": SITE, "name": "Laptops", "devices": [one["id"], two["id"]],
            "filters": [{"protocol": "tcp", "port_range_start": 80, "port_range_end": 80}],
        });
        stand.portal("PUT", &format!("/resources/{POOL}"), Some(&pool))?;
        wait_until("the other client is reached", TIMEOUT, reaches_two)?;
        let v6 = two["ipv6"].as_str().unwrap_or_default();
        stand.download(&format!("[{v6}]"), 1, 6)?;
        assert_eq!(
            stand.fetch(&url(&two, ":81/")).run()?.status.code(),
            Some(7),
            "what the pool forbids should be refused at once"
        );

        // No program listens there, and our host may report that: a rejection is a reply, too.
        let back = stand.net.resolver.program("curl --silent --show-error --max-time 30");
        assert_eq!(back.arg(url(&one, "/")).run()?.status.code(), Some(7), "the way back is open as well");

        stand.portal("DELETE", &format!("/resources/{POOL}"), None)?;
        wait_until("the other client is out of reach", TIMEOUT, || !reaches_two())
    })
}
