//! `log-level`: what the daemon logs, for a while.

use std::fmt;

use serde::Serialize;

use super::Surroundings;
use crate::{
    failure::Failure,
    output::{SCHEMA, Show, Style, words},
};

/// Shown below the options.
pub(super) const HELP: &str = "\
Without FILTER the daemon logs as configured again. Restarting it does the same.

Example: firezonectl log-level debug,tunnel=trace --for 300";

/// What was typed after `log-level`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// error, warn, info, debug or trace; or a list as for the setting log-filter
    filter: Option<String>,

    /// For so many seconds, at most a day
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
}

/// What is logged.
#[derive(Debug, Serialize)]
pub(super) struct LogLevel {
    schema: u32,
    /// Nothing means: as configured.
    filter: Option<String>,
    seconds: Option<u32>,
}

pub(super) async fn run(args: &Args, around: &Surroundings<'_>) -> Result<LogLevel, Failure> {
    around.commanding()?.log(args.filter.as_deref().unwrap_or_default(), args.seconds).await?;
    Ok(LogLevel { schema: SCHEMA, filter: args.filter.clone(), seconds: args.filter.as_ref().map(|_| args.seconds) })
}

impl Show for LogLevel {
    fn human(&self, out: &mut dyn fmt::Write, _style: &Style) -> fmt::Result {
        match (&self.filter, self.seconds) {
            (Some(filter), Some(seconds)) => {
                writeln!(out, "Logging {filter} for {}", words::duration(seconds.into()))?;
                writeln!(out, "  to see it  journalctl --unit firezone-client --follow")
            }
            _ => writeln!(out, "Logging as configured"),
        }
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}
