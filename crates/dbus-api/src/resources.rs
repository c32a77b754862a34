//! `dev.firezone.Client1.Resources`: what the session lets us reach.

#![allow(missing_docs, reason = "what the proxy macro makes cannot be documented; what we write is")]

use crate::{Error, client::NoOptions, dictionary::dictionary, vocabulary::vocabulary};

vocabulary! {
    /// What a resource is.
    pub enum ResourceKind {
        /// All traffic that no other resource covers.
        Internet = "internet",
        /// Names that match a pattern.
        Dns = "dns",
        /// A network.
        Cidr = "cidr",
    }
}

vocabulary! {
    /// Whether the gateways of a resource are connected.
    #[derive(Default)]
    pub enum ResourceStatus {
        /// No connection was needed yet.
        #[default]
        Unknown = "unknown",
        /// A gateway is connected.
        Online = "online",
        /// The portal reports that no gateway is available.
        Offline = "offline",
    }
}

vocabulary! {
    /// Why the portal refused access to a resource.
    pub enum Refusal {
        /// The conditions of every policy are violated.
        Forbidden = "forbidden",
        /// The gateways do not work with this version of the client.
        VersionMismatch = "version-mismatch",
        /// The portal does not know the resource any more.
        NotFound = "not-found",
        /// No gateway is online.
        Offline = "offline",
        /// The portal gave no reason, or one that the daemon does not know.
        Unspecified = "other",
    }
}

vocabulary! {
    /// A condition of a policy, in the portal's words.
    pub enum Condition {
        /// The public address of this device.
        RemoteIp = "remote_ip",
        /// The region of that address.
        Region = "remote_ip_location_region",
        /// How the actor signed in.
        AuthProvider = "auth_provider_id",
        /// The same, from older portals.
        Provider = "provider_id",
        /// The time of day.
        Time = "current_utc_datetime",
        /// Whether an administrator has verified this device.
        ClientVerified = "client_verified",
    }
}

impl Default for ResourceKind {
    fn default() -> Self {
        Self::Other(String::new())
    }
}

dictionary! {
    /// Which resources to list; an empty filter means all.
    pub struct Filter {
        /// Only those whose name contains this text, in whatever case.
        name: Option<String>,
    }
}

dictionary! {
    /// One resource.
    pub struct Resource {
        /// Its identity, a UUID.
        id: String,
        /// What it is.
        kind: ResourceKind,
        /// Its name.
        name: String,
        /// The pattern of its names, or its network. The Internet resource has none.
        address: Option<String>,
        /// A URL or free text.
        address_description["address-description"]: Option<String>,
        /// The names of its sites.
        sites: Vec<String>,
        /// Whether its gateways are connected.
        status: ResourceStatus,
        /// Why the portal refused access at the last request. Absent if it granted it, or there was no request.
        refusal: Option<Refusal>,
        /// With [`Refusal::Forbidden`]: the violated conditions, as far as the portal named them.
        violated: Vec<Condition> as AbsentIfEmpty,
    }
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
