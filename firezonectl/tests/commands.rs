//! Commands against a daemon that a test plays itself, over a socket pair; answers as people and programs see them.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use clap::Parser as _;
use dbus_api::{Device, Error, Gateway, Resource, Status, StatusFile, Warning, resources::Filter, status_file::Entry};
use firezonectl::{
    args::Args,
    client::Daemon,
    commands,
    failure::Failure,
    output::{Style, render},
};
use tokio::net::UnixStream;
use zbus::{Connection, Guid, connection, interface, object_server::SignalEmitter, zvariant::OwnedValue};

type Options = BTreeMap<String, OwnedValue>;

/// What the daemon knows, and what it was asked.
#[derive(Clone, Default)]
struct Mind(Arc<Mutex<Thoughts>>);

#[derive(Default)]
struct Thoughts {
    status: Status,
    resources: Vec<Resource>,
    refuses: bool,
    asked: Vec<&'static str>,
    /// What becomes of the state some time after sign-out.
    next: Option<&'static str>,
}

impl Mind {
    fn ask(&self, what: &'static str) -> Result<(), Error> {
        let mut thoughts = self.0.lock().unwrap();
        if thoughts.refuses {
            return Err(Error::NotAuthorized("no".to_owned()));
        }
        thoughts.asked.push(what);
        Ok(())
    }
}

struct FakeClient(Mind);
struct FakeResources(Mind);

#[interface(name = "dev.firezone.Client1")]
impl FakeClient {
    async fn sign_out(
        &self,
        _options: Options,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<(), Error> {
        self.0.ask("sign out")?;
        let next = self.0.0.lock().unwrap().next;
        self.0.0.lock().unwrap().status.state = "signing-out".to_owned();
        if let Some(next) = next {
            // Later, so that the command has to wait for it.
            let (mind, emitter) = (self.0.clone(), emitter.to_owned());
            tokio::spawn(async move {
                tokio::task::yield_now().await;
                mind.0.lock().unwrap().status.state = next.to_owned();
                Self::status_changed(&emitter, 2).await
            });
        }
        Ok(())
    }

    async fn get_status(&self, _options: Options) -> Result<Status, Error> {
        self.0.ask("status")?;
        Ok(self.0.0.lock().unwrap().status.clone())
    }

    #[zbus(property)]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    #[zbus(property)]
    fn state(&self) -> String {
        self.0.0.lock().unwrap().status.state.clone()
    }

    #[zbus(property)]
    fn reason(&self) -> String {
        self.0.0.lock().unwrap().status.reason.clone()
    }

    #[zbus(property)]
    fn internet_resource_active(&self) -> bool {
        false
    }

    #[zbus(signal)]
    async fn status_changed(emitter: &SignalEmitter<'_>, generation: u64) -> zbus::Result<()>;
}

#[interface(name = "dev.firezone.Client1.Resources")]
impl FakeResources {
    async fn list(&self, filter: Filter) -> Result<(u64, Vec<Resource>), Error> {
        self.0.ask("resources")?;
        let wanted = filter.name.unwrap_or_default().to_lowercase();
        let all = self.0.0.lock().unwrap().resources.clone();
        Ok((1, all.into_iter().filter(|it| it.name.to_lowercase().contains(&wanted)).collect()))
    }
}

/// A daemon, and the way to it.
struct Played {
    mind: Mind,
    daemon: Daemon,
    _ends: [Connection; 2],
}

impl Played {
    async fn new(status: Status) -> Self {
        let mind = Mind::default();
        mind.0.lock().unwrap().status = status;
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = connection::Builder::unix_stream(ours)
            .server(Guid::generate())
            .unwrap()
            .p2p()
            .serve_at(dbus_api::PATH, FakeClient(mind.clone()))
            .unwrap()
            .serve_at(dbus_api::PATH, FakeResources(mind.clone()))
            .unwrap()
            .build();
        let client = connection::Builder::unix_stream(theirs).p2p().build();
        let (server, client) = tokio::try_join!(server, client).unwrap();
        let daemon = Daemon::over(&client).await.unwrap();
        Self { mind, daemon, _ends: [server, client] }
    }

    async fn run(&self, line: &str) -> Result<String, Failure> {
        run(line, &self.daemon).await
    }
}

/// What is printed; or the failure, if nothing is.
async fn run(line: &str, daemon: &Daemon) -> Result<String, Failure> {
    let args = Args::try_parse_from(std::iter::once("firezonectl").chain(line.split(' '))).unwrap();
    let answer = commands::run(&args.command, daemon).await?;
    let text = render(answer.as_ref(), args.json, &Style::default())?;
    match answer.failure() {
        Some(failure) if text.is_empty() => Err(failure),
        _ => Ok(text),
    }
}

fn connected() -> Status {
    Status {
        generation: 1,
        state: "connected".to_owned(),
        since: Some(1_700_000_000),
        account_slug: Some("acme".to_owned()),
        actor_name: Some("Anna".to_owned()),
        tunnel_ipv4: Some("100.64.0.1".to_owned()),
        tunnel_ipv6: Some("fd00:2021:1111::1".to_owned()),
        portal: "joined".to_owned(),
        gateways: vec![Gateway {
            id: "9f0c1d2e-0000-4000-8000-000000000001".to_owned(),
            path: "direct".to_owned(),
            last_handshake: Some(75),
            sent_bytes: Some(2048),
            received_bytes: Some(3_500_000),
        }],
        devices: vec![Device {
            id: "c11e0000-0000-4000-8000-000000000001".to_owned(),
            name: Some("build-7".to_owned()),
            tunnel_ipv4: "100.64.3.8".to_owned(),
            tunnel_ipv6: "fd00:2021:1111::2a".to_owned(),
            pools: vec!["Build farm".to_owned()],
        }],
        warnings: vec![Warning { code: "x".to_owned(), text: "port 53 is taken".to_owned() }],
        ..Status::default()
    }
}

fn resources() -> Vec<Resource> {
    let resource = |kind: &str, name: &str, address: Option<&str>, status: &str| Resource {
        id: "5b0c1d2e-0000-4000-8000-000000000001".to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        address: address.map(ToOwned::to_owned),
        address_description: None,
        sites: vec!["Berlin".to_owned()],
        status: status.to_owned(),
    };
    vec![
        resource("internet", "Internet", None, "unknown"),
        resource("dns", "Wiki", Some("*.wiki.example"), "online"),
        resource("cidr", "Ütility network", Some("10.1.0.0/16"), "offline"),
    ]
}

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
    let rejected = Status { state: "signed-out".to_owned(), reason: "invalid_token".to_owned(), ..Status::default() };
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
async fn resources_are_a_table() {
    let played = Played::new(connected()).await;
    assert_eq!(played.run("resources").await.unwrap(), "No resources\n");
    played.mind.0.lock().unwrap().resources = resources();
    assert_eq!(
        played.run("resources").await.unwrap(),
        "\
NAME             ADDRESS         SITE    STATUS
Internet         internet        Berlin  unknown
Wiki             *.wiki.example  Berlin  online
Ütility network  10.1.0.0/16     Berlin  offline
"
    );
    assert_eq!(played.run("resources wiki").await.unwrap().lines().count(), 2);
}

#[tokio::test]
async fn resources_for_programs() {
    let played = Played::new(connected()).await;
    played.mind.0.lock().unwrap().resources = resources();
    let json: serde_json::Value = serde_json::from_str(&played.run("--json resources wiki").await.unwrap()).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "schema": 1,
            "resources": [{
                "id": "5b0c1d2e-0000-4000-8000-000000000001",
                "kind": "dns",
                "name": "Wiki",
                "address": "*.wiki.example",
                "address_description": null,
                "sites": ["Berlin"],
                "status": "online",
            }],
        })
    );
}

#[tokio::test]
async fn signing_out_can_be_waited_for() {
    let played = Played::new(connected()).await;
    assert_eq!(played.run("sign-out").await.unwrap(), "Signing out\n");
    played.mind.0.lock().unwrap().next = Some("signed-out");
    assert_eq!(played.run("sign-out --wait").await.unwrap(), "Signed out\n");
    assert_eq!(played.mind.0.lock().unwrap().asked, ["sign out"; 2]);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_in_time() {
    let played = Played::new(connected()).await;
    assert_eq!(played.run("sign-out --wait 5").await.unwrap_err().code(), 7);
}

#[tokio::test]
async fn a_refusal_has_its_own_exit_code() {
    let played = Played::new(connected()).await;
    played.mind.0.lock().unwrap().refuses = true;
    for line in ["status", "resources", "sign-out"] {
        assert_eq!(played.run(line).await.unwrap_err().code(), 4, "{line}");
    }
}

#[tokio::test]
async fn in_service_mode_one_may_look_but_not_command() {
    let [_, wiki, _] = <[Resource; 3]>::try_from(resources()).unwrap();
    let daemon = Daemon::Managed(Box::new(StatusFile {
        schema: 1,
        mode: "service".to_owned(),
        state: "connecting".to_owned(),
        reason: "invalid_token".to_owned(),
        resources: vec![Entry {
            name: wiki.name,
            address: wiki.address,
            sites: wiki.sites,
            status: wiki.status,
            ..Entry::default()
        }],
        ..StatusFile::default()
    }));
    assert_eq!(
        run("status", &daemon).await.unwrap(),
        "Connecting as a service: the portal does not accept the token\n  \
         to do      ask an administrator for a new token, then: systemctl restart firezone-client\n"
    );
    assert_eq!(run("resources", &daemon).await.unwrap().lines().count(), 2);
    for line in ["sign-in --token-stdin", "sign-out", "sign-out --wait"] {
        assert_eq!(run(line, &daemon).await.unwrap_err().code(), 6, "{line}");
    }
}
