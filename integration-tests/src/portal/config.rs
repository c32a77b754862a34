//! What an account consists of.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::derive::Secret;

/// How to run the portal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    /// Where clients and gateways connect.
    pub listen: Vec<SocketAddr>,
    /// Where people sign in with a browser.
    #[serde(default)]
    pub pages: Vec<SocketAddr>,
    /// Unix socket of the control interface.
    pub control: PathBuf,
    /// Where the directory is kept across restarts. Without it, a restart forgets what happened at run time.
    #[serde(default)]
    pub state: Option<PathBuf>,
    /// The account, as long as there is no kept state.
    pub directory: Directory,
}

/// Everything that a real portal keeps in its database.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Directory {
    /// Part of the gateways' `init`.
    pub account_slug: String,
    /// Who can sign in with a browser.
    #[serde(default)]
    pub people: Vec<Person>,
    /// Tokens of clients.
    #[serde(default)]
    pub client_tokens: Vec<ClientToken>,
    /// Tokens of gateways.
    #[serde(default)]
    pub gateway_tokens: Vec<GatewayToken>,
    /// Tokens of relays.
    #[serde(default)]
    pub relay_tokens: Vec<String>,
    /// Groups of gateways.
    #[serde(default)]
    pub sites: BTreeMap<Uuid, String>,
    /// What clients may reach.
    #[serde(default)]
    pub resources: BTreeMap<Uuid, Resource>,
    /// Relays of the account.
    #[serde(default)]
    pub relays: Vec<Relay>,
    /// DNS settings of the account.
    #[serde(default)]
    pub dns: DnsSettings,
    /// How long a grant lasts.
    #[serde(default = "a_week")]
    pub authorization_seconds: u64,
    /// Clients and gateways that have been here.
    #[serde(default)]
    pub devices: BTreeMap<Uuid, Device>,
    /// Grants that were given.
    #[serde(default)]
    pub authorizations: Vec<Authorization>,
    /// Grants of one client to another.
    #[serde(default)]
    pub device_grants: Vec<DeviceGrant>,
}

/// A user of the account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Person {
    /// What the person is called.
    pub name: String,
    /// What the person signs in with.
    pub email: String,
    /// And the secret that belongs to it.
    pub password: String,
}

/// A token with which a client signs in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientToken {
    /// The token itself.
    pub token: String,
    /// Whose it is.
    pub actor: String,
}

/// A token with which gateways of a site connect.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GatewayToken {
    /// The token itself.
    pub token: String,
    /// The site of its gateways.
    pub site: Uuid,
}

/// A relay with static credentials.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Relay {
    /// Its identity.
    pub id: Uuid,
    /// Where it listens on IPv4.
    pub v4: Option<SocketAddrV4>,
    /// Where it listens on IPv6.
    pub v6: Option<SocketAddrV6>,
    /// What clients log in with.
    pub client: Login,
    /// What gateways log in with.
    pub gateway: Login,
    /// Whether the portal offers it.
    #[serde(default = "yes")]
    pub online: bool,
}

/// TURN credentials.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Login {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

/// DNS settings, in the shape that the interface object has on the wire.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DnsSettings {
    /// Plain resolvers.
    #[serde(default)]
    pub upstream_do53: Vec<IpAddr>,
    /// DNS-over-HTTPS resolvers.
    #[serde(default)]
    pub upstream_doh: Vec<String>,
    /// Domain of single-label names.
    #[serde(default)]
    pub search_domain: Option<String>,
}

/// A resource: where it is, and the members that are sent as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// `dns`, `cidr`, `internet`, `static_device_pool`, `dynamic_device_pool` or anything else that a test wants a client to
    /// see.
    #[serde(rename = "type")]
    pub kind: String,
    /// The site whose gateways serve it. Pools have none.
    #[serde(default)]
    pub site: Uuid,
    /// For people. Not sent for the Internet resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Pattern or network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// URL or free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address_description: Option<String>,
    /// Which address families a DNS resource has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_stack: Option<String>,
    /// What is let through.
    #[serde(default)]
    pub filters: Vec<Value>,
    /// The members of a pool: clients. A dynamic pool knows them by their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Uuid>,
    /// If set, every request for it is refused like this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuse: Option<Refusal>,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// The reason on the wire.
    pub reason: String,
    /// Only with `forbidden`.
    #[serde(default)]
    pub violated_properties: Vec<String>,
}

/// A client or gateway that has been here; it keeps its addresses.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Device {
    /// What it called itself when it was here first.
    #[serde(default)]
    pub name: String,
    /// Its address in the tunnel.
    pub ipv4: Ipv4Addr,
    /// Its address in the tunnel.
    pub ipv6: Ipv6Addr,
    /// What pre-shared keys are derived from.
    pub base_secret: Secret,
}

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// Who may.
    pub client: Uuid,
    /// What.
    pub resource: Uuid,
    /// The gateway.
    pub gateway: Uuid,
    /// Until when, in Unix seconds.
    pub expires_at: u64,
}

/// One client may send to another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeviceGrant {
    /// Who may.
    pub initiator: Uuid,
    /// The target device.
    pub target: Uuid,
    /// As members of which pool.
    pub pool: Uuid,
    /// Until when, in Unix seconds.
    pub expires_at: u64,
}

impl Resource {
    /// Whether it is other clients.
    #[must_use]
    pub fn is_pool(&self) -> bool {
        matches!(self.kind.as_str(), "static_device_pool" | "dynamic_device_pool")
    }

    /// Whether only the filters or texts differ. Everything else means that grants for the old one are void.
    #[must_use]
    pub fn is_at_the_same_place_as(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.site == other.site
            && self.address == other.address
            && self.ip_stack == other.ip_stack
    }
}

fn a_week() -> u64 {
    7 * 24 * 60 * 60
}

fn yes() -> bool {
    true
}
