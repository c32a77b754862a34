//! `dev.firezone.Client1.Dns`: names.

#![allow(missing_docs, reason = "what the proxy macro makes cannot be documented; what we write is")]

use serde::{Deserialize, Serialize};
use zbus::zvariant::{Type, as_value};

use crate::Error;

/// Whom we ask for names that are not ours to answer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, Type)]
#[serde(default, rename_all = "kebab-case")]
#[zvariant(signature = "dict")]
pub struct DnsStatus {
    /// Who chose the resolvers: `portal`, `host`, or `nobody` while there is no session.
    #[serde(with = "as_value")]
    pub origin: String,
    /// The resolvers, in their order.
    #[serde(with = "as_value")]
    pub servers: Vec<Server>,
    /// The domain in which single labels are looked up.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub search_domain: Option<String>,
    /// How many names of resources have addresses.
    #[serde(with = "as_value")]
    pub names: u64,
}

/// A resolver, and how it is reached.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, Type)]
#[serde(default, rename_all = "kebab-case")]
#[zvariant(signature = "dict")]
pub struct Server {
    /// The address on which the daemon stands for it.
    #[serde(with = "as_value")]
    pub sentinel: String,
    /// Its address and port, or its URL.
    #[serde(with = "as_value")]
    pub upstream: String,
    /// How it is asked: `plain`, `tls`, `tls-if-offered` or `https`.
    #[serde(with = "as_value")]
    pub protocol: String,
    /// The name that its certificate must be for, if that is not its address or in its URL.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// On which way: `host`, past the tunnel, or `tunnel`.
    #[serde(with = "as_value")]
    pub via: String,
    /// Why it gave no answer when it was asked last: `timed-out`, `unreachable`, `certificate`, `no-address`, `protocol`,
    /// `loop` (it is on this host and asks the daemon in turn) or `cannot-mark-sockets`. Absent if it gave one, or was not
    /// asked yet.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// Why a name is answered as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, Type)]
#[serde(default, rename_all = "kebab-case")]
#[zvariant(signature = "dict")]
pub struct Explanation {
    /// The name, as it is compared: lower case, letters beyond ASCII encoded.
    #[serde(with = "as_value")]
    pub name: String,
    /// Who answers: `resource`, `device-pool` and `reverse` are answered by the daemon, `blocked` is said not to exist,
    /// `forwarded` is asked of the servers; `no-session` means that nobody asks the daemon.
    #[serde(with = "as_value")]
    pub answer: String,
    /// What the name belongs to, what counts most first.
    #[serde(with = "as_value")]
    pub resources: Vec<Match>,
    /// Its addresses, if it has any yet: a name of a resource gets them when it is asked for the first time.
    #[serde(with = "as_value")]
    pub addresses: Vec<String>,
    /// If it is the reverse name of an address of a resource's name: that name.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub reverse_of: Option<String>,
    /// Whether an answer of a server is remembered.
    #[serde(with = "as_value")]
    pub cached: bool,
    /// Who is asked for what the daemon does not answer itself; which of them depends on whom the system asks.
    #[serde(with = "as_value")]
    pub servers: Vec<Server>,
}

/// A resource to which a name belongs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, Type)]
#[serde(default, rename_all = "kebab-case")]
#[zvariant(signature = "dict")]
pub struct Match {
    /// Its identity, a UUID.
    #[serde(with = "as_value")]
    pub id: String,
    /// What it is called.
    #[serde(with = "as_value")]
    pub name: String,
    /// Its pattern.
    #[serde(with = "as_value")]
    pub pattern: String,
    /// The names of its sites, where services (SRV) and texts (TXT) are asked.
    #[serde(with = "as_value")]
    pub sites: Vec<String>,
}

/// Names.
#[zbus::proxy(
    interface = "dev.firezone.Client1.Dns",
    default_service = "dev.firezone.Client",
    default_path = "/dev/firezone/Client",
    gen_blocking = false
)]
pub trait Dns {
    /// Whom the daemon asks, and how each of them is reached.
    fn get_status(&self) -> Result<DnsStatus, Error>;

    /// Why `name` is answered as it is. Nothing changes by asking this.
    fn explain(&self, name: &str) -> Result<Explanation, Error>;

    /// Forgets what other resolvers said.
    fn flush(&self) -> Result<(), Error>;

    /// Looks anew whether this host asks the daemon for names, and makes it so.
    fn reapply(&self) -> Result<(), Error>;
}
