//! `status`, and what holds for every verb.

use dbus_api::{Mode, Reason, Resource, State, Status, StatusFile};
use firezonectl::client::Daemon;

use crate::{connected, played::Played, resources, run};

#[tokio::test]
async fn status_says_the_most_important_first() {
    let played = Played::new(connected()).await;
    assert_eq!(
        played.run("status").await.unwrap(),
        "\
Connected as Anna (acme)
  addresses  100.64.0.1, fd00:2021:1111::1
  gateway    9f0c1d2e-0000-4000-8000-000000000001 direct, last handshake 1 min ago, 2.0 KiB sent, 3.3 MiB received
  device     build-7 100.64.3.8, fd00:2021:1111::2a
  warning    port 53 is taken
"
    );
}

#[tokio::test]
async fn status_for_programs() {
    let played = Played::new(connected()).await;
    let json: serde_json::Value = serde_json::from_str(&played.run("status --json").await.unwrap()).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "schema": 1,
            "mode": "user",
            "version": env!("CARGO_PKG_VERSION"),
            "state": "connected",
            "reason": "",
            "since": 1_700_000_000,
            "account_slug": "acme",
            "actor_name": "Anna",
            "asked_by": "anna",
            "tunnel_ipv4": "100.64.0.1",
            "tunnel_ipv6": "fd00:2021:1111::1",
            "portal": "joined",
            "portal_error": null,
            "internet_resource_active": false,
            "gateways": [{
                "id": "9f0c1d2e-0000-4000-8000-000000000001",
                "path": "direct",
                "last_handshake_seconds": 75,
                "sent_bytes": 2048,
                "received_bytes": 3_500_000,
            }],
            "devices": [{
                "id": "c11e0000-0000-4000-8000-000000000001",
                "name": "build-7",
                "tunnel_ipv4": "100.64.3.8",
                "tunnel_ipv6": "fd00:2021:1111::2a",
                "pools": ["Build farm"],
            }],
            "warnings": [{ "code": "x", "text": "port 53 is taken" }],
        })
    );
}

#[tokio::test]
async fn whoever_is_not_connected_is_told_what_to_do() {
    let rejected = Status { state: State::SignedOut, reason: Some(Reason::InvalidToken), ..Status::default() };
    let played = Played::new(rejected).await;
    assert_eq!(
        played.run("status").await.unwrap(),
        "Signed out: the portal does not accept the token\n  to do      firezonectl sign-in\n"
    );
    assert_eq!(played.run("status --quiet").await.unwrap_err().code(), 5);
}

#[tokio::test]
async fn a_quiet_status_is_an_exit_code() {
    assert_eq!(Played::new(connected()).await.run("status --quiet").await.unwrap(), "");
}

#[tokio::test]
async fn a_refusal_has_its_own_exit_code() {
    let played = Played::new(connected()).await;
    played.mind.0.lock().unwrap().refuses = true;
    for line in ["status", "resources", "sign-out", "dns", "dns explain a.example", "dns flush"] {
        assert_eq!(played.run(line).await.unwrap_err().code(), 4, "{line}");
    }
}

#[tokio::test]
async fn in_service_mode_one_may_look_but_not_command() {
    let [_, wiki, _] = <[Resource; 3]>::try_from(resources()).unwrap();
    let daemon = || {
        Daemon::Managed(Box::new(StatusFile {
            schema: 1,
            mode: Mode::Service,
            status: Status { state: State::Connecting, reason: Some(Reason::InvalidToken), ..Status::default() },
            resources: vec![Resource {
                name: wiki.name.clone(),
                address: wiki.address.clone(),
                sites: wiki.sites.clone(),
                status: wiki.status.clone(),
                ..Resource::default()
            }],
            ..StatusFile::default()
        }))
    };
    assert_eq!(
        run("status", daemon()).await.unwrap(),
        "Connecting as a service: the portal does not accept the token\n  \
         to do      ask an administrator for a new token, then: systemctl restart firezone-client\n"
    );
    assert_eq!(run("resources", daemon()).await.unwrap().lines().count(), 2);
    for line in ["sign-in --token-stdin", "sign-out", "sign-out --wait"] {
        assert_eq!(run(line, daemon()).await.unwrap_err().code(), 6, "{line}");
    }
}
