//! `dev.firezone.Client1.Diagnostics`: a deeper look, for help with a problem.

use std::time::Duration;

use dbus_api::{Check, Error, PathKind, ResourcePath};
use model::ResourceView;
use zbus::{Connection, interface, message::Header, zvariant::OwnedFd};

use super::{
    Daemon, client_object,
    examination::Examiner,
    guard::Guard,
    options::{self, Options},
    report_fd::{Memory, Unusable},
    settings_object,
};
use logging::Filter;

/// The longest filter. Nobody writes more by hand.
const LONGEST_FILTER: usize = 1024;
/// Nobody looks longer at a log.
const LONGEST_TIME: u32 = 24 * 60 * 60;

/// A deeper look, for whoever is permitted.
#[derive(Debug)]
pub(super) struct DiagnosticsObject {
    daemon: Daemon,
    guard: Guard,
    examiner: Examiner,
}

impl DiagnosticsObject {
    pub(super) fn new(daemon: Daemon, guard: Guard) -> Self {
        Self { daemon, guard, examiner: Examiner::default() }
    }

    /// The resource of this id or name, in whatever case. A name that several have is that of the first.
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
        let caller = self.guard.permit(&header).await?;
        options::none(options)?;
        self.examiner.checks(&checks, &self.daemon, &self.guard, &caller, &header, connection).await
    }

    async fn collect(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        report: OwnedFd,
        options: Options,
    ) -> Result<(), Error> {
        let caller = self.guard.permit(&header).await?;
        options::none(options)?;
        let memory = Memory::new(report.into()).map_err(unusable)?;
        let report = self.examiner.report(&self.daemon, &self.guard, &caller, &header, connection).await?;
        memory.write(&report).map_err(unusable)
    }

    #[zbus(out_args("path"))]
    async fn path(&self, #[zbus(header)] header: Header<'_>, resource: String) -> Result<ResourcePath, Error> {
        let _caller = self.guard.permit(&header).await?;
        let found = self.resource(&resource).ok_or_else(|| Error::NotFound("there is no such resource".to_owned()))?;
        let now = self.daemon.clock.now();
        let statistics = self.daemon.statistics.read().await;
        // The site decides which gateway serves it; a path that works tells more than one that is being made.
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
        let _caller = self.guard.permit(&header).await?;
        if filter.len() > LONGEST_FILTER || seconds > LONGEST_TIME {
            return Err(Error::InvalidArgs("the filter is too long, or shall last longer than a day".to_owned()));
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

fn unusable(error: Unusable) -> Error {
    let text = error.to_string();
    match error {
        Unusable::Kind | Unusable::ReadOnly => Error::InvalidArgs(text),
        Unusable::Broken(error) => {
            tracing::debug!(%error, "a caller's memory does not take a report");
            Error::Failed(text)
        }
    }
}
