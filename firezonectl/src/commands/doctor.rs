//! `doctor`: what may be wrong on this machine.

use std::fmt;

use dbus_api::{Check, Verdict};
use doctor::{Facts, Whereabouts, checks};
use serde::Serialize;

use super::Surroundings;
use crate::{
    client::Daemon,
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
    let mut checks = checks::all(&facts);
    // The daemon sees what we do not, if it is there and lets us ask.
    if let Ok(Daemon::Serving(bus)) = &around.daemon
        && let Ok(theirs) = bus.checks().await
    {
        learn(&mut checks, theirs);
    }
    Ok(Examination { schema: SCHEMA, checks, quiet: args.quiet })
}

/// What cannot be told from here is as the daemon says.
fn learn(ours: &mut [Check], theirs: Vec<Check>) {
    for check in ours.iter_mut().filter(|it| it.result == Verdict::Skipped) {
        if let Some(told) = theirs.iter().find(|it| it.id == check.id && it.result != Verdict::Skipped) {
            *check = told.clone();
        }
    }
}

/// Everything that can be found out here and now.
pub(super) async fn facts(around: &Surroundings<'_>) -> Facts {
    let mut known = Facts::default();
    match &around.daemon {
        Ok(Daemon::Serving(bus)) => {
            known.daemon = if bus.is_private { Whereabouts::Socket } else { Whereabouts::Bus };
            known.permissions = bus.permissions().await.ok();
            known.status = bus.status().await.ok();
        }
        Ok(Daemon::Managed(file)) => {
            known.daemon = Whereabouts::File;
            known.status = Some(file.status.clone());
        }
        Err(Failure::NotPermitted) => known.daemon = Whereabouts::Forbidden,
        Err(_) => {}
    }
    ::doctor::look_from_outside(known).await
}

impl Show for Examination {
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result {
        for check in
            self.checks.iter().filter(|it| !self.quiet || matches!(it.result, Verdict::Warning | Verdict::Failed))
        {
            let word = match check.result {
                Verdict::Ok => "ok     ".to_owned(),
                Verdict::Skipped | Verdict::Other(_) => "skipped".to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_tells_what_cannot_be_seen_from_here() {
        let check = |id: &str, result, evidence: &str| Check {
            id: id.to_owned(),
            name: String::new(),
            result,
            evidence: evidence.to_owned(),
            effect: String::new(),
            remedy: String::new(),
        };
        let mut ours = vec![check("FZ001", Verdict::Ok, "ours"), check("FZ002", Verdict::Skipped, "ours")];
        let theirs = vec![check("FZ001", Verdict::Failed, "theirs"), check("FZ002", Verdict::Warning, "theirs")];
        learn(&mut ours, theirs);
        let evidence: Vec<_> = ours.iter().map(|it| it.evidence.as_str()).collect();
        assert_eq!(evidence, ["ours", "theirs"]);
    }
}
