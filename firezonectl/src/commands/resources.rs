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
    /// Whoever typed it knows it.
    #[serde(skip)]
    filter: Option<String>,
}

/// One line of it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Resource {
    pub(super) id: String,
    /// `internet`, `dns` or `cidr`.
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) address: Option<String>,
    pub(super) address_description: Option<String>,
    pub(super) sites: Vec<String>,
    /// `online`, `offline` or `unknown`.
    pub(super) status: String,
    /// Why the portal did not let us use it when it was asked last: `forbidden`, `version-mismatch`, `not-found`, `other`.
    pub(super) refusal: Option<String>,
    /// Which conditions are violated, in the portal's words.
    pub(super) violated: Vec<String>,
}

pub(super) async fn run(args: &Args, daemon: &Daemon) -> Result<Resources, Failure> {
    let wanted = args.filter.as_deref().unwrap_or_default().to_lowercase();
    let mut resources = all(daemon, args.filter.clone()).await?;
    resources.retain(|it| it.name.to_lowercase().contains(&wanted));
    Ok(Resources { schema: SCHEMA, resources, filter: args.filter.clone() })
}

/// What can be reached; a daemon that serves need not send what does not pass the filter.
pub(super) async fn all(daemon: &Daemon, filter: Option<String>) -> Result<Vec<Resource>, Failure> {
    let resources = match daemon {
        Daemon::Serving(bus) => bus.resources(filter).await?,
        Daemon::Managed(file) => file.resources.iter().cloned().map(dbus_api::Resource::from).collect(),
    };
    Ok(resources.into_iter().map(Resource::from).collect())
}

impl From<dbus_api::Resource> for Resource {
    fn from(it: dbus_api::Resource) -> Self {
        Self {
            id: it.id,
            kind: it.kind,
            name: it.name,
            address: it.address,
            address_description: it.address_description,
            sites: it.sites,
            status: it.status,
            refusal: it.refusal,
            violated: it.violated.unwrap_or_default(),
        }
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
                let address = it.address.clone().unwrap_or_else(|| it.kind.clone());
                let status =
                    it.refusal.as_ref().map_or_else(|| it.status.clone(), |_| format!("{}, refused", it.status));
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
