//! `resources`: what can be reached.

use std::fmt;

use dbus_api::Resource;
use serde::Serialize;

use crate::{
    client::Daemon,
    failure::Failure,
    output::{SCHEMA, Show, Style},
};

/// Shown below the options.
pub(super) const HELP: &str = "Example: firezonectl resources gitlab";

/// What was typed after `resources`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Show only resources whose name contains this text
    filter: Option<String>,
}

/// The list.
#[derive(Debug, Serialize)]
pub(super) struct Resources {
    schema: u32,
    resources: Vec<Resource>,
    /// Whoever typed it knows it.
    #[serde(skip)]
    filter: Option<String>,
}

pub(super) async fn run(args: &Args, daemon: &Daemon) -> Result<Resources, Failure> {
    let wanted = args.filter.as_deref().unwrap_or_default().to_lowercase();
    let mut resources = all(daemon, args.filter.clone()).await?;
    resources.retain(|it| it.name.to_lowercase().contains(&wanted));
    Ok(Resources { schema: SCHEMA, resources, filter: args.filter.clone() })
}

/// What can be reached; a daemon that serves need not send what does not pass the filter.
pub(super) async fn all(daemon: &Daemon, filter: Option<String>) -> Result<Vec<Resource>, Failure> {
    match daemon {
        Daemon::Serving(bus) => bus.resources(filter).await,
        Daemon::Managed(file) => Ok(file.resources.clone()),
    }
}

impl Show for Resources {
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result {
        if self.resources.is_empty() {
            return match &self.filter {
                Some(filter) => style.line(out, &format!("No resource has {filter:?} in its name")),
                None => writeln!(out, "No resources"),
            };
        }
        let rows: Vec<[String; 4]> = self
            .resources
            .iter()
            .map(|it| {
                let address = it.address.clone().unwrap_or_else(|| it.kind.to_string());
                let refused = if it.refusal.is_some() { ", refused" } else { "" };
                let status = format!("{}{refused}", it.status);
                [it.name.clone(), address, it.sites.join(", "), status]
            })
            .collect();
        style.table(out, ["NAME", "ADDRESS", "SITE", "STATUS"], &rows)
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }

    fn lines(&self) -> Option<&'static str> {
        Some("resources")
    }
}
