//! The checks of the daemon, and its report.

use std::sync::Arc;

use dbus_api::Error;
use doctor::{Check, Facts, LogFrom, Material, Report, Whereabouts, checks};
use tokio::sync::Mutex;
use zbus::{Connection, message::Header};

use crate::{
    authorizer::{Action, Authorizer, Caller},
    client_object,
    daemon_handle::DaemonHandle,
    dns_object, settings_object,
};
use session::snapshot;

/// Runs checks and collects reports, one at a time, because they need more time than other calls.
#[derive(Clone, Debug, Default)]
pub(super) struct DiagnosticsCollector {
    lock: Arc<Mutex<()>>,
}

/// The call that needs diagnostics.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiagnosticsContext<'a> {
    pub(super) daemon: &'a DaemonHandle,
    pub(super) authorizer: &'a Authorizer,
    pub(super) caller: &'a Caller,
    pub(super) header: &'a Header<'a>,
    pub(super) connection: &'a Connection,
}

impl DiagnosticsCollector {
    /// Runs the checks with these ids, or all if the list is empty.
    pub(super) async fn run_checks(
        &self,
        wanted: &[String],
        context: DiagnosticsContext<'_>,
    ) -> Result<Vec<Check>, Error> {
        if let Some(unknown) = wanted.iter().find(|it| !checks::is_known(it)) {
            return Err(Error::NotFound(format!("there is no check {}", unknown.escape_debug())));
        }
        let _lock = self.lock.lock().await;
        let facts = context.facts().await;
        let all = checks::all(&facts).into_iter();
        Ok(all.filter(|it| wanted.is_empty() || wanted.contains(&it.id)).collect())
    }

    /// The report in JSON.
    pub(super) async fn report(&self, context: DiagnosticsContext<'_>) -> Result<String, Error> {
        let _lock = self.lock.lock().await;
        let facts = context.facts().await;
        let daemon = context.daemon;
        let settings = daemon.settings.get().await.map_err(settings_object::refusal)?;
        let settings = settings.values().map(|it| (it.setting.key.to_owned(), settings_object::setting(&it))).collect();
        let resources = daemon.snapshot.borrow().resources.iter().map(snapshot::resource).collect();
        let material = Material {
            made_by: concat!("firezoned ", env!("CARGO_PKG_VERSION")).to_owned(),
            status: facts.status.clone(),
            facts,
            resources,
            settings,
            dns: Some(dns_object::status(daemon).await),
            // Nothing without a tunnel.
            dropped: daemon.statistics.read().await.dropped.clone(),
            log: logging::recent(),
            log_from: LogFrom::Daemon,
        };
        Report::of(&material).to_json().map_err(|error| Error::Failed(error.to_string()))
    }
}

impl DiagnosticsContext<'_> {
    /// Collects the facts that the checks need.
    async fn facts(&self) -> Facts {
        // Only a connection to a bus has a unique name.
        let is_private = self.connection.unique_name().is_none();
        let may_sign_in = self.authorizer.preview(self.caller, self.header, Action::SignIn).await;
        let known = Facts {
            daemon: if is_private { Whereabouts::Socket } else { Whereabouts::Bus },
            permissions: Some([(Action::SignIn.word().to_owned(), may_sign_in.into())].into()),
            status: Some(client_object::status(self.daemon).await),
            ..Facts::default()
        };
        doctor::look(known, (!is_private).then_some(self.connection)).await
    }
}
