//! Looking for problems: the daemon looks if there is one, and sees more than we do.

use std::{collections::BTreeMap, fs::File, io::Read as _, io::Seek as _, os::fd::OwnedFd};

use async_channel::Sender;
use dbus_api::DiagnosticsProxy;
use rustix::fs::MemfdFlags;

use super::{Failure, Report, daemon::in_time};
use crate::model::{Diagnosis, News};

/// A report is far shorter.
const LONGEST_REPORT: u64 = 8 << 20;

/// Looks beside everything else, which need not wait for it.
pub(super) fn start(daemon: Option<DiagnosticsProxy<'static>>, reports: &Sender<Report>) {
    let reports = reports.clone();
    tokio::spawn(async move {
        let diagnosis = match daemon {
            Some(daemon) => by(&daemon).await,
            None => alone().await,
        };
        // Nobody listens any more only when the app ends.
        let _gone = reports.send(Report::News(News::Diagnosis(diagnosis))).await;
    });
}

/// What the daemon finds; without one, what we find ourselves.
async fn by(daemon: &DiagnosticsProxy<'_>) -> Diagnosis {
    match in_time(daemon.run_checks(&[], BTreeMap::new())).await {
        Ok(checks) => Diagnosis::Done { checks: checks.into_iter().map(Into::into).collect(), is_local: false },
        Err(Failure::NotRunning) => alone().await,
        Err(failure) => {
            tracing::info!("nobody looks for problems: {failure}");
            Diagnosis::Failed
        }
    }
}

/// What everybody can see without the daemon.
async fn alone() -> Diagnosis {
    let facts = doctor::look_from_outside(doctor::Facts::default()).await;
    Diagnosis::Done { checks: doctor::checks::all(&facts), is_local: true }
}

/// A report by the daemon. It writes into memory of ours, so it needs no place on any disk.
pub(super) async fn collect(daemon: &DiagnosticsProxy<'_>) -> Result<String, Failure> {
    let other = |error: std::io::Error| Failure::Other(error.to_string());
    let memory = rustix::fs::memfd_create(c"firezone-report", MemfdFlags::CLOEXEC).map_err(|it| other(it.into()))?;
    let theirs: OwnedFd = memory.try_clone().map_err(other)?;
    in_time(daemon.collect(theirs.into(), BTreeMap::new())).await?;
    let mut file = File::from(memory);
    file.rewind().map_err(other)?;
    let mut text = String::new();
    file.take(LONGEST_REPORT).read_to_string(&mut text).map_err(other)?;
    Ok(text)
}
