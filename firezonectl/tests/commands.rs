//! Commands against a daemon that a test plays itself, over a socket pair; answers as people and programs see them.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use clap::Parser as _;
use dbus_api::{
    Device, Error, Gateway, Resource, ResourcePath, Setting, Status, StatusFile, Warning,
    dns::{DnsStatus, Explanation, Match, Server},
    resources::Filter,
    status_file::Entry,
};
use firezonectl::{
    args::Args,
    client::Daemon,
    commands::{self, Surroundings},
    failure::Failure,
    output::{Out, Show, Style, render},
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
    dns: DnsStatus,
    explanation: Explanation,
    refuses: bool,
    fails_with: Option<fn(String) -> Error>,
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
        if let Some(error) = thoughts.fails_with {
            return Err(error("so it is".to_owned()));
        }
        thoughts.asked.push(what);
        Ok(())
    }
}

struct FakeClient(Mind);
struct FakeResources(Mind);
struct FakeDns(Mind);

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

    async fn sign_in(&self, _token: zbus::zvariant::OwnedFd, _options: Options) -> Result<(), Error> {
        self.0.ask("sign in")?;
        self.0.0.lock().unwrap().status.state = "connecting".to_owned();
        Ok(())
    }

    async fn reset(&self, _options: Options) -> Result<(), Error> {
        self.0.ask("reset")
    }

    async fn get_permissions(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
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

    async fn set_internet_resource(&self, active: bool, _options: Options) -> Result<(), Error> {
        self.0.ask(if active { "internet on" } else { "internet off" })
    }
}

#[interface(name = "dev.firezone.Client1.Dns")]
impl FakeDns {
    async fn get_status(&self) -> Result<DnsStatus, Error> {
        self.0.ask("dns status")?;
        Ok(self.0.0.lock().unwrap().dns.clone())
    }

    async fn explain(&self, name: String) -> Result<Explanation, Error> {
        self.0.ask("explain")?;
        if name.contains("..") {
            return Err(Error::InvalidArgs("that is not a name".to_owned()));
        }
        let explanation = self.0.0.lock().unwrap().explanation.clone();
        Ok(Explanation { name, ..explanation })
    }

    async fn flush(&self) -> Result<(), Error> {
        self.0.ask("flush")
    }

    async fn reapply(&self) -> Result<(), Error> {
        self.0.ask("reapply")
    }
}

struct FakeDiagnostics(Mind);
struct FakeSettings(Mind);

#[interface(name = "dev.firezone.Client1.Diagnostics")]
impl FakeDiagnostics {
    async fn path(&self, resource: String) -> Result<ResourcePath, Error> {
        self.0.ask("path")?;
        let all = self.0.0.lock().unwrap().resources.clone();
        let found = all.into_iter().find(|it| it.name == resource);
        let found = found.ok_or_else(|| Error::NotFound("there is no such resource".to_owned()))?;
        Ok(ResourcePath {
            id: found.id,
            name: found.name,
            path: "relayed".to_owned(),
            gateway: Some("9f0c1d2e-0000-4000-8000-000000000001".to_owned()),
            site: Some("Berlin".to_owned()),
            last_handshake: Some(75),
            sent_bytes: Some(2048),
            received_bytes: Some(4096),
        })
    }

    async fn set_log_filter(&self, _filter: String, _seconds: u32) -> Result<(), Error> {
        self.0.ask("log filter")
    }
}

#[interface(name = "dev.firezone.Client1.Settings")]
impl FakeSettings {
    async fn get(&self) -> Result<BTreeMap<String, Setting>, Error> {
        self.0.ask("settings")?;
        let setting = |value: &str, source: &str, locked| Setting {
            value: value.to_owned(),
            source: source.to_owned(),
            locked,
            ..Setting::default()
        };
        Ok(BTreeMap::from([
            ("api-url".to_owned(), setting("wss://api.firezone.dev/", "", true)),
            ("name".to_owned(), setting("build-7", "/etc/dev.firezone.client/firezoned.toml:3", true)),
        ]))
    }

    async fn set(&self, settings: Options) -> Result<(), Error> {
        self.0.ask("set")?;
        if settings.contains_key("name") { Err(Error::Locked("name is locked".to_owned())) } else { Ok(()) }
    }

    async fn reset(&self, _keys: Vec<String>) -> Result<(), Error> {
        self.0.ask("reset settings")
    }
}

/// A daemon, and the way to it.
struct Played {
    mind: Mind,
    ends: [Connection; 2],
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
            .serve_at(dbus_api::PATH, FakeDns(mind.clone()))
            .unwrap()
            .serve_at(dbus_api::PATH, FakeDiagnostics(mind.clone()))
            .unwrap()
            .serve_at(dbus_api::PATH, FakeSettings(mind.clone()))
            .unwrap()
            .build();
        let client = connection::Builder::unix_stream(theirs).p2p().build();
        let (server, client) = tokio::try_join!(server, client).unwrap();
        Self { mind, ends: [server, client] }
    }

    async fn run(&self, line: &str) -> Result<String, Failure> {
        run(line, Daemon::over(&self.ends[1]).await.unwrap()).await
    }
}

/// Keeps what is shown.
#[derive(Default)]
struct Screen(String, Option<firezonectl::output::Format>);

impl Out for Screen {
    fn show(&mut self, answer: &dyn Show) -> Result<(), Failure> {
        let format = self.1.as_ref().unwrap();
        self.0 += &render(answer, format, true, &Style::default())?;
        Ok(())
    }

    fn remark(&mut self, text: &str) {
        self.0 += text;
    }
}

/// What is printed; or the failure, if nothing is.
async fn run(line: &str, daemon: Daemon) -> Result<String, Failure> {
    let args = Args::try_parse_from(std::iter::once("firezonectl").chain(line.split(' '))).unwrap();
    let format = args.format()?;
    let mut screen = Screen(String::new(), Some(format.clone()));
    let answer = commands::run(&args.command, &mut Surroundings::with(daemon, &mut screen)).await?;
    let Some(answer) = answer else { return Ok(screen.0) };
    let text = render(answer.as_ref(), &format, false, &Style::default())?;
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
        ..Resource::default()
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

fn servers() -> Vec<Server> {
    let server = |sentinel: &str, upstream: &str, protocol: &str, via: &str| Server {
        sentinel: sentinel.to_owned(),
        upstream: upstream.to_owned(),
        protocol: protocol.to_owned(),
        via: via.to_owned(),
        ..Server::default()
    };
    let strict = Server {
        server_name: Some("dns.quad9.net".to_owned()),
        failure: Some("certificate".to_owned()),
        ..server("100.100.111.2", "9.9.9.9:853", "tls", "host")
    };
    vec![server("100.100.111.1", "10.0.0.53:53", "plain", "tunnel"), strict]
}

#[tokio::test]
async fn dns_says_whom_the_daemon_asks_and_how() {
    let played = Played::new(connected()).await;
    let status = DnsStatus { origin: "nobody".to_owned(), ..DnsStatus::default() };
    played.mind.0.lock().unwrap().dns = status;
    assert_eq!(played.run("dns").await.unwrap(), "Nobody asks the daemon for names: there is no session\n");
    played.mind.0.lock().unwrap().dns = DnsStatus {
        origin: "portal".to_owned(),
        servers: servers(),
        search_domain: Some("corp.example".to_owned()),
        names: 7,
    };
    assert_eq!(
        played.run("dns").await.unwrap(),
        "\
The portal chose these resolvers
ASKED AT       STANDS FOR
100.100.111.1  10.0.0.53:53, not encrypted, through the tunnel
100.100.111.2  9.9.9.9:853 as dns.quad9.net, over TLS, past the tunnel; its certificate is not trusted
Single words are looked up in corp.example
Names of resources with addresses: 7
"
    );
    let json: serde_json::Value = serde_json::from_str(&played.run("dns status --json").await.unwrap()).unwrap();
    assert_eq!(json["servers"][1]["failure"], "certificate");
    assert_eq!((&json["schema"], &json["origin"], &json["names"]), (&1.into(), &"portal".into(), &7.into()));
}

#[tokio::test]
async fn a_name_is_explained() {
    let played = Played::new(connected()).await;
    let id = "5b0c1d2e-0000-4000-8000-000000000001";
    let one = |name: &str, pattern: &str| Match {
        id: id.to_owned(),
        name: name.to_owned(),
        pattern: pattern.to_owned(),
        sites: vec!["Berlin".to_owned()],
    };
    played.mind.0.lock().unwrap().explanation = Explanation {
        answer: "resource".to_owned(),
        resources: vec![one("Wiki\x1b[2J", "a.wiki.example"), one("All", "**.example")],
        addresses: vec!["100.96.0.1".to_owned(), "100.96.0.2".to_owned()],
        servers: servers()[..1].to_vec(),
        ..Explanation::default()
    };
    assert_eq!(
        played.run("dns explain a.wiki.example").await.unwrap(),
        "\
a.wiki.example belongs to the resource Wiki\u{fffd}[2J; the daemon answers for its addresses
  matches    Wiki\u{fffd}[2J by a.wiki.example (5b0c1d2e-0000-4000-8000-000000000001)
  also       All by **.example (5b0c1d2e-0000-4000-8000-000000000001)
  addresses  100.96.0.1, 100.96.0.2
  SRV, TXT   asked at Berlin
  others     10.0.0.53:53, not encrypted, through the tunnel
"
    );
    let json: serde_json::Value =
        serde_json::from_str(&played.run("dns explain a.wiki.example --json").await.unwrap()).unwrap();
    assert_eq!(json["resources"][0]["pattern"], "a.wiki.example");
    assert_eq!((&json["name"], &json["answer"]), (&"a.wiki.example".into(), &"resource".into()));

    let forwarded =
        Explanation { answer: "forwarded".to_owned(), servers: servers(), cached: true, ..Explanation::default() };
    played.mind.0.lock().unwrap().explanation = forwarded;
    assert_eq!(played.run("dns explain www.example").await.unwrap().lines().count(), 4);
    assert_eq!(played.run("dns explain a..b").await.unwrap_err().code(), 2);
}

#[tokio::test]
async fn names_are_forgotten_and_asked_again_on_demand() {
    let played = Played::new(connected()).await;
    assert_eq!(played.run("dns flush").await.unwrap(), "Done\n");
    assert_eq!(played.run("dns reapply").await.unwrap(), "Done\n");
    assert_eq!(played.mind.0.lock().unwrap().asked, ["flush", "reapply"]);
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
            mode: "service".to_owned(),
            state: "connecting".to_owned(),
            reason: "invalid_token".to_owned(),
            resources: vec![Entry {
                name: wiki.name.clone(),
                address: wiki.address.clone(),
                sites: wiki.sites.clone(),
                status: wiki.status.clone(),
                ..Entry::default()
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

#[tokio::test]
async fn one_resource_is_found_by_name_or_id() {
    let played = Played::new(connected()).await;
    played.mind.0.lock().unwrap().resources = resources();
    let text = played.run("resource wIKI").await.unwrap();
    assert!(text.starts_with("Wiki\n") && text.contains("*.wiki.example") && text.contains("online"), "{text}");
    assert_eq!(played.run("resource wik").await.unwrap_err().code(), 10);
    let by_id = played.run("resource 5b0c1d2e-0000-4000-8000-000000000001").await.unwrap();
    assert!(by_id.starts_with("Internet\n"), "{by_id}");
}

#[tokio::test]
async fn scripts_get_lines_of_the_fields_that_they_want() {
    let played = Played::new(connected()).await;
    played.mind.0.lock().unwrap().resources = resources();
    assert_eq!(played.run("status -t -f state,actor_name,portal_error").await.unwrap(), "connected:Anna:\n");
    assert_eq!(
        played.run("-t --fields name,status,sites resources").await.unwrap(),
        "Internet:unknown:Berlin\nWiki:online:Berlin\n\u{dc}tility network:offline:Berlin\n"
    );
    for line in ["-t status", "-f state status", "-t -f stat status", "-t -f gateways status"] {
        assert_eq!(played.run(line).await.unwrap_err().code(), 2, "{line}");
    }
}

#[tokio::test]
async fn the_internet_resource_can_be_switched_and_read() {
    let played = Played::new(connected()).await;
    assert_eq!(played.run("internet").await.unwrap(), "The Internet resource is off\n");
    assert_eq!(played.run("internet on").await.unwrap(), "The Internet resource is on\n");
    played.run("internet off").await.unwrap();
    assert_eq!(played.mind.0.lock().unwrap().asked, ["internet on", "internet off"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_waited_for_may_be_so_already() {
    let played = Played::new(connected()).await;
    played.mind.0.lock().unwrap().resources = resources();
    assert_eq!(played.run("wait").await.unwrap(), "Connected\n");
    assert_eq!(played.run("wait --for resource=Wiki").await.unwrap(), "Connected\n");
    assert_eq!(played.run("wait --for signed-out --timeout 5").await.unwrap_err().code(), 7);
}

#[tokio::test]
async fn without_a_kept_token_there_is_nothing_to_connect_with() {
    let played = Played::new(connected()).await;
    assert_eq!(played.run("connect").await.unwrap_err().code(), 10);
    assert_eq!(played.run("disconnect").await.unwrap(), "Signing out\n");
    assert_eq!(played.run("reset").await.unwrap(), "Signing out\n");
}

#[tokio::test]
async fn each_error_of_the_daemon_has_an_exit_code() {
    let played = Played::new(connected()).await;
    for (error, code) in [
        (Error::NotAuthorized as fn(String) -> Error, 4),
        (Error::InvalidArgs, 2),
        (Error::InvalidToken, 8),
        (Error::LimitReached, 9),
        (Error::NotFound, 10),
        (Error::Locked, 11),
        (Error::Failed, 1),
        (Error::Stopping, 3),
    ] {
        played.mind.0.lock().unwrap().fails_with = Some(error);
        assert_eq!(played.run("status").await.unwrap_err().code(), code, "{:?}", error(String::new()));
    }
}

/// Whether every key of the answer is described, so that nothing becomes a promise unnoticed.
fn undescribed(value: &serde_json::Value, schema: &serde_json::Value, at: &str) -> Vec<String> {
    match value {
        serde_json::Value::Object(map) => map
            .iter()
            .flat_map(|(key, value)| match schema["properties"].get(key) {
                Some(schema) => undescribed(value, schema, &format!("{at}.{key}")),
                None => vec![format!("{at}.{key}")],
            })
            .collect(),
        serde_json::Value::Array(list) => list.iter().flat_map(|it| undescribed(it, &schema["items"], at)).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn the_json_of_every_verb_is_as_described() {
    let described = |line: &str, schema: &str, answer: &str| {
        let path = format!("{}/schemas/{schema}.json", env!("CARGO_MANIFEST_DIR"));
        let schema: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
        let errors: Vec<String> = validator.iter_errors(&answer).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{line}: {errors:?}");
        assert_eq!(undescribed(&answer, &schema, ""), Vec::<String>::new(), "{line}");
    };
    let played = Played::new(connected()).await;
    played.mind.0.lock().unwrap().resources = resources();
    for (line, schema) in [
        ("status", "status"),
        ("resources", "resources"),
        ("resource wiki", "resource"),
        ("internet", "internet"),
        ("internet on", "internet"),
        ("wait", "wait"),
        ("wait --for resource=wiki", "wait"),
        ("completions bash", "completions"),
        ("path Wiki", "path"),
        ("log-level debug", "log-level"),
        ("log-level", "log-level"),
        ("settings", "settings"),
        ("doctor", "doctor"),
        ("settings set api-url x", "settings"),
        ("reset", "session"),
        ("disconnect", "session"),
        ("sign-out", "session"),
    ] {
        described(line, schema, &played.run(&format!("--json {line}")).await.unwrap());
    }
    for (line, schema) in [("status", "status"), ("resources", "resources"), ("internet", "internet")] {
        let file = StatusFile { schema: 1, resources: vec![Entry::default()], ..StatusFile::default() };
        let daemon = Daemon::Managed(Box::new(file));
        described(line, schema, &run(&format!("--json {line}"), daemon).await.unwrap());
    }
}

#[tokio::test]
async fn a_monitor_tells_what_changes_and_ends_when_nobody_reads() {
    struct Reader(Vec<String>, Mind, Option<SignalEmitter<'static>>);

    impl Out for Reader {
        fn show(&mut self, answer: &dyn Show) -> Result<(), Failure> {
            self.0.push(render(answer, &firezonectl::output::Format::Human, true, &Style::default())?);
            if self.0.len() == 2 {
                return Err(Failure::NobodyReads);
            }
            self.1.0.lock().unwrap().status.state = "reconnecting".to_owned();
            let emitter = self.2.take().unwrap();
            tokio::spawn(async move { FakeClient::status_changed(&emitter, 2).await });
            Ok(())
        }

        fn remark(&mut self, _text: &str) {}
    }

    let played = Played::new(connected()).await;
    played.mind.0.lock().unwrap().resources = resources();
    let emitter = SignalEmitter::new(&played.ends[0], dbus_api::PATH).unwrap().to_owned();
    let mut reader = Reader(Vec::new(), played.mind.clone(), Some(emitter));
    let daemon = Daemon::over(&played.ends[1]).await.unwrap();
    let args = Args::try_parse_from(["firezonectl", "monitor"]).unwrap();
    let end = commands::run(&args.command, &mut Surroundings::with(daemon, &mut reader)).await;
    assert_eq!(end.err(), Some(Failure::NobodyReads));
    assert_eq!(reader.0, ["Connected, 3 resources\n", "Reconnecting\n"]);
}

#[test]
fn the_manual_knows_every_command_and_option() {
    use clap::CommandFactory as _;
    let page = include_str!("../../man/firezonectl.1").replace("\\-", "-");
    let command = Args::command();
    for verb in command.get_subcommands() {
        assert!(
            page.contains(&format!(".B {}\n", verb.get_name()))
                || page.contains(&format!(".BR {} ", verb.get_name()))
                || page.contains(&format!(".BI {} ", verb.get_name())),
            "{}",
            verb.get_name()
        );
        for option in verb.get_arguments().chain(command.get_arguments()).filter_map(|it| it.get_long()) {
            assert!(page.contains(&format!("--{option}")), "{} --{option}", verb.get_name());
        }
    }
}

#[tokio::test]
async fn a_path_says_how() {
    let played = Played::new(connected()).await;
    played.mind.0.lock().unwrap().resources = resources();
    assert_eq!(
        played.run("path Wiki").await.unwrap(),
        "\
Wiki: relayed
  gateway         9f0c1d2e-0000-4000-8000-000000000001 in Berlin
  last handshake  1 min ago
  traffic         2.0 KiB sent, 4.0 KiB received
"
    );
    assert_eq!(played.run("path nothing").await.unwrap_err().code(), 10);
}

#[tokio::test]
async fn settings_say_where_they_come_from() {
    let played = Played::new(connected()).await;
    assert_eq!(
        played.run("settings").await.unwrap(),
        "\
KEY      VALUE                    FROM
api-url  wss://api.firezone.dev/  default                                    locked
name     build-7                  /etc/dev.firezone.client/firezoned.toml:3  locked
"
    );
    assert_eq!(played.run("settings get -t -f value name").await.unwrap(), "build-7\n");
    assert_eq!(played.run("settings get colour").await.unwrap_err().code(), 10);
    assert_eq!(played.run("settings set name x").await.unwrap_err().code(), 11);
    played.run("settings reset name").await.unwrap();
    assert!(played.run("log-level debug --for 60").await.unwrap().starts_with("Logging debug for 1 min\n"));
    assert_eq!(played.run("log-level").await.unwrap(), "Logging as configured\n");
}
