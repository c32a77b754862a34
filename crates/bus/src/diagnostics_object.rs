//! `dev.firezone.Client1.Diagnostics`: checks, reports, paths and the log filter.

use std::time::Duration;

use dbus_api::{Check, Error, PathKind, ResourcePath};
use model::ResourceView;
use zbus::{Connection, interface, message::Header, zvariant::OwnedFd};

use crate::{
    authorizer::{Authorizer, Caller},
    client_object,
    daemon_handle::DaemonHandle,
    diagnostics_collector::{DiagnosticsCollector, DiagnosticsContext},
    options::{self, Options},
    report_fd::{ReportFdError, ReportMemory},
    settings_object,
};
use logging::Filter;

/// The maximum length of a filter in bytes.
const MAX_FILTER_LENGTH: usize = 1024;
/// The longest duration of a filter in seconds.
const MAX_FILTER_SECONDS: u32 = 24 * 60 * 60;

/// The interface, for authorized callers.
#[derive(Debug)]
pub(super) struct DiagnosticsObject {
    daemon: DaemonHandle,
    authorizer: Authorizer,
    collector: DiagnosticsCollector,
}

impl DiagnosticsObject {
    pub(super) fn new(daemon: DaemonHandle, authorizer: Authorizer) -> Self {
        Self { daemon, authorizer, collector: DiagnosticsCollector::default() }
    }

    fn context<'a>(
        &'a self,
        caller: &'a Caller,
        header: &'a Header<'a>,
        connection: &'a Connection,
    ) -> DiagnosticsContext<'a> {
        DiagnosticsContext { daemon: &self.daemon, authorizer: &self.authorizer, caller, header, connection }
    }

    /// The first resource with this id or name, case-insensitively.
    fn resource(&self, name: &str) -> Option<ResourceView> {
        let wanted = name.to_lowercase();
        let snapshot = self.daemon.snapshot.borrow();
        snapshot.resources.iter().find(|it| it.name.to_lowercase() == wanted || it.id.to_string() == wanted).cloned()
    }
}

#[interface(name = "dev.firezone.Client1.Diagnostics")]
impl DiagnosticsObject {
    #[zbus(out_args("findings"))]
    async fn run_checks(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        checks: Vec<String>,
        options: Options,
    ) -> Result<Vec<Check>, Error> {
        let caller = self.authorizer.authorize(&header).await?;
        options::none(options)?;
        let context = self.context(&caller, &header, connection);
        self.collector.run_checks(&checks, context).await
    }

    async fn collect(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        report: OwnedFd,
        options: Options,
    ) -> Result<(), Error> {
        let caller = self.authorizer.authorize(&header).await?;
        options::none(options)?;
        let memory = ReportMemory::new(report.into()).map_err(unusable)?;
        let report = self.collector.report(self.context(&caller, &header, connection)).await?;
        memory.write(&report).map_err(unusable)
    }

    #[zbus(out_args("path"))]
    async fn path(&self, #[zbus(header)] header: Header<'_>, resource: String) -> Result<ResourcePath, Error> {
        let _caller = self.authorizer.authorize(&header).await?;
        let found = self.resource(&resource).ok_or_else(|| Error::NotFound("there is no such resource".to_owned()))?;
        let now = self.daemon.clock.now();
        let statistics = self.daemon.statistics.read().await;
        // The gateways of the site serve the resource. An established path is preferred to one that is being established.
        let site = |view: &tunnel::PathView| found.sites.iter().find(|it| Some(it.id) == view.site);
        let view = statistics.paths.iter().filter(|it| site(it).is_some()).min_by_key(|it| it.path.is_none());
        let gateway = view.map(|view| client_object::gateway(view, now));
        Ok(ResourcePath {
            id: found.id.to_string(),
            name: found.name.clone(),
            path: gateway.as_ref().map_or(PathKind::None, |it| it.path.clone()),
            site: view.and_then(site).map(|it| it.name.clone()),
            last_handshake_seconds: gateway.as_ref().and_then(|it| it.last_handshake_seconds),
            round_trip_microseconds: gateway.as_ref().and_then(|it| it.round_trip_microseconds),
            sent_bytes: gateway.as_ref().and_then(|it| it.sent_bytes),
            received_bytes: gateway.as_ref().and_then(|it| it.received_bytes),
            gateway: gateway.map(|it| it.id),
        })
    }

    async fn set_log_filter(
        &self,
        #[zbus(header)] header: Header<'_>,
        filter: String,
        seconds: u32,
    ) -> Result<(), Error> {
        let _caller = self.authorizer.authorize(&header).await?;
        if filter.len() > MAX_FILTER_LENGTH || seconds > MAX_FILTER_SECONDS {
            return Err(Error::InvalidArgs("the filter is too long, or its duration exceeds a day".to_owned()));
        }
        let filter = match filter.trim() {
            "" => None,
            text => Some(text.parse::<Filter>().map_err(|error| Error::InvalidArgs(format!("{text:?} {error}")))?),
        };
        self.daemon
            .settings
            .set_log_filter(filter, Duration::from_secs(seconds.into()))
            .await
            .map_err(settings_object::refusal)
    }
}

fn unusable(error: ReportFdError) -> Error {
    let text = error.to_string();
    match error {
        ReportFdError::NotAMemfd | ReportFdError::NotWritable => Error::InvalidArgs(text),
        ReportFdError::Io(error) => {
            tracing::debug!(%error, "cannot write a report to the memfd of a caller");
            Error::Failed(text)
        }
    }
}
