//! The border to other processes: who may ask for what, and what everybody is told.
//!
//! Objects here own nothing. They have a sender for requests and a receiver for snapshots, so they cannot block the
//! daemon or disagree with it. Each method permits, then asks.
//!
//! * [`guard`] – caller and action → yes or no; the permission table
//! * [`client_object`], [`resources_object`] – the interfaces
//! * [`token_fd`] – a token that was handed over
//! * [`options`] – dictionaries of options
//! * [`publish`] – what is broadcast

mod client_object;
pub mod guard;
mod options;
mod publish;
mod resources_object;
mod token_fd;

#[cfg(test)]
mod tests;

use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot, watch};
use zbus::{Connection, connection};

pub use guard::{Action, Caller, Guard};

use self::{client_object::ClientObject, publish::Publisher, resources_object::ResourcesObject};
use crate::{
    clock::Clock,
    session::{Refused, Reply, Request},
    snapshot::Snapshot,
};

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
}

/// The bus as we serve it. Dropping it leaves the bus.
#[derive(Debug)]
pub struct Bus {
    connection: Connection,
    publisher: Publisher,
}

impl Bus {
    /// Serves the system bus: the objects first, then the name, so that nobody finds the one without the other.
    pub async fn serve(daemon: Daemon) -> anyhow::Result<Self> {
        let connection = connection::Builder::system()
            .context("find the system bus")?
            .build()
            .await
            .context("connect to the system bus, without which only a machine with a token of its own can do")?;
        let guard = Guard::polkit(&connection).await.context("prepare to ask polkit")?;
        let publisher = serve_at(&connection, daemon, guard).await.context("serve our objects")?;
        let flags = zbus::fdo::RequestNameFlags::DoNotQueue;
        connection
            .request_name_with_flags(dbus_api::BUS_NAME, flags.into())
            .await
            .with_context(|| format!("own the bus name {}", dbus_api::BUS_NAME))?;
        Ok(Self { connection, publisher })
    }

    /// Returns once the bus is gone.
    pub async fn closed(&mut self) {
        self.publisher.ended().await;
    }

    /// Gives the name back, so that whoever asks from now on hears at once that there is nobody.
    pub async fn leave(self) {
        let leave = self.connection.release_name(dbus_api::BUS_NAME);
        match tokio::time::timeout(Duration::from_secs(1), leave).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "cannot give the bus name back"),
            Err(_) => tracing::debug!("the bus does not take its name back in time"),
        }
    }
}

/// Puts the objects on a connection and starts to publish there.
async fn serve_at(connection: &Connection, daemon: Daemon, guard: Guard) -> zbus::Result<Publisher> {
    let server = connection.object_server();
    server.at(dbus_api::PATH, ClientObject::new(daemon.clone(), guard.clone())).await?;
    server.at(dbus_api::PATH, ResourcesObject::new(daemon.clone(), guard)).await?;
    Publisher::start(connection, daemon.snapshot).await
}

impl Daemon {
    /// Asks, and waits until the daemon has accepted.
    async fn ask(&self, request: impl FnOnce(Reply) -> Request) -> Result<(), dbus_api::Error> {
        let (reply, answer) = Reply::new();
        let stopping = || dbus_api::Error::Stopping(Refused::Stopping.to_string());
        self.requests.send(request(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?.map_err(|Refused::Stopping| stopping())
    }

    /// The connections to gateways; none without a tunnel, or if the packet thread has no time to answer.
    async fn paths(&self) -> Vec<tunnel::PathView> {
        const PATIENCE: Duration = Duration::from_secs(1);
        let (reply, answer) = oneshot::channel();
        if self.requests.send(Request::Paths(reply)).await.is_err() {
            return Vec::new();
        }
        tokio::time::timeout(PATIENCE, answer).await.ok().and_then(Result::ok).unwrap_or_default()
    }
}
