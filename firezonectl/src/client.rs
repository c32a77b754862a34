//! The daemon, as the command line sees it. Nothing else here knows the bus.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, ErrorKind, Read as _},
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    time::Duration,
};

use dbus_api::{
    Check, ClientProxy, DiagnosticsProxy, DnsProxy, Mode, Permission, Phase, Reason, ResourcePath, ResourcesProxy,
    Setting, SettingsProxy, SignInOptions, Status, StatusFile, resources::Filter, status_file,
};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::net::UnixStream;
use zbus::{Connection, connection, fdo::DBusProxy, names::BusName, proxy::CacheProperties};

use crate::{
    failure::{Failure, in_words},
    status_watch::{Notice, StatusWatch},
};

/// How long a simple answer may take.
const PATIENCE: Duration = Duration::from_secs(25);

/// No report is longer.
const LONGEST_REPORT: u64 = 16 * 1024 * 1024;

/// The daemon, wherever it was found.
#[derive(Debug)]
pub enum Daemon {
    /// It serves the bus.
    Serving(Bus),
    /// It does not: service mode. This is what it has left for us.
    Managed(Box<StatusFile>),
}

/// A daemon that serves a bus.
#[derive(Debug)]
pub struct Bus {
    client: ClientProxy<'static>,
    resources: ResourcesProxy<'static>,
    dns: DnsProxy<'static>,
    diagnostics: DiagnosticsProxy<'static>,
    settings: SettingsProxy<'static>,
    /// Whether this is the private socket.
    pub is_private: bool,
}

impl Daemon {
    /// Looks for the daemon: on the system bus, on its private socket, then by its file.
    pub async fn find() -> Result<Self, Failure> {
        let missing = match find_on_bus().await {
            Ok(bus) => return Ok(bus),
            Err(failure) => failure,
        };
        if let Some(bus) = find_on_socket(Path::new(dbus_api::PRIVATE_SOCKET)).await? {
            return Ok(bus);
        }
        match from_file(Path::new(status_file::PATH)) {
            Ok(file) => Ok(Self::Managed(Box::new(file))),
            // Whatever kept us from the bus says more than that there is nothing else.
            Err(Failure::NotRunning) => Err(missing),
            Err(failure) => Err(failure),
        }
    }

    /// The daemon at the other end of this connection.
    pub async fn over(connection: &Connection) -> Result<Self, Failure> {
        let client =
            ClientProxy::builder(connection).cache_properties(CacheProperties::No).build().await.map_err(failure)?;
        let resources =
            ResourcesProxy::builder(connection).cache_properties(CacheProperties::No).build().await.map_err(failure)?;
        let dns = DnsProxy::builder(connection).cache_properties(CacheProperties::No).build().await.map_err(failure)?;
        let diagnostics = DiagnosticsProxy::new(connection).await.map_err(failure)?;
        let settings = SettingsProxy::new(connection).await.map_err(failure)?;
        // On a bus everybody has a name.
        let is_private = connection.unique_name().is_none();
        Ok(Self::Serving(Bus { client, resources, dns, diagnostics, settings, is_private }))
    }

    /// The daemon that takes commands.
    pub fn commanding(&self) -> Result<&Bus, Failure> {
        match self {
            Self::Serving(bus) => Ok(bus),
            Self::Managed(_) => Err(Failure::ServiceMode),
        }
    }

    /// What is public: state and reason.
    pub async fn phase(&self) -> Result<Phase, Failure> {
        match self {
            Self::Serving(bus) => bus.phase().await,
            Self::Managed(_) => Ok(from_file(Path::new(status_file::PATH))?.status.phase()),
        }
    }

    /// Whether the Internet resource is switched on.
    pub async fn internet_resource_active(&self) -> Result<bool, Failure> {
        match self {
            Self::Serving(bus) => bus.internet_resource_active().await,
            Self::Managed(file) => Ok(file.internet_resource_active),
        }
    }

    /// Listens for changes. Listen first, look then: so nothing is missed in between.
    pub async fn changes(&self) -> Result<Changes, Failure> {
        Ok(match self {
            Self::Serving(bus) => bus.changes().await?,
            Self::Managed(file) => {
                let path = Path::new(status_file::PATH);
                let watch = StatusWatch::start(path, file.pid).map_err(|error| match error.kind() {
                    ErrorKind::NotFound => Failure::NotRunning,
                    _ => unreadable(path, &error),
                })?;
                Changes(
                    stream::unfold(watch, async |watch| {
                        let notice = watch.next().await.ok()?;
                        Some((notice == Notice::File, watch))
                    })
                    .boxed(),
                )
            }
        })
    }

    /// Something that the user should know about this daemon before all else.
    pub async fn remark(&self) -> Option<String> {
        let version = match self {
            Self::Serving(bus) => read(bus.client.version()).await.ok()?,
            Self::Managed(file) => file.version.clone(),
        };
        (version != env!("CARGO_PKG_VERSION"))
            .then(|| format!("the daemon is of version {version} (restart it: systemctl restart firezone-client)"))
    }
}

impl Bus {
    /// Hands a token over.
    pub async fn sign_in(&self, token: OwnedFd, options: SignInOptions) -> Result<(), Failure> {
        in_time(self.client.sign_in(token.into(), options)).await
    }

    /// Ends the session.
    pub async fn sign_out(&self) -> Result<(), Failure> {
        in_time(self.client.sign_out(BTreeMap::new())).await
    }

    /// What is private.
    pub async fn status(&self) -> Result<Status, Failure> {
        in_time(self.client.get_status(BTreeMap::new())).await
    }

    /// What is public: state and reason.
    pub async fn phase(&self) -> Result<Phase, Failure> {
        let state = read(self.client.state()).await?;
        let reason = read(self.client.reason()).await?;
        Ok(Phase::new(&state, Reason::published(&reason).as_ref()))
    }

    /// The daemon's version.
    pub async fn version(&self) -> Result<String, Failure> {
        read(self.client.version()).await
    }

    /// Whether the Internet resource is switched on.
    pub async fn internet_resource_active(&self) -> Result<bool, Failure> {
        read(self.client.internet_resource_active()).await
    }

    /// What can be reached.
    pub async fn resources(&self, name: Option<String>) -> Result<Vec<dbus_api::Resource>, Failure> {
        in_time(self.resources.list(Filter { name })).await.map(|(_generation, resources)| resources)
    }

    /// Switches the Internet resource.
    pub async fn set_internet_resource(&self, active: bool) -> Result<(), Failure> {
        in_time(self.resources.set_internet_resource(active, BTreeMap::new())).await
    }

    /// What the caller may do.
    pub async fn permissions(&self) -> Result<BTreeMap<String, Permission>, Failure> {
        in_time(self.client.get_permissions()).await
    }

    /// How a resource is reached.
    pub async fn path(&self, resource: &str) -> Result<ResourcePath, Failure> {
        in_time(self.diagnostics.path(resource)).await
    }

    /// What the daemon sees that may be wrong on this machine.
    pub async fn checks(&self) -> Result<Vec<Check>, Failure> {
        in_time(self.diagnostics.run_checks(&[], BTreeMap::new())).await
    }

    /// The daemon's report: a JSON document without what is private.
    pub async fn report(&self) -> Result<String, Failure> {
        let memory = rustix::fs::memfd_create("report", rustix::fs::MemfdFlags::CLOEXEC).map_err(io::Error::from)?;
        let theirs = memory.try_clone()?;
        in_time(self.diagnostics.collect(theirs.into(), BTreeMap::new())).await?;
        rustix::fs::seek(memory.as_fd(), rustix::fs::SeekFrom::Start(0)).map_err(io::Error::from)?;
        let mut text = String::new();
        fs::File::from(memory).take(LONGEST_REPORT).read_to_string(&mut text)?;
        Ok(text)
    }

    /// Changes what is logged, for a while.
    pub async fn log(&self, filter: &str, seconds: u32) -> Result<(), Failure> {
        in_time(self.diagnostics.set_log_filter(filter, seconds)).await
    }

    /// All settings.
    pub async fn settings(&self) -> Result<BTreeMap<String, Setting>, Failure> {
        in_time(self.settings.get()).await
    }

    /// Changes one.
    pub async fn set(&self, key: &str, value: &str) -> Result<(), Failure> {
        let value = zbus::zvariant::OwnedValue::from(zbus::zvariant::Str::from(value.to_owned()));
        in_time(self.settings.set(BTreeMap::from([(key.to_owned(), value)]))).await
    }

    /// Makes these as if nobody had changed them.
    pub async fn unset(&self, keys: Vec<String>) -> Result<(), Failure> {
        in_time(self.settings.reset(keys)).await
    }

    /// Rebuilds all connections.
    pub async fn reset(&self) -> Result<(), Failure> {
        in_time(self.client.reset(BTreeMap::new())).await
    }

    /// Whom the daemon asks for names.
    pub async fn dns_status(&self) -> Result<dbus_api::dns::DnsStatus, Failure> {
        in_time(self.dns.get_status()).await
    }

    /// Why a name is answered as it is.
    pub async fn explain(&self, name: &str) -> Result<dbus_api::dns::Explanation, Failure> {
        in_time(self.dns.explain(name)).await
    }

    /// Forgets the answers of other resolvers.
    pub async fn flush_names(&self) -> Result<(), Failure> {
        in_time(self.dns.flush()).await
    }

    /// Makes this machine ask the daemon.
    pub async fn reapply_names(&self) -> Result<(), Failure> {
        in_time(self.dns.reapply()).await
    }

    /// Waits until `decide` is satisfied with a phase.
    pub async fn wait<T>(&self, limit: Duration, mut decide: impl FnMut(Phase) -> Option<T>) -> Result<T, Failure> {
        let watch = async {
            let mut changes = self.changes().await?;
            loop {
                if let Some(decided) = decide(self.phase().await?) {
                    return Ok(decided);
                }
                changes.next().await?;
            }
        };
        tokio::time::timeout(limit, watch).await.map_err(|_| Failure::TimedOut)?
    }

    async fn changes(&self) -> Result<Changes, Failure> {
        let changes = self.client.receive_status_changed().await.map_err(failure)?;
        let owners = self.client.inner().receive_owner_changed().await.map_err(failure)?;
        // The name loses its owner when the daemon ends; a socket ends as a whole.
        let changes = changes.map(|_| true).chain(stream::once(async { false }));
        let ends = owners.filter_map(async |owner| owner.is_none().then_some(false));
        Ok(Changes(stream::select(changes, ends).boxed()))
    }
}

/// Something has changed, and again, until the daemon is gone.
pub struct Changes(BoxStream<'static, bool>);

impl Changes {
    /// Returns when something has changed; fails when the daemon is gone.
    pub async fn next(&mut self) -> Result<(), Failure> {
        match self.0.next().await {
            Some(true) => Ok(()),
            Some(false) | None => Err(Failure::NotRunning),
        }
    }
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Changes")
    }
}

async fn find_on_bus() -> Result<Daemon, Failure> {
    let connection = connection::Builder::system().map_err(failure)?.build().await.map_err(no_bus)?;
    let bus = DBusProxy::new(&connection).await.map_err(failure)?;
    let name = BusName::try_from(dbus_api::BUS_NAME).map_err(|error| Failure::Failed(error.to_string()))?;
    if !bus.name_has_owner(name).await.map_err(|error| failure(error.into()))? {
        return Err(Failure::NotRunning);
    }
    Daemon::over(&connection).await
}

/// A container without a bus, or a bus that is down, has no daemon on it. Whom the bus turns away is told so.
fn no_bus(error: zbus::Error) -> Failure {
    if dbus_api::error::is_no_bus(&error) {
        return Failure::NotRunning;
    }
    let why = match &error {
        zbus::Error::InputOutput(error) | zbus::Error::Connection(error, _) => in_words(error),
        error => error.to_string(),
    };
    Failure::Failed(format!("the system bus turns us away: {why}"))
}

/// The socket of a daemon that has found no system bus. Only root can make something in its directory, so nobody else
/// is at the other end.
async fn find_on_socket(path: &Path) -> Result<Option<Daemon>, Failure> {
    let stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(Failure::NotPermitted),
        Err(_) => return Ok(None),
    };
    let connection = connection::Builder::unix_stream(stream).p2p().build();
    match tokio::time::timeout(PATIENCE, connection).await {
        Ok(Ok(connection)) => Daemon::over(&connection).await.map(Some),
        Ok(Err(error)) => Err(failure(error)),
        Err(_) => Err(Failure::TimedOut),
    }
}

/// What a daemon in service mode has left; only if that daemon lives.
fn from_file(path: &Path) -> Result<StatusFile, Failure> {
    let text = fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::NotRunning,
        ErrorKind::PermissionDenied => Failure::NotPermitted,
        _ => unreadable(path, &error),
    })?;
    let file: StatusFile = serde_json::from_slice(&text).map_err(|error| unreadable(path, &error.into()))?;
    let is_alive = Path::new("/proc").join(file.pid.to_string()).exists();
    if is_alive && file.mode == Mode::Service { Ok(file) } else { Err(Failure::NotRunning) }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("cannot read {}: {}", path.display(), in_words(error)))
}

async fn in_time<T>(call: impl Future<Output = Result<T, dbus_api::Error>>) -> Result<T, Failure> {
    tokio::time::timeout(PATIENCE, call).await.map_err(|_| Failure::TimedOut)?.map_err(refused)
}

/// Reads a property.
async fn read<T>(property: impl Future<Output = zbus::Result<T>>) -> Result<T, Failure> {
    tokio::time::timeout(PATIENCE, property).await.map_err(|_| Failure::TimedOut)?.map_err(failure)
}

fn refused(error: dbus_api::Error) -> Failure {
    match error {
        dbus_api::Error::NotAuthorized(_) => Failure::NotPermitted,
        dbus_api::Error::InvalidArgs(text) => Failure::Usage(text),
        dbus_api::Error::InvalidToken(text) => Failure::rejected(&text),
        dbus_api::Error::NotFound(text) => Failure::NotFound(text),
        dbus_api::Error::Locked(text) => Failure::Locked(text),
        dbus_api::Error::Failed(text) => Failure::Failed(text),
        dbus_api::Error::LimitReached(_) => Failure::LimitReached,
        dbus_api::Error::Stopping(_) => Failure::NotRunning,
        dbus_api::Error::ZBus(error) => failure(error),
    }
}

fn failure(error: zbus::Error) -> Failure {
    match &error {
        zbus::Error::MethodError(name, ..) => match name.as_str() {
            "org.freedesktop.DBus.Error.ServiceUnknown"
            | "org.freedesktop.DBus.Error.NameHasNoOwner"
            | "org.freedesktop.DBus.Error.NoReply" => Failure::NotRunning,
            "org.freedesktop.DBus.Error.LimitsExceeded" => Failure::LimitReached,
            "org.freedesktop.DBus.Error.AccessDenied" => Failure::NotPermitted,
            _ => Failure::Failed(error.to_string()),
        },
        _ => Failure::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("status.json");
        fs::write(&path, content).unwrap();
        (directory, path)
    }

    #[test]
    fn a_daemon_in_service_mode_is_found_by_its_file() {
        let pid = std::process::id();
        let (_kept, path) =
            file(&format!(r#"{{"schema":1,"mode":"service","pid":{pid},"state":"connected","new":1}}"#));
        assert_eq!(from_file(&path).unwrap().status.state, dbus_api::State::Connected);
    }

    #[test]
    fn a_file_of_a_daemon_that_is_gone_is_not_a_daemon() {
        for (mode, pid) in [("service", u32::MAX), ("user", std::process::id())] {
            let (_kept, path) = file(&format!(r#"{{"schema":1,"mode":"{mode}","pid":{pid}}}"#));
            assert_eq!(from_file(&path).unwrap_err().code(), 3);
        }
        assert_eq!(from_file(Path::new("/nonexistent/status.json")).unwrap_err().code(), 3);
    }

    #[test]
    fn a_broken_file_is_an_error() {
        let (_kept, path) = file("{");
        assert_eq!(from_file(&path).unwrap_err().code(), 1);
    }

    #[tokio::test]
    async fn whom_the_bus_turns_away_is_told_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bus");
        let connect = async || {
            let address = format!("unix:path={}", path.display());
            connection::Builder::address(address.as_str()).unwrap().build().await.map_err(no_bus).unwrap_err()
        };
        assert_eq!(connect().await, Failure::NotRunning);

        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let bouncer = async {
            let (mut guest, _) = listener.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut guest, b"REJECTED EXTERNAL\r\n").await.unwrap();
            // Whatever else the guest has to say.
            let mut said = Vec::new();
            drop(tokio::io::AsyncReadExt::read_to_end(&mut guest, &mut said).await);
        };
        let (failure, ()) = tokio::join!(connect(), bouncer);
        assert_eq!(failure.code(), 1, "{failure}");
        drop(listener);
        assert_eq!(connect().await, Failure::NotRunning, "nobody listens any more");
    }
}
