//! `resource`: one of the things that can be reached.

use std::fmt;

use clap_complete::ArgValueCandidates;
use dbus_api::Resource;
use serde::Serialize;

use super::{completions, resources};
use crate::{
    client::Daemon,
    failure::Failure,
    output::{SCHEMA, Show, Style, printable, words},
};

/// Shown below the options.
pub(super) const HELP: &str = "Example: firezonectl resource \"Company wiki\"";

/// What was typed after `resource`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Its name, in whatever case, or its id
    #[arg(add = ArgValueCandidates::new(completions::resources))]
    name: String,
}

/// All that is known about it.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    schema: u32,
    #[serde(flatten)]
    resource: Resource,
}

pub(super) async fn run(args: &Args, daemon: &Daemon) -> Result<Answer, Failure> {
    Ok(Answer { schema: SCHEMA, resource: find(daemon, &args.name).await? })
}

/// The resource of this name or id. A name that several have is that of the first.
pub(super) async fn find(daemon: &Daemon, name: &str) -> Result<Resource, Failure> {
    let wanted = name.to_lowercase();
    let all = resources::all(daemon, None).await?;
    let found = all.into_iter().find(|it| it.name.to_lowercase() == wanted || it.id == wanted);
    found.ok_or_else(|| unknown(name))
}

/// What to say where there is none.
pub(super) fn unknown(name: &str) -> Failure {
    Failure::NotFound(format!("there is no resource {name:?} (see: firezonectl resources)"))
}

impl Show for Answer {
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result {
        let it = &self.resource;
        writeln!(out, "{}", printable(&it.name))?;
        if let Some(address) = &it.address {
            writeln!(out, "  address      {}", printable(address))?;
        }
        if let Some(description) = &it.address_description {
            writeln!(out, "  description  {}", printable(description))?;
        }
        writeln!(out, "  kind         {}", printable(it.kind.as_str()))?;
        writeln!(out, "  sites        {}", printable(&it.sites.join(", ")))?;
        writeln!(out, "  status       {}", printable(it.status.as_str()))?;
        if let Some(refusal) = &it.refusal {
            let violated: Vec<&str> = it.violated.iter().map(words::condition).collect();
            let violated = if violated.is_empty() { String::new() } else { format!(": {}", violated.join(", ")) };
            let why = format!("{}{violated}", words::refusal(refusal));
            writeln!(out, "  {}      {}", style.warning("refused"), printable(&why))?;
        }
        writeln!(out, "  id           {}", printable(&it.id))
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}
