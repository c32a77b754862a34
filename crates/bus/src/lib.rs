//! The daemon on D-Bus: the objects, the authorization of their callers, and the signals.
//!
//! The crate owns the connections to the bus and decides which caller may call which method. It must not own or decide
//! anything else: objects hold a sender for requests and a receiver for snapshots ([`DaemonHandle`]), so they can neither
//! block the daemon nor disagree with it. Each method is authorized first, then sends a request or reads a snapshot.
//!
//! * [`authorizer`] – the permission table, and who decides: polkit, or the peer's user on the private socket
//! * [`user_db`] – names of users, and the members of the group `firezone`
//! * [`call_limiter`], [`polkit_queue`] – pending calls per caller, and polkit queries per user
//! * [`caller_cache`] – the user of each sender, and recent permissions to read
//! * [`objects`]: [`client_object`], [`resources_object`], [`dns_object`], [`diagnostics_object`], [`settings_object`] – one
//!   interface each
//! * [`diagnostics_collector`] – the checks and the report of the daemon
//! * [`token_fd`], [`report_fd`] – descriptors with a token, and for a report
//! * [`options`] – dictionaries of options
//! * [`publisher`] – signals for changes
//! * [`private_socket`] – the same objects without a bus

mod authorizer;
mod call_limiter;
mod caller_cache;
mod client_object;
mod daemon_handle;
mod diagnostics_collector;
mod diagnostics_object;
mod dns_object;
mod objects;
mod options;
mod polkit_queue;
mod private_socket;
mod publisher;
mod report_fd;
mod resources_object;
mod settings_object;
#[cfg(test)]
mod tests;
mod token_fd;
mod user_db;

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use zbus::{Connection, connection};

pub use daemon_handle::{DaemonHandle, DaemonRequest, DnsRequest};
pub use user_db::UserDatabase;

use self::{authorizer::Authorizer, objects::Objects, private_socket::PrivateSocket, publisher::Publisher};

/// How long the bus may take to release the name.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// The served bus: the system bus, or a private socket without one. Dropping it disconnects.
#[derive(Debug)]
pub enum Bus {
    /// The system bus.
    System(System),
    /// The private socket.
    Private(Private),
}

/// The system bus, on which the daemon owns its name.
#[derive(Debug)]
pub struct System {
    connection: Connection,
    publisher: Publisher,
    /// The connection for the daemon's own calls. On the connection with the name, their replies would queue behind incoming
    /// calls.
    client_connection: Connection,
}

/// The private socket.
#[derive(Debug)]
pub struct Private(PrivateSocket);

impl Bus {
    /// Serves the system bus; on a machine without one, the private socket.
    ///
    /// # Errors
    /// The bus or polkit cannot be reached, or another daemon owns the name or the socket.
    pub async fn serve(daemon: DaemonHandle) -> anyhow::Result<Self> {
        let connection = connection::Builder::system().context("find the system bus")?.build().await;
        match connection {
            Ok(connection) => {
                let client_connection = connection::Builder::system().context("find the system bus")?.build().await;
                let client_connection = client_connection.context("connect to the system bus once more")?;
                let authorizer = Authorizer::polkit(&client_connection, daemon.users.clone()).await;
                let authorizer = authorizer.context("prepare queries to polkit")?;
                System::serve(connection, client_connection, daemon, authorizer).await.map(Self::System)
            }
            Err(error) if dbus_api::error::is_no_bus(&error) => {
                tracing::info!("no system bus: serving the private socket");
                let path = Path::new(dbus_api::PRIVATE_SOCKET);
                Ok(Self::Private(Private(PrivateSocket::serve(path, daemon).await?)))
            }
            Err(error) => Err(error).context("connect to the system bus"),
        }
    }

    /// Serves a simulated daemon on a developer's bus. Each caller may call everything, so it must not be the system bus.
    ///
    /// # Errors
    /// The bus cannot be reached, or another daemon owns the name.
    pub async fn serve_simulated(connection: Connection, daemon: DaemonHandle) -> anyhow::Result<Self> {
        let authorizer = Authorizer::simulated(&connection).await.context("prepare queries to the bus")?;
        System::serve(connection.clone(), connection, daemon, authorizer).await.map(Self::System)
    }

    /// Returns once a connection to the bus is lost.
    pub async fn closed(&mut self) {
        match self {
            Self::System(bus) => {
                tokio::select! {
                    () = bus.publisher.ended() => {}
                    () = publisher::closed(&bus.client_connection) => {}
                }
            }
            // The socket exists as long as this process.
            Self::Private(_) => std::future::pending().await,
        }
    }

    /// Releases the name, so that later callers learn at once that the daemon does not run.
    pub async fn leave(self) {
        match self {
            Self::System(bus) => bus.leave().await,
            Self::Private(Private(socket)) => socket.leave(),
        }
    }
}

impl System {
    /// Serves the objects first and then requests the name, so that a caller never finds the name without the objects.
    async fn serve(
        connection: Connection,
        client_connection: Connection,
        daemon: DaemonHandle,
        authorizer: Authorizer,
    ) -> anyhow::Result<Self> {
        Objects::new(&daemon, &authorizer).serve_on(&connection).await.context("serve the objects")?;
        let publisher = Publisher::start(&connection, daemon).await.context("start publishing")?;
        let flags = zbus::fdo::RequestNameFlags::DoNotQueue;
        connection
            .request_name_with_flags(dbus_api::BUS_NAME, flags.into())
            .await
            .with_context(|| format!("own the bus name {}", dbus_api::BUS_NAME))?;
        Ok(Self { connection, publisher, client_connection })
    }

    async fn leave(self) {
        let release = self.connection.release_name(dbus_api::BUS_NAME);
        match tokio::time::timeout(RELEASE_TIMEOUT, release).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "cannot release the bus name"),
            Err(_) => tracing::debug!("the bus did not release the name in time"),
        }
    }
}
