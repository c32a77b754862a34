//! What people are shown about resources and devices.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{ClientId, ResourceId, Site, message::FailReason};

/// Whether gateways of a site, or of a resource's sites, are there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Status {
    /// No connection, nothing heard.
    #[default]
    Unknown,
    /// A gateway is connected.
    Online,
    /// The portal says that no gateway is there.
    Offline,
}

/// What a resource is, as far as people need to know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Everything else; listed first.
    Internet,
    /// Names.
    Dns,
    /// A network.
    Cidr,
}

/// One line of the resource list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResourceView {
    /// Its identity.
    pub id: ResourceId,
    /// What it is.
    pub kind: Kind,
    /// What it is called.
    pub name: String,
    /// The pattern or network; `None` for the Internet resource.
    pub address: Option<String>,
    /// A URL or free text.
    pub address_description: Option<String>,
    /// Where it is.
    pub sites: Vec<Site>,
    /// Whether its gateways are there.
    pub status: Status,
    /// Why the portal did not let us use it when it was asked last.
    pub refusal: Option<Refusal>,
}

/// The portal does not let us use a resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Why.
    pub reason: FailReason,
    /// Which conditions of the policies do not hold, in the portal's words; only with [`FailReason::Forbidden`].
    pub violated: Vec<String>,
}

/// Another client with which there is a direct connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceView {
    /// Its identity.
    pub id: ClientId,
    /// What it is called, if anybody said so.
    pub name: Option<String>,
    /// Its IPv4 address in the tunnel.
    pub ipv4: Ipv4Addr,
    /// Its IPv6 address in the tunnel.
    pub ipv6: Ipv6Addr,
    /// What the pools are called that it is a member of, sorted.
    pub pools: Vec<String>,
}
