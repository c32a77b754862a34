//! Snapshot changes → signals. Nobody else emits anything, so nothing is forgotten and nothing is sent twice.
//!
//! Signals are heard by everybody, so they carry numbers and what the public properties say, nothing else.

use tokio::{
    sync::{broadcast, watch},
    task::JoinHandle,
};
use zbus::{Connection, object_server::InterfaceRef};

use super::{Daemon, client_object::ClientObject, resources_object::ResourcesObject, settings_object::SettingsObject};
use session::snapshot::Snapshot;

/// Publishes for as long as it lives.
#[derive(Debug)]
pub(super) struct Publisher {
    task: JoinHandle<()>,
}

impl Publisher {
    pub(super) async fn start(connection: &Connection, daemon: Daemon) -> zbus::Result<Self> {
        let (mut snapshot, news) = (daemon.snapshot, daemon.settings.subscribe());
        // What the objects say from now on is known; whatever comes after this moment is news.
        let known = snapshot.borrow_and_update().clone();
        let server = connection.object_server();
        let client = server.interface::<_, ClientObject>(dbus_api::PATH).await?;
        let resources = server.interface::<_, ResourcesObject>(dbus_api::PATH).await?;
        let settings = server.interface::<_, SettingsObject>(dbus_api::PATH).await?;
        let connection = connection.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                error = publish(known, snapshot, &client, &resources) => {
                    if let Err(error) = error { tracing::warn!(%error, "cannot publish any more") }
                }
                error = publish_settings(news, &settings) => {
                    if let Err(error) = error { tracing::warn!(%error, "cannot publish any more") }
                }
                () = closed(&connection) => tracing::debug!("the bus is gone"),
            }
        });
        Ok(Self { task })
    }

    /// Returns when nothing is published any more: the bus is gone. Cancel-safe.
    pub(super) async fn ended(&mut self) {
        if (&mut self.task).await.is_err() {
            tracing::error!("the publisher died");
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

/// Keys of settings name nothing that is private; what they are set to is read by who may.
async fn publish_settings(
    mut news: broadcast::Receiver<Vec<String>>,
    settings: &InterfaceRef<SettingsObject>,
) -> zbus::Result<()> {
    loop {
        let keys = match news.recv().await {
            Ok(keys) => keys,
            // Too many to say which.
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
