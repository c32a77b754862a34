//! What the daemon sees that may be wrong on this machine, and what helps somebody else to find out.

use std::sync::Arc;

use dbus_api::Error;
use doctor::{Check, Facts, LogFrom, Material, Report, Whereabouts, checks};
use tokio::sync::Mutex;
use zbus::{Connection, message::Header};

use super::{
    Daemon, client_object, dns_object,
    guard::{Action, Caller, Guard},
    settings_object,
};
use session::snapshot;

/// Looks around, one look at a time: it costs more than other answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Examiner {
    busy: Arc<Mutex<()>>,
}

impl Examiner {
    /// The checks with these numbers, or all.
    pub(super) async fn checks(
        &self,
        wanted: &[String],
        daemon: &Daemon,
        guard: &Guard,
        caller: &Caller,
        header: &Header<'_>,
        connection: &Connection,
    ) -> Result<Vec<Check>, Error> {
        if let Some(unknown) = wanted.iter().find(|it| !checks::is_known(it)) {
            return Err(Error::NotFound(format!("there is no check {}", unknown.escape_debug())));
        }
        let _turn = self.busy.lock().await;
        let facts = facts(daemon, guard, caller, header, connection).await;
        let all = checks::all(&facts).into_iter();
        Ok(all.filter(|it| wanted.is_empty() || wanted.contains(&it.id)).collect())
    }

    /// The report, as it is given away.
    pub(super) async fn report(
        &self,
        daemon: &Daemon,
        guard: &Guard,
        caller: &Caller,
        header: &Header<'_>,
        connection: &Connection,
    ) -> Result<String, Error> {
        let _turn = self.busy.lock().await;
        let facts = facts(daemon, guard, caller, header, connection).await;
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

/// Everything that can be found out here and now.
async fn facts(daemon: &Daemon, guard: &Guard, caller: &Caller, header: &Header<'_>, connection: &Connection) -> Facts {
    // On a bus everybody has a name.
    let is_private = connection.unique_name().is_none();
    let may_sign_in = guard.preview(caller, header, Action::SignIn).await;
    let known = Facts {
        daemon: if is_private { Whereabouts::Socket } else { Whereabouts::Bus },
        permissions: Some([(Action::SignIn.word().to_owned(), may_sign_in.into())].into()),
        status: Some(client_object::status(daemon).await),
        ..Facts::default()
    };
    doctor::look(known, (!is_private).then_some(connection)).await
}
