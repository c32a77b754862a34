//! No private data in the journal, in process arguments or in memory dumps.

use std::time::Duration;

use integration_tests::{
    account::{ACCOUNT, CLIENT_TOKEN, LAB_V4, LAB_V6, PORTAL_NAME, PRIVATE_NAME, RELAY_ID, SITE, cidr_resource},
    process::wait_until,
    stand::{Stand, with_stand},
    topology::{PRIVATE_V4, PRIVATE_V6},
};
use nix::sys::signal::Signal;
use serde_json::json;

#[test]
#[ignore = "needs root: make integration"]
fn default_log_contains_no_personal_data() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let daemon = stand.start_on_bus(stand.daemon().env("RUST_LOG", "info"))?;
        stand.sign_in("anna")?;
        stand.download(PRIVATE_NAME, 1, 4)?;
        stand.portal("DELETE", &format!("/resources/{LAB_V4}"), None)?;
        stand.portal("POST", "/drop", Some(&serde_json::json!({})))?;
        stand.download(PRIVATE_NAME, 1, 6)?;
        stand.ctl("anna", "sign-out --wait=10").check()?;

        let text = daemon.log().text();
        for secret in [ACCOUNT, "corp.example", "wiki", "Lab", "10.20.", "fdcc:", "100.64.", "100.96.", CLIENT_TOKEN] {
            assert!(!text.contains(secret), "the log says {secret:?}:\n{text}");
        }
        assert!(!text.is_empty(), "a log that says nothing at all is no use either");
        Ok(())
    })
}

/// What must never be public: users, names and addresses of the account, of the portal and of others
/// users, and tokens or any part of them.
const PRIVATE: [&str; 16] = [
    ACCOUNT,
    "Anna",
    "corp.example",
    "wiki",
    "Lab",
    "Berlin",
    "Secret wing",
    PORTAL_NAME,
    "203.0.113.",
    "2001:db8:",
    "10.20.",
    "fdcc:",
    "100.64.",
    "100.96.",
    CLIENT_TOKEN,
    "anna-is-allowed",
];

#[test]
#[ignore = "needs root: make integration"]
fn secrets_appear_neither_in_logs_nor_in_process_arguments() -> anyhow::Result<()> {
    with_stand(|stand| {
        let mut daemon = stand.headless().env("RUST_LOG", "info").start("firezoned", stand.logs.open("firezoned"))?;
        stand.wait_until_connected()?;
        let file = stand.client().read("/run/dev.firezone.client/status.json")?;
        let process = serde_json::from_str::<serde_json::Value>(&file)?["pid"].clone();
        stand.download(PRIVATE_NAME, 1, 4)?;
        keeps_its_secrets(stand, &process.to_string())?;
        live_through_a_lot(stand, &daemon)?;
        keeps_its_secrets(stand, &process.to_string())?;
        daemon.signal(Signal::SIGTERM)?;
        daemon.wait(Duration::from_secs(15))?;

        let text = daemon.log().text();
        let told: Vec<_> = PRIVATE.iter().filter(|secret| text.contains(**secret)).collect();
        assert!(told.is_empty(), "the log contains {told:?}:\n{text}");
        assert!(text.contains("session"), "a log that says nothing at all is no use either");
        Ok(())
    })
}

/// Events that could make a daemon log private data.
fn live_through_a_lot(stand: &mut Stand, daemon: &integration_tests::process::Running) -> anyhow::Result<()> {
    let is_joined = |stand: &Stand| {
        wait_until("the client has come back", Duration::from_secs(40), || {
            stand.portal("GET", "/state", None).is_ok_and(|state| state["clients"][0]["joined"] == true)
        })
    };
    for resource in [LAB_V4, LAB_V6] {
        stand.portal("DELETE", &format!("/resources/{resource}"), None)?;
    }
    let pushes = [
        json!({"event": "resource_created_or_updated", "payload": {"type": "dns", "id": "wiki", "name": "Secret wing"}}),
        json!({"event": "Secret wing", "payload": {"name": "wiki"}}),
        json!({"event": "init", "payload": {"interface": {"ipv4": "wiki.corp.example"}}}),
        json!({"event": "ice_candidates", "payload": {"gateway_id": SITE, "candidates": ["candidate: wiki", "Anna"]}}),
        json!({"event": "config_changed", "payload": {"interface": {"ipv4": "100.64.0.1", "ipv6": "Lab"}}}),
        json!({"raw": "Secret wing is not JSON"}),
    ];
    for push in &pushes {
        stand.portal("POST", "/push", Some(push))?;
    }
    for (id, network) in [(LAB_V4, PRIVATE_V4), (LAB_V6, PRIVATE_V6)] {
        let resource = serde_json::to_value(cidr_resource("Lab", network))?;
        stand.portal("PUT", &format!("/resources/{id}"), Some(&resource))?;
    }
    stand.download(PRIVATE_NAME, 1, 6)?;

    for online in [false, true] {
        stand.portal("PUT", &format!("/relays/{RELAY_ID}"), Some(&json!(online)))?;
    }
    let refusal =
        json!({"status": 402, "code": "limits_exceeded", "detail": "Anna of example-corp is one too many", "times": 2});
    stand.portal("POST", "/refuse", Some(&refusal))?;
    stand.portal("POST", "/drop", Some(&json!({})))?;
    is_joined(stand)?;
    for _ in 0..3 {
        daemon.signal(Signal::SIGHUP)?;
        stand.download(PRIVATE_NAME, 1, 4)?;
    }
    stand.stop_gateway()?;
    stand.stop_portal()?;
    stand.start_portal()?;
    stand.start_gateway()?;
    is_joined(stand)?;
    stand.wait_for_gateway()?;
    wait_until("the tunnel works again", Duration::from_secs(40), || stand.download(PRIVATE_NAME, 1, 4).is_ok())
}

/// Neither arguments nor environment contain a token, and the process is not dumpable.
fn keeps_its_secrets(stand: &Stand, process: &str) -> anyhow::Result<()> {
    for file in ["cmdline", "environ"] {
        let text = stand.client().program("cat").arg(format!("/proc/{process}/{file}")).check()?.text();
        assert!(!text.contains(CLIENT_TOKEN), "{file} has the token");
    }
    let limits = stand.client().program("cat").arg(format!("/proc/{process}/limits")).check()?.text();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
    Ok(())
}
