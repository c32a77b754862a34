//! Changes of resources during a session.

#![allow(clippy::print_stdout, reason = "measured figures of the test run")]

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use integration_tests::{
    account::{OTHER_PRIVATE_NAME, PRIVATE_NAME, WIKI, cidr_resource, dns_resource},
    netns::FILES as LAB_FILES,
    process::{Program, wait_until},
    stand::{DOH_NAME, Stand, with_stand},
    topology::PORTAL,
};
use serde_json::json;
use uuid::{Uuid, uuid};

const FILES: Uuid = uuid!("d2500000-0000-4000-8000-000000000002");
const HOLOGRAM: Uuid = uuid!("f0f00000-0000-4000-8000-00000000000f");

/// Much shorter than the lifetime of cached responses, and long enough for a busy machine.
const IMMEDIATELY: Duration = Duration::from_secs(5);

fn resolves(stand: &Stand, name: &str) -> bool {
    let answer = stand.client().program(&format!("dig +short +time=2 +tries=1 {name} A")).run();
    answer.is_ok_and(|it| it.text().lines().any(|line| line.starts_with("100.")))
}

#[test]
#[ignore = "needs root: make integration"]
fn resources_change_while_connected() -> anyhow::Result<()> {
    with_stand(|stand| {
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        assert!(!resolves(stand, OTHER_PRIVATE_NAME));

        let files = serde_json::to_value(dns_resource("Files", "files.*.example"))?;
        stand.portal("PUT", &format!("/resources/{FILES}"), Some(&files))?;
        wait_until("the new name is known", Duration::from_secs(5), || resolves(stand, OTHER_PRIVATE_NAME))?;
        stand.download(OTHER_PRIVATE_NAME, 1, 4)?;

        stand.portal("DELETE", &format!("/resources/{FILES}"), None)?;
        wait_until("the name is gone", Duration::from_secs(5), || !resolves(stand, OTHER_PRIVATE_NAME))?;
        assert!(!stand.fetch(&format!("http://{OTHER_PRIVATE_NAME}/")).run()?.status.success());
        // Everything else works as before.
        stand.download(PRIVATE_NAME, 1, 4)
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn name_becomes_a_resource_and_public_again_immediately() -> anyhow::Result<()> {
    with_stand(|stand| {
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        let ask = || stand.client().program(&format!("dig +short +time=2 +tries=1 {DOH_NAME} A")).check();
        let is_public = || ask().is_ok_and(|it| it.text().trim() == PORTAL.v4.to_string());
        let is_ours =
            || ask().is_ok_and(|it| it.text().lines().filter(|line| line.starts_with("100.96.")).count() == 4);
        // The second time it is cached for an hour.
        assert!(is_public() && is_public());

        let resource = serde_json::to_value(dns_resource("Files", DOH_NAME))?;
        for round in 0..3 {
            stand.portal("PUT", &format!("/resources/{FILES}"), Some(&resource))?;
            wait_until(&format!("{round}: the name is a resource's"), IMMEDIATELY, is_ours)?;
            stand.portal("DELETE", &format!("/resources/{FILES}"), None)?;
            wait_until(&format!("{round}: the name is public again"), IMMEDIATELY, is_public)?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn revoked_access_is_requested_again() -> anyhow::Result<()> {
    with_stand(|stand| {
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        stand.download(PRIVATE_NAME, 1, 4)?;

        stand.portal("POST", "/revoke", Some(&json!({"resource": WIKI})))?;

        wait_until("it works again", Duration::from_secs(20), || stand.download(PRIVATE_NAME, 1, 4).is_ok())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn filtered_ports_are_rejected_immediately() -> anyhow::Result<()> {
    with_stand(|stand| {
        let _daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        stand.download(PRIVATE_NAME, 1, 4)?;

        let outcome = stand.fetch(&format!("http://{PRIVATE_NAME}:443/")).run()?;

        assert_eq!(
            outcome.status.code(),
            Some(7),
            "curl should say that it could not connect: {}",
            outcome.error_text()
        );
        Ok(())
    })
}

/// CPU time of a process in seconds, at 100 kernel ticks per second.
fn cpu_seconds(process: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields = stat.rsplit_once(')').context("no name")?.1.split_whitespace().skip(11).take(2);
    fields.map(|ticks| Ok(ticks.parse::<f64>()? / 100.0)).sum()
}

/// Without logging each route, which would be measured, too.
fn as_in_use(stand: &Stand) -> Program<'_> {
    stand.headless().env("RUST_LOG", "info")
}

#[test]
#[ignore = "needs root: make integration"]
fn ten_thousand_resources_work_and_are_cleaned_up() -> anyhow::Result<()> {
    with_stand(|stand| {
        let idle = {
            let daemon = as_in_use(stand).start("firezoned", stand.logs.open("idle"))?;
            stand.wait_until_connected()?;
            let used = cpu_seconds(daemon.id())?;
            daemon.stop()?;
            used
        };
        stand.stop_portal()?;
        let mut config = integration_tests::account::portal_config(Path::new(LAB_FILES));
        let mut last = (String::new(), String::new());
        for number in 0..5000_u32 {
            let (a, b) = (number / 250, number % 250);
            last = (format!("**.team-{number}.corp.example"), format!("11.{a}.{b}.0/24"));
            let id = |kind: u128| Uuid::from_u128((kind << 64) | u128::from(number));
            config.directory.resources.insert(id(1), dns_resource(&format!("Team {number}"), &last.0));
            config.directory.resources.insert(id(2), cidr_resource(&format!("Network {number}"), &last.1));
        }
        stand.net.portal.write("/run/lab/portal.json", &serde_json::to_string(&config)?)?;
        stand.net.portal.program("rm /run/lab/portal-state.json").check()?;
        stand.start_portal()?;
        stand.wait_for_gateway()?;

        let daemon = as_in_use(stand).start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        let network = last.1.replace(".0/24", ".7");
        wait_until("the last network is routed", Duration::from_secs(60), || {
            let route = stand.client().program(&format!("ip route get {network}")).run();
            route.is_ok_and(|it| it.text().contains("dev firezone0 "))
        })?;
        let used = cpu_seconds(daemon.id())?;
        println!("CPU until all is applied: {used:.2} s, with four resources {idle:.2} s");
        assert!(resolves(stand, &last.0.replace("**", "www.deep")));
        stand.download(PRIVATE_NAME, 1, 4)?;

        daemon.stop()?;
        assert_eq!(stand.host_state()?, "");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn unknown_resource_types_are_skipped() -> anyhow::Result<()> {
    with_stand(|stand| {
        let mut hologram = serde_json::to_value(dns_resource("Hologram", "holo.corp.example"))?;
        hologram["type"] = "hologram".into();
        stand.portal("PUT", &format!("/resources/{HOLOGRAM}"), Some(&hologram))?;

        let mut daemon = stand.headless().start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        for push in [
            json!({"event": "from_the_future", "payload": {"a": [1, 2, 3]}}),
            json!({"event": "resource_created_or_updated", "payload": {"id": 7}}),
            json!({"event": "ice_candidates", "payload": "what?"}),
            json!({"raw": "this is no JSON at all"}),
            json!({"raw": "[1,2,3]"}),
        ] {
            stand.portal("POST", "/push", Some(&push))?;
        }

        stand.download(PRIVATE_NAME, 1, 4)?;
        assert!(daemon.is_running());
        Ok(())
    })
}
