//! `dev.firezone.Client1.Diagnostics`: a deeper look, for help with a problem.

#![allow(missing_docs, reason = "what the proxy macro makes cannot be documented; what we write is")]

use serde::{Deserialize, Serialize};
use zbus::zvariant::{OwnedFd, Type, as_value};

use crate::{Error, client::NoOptions};

/// How a resource is reached at present.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, Type)]
#[serde(default, rename_all = "kebab-case")]
#[zvariant(signature = "dict")]
pub struct ResourcePath {
    /// The resource, a UUID.
    #[serde(with = "as_value")]
    pub id: String,
    /// What it is called.
    #[serde(with = "as_value")]
    pub name: String,
    /// `direct`, `relayed`, `connecting`, or `none` as long as nobody has used it.
    #[serde(with = "as_value")]
    pub path: String,
    /// The gateway, a UUID.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// The site of that gateway.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Seconds since the last handshake.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub last_handshake: Option<u64>,
    /// Microseconds that the last connectivity check of the path took there and back.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub round_trip_microseconds: Option<u64>,
    /// Bytes sent to the gateway, for all of its resources.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub sent_bytes: Option<u64>,
    /// Bytes received from the gateway, for all of its resources.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub received_bytes: Option<u64>,
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, Type)]
#[serde(default, rename_all = "kebab-case")]
#[zvariant(signature = "dict")]
pub struct Check {
    /// `FZ001` and so on; never reused.
    #[serde(with = "as_value")]
    pub id: String,
    /// What it is about.
    #[serde(with = "as_value")]
    pub name: String,
    /// `ok`, `warning`, `failed`, or `skipped` if it cannot be told.
    #[serde(with = "as_value")]
    pub result: String,
    /// What was found.
    #[serde(with = "as_value")]
    pub evidence: String,
    /// What follows from it; empty if all is well.
    #[serde(with = "as_value")]
    pub effect: String,
    /// What to do about it; empty if there is nothing to do.
    #[serde(with = "as_value")]
    pub remedy: String,
}

/// A deeper look, for help with a problem.
#[zbus::proxy(
    interface = "dev.firezone.Client1.Diagnostics",
    default_service = "dev.firezone.Client",
    default_path = "/dev/firezone/Client",
    gen_blocking = false
)]
pub trait Diagnostics {
    /// Looks for what may be wrong on this machine: the checks with these numbers, or all of them if none is named.
    fn run_checks(&self, checks: &[&str], options: NoOptions) -> Result<Vec<Check>, Error>;

    /// Writes a report for whoever helps: one JSON document, without names, addresses, people and secrets.
    ///
    /// `report` is a memfd that can be written. What was in it is replaced. When the call returns, the report is whole.
    fn collect(&self, report: OwnedFd, options: NoOptions) -> Result<(), Error>;

    /// How a resource is reached, by its name or its id.
    fn path(&self, resource: &str) -> Result<ResourcePath, Error>;

    /// Logs by this filter, in the language of the setting `log-filter`; after so many seconds by that setting again.
    /// At most a day. An empty filter goes back at once.
    fn set_log_filter(&self, filter: &str, seconds: u32) -> Result<(), Error>;
}
