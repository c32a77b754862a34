//! What the portal lets us reach (`portal.md` 5.3, `tunnel.md` 2.1).

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::{ClientId, Filters, ResourceId, SiteId};

/// One resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resource {
    /// Names that match a pattern.
    Dns(DnsResource),
    /// A network.
    Cidr(CidrResource),
    /// Everything else.
    Internet(InternetResource),
    /// Other clients, listed.
    StaticDevicePool(Pool<Vec<Device>>),
    /// Other clients, found by names that match a pattern.
    DynamicDevicePool(Pool<String>),
}

/// Names that match a pattern with `*`, `**` and `?` (`tunnel.md` 8.4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsResource {
    /// Its identity.
    pub id: ResourceId,
    /// The pattern, as the portal sent it.
    pub address: String,
    /// For people.
    pub name: String,
    /// A URL or free text, for people.
    pub address_description: Option<String>,
    /// Where it is. At present exactly one.
    pub sites: Vec<Site>,
    /// Which address families its names have.
    pub ip_stack: IpStack,
    /// What is let through.
    pub filters: Filters,
}

/// A network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CidrResource {
    /// Its identity.
    pub id: ResourceId,
    /// The network, host bits cleared.
    pub address: IpNet,
    /// For people.
    pub name: String,
    /// A URL or free text, for people.
    pub address_description: Option<String>,
    /// Where it is. At present exactly one.
    pub sites: Vec<Site>,
    /// What is let through.
    pub filters: Filters,
}

/// Everything that no other resource covers. Used only while the user has switched it on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InternetResource {
    /// Its identity.
    pub id: ResourceId,
    /// For people.
    pub name: String,
    /// Where it is. At present exactly one.
    pub sites: Vec<Site>,
}

/// Other clients that may be reached; `M` says which.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool<M> {
    /// Its identity.
    pub id: ResourceId,
    /// For people.
    pub name: String,
    /// The members: a list, or the pattern of their names.
    pub members: M,
    /// What is let through.
    pub filters: Filters,
}

/// A member of a static device pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Whose device.
    pub client_id: ClientId,
    /// Its IPv4 address in the tunnel.
    pub ipv4: Ipv4Addr,
    /// Its IPv6 address in the tunnel.
    pub ipv6: Ipv6Addr,
}

/// A group of gateways. Two sites are the same if their ids are.
#[derive(Clone, PartialEq, Eq, Debug, serde::Deserialize)]
pub struct Site {
    /// Its identity.
    pub id: SiteId,
    /// For people.
    pub name: String,
}

/// Which address families the names of a DNS resource have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IpStack {
    /// Both.
    #[default]
    Dual,
    /// IPv4 only.
    Ipv4Only,
    /// IPv6 only.
    Ipv6Only,
}

impl IpStack {
    /// Whether names have IPv4 addresses.
    #[must_use]
    pub fn has_ipv4(self) -> bool {
        self != Self::Ipv6Only
    }

    /// Whether names have IPv6 addresses.
    #[must_use]
    pub fn has_ipv6(self) -> bool {
        self != Self::Ipv4Only
    }
}

impl Resource {
    /// Its identity.
    #[must_use]
    pub fn id(&self) -> ResourceId {
        match self {
            Self::Dns(it) => it.id,
            Self::Cidr(it) => it.id,
            Self::Internet(it) => it.id,
            Self::StaticDevicePool(it) => it.id,
            Self::DynamicDevicePool(it) => it.id,
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Dns(it) => &it.name,
            Self::Cidr(it) => &it.name,
            Self::Internet(it) => &it.name,
            Self::StaticDevicePool(it) => &it.name,
            Self::DynamicDevicePool(it) => &it.name,
        }
    }

    /// Where it is; device pools are nowhere.
    #[must_use]
    pub fn sites(&self) -> &[Site] {
        match self {
            Self::Dns(it) => &it.sites,
            Self::Cidr(it) => &it.sites,
            Self::Internet(it) => &it.sites,
            Self::StaticDevicePool(_) | Self::DynamicDevicePool(_) => &[],
        }
    }
}
