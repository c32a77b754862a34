//! What the daemon sees that may be wrong on this machine, and what helps somebody else to find out.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use dbus_api::Error;
use doctor::{Check, Facts, Material, Report, Whereabouts, checks, rules};
use tokio::sync::Mutex;
use zbus::{Connection, message::Header};

use super::{
    Daemon, client_object, dns_object,
    guard::{Action, Guard},
    settings_object,
};
use crate::{session::Request, snapshot};

/// How long other services, and then files, may take. Whoever does not answer in time is not there.
const PATIENCE: Duration = Duration::from_secs(5);

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
        header: &Header<'_>,
        connection: &Connection,
    ) -> Result<Vec<Check>, Error> {
        if let Some(unknown) = wanted.iter().find(|it| !checks::is_known(it)) {
            return Err(Error::NotFound(format!("there is no check {}", unknown.escape_debug())));
        }
        let _turn = self.busy.lock().await;
        let facts = facts(daemon, guard, header, connection).await;
        let all = checks::all(&facts).into_iter();
        Ok(all.filter(|it| wanted.is_empty() || wanted.contains(&it.id)).collect())
    }

    /// The report, as it is given away.
    pub(super) async fn report(
        &self,
        daemon: &Daemon,
        guard: &Guard,
        header: &Header<'_>,
        connection: &Connection,
    ) -> Result<String, Error> {
        let _turn = self.busy.lock().await;
        let facts = facts(daemon, guard, header, connection).await;
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
            dropped: daemon.question(Request::Counters).await.unwrap_or_default(),
        };
        Report::of(&material).to_json().map_err(|error| Error::Failed(error.to_string()))
    }
}

/// Everything that can be found out here and now.
async fn facts(daemon: &Daemon, guard: &Guard, header: &Header<'_>, connection: &Connection) -> Facts {
    // On a bus everybody has a name.
    let is_private = connection.unique_name().is_none();
    let may_sign_in = guard.preview(header, Action::SignIn).await;
    let mut facts = Facts {
        daemon: if is_private { Whereabouts::Socket } else { Whereabouts::Bus },
        permissions: Some([(Action::SignIn.word().to_owned(), may_sign_in.word().to_owned())].into()),
        status: Some(client_object::status(daemon).await),
        ..Facts::default()
    };
    if !is_private && tokio::time::timeout(PATIENCE, facts.ask(connection)).await.is_err() {
        tracing::debug!("other services do not answer in time");
    }
    facts.rules = tokio::time::timeout(PATIENCE, rules::count()).await.ok().flatten();
    // Files may take their time; the daemon need not.
    let asked = facts.clone();
    let read = tokio::task::spawn_blocking(move || {
        facts.read(Path::new("/"), SystemTime::now());
        facts
    });
    match tokio::time::timeout(PATIENCE, read).await {
        Ok(Ok(facts)) => facts,
        Ok(Err(_)) | Err(_) => asked,
    }
}
