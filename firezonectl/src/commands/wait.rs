//! `wait`: until something is so.

use std::{fmt, str::FromStr, time::Duration};

use dbus_api::State;
use serde::Serialize;

use super::resources;
use crate::{
    client::Daemon,
    failure::Failure,
    output::{SCHEMA, Show, Style},
};

/// Shown below the options.
pub(super) const HELP: &str = "\
A resource counts as soon as it is listed and not offline.

Example: firezonectl wait --for resource=\"Company wiki\" --timeout 30";

/// What was typed after `wait`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A state, as in the JSON of `status`, or resource=NAME
    #[arg(long = "for", value_name = "STATE|resource=NAME", default_value = "connected")]
    what: Goal,

    /// At most so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

/// What shall be so.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Goal {
    State(State),
    Resource(String),
}

/// What is so.
#[derive(Debug, Serialize)]
pub(super) struct Reached {
    schema: u32,
    state: String,
    /// The resource, if one was waited for.
    resource: Option<String>,
}

pub(super) async fn run(args: &Args, daemon: &Daemon) -> Result<Reached, Failure> {
    let until = async {
        let mut changes = daemon.changes().await?;
        loop {
            if let Some(reached) = look(&args.what, daemon).await? {
                return Ok(reached);
            }
            changes.next().await?;
        }
    };
    tokio::time::timeout(Duration::from_secs(args.timeout), until).await.map_err(|_| Failure::TimedOut)?
}

async fn look(goal: &Goal, daemon: &Daemon) -> Result<Option<Reached>, Failure> {
    let (state, _reason) = daemon.state().await?;
    let reached = |resource| Reached { schema: SCHEMA, state: state.to_string(), resource };
    Ok(match goal {
        Goal::State(wanted) => (*wanted == state).then(|| reached(None)),
        Goal::Resource(name) => {
            let wanted = name.to_lowercase();
            let all = resources::all(daemon, Some(name.clone())).await?;
            let found = all.into_iter().find(|it| it.name.to_lowercase() == wanted && it.status != "offline");
            found.map(|it| reached(Some(it.name)))
        }
    })
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("resource=") {
            return Ok(Self::Resource(name.to_owned()));
        }
        match State::from(text) {
            State::Unknown => Err("neither a state nor resource=NAME".to_owned()),
            state => Ok(Self::State(state)),
        }
    }
}

impl Show for Reached {
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result {
        writeln!(out, "{}", style.state(State::from(self.state.as_str())))
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals() {
        assert_eq!("signed-out".parse(), Ok(Goal::State(State::SignedOut)));
        assert_eq!("resource=a=b".parse(), Ok(Goal::Resource("a=b".to_owned())));
        assert!("happy".parse::<Goal>().is_err());
        assert!("unknown".parse::<Goal>().is_err());
    }
}
