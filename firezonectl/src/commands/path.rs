//! `path`: how a resource is reached.

use std::fmt;

use clap_complete::ArgValueCandidates;
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
pub(super) struct Path {
    schema: u32,
    id: String,
    name: String,
    /// `direct`, `relayed`, `connecting` or `none`.
    path: String,
    gateway: Option<String>,
    site: Option<String>,
    last_handshake_seconds: Option<u64>,
    round_trip_microseconds: Option<u64>,
    sent_bytes: Option<u64>,
    received_bytes: Option<u64>,
}

pub(super) async fn run(args: &Args, around: &Surroundings<'_>) -> Result<Path, Failure> {
    let it = around.commanding()?.path(&args.resource).await.map_err(|failure| match failure {
        Failure::NotFound(_) => resource::unknown(&args.resource),
        other => other,
    })?;
    Ok(Path {
        schema: SCHEMA,
        id: it.id,
        name: it.name,
        path: it.path,
        gateway: it.gateway,
        site: it.site,
        last_handshake_seconds: it.last_handshake,
        round_trip_microseconds: it.round_trip_microseconds,
        sent_bytes: it.sent_bytes,
        received_bytes: it.received_bytes,
    })
}

impl Show for Path {
    fn human(&self, out: &mut dyn fmt::Write, _style: &Style) -> fmt::Result {
        let how = match self.path.as_str() {
            "none" => "not connected; it will be when it is used",
            "connecting" => "connecting",
            other => other,
        };
        writeln!(out, "{}: {how}", printable(&self.name))?;
        if let Some(gateway) = &self.gateway {
            let site = self.site.as_deref().map(|site| format!(" in {}", printable(site))).unwrap_or_default();
            writeln!(out, "  gateway         {gateway}{site}")?;
        }
        if let Some(time) = self.round_trip_microseconds {
            writeln!(out, "  round trip      {}", words::short_time(time))?;
        }
        if let Some(seconds) = self.last_handshake_seconds {
            writeln!(out, "  last handshake  {} ago", words::duration(seconds))?;
        }
        if let (Some(sent), Some(received)) = (self.sent_bytes, self.received_bytes) {
            writeln!(out, "  traffic         {} sent, {} received", words::size(sent), words::size(received))?;
        }
        Ok(())
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}
