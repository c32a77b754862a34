//! Which resource a packet is for.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use dns::{Assignments, Domain};
use ip_packet::{Transport, icmp::QuotedTransport};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::{CidrResource, Filters, Resource, ResourceId, address_plan, filter::Protocol};

use crate::{prefixes::PrefixMap, resources::Resources};

/// The networks of CIDR resources, and the look-up over everything that can be reached.
///
/// Names have no table of their own here: the addresses belong to the name, and the name knows which resources it
/// matches.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    networks: PrefixMap<BTreeMap<ResourceId, Filters>>,
}

/// Where a packet belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// The resource that it is for.
    pub(crate) resource: ResourceId,
    /// The name that its destination stands for, if the resource is one of names.
    pub(crate) name: Option<Domain>,
    /// Whether the resource's filters let it through.
    pub(crate) is_permitted: bool,
}

impl Routing {
    /// Routes a network.
    pub(crate) fn insert(&mut self, resource: &CidrResource) {
        self.networks.entry(resource.address).insert(resource.id, resource.filters.clone());
    }

    /// Routes it no longer.
    pub(crate) fn remove(&mut self, resource: &CidrResource) {
        self.networks.change(resource.address, |resources| {
            resources.remove(&resource.id);
            !resources.is_empty()
        });
    }

    /// The best resource for a packet to `destination`. Names come before networks and networks before the Internet,
    /// whatever their filters say; among equals one that lets the packet through comes before one that does not.
    pub(crate) fn route(
        &self,
        resources: &Resources,
        names: &Assignments,
        destination: IpAddr,
        protocol: Protocol,
    ) -> Option<Route> {
        by_name(resources, names, destination, protocol)
            .or_else(|| self.by_network(destination, protocol))
            .or_else(|| by_default(resources, destination))
    }

    /// Whether any CIDR resource contains `ip`, whatever its filters.
    pub(crate) fn has_network_with(&self, ip: IpAddr) -> bool {
        self.networks.containing(ip).next().is_some()
    }

    /// What the host has to route into the tunnel.
    pub(crate) fn host_routes(&self, resources: &Resources) -> BTreeSet<IpNet> {
        let everything = resources.active_internet().map(|_| EVERYTHING);
        self.networks.networks().chain(address_plan::ranges()).chain(everything.into_iter().flatten()).collect()
    }

    /// The longest network that lets the packet through, else the longest at all; of equals the greater id.
    fn by_network(&self, destination: IpAddr, protocol: Protocol) -> Option<Route> {
        let mut refused = None;
        for (_, resources) in self.networks.containing(destination) {
            for (&resource, filters) in resources.iter().rev() {
                if filters.permit(protocol) {
                    return Some(Route { resource, name: None, is_permitted: true });
                }
                refused.get_or_insert(Route { resource, name: None, is_permitted: false });
            }
        }
        refused
    }
}

/// Both default routes.
pub(crate) const EVERYTHING: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(std::net::Ipv4Addr::UNSPECIFIED, 0)),
    IpNet::V6(Ipv6Net::new_assert(std::net::Ipv6Addr::UNSPECIFIED, 0)),
];

/// How filters see a packet. `None` for what gateways cannot route.
pub(crate) fn protocol(transport: Transport) -> Option<Protocol> {
    match transport {
        Transport::Tcp { destination, .. } => Some(Protocol::Tcp(destination)),
        Transport::Udp { destination, .. } => Some(Protocol::Udp(destination)),
        Transport::Echo { .. } => Some(Protocol::Icmp),
        Transport::IcmpError(_) | Transport::OtherIcmp | Transport::Other(_) => None,
    }
}

/// How filters saw a packet that is quoted in an error.
pub(crate) fn quoted_protocol(transport: QuotedTransport) -> Protocol {
    match transport {
        QuotedTransport::Tcp { destination, .. } => Protocol::Tcp(destination),
        QuotedTransport::Udp { destination, .. } => Protocol::Udp(destination),
        QuotedTransport::Echo { .. } => Protocol::Icmp,
    }
}

/// The resource with the most specific pattern among those that let the packet through, else among all.
fn by_name(resources: &Resources, names: &Assignments, destination: IpAddr, protocol: Protocol) -> Option<Route> {
    let name = names.owner(destination)?;
    let candidates = names.assigned(name)?.matches.iter().filter_map(|(pattern, id)| {
        let Resource::Dns(resource) = resources.resource(*id)? else { return None };
        let has_family = match destination {
            IpAddr::V4(_) => resource.ip_stack.has_ipv4(),
            IpAddr::V6(_) => resource.ip_stack.has_ipv6(),
        };
        has_family.then(|| (resource.filters.permit(protocol), pattern, *id))
    });
    let (is_permitted, _, resource) = candidates.max()?;
    Some(Route { resource, name: Some(name.clone()), is_permitted })
}

/// The Internet is everywhere but where clients and gateways are: nobody reaches those through somebody else.
fn by_default(resources: &Resources, destination: IpAddr) -> Option<Route> {
    let resource = resources.active_internet().filter(|_| !address_plan::is_peer(destination))?;
    Some(Route { resource, name: None, is_permitted: true })
}
