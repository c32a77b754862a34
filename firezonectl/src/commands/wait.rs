//! `wait`: until something is so.

use std::{fmt, str::FromStr, time::Duration};

use dbus_api::{ResourceStatus, State};
use serde::Serialize;

use super::{Surroundings, resources};
use crate::{
    client::Daemon,
    failure::Failure,
    output::{SCHEMA, Show, Style},
};

/// How often to look whether the daemon has come.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Shown below the options.
pub(super) const HELP: &str = "\
A resource counts as soon as it is listed and not offline. There is a tunnel while connected and reconnecting; in all \
other states, and without a daemon, this machine is offline.

Example: firezonectl wait --for resource=\"Company wiki\" --timeout 30";

/// What was typed after `wait`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A state, as in the JSON of `status`, offline, or resource=NAME
    #[arg(long = "for", value_name = "STATE|offline|resource=NAME", default_value = "connected")]
    what: Goal,

    /// At most so many seconds; 0 is for ever
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,

    /// Wait for the daemon, too, if it does not run
    #[arg(long)]
    patient: bool,
}

/// What shall be so.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Goal {
    State(State),
    /// There is no tunnel.
    Offline,
    Resource(String),
}

/// What is so.
#[derive(Debug, Serialize)]
pub(super) struct Reached {
    schema: u32,
    state: State,
    /// The resource, if one was waited for.
    resource: Option<String>,
}

pub(super) async fn run(args: &Args, around: &Surroundings<'_>) -> Result<Reached, Failure> {
    let until = async {
        match follow(&args.what, around.daemon()).await {
            Err(Failure::NotRunning) if args.patient => come_and_follow(&args.what).await,
            outcome => outcome,
        }
    };
    match args.timeout {
        0 => until.await,
        seconds => tokio::time::timeout(Duration::from_secs(seconds), until).await.map_err(|_| Failure::TimedOut)?,
    }
}

/// Waits for the daemon as often as it takes.
async fn come_and_follow(goal: &Goal) -> Result<Reached, Failure> {
    let mut looks = tokio::time::interval(BETWEEN_LOOKS);
    loop {
        looks.tick().await;
        match follow(goal, Daemon::find().await.as_ref().map_err(Clone::clone)).await {
            Err(Failure::NotRunning) => {}
            outcome => return outcome,
        }
    }
}

/// Waits while the daemon lives.
async fn follow(goal: &Goal, daemon: Result<&Daemon, Failure>) -> Result<Reached, Failure> {
    let until = async {
        let daemon = daemon?;
        let mut changes = daemon.changes().await?;
        loop {
            if let Some(reached) = look(goal, daemon).await? {
                return Ok(reached);
            }
            changes.next().await?;
        }
    };
    match until.await {
        Err(Failure::NotRunning) if *goal == Goal::Offline => Ok(Reached::state(State::SignedOut)),
        outcome => outcome,
    }
}

async fn look(goal: &Goal, daemon: &Daemon) -> Result<Option<Reached>, Failure> {
    let state = daemon.phase().await?.state();
    Ok(match goal {
        Goal::State(wanted) => (*wanted == state).then(|| Reached::state(state)),
        Goal::Offline => (!matches!(state, State::Connected | State::Reconnecting)).then(|| Reached::state(state)),
        Goal::Resource(name) => {
            let wanted = name.to_lowercase();
            let all = resources::all(daemon, Some(name.clone())).await?;
            let found =
                all.into_iter().find(|it| it.name.to_lowercase() == wanted && it.status != ResourceStatus::Offline);
            found.map(|it| Reached { resource: Some(it.name), ..Reached::state(state) })
        }
    })
}

impl Reached {
    fn state(state: State) -> Self {
        Self { schema: SCHEMA, state, resource: None }
    }
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("resource=") {
            return Ok(Self::Resource(name.to_owned()));
        }
        if text == "offline" {
            return Ok(Self::Offline);
        }
        match State::from(text) {
            State::Other(_) => Err("neither a state, nor offline, nor resource=NAME".to_owned()),
            state => Ok(Self::State(state)),
        }
    }
}

impl Show for Reached {
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result {
        writeln!(out, "{}", style.state(&self.state))
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_daemon_this_machine_is_offline() {
        let gone = || Err(Failure::NotRunning);
        assert_eq!(follow(&Goal::Offline, gone()).await.unwrap().state, State::SignedOut);
        assert_eq!(follow(&Goal::State(State::Connected), gone()).await.unwrap_err(), Failure::NotRunning);
    }

    #[test]
    fn goals() {
        assert_eq!("signed-out".parse(), Ok(Goal::State(State::SignedOut)));
        assert_eq!("offline".parse(), Ok(Goal::Offline));
        assert_eq!("resource=a=b".parse(), Ok(Goal::Resource("a=b".to_owned())));
        assert!("happy".parse::<Goal>().is_err());
        assert!("unknown".parse::<Goal>().is_err());
    }
}
