//! The answer of `GetStatus`.

use serde::{Deserialize, Serialize};
use zbus::zvariant::{Type, as_value};

/// Everything about the session that is not for everybody.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, Type)]
#[serde(default, rename_all = "kebab-case")]
#[zvariant(signature = "dict")]
pub struct Status {
    /// Grows with each change; as in `StatusChanged`.
    #[serde(with = "as_value")]
    pub generation: u64,
    /// The property `State`, from the same moment as the rest.
    #[serde(with = "as_value")]
    pub state: String,
    /// The property `Reason`, from the same moment as the rest.
    #[serde(with = "as_value")]
    pub reason: String,
    /// Since when the state is what it is, in Unix seconds.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// The account, as told at sign-in.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub account_slug: Option<String>,
    /// Who signed in, as told at sign-in.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub actor_name: Option<String>,
    /// The user of this machine who asked for the session or, once it is over, for its end. Absent if it was nobody, as
    /// when the portal ended it.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<String>,
    /// Our IPv4 address in the tunnel.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub tunnel_ipv4: Option<String>,
    /// Our IPv6 address in the tunnel.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub tunnel_ipv6: Option<String>,
    /// Whether the portal is joined: `away`, `connecting` or `joined`.
    #[serde(with = "as_value")]
    pub portal: String,
    /// Why the portal was lost last: a code, or absent if it never was.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub portal_error: Option<String>,
    /// Connections to gateways.
    #[serde(with = "as_value")]
    pub gateways: Vec<Gateway>,
    /// Direct connections to other clients.
    #[serde(with = "as_value")]
    pub devices: Vec<Device>,
    /// What does not work as it should.
    #[serde(with = "as_value")]
    pub warnings: Vec<Warning>,
}

/// One connection to a gateway.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, Type)]
#[serde(default, rename_all = "kebab-case")]
#[zvariant(signature = "dict")]
pub struct Gateway {
    /// Its identity, a UUID.
    #[serde(with = "as_value")]
    pub id: String,
    /// `direct`, `relayed` or `connecting`.
    #[serde(with = "as_value")]
    pub path: String,
    /// Seconds since the last handshake.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub last_handshake: Option<u64>,
    /// Microseconds that the last connectivity check of the path took there and back.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub round_trip_microseconds: Option<u64>,
    /// Bytes sent to it.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub sent_bytes: Option<u64>,
    /// Bytes received from it.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub received_bytes: Option<u64>,
}

/// One connection to another client.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, Type)]
#[serde(default, rename_all = "kebab-case")]
#[zvariant(signature = "dict")]
pub struct Device {
    /// Which client.
    #[serde(with = "as_value")]
    pub id: String,
    /// What it is called.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its IPv4 address in the tunnel.
    #[serde(with = "as_value")]
    pub tunnel_ipv4: String,
    /// Its IPv6 address in the tunnel.
    #[serde(with = "as_value")]
    pub tunnel_ipv6: String,
    /// What the device pools are called that it is a member of.
    #[serde(with = "as_value")]
    pub pools: Vec<String>,
}

/// Something that does not work as it should.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, Type)]
#[serde(default, rename_all = "kebab-case")]
#[zvariant(signature = "dict")]
pub struct Warning {
    /// For programs.
    #[serde(with = "as_value")]
    pub code: String,
    /// For people.
    #[serde(with = "as_value")]
    pub text: String,
}
