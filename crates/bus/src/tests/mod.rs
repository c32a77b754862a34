//! The objects on one end of a socket pair, the proxies on the other, and a daemon that the test simulates.

use std::{collections::BTreeMap, io::Write as _, sync::Arc, time::Duration};

use dbus_api::{
    ClientProxy, DiagnosticsProxy, DnsProxy, Error, Permission, ResourcesProxy, SettingsProxy, SignInOptions, State,
    resources::Filter,
};
use futures_util::StreamExt as _;
use model::{ResourceView, Site, SiteId, Status, view::Kind};
use tempfile::TempDir;
use tokio::{
    net::UnixStream,
    sync::{mpsc, watch},
};
use zbus::{
    Connection, Guid, connection,
    fdo::IntrospectableProxy,
    proxy::CacheProperties,
    zvariant::{OwnedFd, Value},
};

use super::*;
use crate::authorizer::Action;
use dataplane::Statistics;
use event_loop::Clock;
use resolver::Forwarder;
use session::{Reason, Request, Snapshot};
use settings::{Settings, file::ConfigPaths};

mod diagnostics;
mod polkit;

pub(super) const EVERYTHING: &[Action] = &Action::ALL;

/// The proxies, and the daemon's ends of its channels.
pub(super) struct TestBus {
    connection: Connection,
    client: ClientProxy<'static>,
    resources: ResourcesProxy<'static>,
    dns: DnsProxy<'static>,
    pub(super) diagnostics: DiagnosticsProxy<'static>,
    settings: SettingsProxy<'static>,
    requests: mpsc::Receiver<DaemonRequest>,
    internet_resource_settings: mpsc::Receiver<bool>,
    publish: watch::Sender<Snapshot>,
    pub(super) statistics: Statistics,
    _server: Connection,
    _publisher: Publisher,
    _files: TempDir,
}

impl TestBus {
    pub(super) async fn new(permitted: &'static [Action]) -> Self {
        let files = tempfile::tempdir().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (publish, snapshot) = watch::channel(connected());
        let (sender, requests) = mpsc::channel(4);
        let (internet_resource, internet_resource_settings) = mpsc::channel(4);
        let daemon = DaemonHandle {
            started: Duration::from_secs(1_000_000),
            ..daemon(&files, sender, internet_resource, snapshot)
        };
        let statistics = daemon.statistics.clone();
        let server = connection::Builder::unix_stream(ours).server(Guid::generate()).unwrap().p2p();
        let server = Objects::new(&daemon, &Authorizer::fixed(permitted)).serve_with(server).unwrap().build();
        let client = connection::Builder::unix_stream(theirs).p2p().build();
        let (server, connection) = tokio::try_join!(server, client).unwrap();
        let publisher = Publisher::start(&server, daemon).await.unwrap();
        let client = ClientProxy::builder(&connection).cache_properties(CacheProperties::No).build().await.unwrap();
        let resources = ResourcesProxy::new(&connection).await.unwrap();
        let dns = DnsProxy::new(&connection).await.unwrap();
        let diagnostics = DiagnosticsProxy::new(&connection).await.unwrap();
        let settings = SettingsProxy::new(&connection).await.unwrap();
        Self {
            connection,
            client,
            resources,
            dns,
            diagnostics,
            settings,
            requests,
            internet_resource_settings,
            publish,
            statistics,
            _server: server,
            _publisher: publisher,
            _files: files,
        }
    }

    /// The next request to the daemon.
    pub(super) async fn accept(&mut self) -> DaemonRequest {
        self.requests.recv().await.unwrap()
    }
}

/// A daemon whose settings are in `files`.
fn daemon(
    files: &TempDir,
    requests: mpsc::Sender<DaemonRequest>,
    internet_resource: mpsc::Sender<bool>,
    snapshot: watch::Receiver<Snapshot>,
) -> DaemonHandle {
    let places = ConfigPaths {
        main: files.path().join("none.toml"),
        drop_ins: files.path().join("none.d"),
        stored: files.path().join("stored/settings.toml"),
        imported: files.path().join("none.json"),
        owner: nix::unistd::geteuid().as_raw(),
    };
    let settings = Settings::start(settings::Args::default(), places, None, internet_resource);
    DaemonHandle {
        requests,
        snapshot,
        started: Duration::from_secs(1),
        clock: Clock::new(),
        forwarder: Forwarder::new(0),
        settings,
        users: UserDatabase::default(),
        statistics: Statistics::default(),
    }
}

fn connected() -> Snapshot {
    let resource = |number, kind, name: &str, address: Option<&str>| ResourceView {
        id: model::ResourceId::from_u128(number),
        kind,
        name: name.to_owned(),
        address: address.map(ToOwned::to_owned),
        address_description: None,
        sites: vec![Site { id: SiteId::from_u128(7), name: "Berlin".to_owned() }],
        status: Status::Online,
        refusal: None,
    };
    Snapshot {
        generation: 3,
        resources_generation: 2,
        state: State::Connected,
        since: Duration::from_secs(5),
        account_slug: Some("acme".to_owned()),
        resources: Arc::from([
            resource(1, Kind::Internet, "Internet", None),
            resource(2, Kind::Dns, "Wiki", Some("*.wiki.example")),
        ]),
        ..Snapshot::default()
    }
}

fn token() -> OwnedFd {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"n.fragment\n").unwrap();
    OwnedFd::from(std::os::fd::OwnedFd::from(reader))
}

pub(super) fn memory() -> OwnedFd {
    let fd = rustix::fs::memfd_create("report", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    OwnedFd::from(fd)
}

fn interface(introspection: &str, name: &str) -> String {
    let start = introspection.find(&format!("  <interface name=\"{name}\">")).unwrap();
    let end = start + introspection[start..].find("  </interface>\n").unwrap() + "  </interface>\n".len();
    format!(
        "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n \
         \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>\n{}</node>\n",
        &introspection[start..end]
    )
}

#[tokio::test]
async fn served_introspection_matches_the_contract() {
    let bus = TestBus::new(EVERYTHING).await;
    let object = IntrospectableProxy::builder(&bus.connection)
        .destination(dbus_api::BUS_NAME)
        .unwrap()
        .path(dbus_api::PATH)
        .unwrap()
        .build()
        .await
        .unwrap();
    let live = object.introspect().await.unwrap();
    for (name, promised) in dbus_api::INTERFACES {
        let live = interface(&live, name);
        assert!(live == promised, "crates/dbus-api/xml/{name}.xml should be:\n{live}");
    }
}

#[tokio::test]
async fn unauthorized_caller_reads_properties_only() {
    let bus = TestBus::new(&[]).await;
    assert_eq!(bus.client.state().await.unwrap(), State::Connected);
    assert_eq!(bus.client.version().await.unwrap(), env!("CARGO_PKG_VERSION"));
    assert!(!bus.client.internet_resource_active().await.unwrap());

    let no_options = BTreeMap::new;
    let refusals = [
        bus.client.sign_in(token(), SignInOptions::default()).await.unwrap_err(),
        bus.client.sign_out(no_options()).await.unwrap_err(),
        bus.client.reset(no_options()).await.unwrap_err(),
        bus.client.get_status(no_options()).await.unwrap_err(),
        bus.resources.list(Filter::default()).await.unwrap_err(),
        bus.resources.set_internet_resource(true, no_options()).await.unwrap_err(),
        bus.dns.get_status().await.unwrap_err(),
        bus.dns.explain("a.example").await.unwrap_err(),
        bus.dns.flush().await.unwrap_err(),
        bus.dns.reapply().await.unwrap_err(),
        bus.diagnostics.run_checks(&[], no_options()).await.unwrap_err(),
        bus.diagnostics.collect(memory(), no_options()).await.unwrap_err(),
        bus.diagnostics.path("Wiki").await.unwrap_err(),
        bus.diagnostics.set_log_filter("debug", 1).await.unwrap_err(),
        bus.settings.get().await.unwrap_err(),
        bus.settings.set(no_options()).await.unwrap_err(),
        bus.settings.reset(vec![]).await.unwrap_err(),
    ];
    for refusal in refusals {
        assert!(matches!(refusal, Error::NotAuthorized(_)), "{refusal:?}");
    }
    let permissions = bus.client.get_permissions().await.unwrap();
    assert!(permissions.values().all(|verdict| *verdict == Permission::No));
}

#[tokio::test]
async fn each_method_needs_its_own_action() {
    for (action, method) in [
        (Action::SignIn, "SignIn"),
        (Action::SignOut, "SignOut"),
        (Action::Control, "Reset"),
        (Action::Read, "GetStatus"),
        (Action::Read, "List"),
        (Action::Control, "SetInternetResource"),
        (Action::Read, "Dns.GetStatus"),
        (Action::Read, "Explain"),
        (Action::Control, "Flush"),
        (Action::Control, "Reapply"),
        (Action::Diagnose, "RunChecks"),
        (Action::Diagnose, "Collect"),
        (Action::Read, "Path"),
        (Action::Diagnose, "SetLogFilter"),
        (Action::Read, "Get"),
        (Action::Configure, "Set"),
        (Action::Configure, "Settings.Reset"),
    ] {
        let all_but_one = Action::ALL.into_iter().filter(|it| *it != action).collect::<Vec<_>>().leak();
        let bus = TestBus::new(all_but_one).await;
        let outcome = match method {
            "SignIn" => bus.client.sign_in(token(), SignInOptions::default()).await,
            "SignOut" => bus.client.sign_out(BTreeMap::new()).await,
            "Reset" => bus.client.reset(BTreeMap::new()).await,
            "GetStatus" => bus.client.get_status(BTreeMap::new()).await.map(drop),
            "List" => bus.resources.list(Filter::default()).await.map(drop),
            "Dns.GetStatus" => bus.dns.get_status().await.map(drop),
            "Explain" => bus.dns.explain("a.example").await.map(drop),
            "Flush" => bus.dns.flush().await,
            "Reapply" => bus.dns.reapply().await,
            "RunChecks" => bus.diagnostics.run_checks(&[], BTreeMap::new()).await.map(drop),
            "Collect" => bus.diagnostics.collect(memory(), BTreeMap::new()).await,
            "Path" => bus.diagnostics.path("Wiki").await.map(drop),
            "SetLogFilter" => bus.diagnostics.set_log_filter("debug", 1).await,
            "Get" => bus.settings.get().await.map(drop),
            "Set" => bus.settings.set(BTreeMap::new()).await,
            "Settings.Reset" => bus.settings.reset(vec![]).await,
            _ => bus.resources.set_internet_resource(true, BTreeMap::new()).await,
        };
        assert!(matches!(outcome, Err(Error::NotAuthorized(_))), "{method} without {}", action.id());
    }
}

#[tokio::test]
async fn token_is_passed_to_the_session() {
    let mut bus = TestBus::new(EVERYTHING).await;
    let client = bus.client.clone();
    let options = SignInOptions { account_slug: Some("acme".to_owned()), actor_name: None };
    let call = tokio::spawn(async move { client.sign_in(token(), options).await });
    let DaemonRequest::Session(Request::SignIn { account, .. }, reply) = bus.accept().await else {
        panic!("not a sign-in")
    };
    assert_eq!(account.token.expose(), "n.fragment");
    assert_eq!(account.slug.as_deref(), Some("acme"));
    reply.send(Ok(())).unwrap();
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn sign_in_rejects_an_invalid_descriptor() {
    let bus = TestBus::new(EVERYTHING).await;
    let directory = std::fs::File::open("/").unwrap();
    let fd = OwnedFd::from(std::os::fd::OwnedFd::from(directory));
    let refusal = bus.client.sign_in(fd, SignInOptions::default()).await.unwrap_err();
    assert!(matches!(refusal, Error::InvalidToken(_)), "{refusal:?}");
}

#[tokio::test]
async fn unknown_options_are_rejected() {
    let bus = TestBus::new(EVERYTHING).await;
    let unknown = || BTreeMap::from([("force", Value::from(true))]);
    for refusal in [
        bus.client.inner().call::<_, _, ()>("SignIn", &(token(), unknown())).await.unwrap_err(),
        bus.client.inner().call::<_, _, ()>("SignOut", &unknown()).await.unwrap_err(),
        bus.client.inner().call::<_, _, ()>("Reset", &unknown()).await.unwrap_err(),
        bus.resources.inner().call::<_, _, ()>("List", &unknown()).await.unwrap_err(),
        bus.resources.inner().call::<_, _, ()>("SetInternetResource", &(true, unknown())).await.unwrap_err(),
        bus.resources.inner().call::<_, _, ()>("List", &BTreeMap::from([("name", Value::from(7))])).await.unwrap_err(),
    ] {
        assert!(matches!(Error::from(refusal), Error::InvalidArgs(_)));
    }
}

#[tokio::test]
async fn calls_fail_while_the_daemon_stops() {
    let bus = TestBus::new(EVERYTHING).await;
    drop(bus.requests);
    let refusal = bus.client.sign_out(BTreeMap::new()).await.unwrap_err();
    assert!(matches!(refusal, Error::Stopping(_)), "{refusal:?}");
}

#[tokio::test]
async fn private_data_is_returned_by_methods() {
    let bus = TestBus::new(EVERYTHING).await;
    let status = bus.client.get_status(BTreeMap::new()).await.unwrap();
    assert_eq!((status.state.as_str(), status.since), ("connected", Some(1_000_005)));
    assert_eq!(status.account_slug.as_deref(), Some("acme"));
    assert!(status.gateways == Some(vec![]));

    let (generation, all) = bus.resources.list(Filter::default()).await.unwrap();
    assert_eq!((generation, all.len()), (2, 2));
    assert_eq!((all[0].kind.as_str(), all[0].address.as_deref()), ("internet", None));
    let (_, wiki) = bus.resources.list(Filter { name: Some("wIK".to_owned()) }).await.unwrap();
    assert_eq!(wiki.len(), 1);
    assert_eq!((wiki[0].name.as_str(), wiki[0].status.as_str()), ("Wiki", "online"));
    assert_eq!(
        (wiki[0].address.as_deref(), wiki[0].sites.as_slice()),
        (Some("*.wiki.example"), &["Berlin".to_owned()][..])
    );
}

#[tokio::test]
async fn dns_status_and_explanations_come_from_the_packet_thread() {
    let mut bus = TestBus::new(EVERYTHING).await;
    let server = dns::Server {
        sentinel: "100.100.111.1".parse().unwrap(),
        upstream: dns::Upstream::Dot(model::Resolver::over_tls("9.9.9.9".parse().unwrap(), Some("dns.quad9.net"))),
        via: dns::Via::Host,
    };
    let proxy = bus.dns.clone();
    let call = tokio::spawn(async move { (proxy.get_status().await, proxy.explain("Wiki.Bücher.example.").await) });
    let DaemonRequest::Dns(DnsRequest::GetStatus(reply)) = bus.accept().await else {
        panic!("not a question about names")
    };
    let (origin, servers) = (dns::Origin::Host, vec![server.clone()]);
    reply.send(tunnel::DnsView { origin, servers, search_domain: None, assigned: 2 }).unwrap();
    let DaemonRequest::Dns(DnsRequest::Explain(name, reply)) = bus.accept().await else { panic!("not about a name") };
    assert_eq!(name.as_str(), "wiki.xn--bcher-kva.example");
    let resource = tunnel::MatchView {
        resource: model::ResourceId::from_u128(1),
        name: "Wiki".to_owned(),
        pattern: "*.xn--bcher-kva.example".to_owned(),
        sites: vec!["Berlin".to_owned()],
    };
    let answer = tunnel::NameAnswer::Stub(dns::AnswerSource::Resource);
    let addresses = vec!["100.96.0.1".parse().unwrap()];
    let view = tunnel::NameExplanation {
        name,
        answer,
        resources: vec![resource],
        addresses,
        is_cached: false,
        servers: vec![server],
    };
    reply.send(view).unwrap();

    let (status, explained) = call.await.unwrap();
    let (status, explained) = (status.unwrap(), explained.unwrap());
    assert_eq!((status.origin.as_str(), status.names), ("host", 2));
    let server = &status.servers[0];
    assert_eq!(
        (server.upstream.as_str(), server.protocol.as_str(), server.via.as_str()),
        ("9.9.9.9:853", "tls", "host")
    );
    assert_eq!((server.server_name.as_deref(), server.failure.as_ref()), (Some("dns.quad9.net"), None));
    assert_eq!((explained.answer.as_str(), explained.addresses), ("resource", vec!["100.96.0.1".to_owned()]));
    assert_eq!(explained.resources[0].name, "Wiki");
}

#[tokio::test]
async fn dns_status_without_a_tunnel_is_empty() {
    let mut bus = TestBus::new(EVERYTHING).await;
    let proxy = bus.dns.clone();
    let call = tokio::spawn(async move { (proxy.get_status().await, proxy.explain("a.example").await) });
    for _ in 0..2 {
        drop(bus.accept().await);
    }
    let (status, explained) = call.await.unwrap();
    assert_eq!((status.unwrap().origin.as_str(), explained.unwrap().answer.as_str()), ("nobody", "no-session"));
    for none in ["", "a..b", "a/b"] {
        assert!(matches!(bus.dns.explain(none).await, Err(Error::InvalidArgs(_))), "{none}");
    }
}

#[tokio::test]
async fn changes_are_signalled_once_without_private_data() {
    let bus = TestBus::new(EVERYTHING).await;
    let mut messages = zbus::MessageStream::from(&bus.connection);

    let mut next = connected();
    next.state = State::Reconnecting;
    next.reason = Some(Reason::PortalUnreachable);
    next.generation = 4;
    next.resources_generation = 3;
    bus.publish.send_replace(next);

    let mut heard = Vec::new();
    while heard.len() < 4 {
        let message = messages.next().await.unwrap().unwrap();
        if message.message_type() == zbus::message::Type::Signal {
            let body = message.body();
            let body: zbus::zvariant::Structure<'_> = body.deserialize().unwrap();
            heard.push(format!("{} {body:?}", message.header().member().unwrap()));
        }
    }
    assert!(heard[0].starts_with("PropertiesChanged") && heard[0].contains("reconnecting"), "{heard:?}");
    assert!(heard[1].starts_with("PropertiesChanged") && heard[1].contains("portal_unreachable"), "{heard:?}");
    assert!(heard[2].starts_with("StatusChanged") && heard[2].contains("U64(4)"), "{heard:?}");
    assert!(heard[3].starts_with("Changed") && heard[3].contains("U64(3)"), "{heard:?}");
    for private in ["acme", "Wiki", "wiki.example", "Berlin"] {
        assert!(!heard.iter().any(|signal| signal.contains(private)), "{private} in {heard:?}");
    }
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_at_once() {
    let bus = TestBus::new(EVERYTHING).await;
    // These calls get no reply.
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let client = bus.client.clone();
        calls.spawn(async move { client.sign_out(BTreeMap::new()).await });
    }
    for _ in 0..24 {
        let refusal = calls.join_next().await.unwrap().unwrap().unwrap_err();
        assert!(matches!(refusal, Error::LimitReached(_)), "{refusal:?}");
    }
    // Public properties are still served.
    assert_eq!(bus.client.state().await.unwrap(), State::Connected);
}

#[tokio::test]
async fn private_socket_serves_the_same_objects() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run/bus");
    let (_publish, snapshot) = watch::channel(connected());
    let (requests, mut inbox) = mpsc::channel(4);
    let daemon = daemon(&directory, requests, mpsc::channel(1).0, snapshot);
    let socket = PrivateSocket::serve(&path, daemon.clone()).await.unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o660);

    let stream = UnixStream::connect(&path).await.unwrap();
    let connection = connection::Builder::unix_stream(stream).p2p().build().await.unwrap();
    let client = ClientProxy::builder(&connection).cache_properties(CacheProperties::No).build().await.unwrap();
    assert_eq!(client.state().await.unwrap(), State::Connected);
    if nix::unistd::geteuid().is_root() {
        let call = tokio::spawn(async move { client.sign_out(BTreeMap::new()).await });
        let Some(DaemonRequest::Session(Request::SignOut { .. }, reply)) = inbox.recv().await else {
            panic!("not a sign-out")
        };
        reply.send(Ok(())).unwrap();
        call.await.unwrap().unwrap();
    }

    let second = PrivateSocket::serve(&path, daemon.clone()).await.unwrap_err();
    assert!(format!("{second:#}").contains("another firezoned"), "{second:#}");
    drop(socket);
    drop(connection);
    // The socket of a killed daemon is replaced.
    let socket = loop {
        match PrivateSocket::serve(&path, daemon.clone()).await {
            Ok(socket) => break socket,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    socket.leave();
    assert!(!path.exists());
}

#[tokio::test]
async fn settings_are_changed_stored_signalled_and_reset() {
    let mut bus = TestBus::new(EVERYTHING).await;
    let mut announced = bus.settings.receive_changed().await.unwrap();
    let before = bus.settings.get().await.unwrap();
    let internet = &before["internet-resource"];
    assert_eq!((internet.value.as_str(), internet.source.as_str(), internet.locked), ("false", "", false));
    assert!(before["api-url"].locked, "the address of the portal cannot be changed over the bus");

    let value = |value: Value<'static>| zbus::zvariant::OwnedValue::try_from(value).unwrap();
    let set = |key: &str, to: Value<'static>| bus.settings.set(BTreeMap::from([(key.to_owned(), value(to))]));
    set("internet-resource", Value::from(true)).await.unwrap();
    assert_eq!(bus.internet_resource_settings.recv().await, Some(true), "the change takes effect at once");
    let after = bus.settings.get().await.unwrap();
    assert_eq!(after["internet-resource"].value, "true");
    assert!(after["internet-resource"].source.contains("settings.toml"), "{after:?}");
    let keys = announced.next().await.unwrap();
    assert_eq!(keys.args().unwrap().keys, ["internet-resource"]);

    assert!(matches!(set("api-url", Value::from("wss://evil.example")).await, Err(Error::Locked(_))));
    assert!(matches!(set("colour", Value::from("red")).await, Err(Error::NotFound(_))));
    assert!(matches!(set("internet-resource", Value::from("perhaps")).await, Err(Error::InvalidArgs(_))));
    assert!(matches!(set("name", Value::from(7_u32)).await, Err(Error::InvalidArgs(_))));
    assert!(matches!(set("name", Value::from("a\nb")).await, Err(Error::InvalidArgs(_))));

    bus.settings.reset(vec!["internet-resource".to_owned()]).await.unwrap();
    assert_eq!(bus.settings.get().await.unwrap()["internet-resource"].source, "");
}

#[tokio::test]
async fn change_that_cannot_be_stored_fails() {
    let bus = TestBus::new(EVERYTHING).await;
    let set = |name: &str| {
        let value = zbus::zvariant::OwnedValue::try_from(Value::from(name)).unwrap();
        bus.settings.set(BTreeMap::from([("name".to_owned(), value)]))
    };
    set("kept").await.unwrap();
    let source = bus.settings.get().await.unwrap()["name"].source.clone();
    let directory = std::path::Path::new(&source).parent().unwrap();
    std::fs::remove_dir_all(directory).unwrap();
    // Not even root can create files there.
    std::os::unix::fs::symlink("nowhere/at/all", directory).unwrap();

    let refusal = set("lost").await.unwrap_err();
    assert!(matches!(refusal, Error::Failed(_)), "{refusal:?}");
    assert_ne!(bus.settings.get().await.unwrap()["name"].value, "lost");
}
