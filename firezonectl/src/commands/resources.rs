//! `resources`: what can be reached.

use std::fmt;

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
}

#[derive(Debug, Serialize)]
struct Resource {
    id: String,
    /// `internet`, `dns` or `cidr`.
    kind: String,
    name: String,
    address: Option<String>,
    address_description: Option<String>,
    sites: Vec<String>,
    /// `online`, `offline` or `unknown`.
    status: String,
}

pub(super) async fn run(args: &Args, daemon: &Daemon) -> Result<Resources, Failure> {
    let resources = match daemon {
        Daemon::Serving(bus) => bus
            .resources(args.filter.clone())
            .await?
            .into_iter()
            .map(|it| Resource {
                id: it.id,
                kind: it.kind,
                name: it.name,
                address: it.address,
                address_description: it.address_description,
                sites: it.sites,
                status: it.status,
            })
            .collect(),
        Daemon::Managed(file) => {
            let wanted = args.filter.as_deref().unwrap_or_default().to_lowercase();
            file.resources
                .iter()
                .filter(|it| it.name.to_lowercase().contains(&wanted))
                .map(|it| Resource {
                    id: it.id.clone(),
                    kind: it.kind.clone(),
                    name: it.name.clone(),
                    address: it.address.clone(),
                    address_description: it.address_description.clone(),
                    sites: it.sites.clone(),
                    status: it.status.clone(),
                })
                .collect()
        }
    };
    Ok(Resources { schema: SCHEMA, resources })
}

impl Show for Resources {
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result {
        if self.resources.is_empty() {
            return writeln!(out, "No resources");
        }
        let rows: Vec<[String; 4]> = self
            .resources
            .iter()
            .map(|it| {
                let address = it.address.clone().unwrap_or_else(|| it.kind.clone());
                [it.name.clone(), address, it.sites.join(", "), it.status.clone()]
            })
            .collect();
        style.table(out, ["NAME", "ADDRESS", "SITE", "STATUS"], &rows)
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}
