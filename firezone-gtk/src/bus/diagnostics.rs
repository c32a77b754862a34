//! Running the checks: by the daemon, which sees more, or by the app itself if the daemon is not running.

use std::collections::BTreeMap;

use async_channel::Sender;
use dbus_api::DiagnosticsProxy;

use super::{
    call::with_timeout,
    message::{Event, Failure},
};
use crate::model::{Diagnosis, Update};

/// Runs the checks in a task of their own, so that other requests need not wait.
pub(super) fn start(daemon: Option<DiagnosticsProxy<'static>>, events: &Sender<Event>) {
    let events = events.clone();
    tokio::spawn(async move {
        let diagnosis = match daemon {
            Some(daemon) => run_in_daemon(&daemon).await,
            None => run_locally().await,
        };
        // The receiver is gone only when the app ends.
        let _closed = events.send(Event::Update(Update::Diagnosis(diagnosis))).await;
    });
}

async fn run_in_daemon(daemon: &DiagnosticsProxy<'_>) -> Diagnosis {
    match with_timeout(daemon.run_checks(&[], BTreeMap::new())).await {
        Ok(checks) => Diagnosis::Done { checks, is_local: false },
        Err(Failure::NotRunning) => run_locally().await,
        Err(failure) => {
            tracing::info!("the checks could not run: {failure}");
            Diagnosis::Failed
        }
    }
}

/// Runs the checks that need neither the daemon nor privileges.
async fn run_locally() -> Diagnosis {
    let facts = doctor::look_from_outside(doctor::Facts::default()).await;
    Diagnosis::Done { checks: doctor::checks::all(&facts), is_local: true }
}
