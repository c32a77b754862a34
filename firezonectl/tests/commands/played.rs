//! A daemon that a test plays itself.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Seek as _},
    sync::{Arc, Mutex},
};

use dbus_api::{
    Error, PathKind, Resource, ResourcePath, Setting, State, Status,
    dns::{DnsStatus, Explanation},
    resources::Filter,
};
use firezonectl::{client::Daemon, failure::Failure};
use tokio::{net::UnixStream, sync::Notify};
use zbus::{
    Connection, DBusError, Guid, Message, connection, interface, message::Header, names::ErrorName,
    object_server::SignalEmitter, zvariant::OwnedValue,
};

use crate::run;

pub(crate) type Options = BTreeMap<String, OwnedValue>;

/// What the daemon knows, and what it was asked.
#[derive(Clone, Default)]
pub(crate) struct Mind(pub(crate) Arc<Mutex<Thoughts>>);

#[derive(Default)]
pub(crate) struct Thoughts {
    pub(crate) status: Status,
    pub(crate) resources: Vec<Resource>,
    pub(crate) dns: DnsStatus,
    pub(crate) explanation: Explanation,
    pub(crate) refuses: bool,
    /// The name of an error with which every call fails.
    pub(crate) fails_with: Option<String>,
    /// What a call waits for, if it shall take its time.
    pub(crate) pause: Option<Arc<Notify>>,
    pub(crate) internet: bool,
    /// The tokens that were handed over.
    pub(crate) tokens: Vec<String>,
    pub(crate) asked: Vec<&'static str>,
    /// What becomes of the state some time after sign-in or sign-out.
    pub(crate) next: Option<&'static str>,
}

impl Mind {
    async fn ask(&self, what: &'static str) -> Result<(), Answer> {
        let pause = self.0.lock().unwrap().pause.clone();
        if let Some(pause) = pause {
            pause.notified().await;
        }
        let mut thoughts = self.0.lock().unwrap();
        if thoughts.refuses {
            return Err(Error::NotAuthorized("no".to_owned()).into());
        }
        if let Some(name) = thoughts.fails_with.clone() {
            return Err(Answer { name, text: "so it is".to_owned() });
        }
        thoughts.asked.push(what);
        Ok(())
    }
}

impl Mind {
    /// Puts all objects on a connection.
    pub(crate) fn serve<'a>(&self, connection: connection::Builder<'a>) -> connection::Builder<'a> {
        connection
            .serve_at(dbus_api::PATH, FakeClient(self.clone()))
            .unwrap()
            .serve_at(dbus_api::PATH, FakeResources(self.clone()))
            .unwrap()
            .serve_at(dbus_api::PATH, FakeDns(self.clone()))
            .unwrap()
            .serve_at(dbus_api::PATH, FakeDiagnostics(self.clone()))
            .unwrap()
            .serve_at(dbus_api::PATH, FakeSettings(self.clone()))
            .unwrap()
    }
}

/// An error of any name, also of one that the daemon does not have yet.
#[derive(Debug)]
pub(crate) struct Answer {
    name: String,
    text: String,
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        Self { name: error.name().to_string(), text: error.description().unwrap_or_default().to_owned() }
    }
}

impl DBusError for Answer {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        Message::error(call, self.name())?.build(&self.text)
    }

    fn name(&self) -> ErrorName<'_> {
        ErrorName::try_from(self.name.as_str()).unwrap()
    }

    fn description(&self) -> Option<&str> {
        Some(&self.text)
    }
}

pub(crate) struct FakeClient(Mind);

pub(crate) struct FakeResources(Mind);

pub(crate) struct FakeDns(Mind);

impl FakeClient {
    /// The state becomes another, later, so that the command has to wait for it.
    fn later(&self, next: Option<&'static str>, emitter: &SignalEmitter<'_>) {
        let Some(next) = next else { return };
        let (mind, emitter) = (self.0.clone(), emitter.to_owned());
        tokio::spawn(async move {
            tokio::task::yield_now().await;
            mind.0.lock().unwrap().status.state = next.into();
            Self::status_changed(&emitter, 2).await
        });
    }
}

#[interface(name = "dev.firezone.Client1")]
impl FakeClient {
    async fn sign_out(
        &self,
        _options: Options,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<(), Answer> {
        self.0.ask("sign out").await?;
        let next = self.0.0.lock().unwrap().next;
        self.0.0.lock().unwrap().status.state = State::SigningOut;
        self.later(next, &emitter);
        Ok(())
    }

    async fn sign_in(
        &self,
        token: zbus::zvariant::OwnedFd,
        _options: Options,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<(), Answer> {
        self.0.ask("sign in").await?;
        let mut text = String::new();
        // A sealed memfd, whose offset is where it was written last.
        let mut token = File::from(std::os::fd::OwnedFd::from(token));
        token.rewind().unwrap();
        token.read_to_string(&mut text).unwrap();
        let next = {
            let mut thoughts = self.0.0.lock().unwrap();
            thoughts.tokens.push(text);
            thoughts.status.state = State::Connecting;
            thoughts.next
        };
        self.later(next, &emitter);
        Ok(())
    }

    async fn reset(&self, _options: Options) -> Result<(), Answer> {
        self.0.ask("reset").await
    }

    async fn get_permissions(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    async fn get_status(&self, _options: Options) -> Result<Status, Answer> {
        self.0.ask("status").await?;
        Ok(self.0.0.lock().unwrap().status.clone())
    }

    #[zbus(property)]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    #[zbus(property)]
    fn state(&self) -> State {
        self.0.0.lock().unwrap().status.state.clone()
    }

    #[zbus(property)]
    fn reason(&self) -> String {
        self.0.0.lock().unwrap().status.reason.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    #[zbus(property)]
    fn internet_resource_active(&self) -> bool {
        self.0.0.lock().unwrap().internet
    }

    #[zbus(signal)]
    pub(crate) async fn status_changed(emitter: &SignalEmitter<'_>, generation: u64) -> zbus::Result<()>;
}

#[interface(name = "dev.firezone.Client1.Resources")]
impl FakeResources {
    async fn list(&self, filter: Filter) -> Result<(u64, Vec<Resource>), Answer> {
        self.0.ask("resources").await?;
        let wanted = filter.name.unwrap_or_default().to_lowercase();
        let all = self.0.0.lock().unwrap().resources.clone();
        Ok((1, all.into_iter().filter(|it| it.name.to_lowercase().contains(&wanted)).collect()))
    }

    async fn set_internet_resource(&self, active: bool, _options: Options) -> Result<(), Answer> {
        self.0.ask(if active { "internet on" } else { "internet off" }).await
    }
}

#[interface(name = "dev.firezone.Client1.Dns")]
impl FakeDns {
    async fn get_status(&self) -> Result<DnsStatus, Answer> {
        self.0.ask("dns status").await?;
        Ok(self.0.0.lock().unwrap().dns.clone())
    }

    async fn explain(&self, name: String) -> Result<Explanation, Answer> {
        self.0.ask("explain").await?;
        if name.contains("..") {
            return Err(Error::InvalidArgs("that is not a name".to_owned()).into());
        }
        let explanation = self.0.0.lock().unwrap().explanation.clone();
        Ok(Explanation { name, ..explanation })
    }

    async fn flush(&self) -> Result<(), Answer> {
        self.0.ask("flush").await
    }

    async fn reapply(&self) -> Result<(), Answer> {
        self.0.ask("reapply").await
    }
}

pub(crate) struct FakeDiagnostics(Mind);

pub(crate) struct FakeSettings(Mind);

#[interface(name = "dev.firezone.Client1.Diagnostics")]
impl FakeDiagnostics {
    async fn path(&self, resource: String) -> Result<ResourcePath, Answer> {
        self.0.ask("path").await?;
        let all = self.0.0.lock().unwrap().resources.clone();
        let found = all.into_iter().find(|it| it.name == resource);
        let found = found.ok_or_else(|| Error::NotFound("there is no such resource".to_owned()))?;
        Ok(ResourcePath {
            id: found.id,
            name: found.name,
            path: PathKind::Relayed,
            gateway: Some("9f0c1d2e-0000-4000-8000-000000000001".to_owned()),
            site: Some("Berlin".to_owned()),
            last_handshake_seconds: Some(75),
            round_trip_microseconds: Some(12_345),
            sent_bytes: Some(2048),
            received_bytes: Some(4096),
        })
    }

    async fn set_log_filter(&self, _filter: String, _seconds: u32) -> Result<(), Answer> {
        self.0.ask("log filter").await
    }
}

#[interface(name = "dev.firezone.Client1.Settings")]
impl FakeSettings {
    async fn get(&self) -> Result<BTreeMap<String, Setting>, Answer> {
        self.0.ask("settings").await?;
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

    async fn set(&self, settings: Options) -> Result<(), Answer> {
        self.0.ask("set").await?;
        if settings.contains_key("name") { Err(Error::Locked("name is locked".to_owned()).into()) } else { Ok(()) }
    }

    async fn reset(&self, _keys: Vec<String>) -> Result<(), Answer> {
        self.0.ask("reset settings").await
    }
}

/// A daemon, and the way to it.
pub(crate) struct Played {
    pub(crate) mind: Mind,
    pub(crate) ends: [Connection; 2],
}

impl Played {
    pub(crate) async fn new(status: Status) -> Self {
        let mind = Mind::default();
        mind.0.lock().unwrap().status = status;
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = connection::Builder::unix_stream(ours).server(Guid::generate()).unwrap().p2p();
        let server = mind.serve(server).build();
        let client = connection::Builder::unix_stream(theirs).p2p().build();
        let (server, client) = tokio::try_join!(server, client).unwrap();
        Self { mind, ends: [server, client] }
    }

    pub(crate) async fn run(&self, line: &str) -> Result<String, Failure> {
        run(line, Daemon::over(&self.ends[1]).await.unwrap()).await
    }
}
