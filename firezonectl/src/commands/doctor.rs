//! `doctor`: what may be wrong on this machine.

use std::{fmt, path::Path};

use serde::Serialize;

use super::Surroundings;
use crate::{
    client::{self, Daemon},
    doctor::{Check, Facts, Verdict, checks},
    failure::Failure,
    output::{SCHEMA, Show, Style, printable},
};

/// Shown below the options.
pub(super) const HELP: &str = "\
Works without the daemon, too. The exit code is 1 if a check has failed.

Example: firezonectl doctor";

/// What was typed after `doctor`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Show only what is not well
    #[arg(short, long)]
    quiet: bool,
}

/// All checks.
#[derive(Debug, Serialize)]
pub(super) struct Examination {
    schema: u32,
    checks: Vec<Check>,
    #[serde(skip)]
    quiet: bool,
}

pub(super) async fn run(args: &Args, around: &Surroundings<'_>) -> Result<Examination, Failure> {
    let facts = facts(around).await;
    Ok(Examination { schema: SCHEMA, checks: checks::all(&facts), quiet: args.quiet })
}

/// Everything that can be found out here and now.
pub(super) async fn facts(around: &Surroundings<'_>) -> Facts {
    let mut facts = Facts { rules: client::our_rules().await, ..Facts::default() };
    if let Some(neighbours) = client::neighbours().await {
        (facts.has_bus, facts.has_polkit, facts.captive) = (true, Some(neighbours.polkit), neighbours.captive);
    }
    match &around.daemon {
        Ok(Daemon::Serving(bus)) => {
            facts.daemon = Some(Ok(if bus.is_private { "socket" } else { "bus" }));
            facts.permissions = bus.permissions().await.ok();
            facts.status = bus.status().await.ok();
        }
        Ok(Daemon::Managed(file)) => {
            facts.daemon = Some(Ok("file"));
            facts.status = Some(dbus_api::Status {
                state: file.state.clone(),
                reason: file.reason.clone(),
                portal: file.portal.clone(),
                portal_error: file.portal_error.clone(),
                ..dbus_api::Status::default()
            });
        }
        Err(failure) => facts.daemon = Some(Err(failure.clone())),
    }
    // Files and the portal may take their time; the rest of the program need not.
    let is_unknown = facts.status.is_none();
    let read = tokio::task::spawn_blocking(move || {
        facts.read(Path::new("/"));
        if is_unknown {
            facts.knock();
        }
        facts
    });
    read.await.unwrap_or_default()
}

impl Show for Examination {
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result {
        for check in
            self.checks.iter().filter(|it| !self.quiet || matches!(it.result, Verdict::Warning | Verdict::Failed))
        {
            let word = match check.result {
                Verdict::Ok => "ok     ".to_owned(),
                Verdict::Skipped => "skipped".to_owned(),
                Verdict::Warning => style.warning("warning"),
                Verdict::Failed => style.failure("failed "),
            };
            writeln!(out, "{word}  {} {}: {}", check.id, check.name, printable(&check.evidence))?;
            if !check.effect.is_empty() {
                writeln!(out, "           effect  {}", check.effect)?;
            }
            if !check.remedy.is_empty() {
                writeln!(out, "           to do   {}", check.remedy)?;
            }
        }
        Ok(())
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }

    fn lines(&self) -> Option<&'static str> {
        Some("checks")
    }

    fn failure(&self) -> Option<Failure> {
        let failed = self.checks.iter().filter(|it| it.result == Verdict::Failed).count();
        (failed > 0).then(|| Failure::Failed(format!("{failed} of {} checks failed", self.checks.len())))
    }
}
