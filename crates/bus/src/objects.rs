//! The interfaces of the one object, on a connection.

use zbus::{Connection, connection};

use crate::{
    authorizer::Authorizer, client_object::ClientObject, daemon_handle::DaemonHandle,
    diagnostics_object::DiagnosticsObject, dns_object::DnsObject, resources_object::ResourcesObject,
    settings_object::SettingsObject,
};

/// One of each interface.
pub(super) struct Objects {
    client: ClientObject,
    resources: ResourcesObject,
    dns: DnsObject,
    diagnostics: DiagnosticsObject,
    settings: SettingsObject,
}

impl Objects {
    pub(super) fn new(daemon: &DaemonHandle, authorizer: &Authorizer) -> Self {
        Self {
            client: ClientObject::new(daemon.clone(), authorizer.clone()),
            resources: ResourcesObject::new(daemon.clone(), authorizer.clone()),
            dns: DnsObject::new(daemon.clone(), authorizer.clone()),
            diagnostics: DiagnosticsObject::new(daemon.clone(), authorizer.clone()),
            settings: SettingsObject::new(daemon.clone(), authorizer.clone()),
        }
    }

    /// Serves them on a connection that has no name yet, so that no call can arrive before all of them are served.
    pub(super) async fn serve_on(self, connection: &Connection) -> zbus::Result<()> {
        let server = connection.object_server();
        server.at(dbus_api::PATH, self.client).await?;
        server.at(dbus_api::PATH, self.resources).await?;
        server.at(dbus_api::PATH, self.dns).await?;
        server.at(dbus_api::PATH, self.diagnostics).await?;
        server.at(dbus_api::PATH, self.settings).await?;
        Ok(())
    }

    /// Serves them on a connection that is not built yet, because the other end may call at once.
    pub(super) fn serve_with<'a>(self, builder: connection::Builder<'a>) -> zbus::Result<connection::Builder<'a>> {
        builder
            .serve_at(dbus_api::PATH, self.client)?
            .serve_at(dbus_api::PATH, self.resources)?
            .serve_at(dbus_api::PATH, self.dns)?
            .serve_at(dbus_api::PATH, self.diagnostics)?
            .serve_at(dbus_api::PATH, self.settings)
    }
}
