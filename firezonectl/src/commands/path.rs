//! `path`: how a resource is reached.

use std::fmt;

use clap_complete::ArgValueCandidates;
use dbus_api::{PathKind, ResourcePath};
use serde::Serialize;

use super::{Surroundings, completions, resource};
use crate::{
    failure::Failure,
    output::{SCHEMA, Show, Style, printable, words},
};

/// Shown below the options.
pub(super) const HELP: &str = "\
There is a path once somebody has used the resource.

Example: firezonectl path \"Company wiki\"";

/// What was typed after `path`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The resource's name, in whatever case, or its id
    #[arg(add = ArgValueCandidates::new(completions::resources))]
    resource: String,
}

/// How it is reached.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    schema: u32,
    #[serde(flatten)]
    path: ResourcePath,
}

pub(super) async fn run(args: &Args, around: &Surroundings<'_>) -> Result<Answer, Failure> {
    let path = around.commanding()?.path(&args.resource).await.map_err(|failure| match failure {
        Failure::NotFound(_) => resource::unknown(&args.resource),
        other => other,
    })?;
    Ok(Answer { schema: SCHEMA, path })
}

impl Show for Answer {
    fn human(&self, out: &mut dyn fmt::Write, _style: &Style) -> fmt::Result {
        let it = &self.path;
        let how = match &it.path {
            PathKind::None => "not connected; it will be when it is used",
            PathKind::Connecting | PathKind::Direct | PathKind::Relayed | PathKind::Other(_) => it.path.as_str(),
        };
        writeln!(out, "{}: {how}", printable(&it.name))?;
        if let Some(gateway) = &it.gateway {
            let site = it.site.as_deref().map(|site| format!(" in {}", printable(site))).unwrap_or_default();
            writeln!(out, "  gateway         {gateway}{site}")?;
        }
        if let Some(time) = it.round_trip_microseconds {
            writeln!(out, "  round trip      {}", words::short_time(time))?;
        }
        if let Some(seconds) = it.last_handshake_seconds {
            writeln!(out, "  last handshake  {} ago", words::duration(seconds))?;
        }
        if let (Some(sent), Some(received)) = (it.sent_bytes, it.received_bytes) {
            writeln!(out, "  traffic         {} sent, {} received", words::size(sent), words::size(received))?;
        }
        Ok(())
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}
