//! Resources and devices as front ends show them.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{ClientId, ResourceId, Site, message::FailureReason};

/// The status of a site or resource.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Status {
    /// No connection, and no refusal.
    #[default]
    Unknown,
    /// A gateway is connected.
    Online,
    /// The portal reports that no gateway is online.
    Offline,
}

/// The type of a resource.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// All other destinations; listed first.
    Internet,
    /// DNS names.
    Dns,
    /// A network.
    Cidr,
}

/// One entry of the resource list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResourceView {
    /// The id.
    pub id: ResourceId,
    /// The type.
    pub kind: Kind,
    /// The display name.
    pub name: String,
    /// The pattern or network; `None` for the Internet resource.
    pub address: Option<String>,
    /// A URL or free text.
    pub address_description: Option<String>,
    /// The sites whose gateways serve it.
    pub sites: Vec<Site>,
    /// The status of its gateways.
    pub status: Status,
    /// The portal's refusal of the last request, if it refused.
    pub refusal: Option<Refusal>,
}

/// The portal's refusal of a request for a resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The reason.
    pub reason: FailureReason,
    /// The violated policy conditions, as named by the portal; only with [`FailureReason::Forbidden`].
    pub violated: Vec<String>,
}

/// Another client with a direct connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceView {
    /// The id.
    pub id: ClientId,
    /// The display name, if known.
    pub name: Option<String>,
    /// The IPv4 address in the tunnel.
    pub ipv4: Ipv4Addr,
    /// The IPv6 address in the tunnel.
    pub ipv6: Ipv6Addr,
    /// The names of its device pools, sorted.
    pub pools: Vec<String>,
}
