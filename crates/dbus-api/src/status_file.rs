//! What the daemon leaves in a file for those who cannot ask it over the bus, as in service mode.

use serde::{Deserialize, Serialize};

/// Where the file is. Only root and the group `firezone` can read it; it is replaced as a whole.
pub const PATH: &str = "/run/dev.firezone.client/status.json";
/// The number of the format. Keys are only added under the same number.
pub const SCHEMA: u32 = 1;

/// The file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusFile {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `service` or `user`.
    pub mode: String,
    /// The daemon's version.
    pub version: String,
    /// The daemon's process, to tell whether the file is of a daemon that still runs.
    pub pid: u32,
    /// One of [`crate::State`].
    pub state: String,
    /// A code, or empty.
    pub reason: String,
    /// Since when, in Unix seconds.
    pub since: u64,
    /// Whether the Internet resource is switched on.
    pub internet_resource_active: bool,
    /// The account, as told at sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_slug: Option<String>,
    /// Who signed in, as told at sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_name: Option<String>,
    /// Our IPv4 address in the tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_ipv4: Option<String>,
    /// Our IPv6 address in the tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_ipv6: Option<String>,
    /// `away`, `connecting` or `joined`.
    pub portal: String,
    /// Why the portal was lost last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub portal_error: Option<String>,
    /// What does not work as it should.
    pub warnings: Vec<Notice>,
    /// What can be reached.
    pub resources: Vec<Entry>,
}

/// Something that does not work as it should.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Notice {
    /// For programs.
    pub code: String,
    /// For people.
    pub text: String,
}

/// One resource, with the words of [`crate::Resource`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Its identity.
    pub id: String,
    /// What it is.
    pub kind: String,
    /// What it is called.
    pub name: String,
    /// The pattern of its names, or its network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// A URL or free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_description: Option<String>,
    /// Where it is.
    pub sites: Vec<String>,
    /// Whether its gateways are there.
    pub status: String,
    /// Why the portal did not let us use it when it was asked last, if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Which conditions are violated, if the portal named any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violated: Option<Vec<String>>,
}

impl From<Entry> for crate::Resource {
    fn from(it: Entry) -> Self {
        Self {
            id: it.id,
            kind: it.kind,
            name: it.name,
            address: it.address,
            address_description: it.address_description,
            sites: it.sites,
            status: it.status,
            refusal: it.refusal,
            violated: it.violated,
        }
    }
}
