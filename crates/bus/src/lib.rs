//! The border to other processes: who may ask for what, and what everybody is told.
//!
//! Objects here own nothing. They have a sender for requests and a receiver for snapshots, so they cannot block the
//! daemon or disagree with it. Each method permits, then asks.
//!
//! * [`guard`] – caller and method → yes or no; the permission table
//! * [`polkit`], [`callers`] – how polkit is asked, and for how long what is known of a caller counts
//! * [`limits`], [`turns`] – how many calls of one caller may be in the works, and how many of them with polkit
//! * [`people`] – who is a member of the group that may command, and what users are called
//! * [`private`], [`peer`] – the same objects on a private socket, and who is at its other end
//! * [`client_object`], [`resources_object`], [`dns_object`], [`diagnostics_object`], [`settings_object`] – the
//!   interfaces
//! * [`examination`] – what the daemon sees that may be wrong, and its report
//! * [`token_fd`], [`report_fd`] – a token that was handed over, and memory for a report
//! * [`options`] – dictionaries of options
//! * [`publish`] – what is broadcast

mod callers;
mod client_object;
mod diagnostics_object;
mod dns_object;
mod examination;
pub mod guard;
mod limits;
mod options;
mod peer;
mod people;
mod polkit;
mod private;
mod publish;
mod report_fd;
mod resources_object;
mod settings_object;
mod token_fd;
mod turns;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_diagnostics;
#[cfg(test)]
mod tests_polkit;

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot, watch};
use zbus::{Connection, connection};

pub use guard::{Action, Caller, Guard};
pub use people::People;

use self::{
    client_object::ClientObject, diagnostics_object::DiagnosticsObject, dns_object::DnsObject, private::PrivateSocket,
    publish::Publisher, resources_object::ResourcesObject, settings_object::SettingsObject,
};
use dataplane::Statistics;
use event_loop::Clock;
use resolver::Forwarder;
use session::{Refused, Reply, Request, snapshot::Snapshot};
use settings::Settings;

/// What the objects need of the daemon.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// Requests go here; the daemon answers each.
    pub requests: mpsc::Sender<Request>,
    /// What is known.
    pub snapshot: watch::Receiver<Snapshot>,
    /// When the daemon started, since the epoch.
    pub started: Duration,
    /// The clock of the packet thread's instants.
    pub clock: Clock,
    /// Knows how other resolvers fare.
    pub forwarder: Forwarder,
    /// What the daemon was told.
    pub settings: Settings,
    /// Who is who on this machine.
    pub people: People,
    /// Paths and counters of the packet thread.
    pub statistics: Statistics,
}

/// The bus as we serve it: the system's, or where there is none, a private socket. Dropping it leaves the bus.
#[derive(Debug)]
pub enum Bus {
    /// The system bus.
    System(System),
    /// The private socket.
    Private(Private),
}

/// The system bus, with our name on it.
#[derive(Debug)]
pub struct System {
    connection: Connection,
    publisher: Publisher,
    /// Where we ask others. The answers would wait behind everybody's calls on the connection that has our name.
    questions: Connection,
}

/// The private socket.
#[derive(Debug)]
pub struct Private(PrivateSocket);

impl Bus {
    /// Serves the system bus; on a machine without one, the private socket.
    pub async fn serve(daemon: Daemon) -> anyhow::Result<Self> {
        let connection = connection::Builder::system().context("find the system bus")?.build().await;
        match connection {
            Ok(connection) => {
                let questions = connection::Builder::system().context("find the system bus")?.build().await;
                let questions = questions.context("connect to the system bus once more")?;
                let guard = Guard::polkit(&questions, daemon.people.clone()).await.context("prepare to ask polkit")?;
                System::serve(connection, questions, daemon, guard).await.map(Self::System)
            }
            Err(error) if dbus_api::error::is_no_bus(&error) => {
                tracing::info!("there is no system bus: serving the private socket");
                let path = Path::new(dbus_api::PRIVATE_SOCKET);
                Ok(Self::Private(Private(PrivateSocket::serve(path, daemon).await?)))
            }
            Err(error) => Err(error).context("connect to the system bus"),
        }
    }

    /// Serves a bus of developers with a made-up daemon. Everybody on it may everything, so it must not be the system's.
    pub async fn serve_simulated(connection: Connection, daemon: Daemon) -> anyhow::Result<Self> {
        let guard = Guard::simulated(&connection).await.context("prepare to serve")?;
        System::serve(connection.clone(), connection, daemon, guard).await.map(Self::System)
    }

    /// Returns once the bus is gone.
    pub async fn closed(&mut self) {
        match self {
            Self::System(bus) => {
                tokio::select! {
                    () = bus.publisher.ended() => {}
                    () = publish::closed(&bus.questions) => {}
                }
            }
            // It is ours, and lives as long as we do.
            Self::Private(_) => std::future::pending().await,
        }
    }

    /// Gives the name back, so that whoever asks from now on hears at once that there is nobody.
    pub async fn leave(self) {
        match self {
            Self::System(bus) => bus.leave().await,
            Self::Private(Private(socket)) => socket.leave(),
        }
    }
}

impl System {
    /// The objects first, then the name, so that nobody finds the one without the other.
    async fn serve(
        connection: Connection,
        questions: Connection,
        daemon: Daemon,
        guard: Guard,
    ) -> anyhow::Result<Self> {
        Objects::new(&daemon, &guard).put_on(&connection).await.context("serve our objects")?;
        let publisher = Publisher::start(&connection, daemon).await.context("publish")?;
        let flags = zbus::fdo::RequestNameFlags::DoNotQueue;
        connection
            .request_name_with_flags(dbus_api::BUS_NAME, flags.into())
            .await
            .with_context(|| format!("own the bus name {}", dbus_api::BUS_NAME))?;
        Ok(Self { connection, publisher, questions })
    }

    async fn leave(self) {
        let leave = self.connection.release_name(dbus_api::BUS_NAME);
        match tokio::time::timeout(Duration::from_secs(1), leave).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "cannot give the bus name back"),
            Err(_) => tracing::debug!("the bus does not take its name back in time"),
        }
    }
}

/// One of each interface.
struct Objects {
    client: ClientObject,
    resources: ResourcesObject,
    dns: DnsObject,
    diagnostics: DiagnosticsObject,
    settings: SettingsObject,
}

impl Objects {
    fn new(daemon: &Daemon, guard: &Guard) -> Self {
        Self {
            client: ClientObject::new(daemon.clone(), guard.clone()),
            resources: ResourcesObject::new(daemon.clone(), guard.clone()),
            dns: DnsObject::new(daemon.clone(), guard.clone()),
            diagnostics: DiagnosticsObject::new(daemon.clone(), guard.clone()),
            settings: SettingsObject::new(daemon.clone(), guard.clone()),
        }
    }

    /// Puts them on a connection on which nobody can call us yet, because we have no name there.
    async fn put_on(self, connection: &Connection) -> zbus::Result<()> {
        let server = connection.object_server();
        server.at(dbus_api::PATH, self.client).await?;
        server.at(dbus_api::PATH, self.resources).await?;
        server.at(dbus_api::PATH, self.dns).await?;
        server.at(dbus_api::PATH, self.diagnostics).await?;
        server.at(dbus_api::PATH, self.settings).await?;
        Ok(())
    }

    /// Puts them on a connection that is still to be made: the other end may call at once.
    fn put_before<'a>(self, connection: connection::Builder<'a>) -> zbus::Result<connection::Builder<'a>> {
        connection
            .serve_at(dbus_api::PATH, self.client)?
            .serve_at(dbus_api::PATH, self.resources)?
            .serve_at(dbus_api::PATH, self.dns)?
            .serve_at(dbus_api::PATH, self.diagnostics)?
            .serve_at(dbus_api::PATH, self.settings)
    }
}

impl Daemon {
    /// Asks, and waits until the daemon has accepted.
    async fn ask(&self, request: impl FnOnce(Reply) -> Request) -> Result<(), dbus_api::Error> {
        let (reply, answer) = Reply::new();
        let stopping = || dbus_api::Error::Stopping(Refused::Stopping.to_string());
        self.requests.send(request(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?.map_err(|Refused::Stopping| stopping())
    }

    /// What the packet thread knows; nothing without a tunnel, or if it has no time to answer.
    async fn question<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        const REPLY_TIMEOUT: Duration = Duration::from_secs(1);
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.ok()?;
        tokio::time::timeout(REPLY_TIMEOUT, answer).await.ok()?.ok()
    }
}
