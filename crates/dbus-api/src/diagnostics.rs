//! `dev.firezone.Client1.Diagnostics`: a deeper look, for help with a problem.

#![allow(missing_docs, reason = "what the proxy macro makes cannot be documented; what we write is")]

use serde::{Deserialize, Serialize};
use zbus::zvariant::{Type, as_value};

use crate::Error;

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
    /// Bytes sent to the gateway, for all of its resources.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub sent_bytes: Option<u64>,
    /// Bytes received from the gateway, for all of its resources.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub received_bytes: Option<u64>,
}

/// A deeper look, for help with a problem.
#[zbus::proxy(
    interface = "dev.firezone.Client1.Diagnostics",
    default_service = "dev.firezone.Client",
    default_path = "/dev/firezone/Client",
    gen_blocking = false
)]
pub trait Diagnostics {
    /// How a resource is reached, by its name or its id.
    fn path(&self, resource: &str) -> Result<ResourcePath, Error>;

    /// Logs by this filter, in the language of the setting `log-filter`; after so many seconds by that setting again.
    /// At most a day. An empty filter goes back at once.
    fn set_log_filter(&self, filter: &str, seconds: u32) -> Result<(), Error>;
}
