//! `dev.firezone.Client1.Resources`: what the session lets us reach.

#![allow(missing_docs, reason = "what the proxy macro makes cannot be documented; what we write is")]

use serde::{Deserialize, Serialize};
use zbus::zvariant::{Type, as_value};

use crate::{Error, client::NoOptions};

/// Which resources to list; nothing means all.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, Type)]
#[serde(default, rename_all = "kebab-case")]
#[zvariant(signature = "dict")]
pub struct Filter {
    /// Only those whose name contains this text, in whatever case.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// One resource.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, Type)]
#[serde(default, rename_all = "kebab-case")]
#[zvariant(signature = "dict")]
pub struct Resource {
    /// Its identity, a UUID.
    #[serde(with = "as_value")]
    pub id: String,
    /// `internet`, `dns` or `cidr`.
    #[serde(with = "as_value")]
    pub kind: String,
    /// What it is called.
    #[serde(with = "as_value")]
    pub name: String,
    /// The pattern of its names, or its network. The Internet resource has none.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// A URL or free text.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub address_description: Option<String>,
    /// The names of the sites where it is.
    #[serde(with = "as_value")]
    pub sites: Vec<String>,
    /// Whether its gateways are there: `online`, `offline` or `unknown`.
    #[serde(with = "as_value")]
    pub status: String,
    /// Why the portal did not let us use it when it was asked last: `forbidden` (the conditions of every policy are
    /// violated), `version-mismatch`, `not-found` or `other`. Absent if it did, or was not asked.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// With `forbidden`: which conditions are violated, in the portal's words, for example `remote_ip`,
    /// `remote_ip_location_region`, `auth_provider_id`, `current_utc_datetime`, `client_verified`. Absent if it named none.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub violated: Option<Vec<String>>,
}

/// What the session lets us reach.
#[zbus::proxy(
    interface = "dev.firezone.Client1.Resources",
    default_service = "dev.firezone.Client",
    default_path = "/dev/firezone/Client",
    gen_blocking = false
)]
pub trait Resources {
    /// The resources, the Internet resource first, then by name; and the number that [`Self::changed`] will exceed.
    fn list(&self, filter: Filter) -> Result<(u64, Vec<Resource>), Error>;

    /// Switches the use of the Internet resource on or off; kept until the daemon stops.
    fn set_internet_resource(&self, active: bool, options: NoOptions) -> Result<(), Error>;

    /// What `List` says has changed. Numbers only grow.
    #[zbus(signal)]
    fn changed(&self, generation: u64) -> zbus::Result<()>;
}
