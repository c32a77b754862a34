//! `dev.firezone.Client1.Resources`: the resources of the session.

use dbus_api::{Error, Resource};
use zbus::{interface, message::Header, object_server::SignalEmitter};

use crate::{
    authorizer::Authorizer,
    daemon_handle::DaemonHandle,
    options::{self, Options},
};
use session::{Request, snapshot};

/// The interface, for authorized callers.
#[derive(Debug)]
pub(super) struct ResourcesObject {
    daemon: DaemonHandle,
    authorizer: Authorizer,
}

impl ResourcesObject {
    pub(super) fn new(daemon: DaemonHandle, authorizer: Authorizer) -> Self {
        Self { daemon, authorizer }
    }
}

#[interface(name = "dev.firezone.Client1.Resources")]
impl ResourcesObject {
    #[zbus(out_args("generation", "resources"))]
    async fn list(&self, #[zbus(header)] header: Header<'_>, filter: Options) -> Result<(u64, Vec<Resource>), Error> {
        let _caller = self.authorizer.authorize(&header).await?;
        let wanted = options::filter(filter)?.name.unwrap_or_default().to_lowercase();
        let snapshot = self.daemon.snapshot.borrow();
        let resources = snapshot.resources.iter().filter(|it| it.name.to_lowercase().contains(&wanted));
        Ok((snapshot.resources_generation, resources.map(snapshot::resource).collect()))
    }

    async fn set_internet_resource(
        &self,
        #[zbus(header)] header: Header<'_>,
        active: bool,
        options: Options,
    ) -> Result<(), Error> {
        let _caller = self.authorizer.authorize(&header).await?;
        options::none(options)?;
        self.daemon.request(Request::SetInternetResource(active)).await
    }

    #[zbus(signal)]
    pub(super) async fn changed(emitter: &SignalEmitter<'_>, generation: u64) -> zbus::Result<()>;
}
