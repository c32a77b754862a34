//! Emits a signal for each change. It is the only emitter, so no change is missed or published twice.
//!
//! Every process on the bus receives signals, so they contain only generations and public properties.

use tokio::{
    sync::{broadcast, watch},
    task::JoinHandle,
};
use zbus::{Connection, object_server::InterfaceRef};

use crate::{
    client_object::ClientObject, daemon_handle::DaemonHandle, resources_object::ResourcesObject,
    settings_object::SettingsObject,
};
use session::Snapshot;

/// Publishes until it is dropped.
#[derive(Debug)]
pub(super) struct Publisher {
    task: JoinHandle<()>,
}

impl Publisher {
    pub(super) async fn start(connection: &Connection, daemon: DaemonHandle) -> zbus::Result<Self> {
        let (mut snapshot, settings_changes) = (daemon.snapshot, daemon.settings.subscribe());
        // The objects serve this snapshot; each later one is a change.
        let current = snapshot.borrow_and_update().clone();
        let server = connection.object_server();
        let client = server.interface::<_, ClientObject>(dbus_api::PATH).await?;
        let resources = server.interface::<_, ResourcesObject>(dbus_api::PATH).await?;
        let settings = server.interface::<_, SettingsObject>(dbus_api::PATH).await?;
        let connection = connection.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                error = publish(current, snapshot, &client, &resources) => {
                    if let Err(error) = error { tracing::warn!(%error, "cannot publish any longer") }
                }
                error = publish_settings(settings_changes, &settings) => {
                    if let Err(error) = error { tracing::warn!(%error, "cannot publish any longer") }
                }
                () = closed(&connection) => tracing::debug!("the connection to the bus is lost"),
            }
        });
        Ok(Self { task })
    }

    /// Returns once publishing has ended, because the connection is lost. Cancel-safe.
    pub(super) async fn ended(&mut self) {
        if (&mut self.task).await.is_err() {
            tracing::error!("the publisher task failed");
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn publish(
    mut old: Snapshot,
    mut snapshot: watch::Receiver<Snapshot>,
    client: &InterfaceRef<ClientObject>,
    resources: &InterfaceRef<ResourcesObject>,
) -> zbus::Result<()> {
    while snapshot.changed().await.is_ok() {
        let new = snapshot.borrow_and_update().clone();
        let emitter = client.signal_emitter();
        let object = client.get().await;
        if new.state != old.state {
            object.state_changed(emitter).await?;
        }
        if new.reason != old.reason {
            object.reason_changed(emitter).await?;
        }
        if new.internet_resource_active != old.internet_resource_active {
            object.internet_resource_active_changed(emitter).await?;
        }
        if new.generation != old.generation {
            ClientObject::status_changed(emitter, new.generation).await?;
        }
        if new.resources_generation != old.resources_generation {
            ResourcesObject::changed(resources.signal_emitter(), new.resources_generation).await?;
        }
        old = new;
    }
    Ok(())
}

/// Publishes the keys of changed settings. Their values are private and not published.
async fn publish_settings(
    mut changes: broadcast::Receiver<Vec<String>>,
    settings: &InterfaceRef<SettingsObject>,
) -> zbus::Result<()> {
    loop {
        let keys = match changes.recv().await {
            Ok(keys) => keys,
            // Too many changes to list their keys.
            Err(broadcast::error::RecvError::Lagged(_)) => Vec::new(),
            Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
        };
        SettingsObject::changed(settings.signal_emitter(), keys).await?;
    }
}

/// Returns when the connection is closed. A stream of messages ends with its connection.
pub(super) async fn closed(connection: &Connection) {
    use futures_util::StreamExt as _;
    let mut messages = zbus::MessageStream::from(connection);
    while let Some(Ok(_)) = messages.next().await {}
}
