//! `monitor`: a line for each change, until somebody presses Ctrl-C. A daemon that restarts is a change like others.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use dbus_api::{Reason, State};
use serde::Serialize;

use super::{Surroundings, resources};
use crate::{
    client::Daemon,
    failure::Failure,
    output::{Out, SCHEMA, Show, Style, words},
};

/// Shown below the options.
pub(super) const HELP: &str = "\
With --json each line is an object. Goes on when the daemon restarts; Ctrl-C ends it.

Example: firezonectl monitor --json | jq .state";

/// What was typed after `monitor`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// How often to look for a daemon that is gone.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// What is known at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
struct Moment {
    /// Whether there is a daemon.
    running: bool,
    /// Empty without a daemon.
    state: String,
    reason: String,
    internet_resource_active: bool,
    /// How many resources there are; not known to whom may not see them.
    resources: Option<usize>,
}

/// A moment that differs from the one before.
#[derive(Debug, Serialize)]
struct Change {
    schema: u32,
    /// Unix seconds.
    time: u64,
    #[serde(flatten)]
    now: Moment,
    #[serde(skip)]
    before: Option<Moment>,
}

pub(super) async fn run(around: &mut Surroundings<'_>) -> Result<(), Failure> {
    let mut told = None;
    let mut found = std::mem::replace(&mut around.daemon, Err(Failure::NotRunning));
    loop {
        match found {
            Ok(daemon) => follow(&daemon, &mut told, around.out).await?,
            // A daemon that starts or ends: it will be another one.
            Err(Failure::NotRunning | Failure::Failed(_) | Failure::TimedOut) => {}
            Err(failure) => return Err(failure),
        }
        tell(&mut told, Moment::default(), around.out)?;
        tokio::time::sleep(BETWEEN_LOOKS).await;
        found = Daemon::find().await;
    }
}

/// Shows what changes for as long as this daemon is there. Fails only if nobody reads.
async fn follow(daemon: &Daemon, told: &mut Option<Moment>, out: &mut dyn Out) -> Result<(), Failure> {
    let Ok(mut changes) = daemon.changes().await else { return Ok(()) };
    while let Ok(now) = look(daemon).await {
        tell(told, now, out)?;
        if changes.next().await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn look(daemon: &Daemon) -> Result<Moment, Failure> {
    let phase = daemon.phase().await?;
    let resources = match resources::all(daemon, None).await {
        Ok(all) => Some(all.len()),
        Err(Failure::NotPermitted) => None,
        Err(failure) => return Err(failure),
    };
    let internet_resource_active = daemon.internet_resource_active().await?;
    let reason = phase.reason().map(|it| it.to_string()).unwrap_or_default();
    Ok(Moment { running: true, state: phase.state().to_string(), reason, internet_resource_active, resources })
}

fn tell(told: &mut Option<Moment>, now: Moment, out: &mut dyn Out) -> Result<(), Failure> {
    if told.as_ref() == Some(&now) {
        return Ok(());
    }
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let before = told.replace(now.clone());
    out.show(&Change { schema: SCHEMA, time, now, before })
}

impl Show for Change {
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result {
        let now = &self.now;
        if !now.running {
            return writeln!(out, "The daemon is not running");
        }
        let before = self.before.as_ref().filter(|before| before.running);
        let mut news = Vec::new();
        if before.is_none_or(|it| (&it.state, &it.reason) != (&now.state, &now.reason)) {
            let state = style.state(&State::from(now.state.as_str()));
            news.push(match Reason::published(&now.reason) {
                Some(reason) => format!("{state} ({})", words::reason(&reason)),
                None => state,
            });
        }
        if let Some(count) = now.resources
            && before.is_none_or(|it| it.resources != now.resources)
        {
            news.push(format!("{count} resource{}", if count == 1 { "" } else { "s" }));
        }
        if before.is_some_and(|it| it.internet_resource_active != now.internet_resource_active) {
            let word = if now.internet_resource_active { "on" } else { "off" };
            news.push(format!("Internet resource {word}"));
        }
        writeln!(out, "{}", news.join(", "))
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}
