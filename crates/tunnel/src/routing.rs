//! Which resource a packet is for.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use dns::{Assignments, Domain};
use ip_packet::{Transport, icmp::QuotedTransport};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::{CidrResource, DnsResource, Filters, IpStack, ResourceId, address_plan, filter::Protocol};
use rustc_hash::FxHashMap;

use crate::{prefixes::PrefixMap, resources::Resources};

/// The properties of resources that packets are routed by.
///
/// Proxy addresses are not stored here: they belong to a name, and [`Assignments`] stores which resources it matches.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    networks: PrefixMap<BTreeMap<ResourceId, Filters>>,
    names: FxHashMap<ResourceId, (IpStack, Filters)>,
}

/// The resource that a packet is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// The resource.
    pub(crate) resource: ResourceId,
    /// The name that the destination stands for, if it is a DNS resource.
    pub(crate) name: Option<Domain>,
    /// Whether the resource's filters permit the packet.
    pub(crate) is_permitted: bool,
}

impl Routing {
    /// Adds a CIDR resource.
    pub(crate) fn insert(&mut self, resource: &CidrResource) {
        self.networks.entry(resource.address).insert(resource.id, resource.filters.clone());
    }

    /// Removes a CIDR resource.
    pub(crate) fn remove(&mut self, resource: &CidrResource) {
        self.networks.update(resource.address, |resources| {
            resources.remove(&resource.id);
            !resources.is_empty()
        });
    }

    /// Adds a DNS resource.
    pub(crate) fn insert_names(&mut self, resource: &DnsResource) {
        self.names.insert(resource.id, (resource.ip_stack, resource.filters.clone()));
    }

    /// Removes a DNS resource.
    pub(crate) fn remove_names(&mut self, resource: ResourceId) {
        self.names.remove(&resource);
    }

    /// The best resource for a packet to `destination`. DNS resources precede CIDR resources and these precede the
    /// Internet resource, regardless of their filters; within a kind, resources that permit the packet precede others.
    pub(crate) fn route(
        &self,
        resources: &Resources,
        names: &Assignments,
        destination: IpAddr,
        protocol: Protocol,
    ) -> Option<Route> {
        self.by_name(names, destination, protocol)
            .or_else(|| self.by_network(destination, protocol))
            .or_else(|| by_internet_resource(resources, destination))
    }

    /// Whether any CIDR resource contains `ip`, regardless of its filters.
    pub(crate) fn network_contains(&self, ip: IpAddr) -> bool {
        self.networks.containing(ip).next().is_some()
    }

    /// The networks that the host routes into the tunnel.
    pub(crate) fn host_routes(&self, resources: &Resources) -> BTreeSet<IpNet> {
        let everything = resources.active_internet().map(|_| DEFAULT_ROUTES);
        self.networks.networks().chain(address_plan::ranges()).chain(everything.into_iter().flatten()).collect()
    }

    /// The resource with the most specific pattern among those that permit the packet, else among all.
    fn by_name(&self, names: &Assignments, destination: IpAddr, protocol: Protocol) -> Option<Route> {
        let (name, assigned) = names.owner_entry(destination)?;
        let candidates = assigned.matches.iter().filter_map(|(pattern, resource)| {
            let (stack, filters) = self.names.get(resource)?;
            let has_family = match destination {
                IpAddr::V4(_) => stack.has_ipv4(),
                IpAddr::V6(_) => stack.has_ipv6(),
            };
            has_family.then(|| (filters.permit(protocol), pattern, *resource))
        });
        let (is_permitted, _, resource) = candidates.max()?;
        Some(Route { resource, name: Some(name.clone()), is_permitted })
    }

    /// The longest prefix that permits the packet, else the longest of all; between equal networks the greater id.
    fn by_network(&self, destination: IpAddr, protocol: Protocol) -> Option<Route> {
        let mut refused = None;
        for resources in self.networks.containing(destination) {
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
pub(crate) const DEFAULT_ROUTES: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(std::net::Ipv4Addr::UNSPECIFIED, 0)),
    IpNet::V6(Ipv6Net::new_assert(std::net::Ipv6Addr::UNSPECIFIED, 0)),
];

/// The protocol of a packet for filters. `None` for packets that gateways do not route.
pub(crate) fn protocol(transport: Transport) -> Option<Protocol> {
    match transport {
        Transport::Tcp { destination, .. } => Some(Protocol::Tcp(destination)),
        Transport::Udp { destination, .. } => Some(Protocol::Udp(destination)),
        Transport::Echo { .. } => Some(Protocol::Icmp),
        Transport::IcmpError(_) | Transport::OtherIcmp | Transport::Other(_) => None,
    }
}

/// The protocol for filters of a packet that an ICMP error quotes.
pub(crate) fn quoted_protocol(transport: QuotedTransport) -> Protocol {
    match transport {
        QuotedTransport::Tcp { destination, .. } => Protocol::Tcp(destination),
        QuotedTransport::Udp { destination, .. } => Protocol::Udp(destination),
        QuotedTransport::Echo { .. } => Protocol::Icmp,
    }
}

/// The Internet resource covers all addresses but those of clients and gateways, which are never reached through another
/// peer.
fn by_internet_resource(resources: &Resources, destination: IpAddr) -> Option<Route> {
    let resource = resources.active_internet().filter(|_| !address_plan::is_peer(destination))?;
    Some(Route { resource, name: None, is_permitted: true })
}

#[cfg(test)]
mod tests {
    use dns::{Question, Resolvers, Stub};
    use model::{Filter, Resource};

    use super::*;
    use crate::testing::{cidr, dns, internet, start};

    const OPEN: &[Filter] = &[];

    #[derive(Default)]
    struct World {
        resources: Resources,
        routing: Routing,
        stub: Stub,
    }

    impl World {
        fn with_network(mut self, resource: CidrResource) -> Self {
            self.routing.insert(&resource);
            self.resources.insert(Resource::Cidr(resource));
            self
        }

        fn with_names(mut self, resource: DnsResource) -> Self {
            self.stub.upsert(&resource).unwrap();
            self.routing.insert_names(&resource);
            self.resources.insert(Resource::Dns(resource));
            self
        }

        fn with_internet(mut self, number: u128) -> Self {
            self.resources.insert(internet(number));
            self.resources.set_internet_enabled(true);
            self
        }

        /// Resolves the name, so that it has addresses.
        fn with_resolved(mut self, name: &str) -> Self {
            self.stub.set_resolvers(Resolvers::choose(&["9.9.9.9".parse().unwrap()], &[], &[]));
            let sentinel = self.stub.sentinels().servers()[0].0;
            let question = Question::plain(name, "A".parse().unwrap()).unwrap();
            let _ = self.stub.decide(&question, sentinel, |_| dns::Coverage::default(), start());
            self
        }

        fn route(&self, destination: &str, protocol: Protocol) -> Option<(ResourceId, bool)> {
            let destination = destination.parse().unwrap();
            let route = self.routing.route(&self.resources, self.stub.names(), destination, protocol)?;
            Some((route.resource, route.is_permitted))
        }
    }

    fn resource(number: u128) -> ResourceId {
        ResourceId::from_u128(number)
    }

    #[test]
    fn longer_prefix_wins() {
        let world =
            World::default().with_network(cidr(9, "10.0.0.0/8", OPEN)).with_network(cidr(1, "10.20.0.0/16", OPEN));

        assert_eq!(world.route("10.20.0.1", Protocol::Icmp), Some((resource(1), true)));
        assert_eq!(world.route("10.21.0.1", Protocol::Icmp), Some((resource(9), true)));
        assert_eq!(world.route("11.0.0.1", Protocol::Icmp), None);
    }

    #[test]
    fn permitting_network_wins_over_a_longer_prefix() {
        let world = World::default().with_network(cidr(8, "10.0.0.0/8", &[Filter::Icmp])).with_network(cidr(
            16,
            "10.20.0.0/16",
            &[Filter::Udp(80..=80)],
        ));

        assert_eq!(world.route("10.20.0.1", Protocol::Icmp), Some((resource(8), true)));
        assert_eq!(world.route("10.20.0.1", Protocol::Udp(80)), Some((resource(16), true)));
        assert_eq!(world.route("10.20.0.1", Protocol::Udp(81)), Some((resource(16), false)));
    }

    #[test]
    fn greater_id_wins_between_equal_networks_until_removed() {
        let (one, two) = (cidr(1, "10.0.0.0/8", OPEN), cidr(2, "10.0.0.0/8", OPEN));
        let mut world = World::default().with_network(two.clone()).with_network(one);
        assert_eq!(world.route("10.0.0.1", Protocol::Icmp), Some((resource(2), true)));

        world.routing.remove(&two);

        assert_eq!(world.route("10.0.0.1", Protocol::Icmp), Some((resource(1), true)));
    }

    #[test]
    fn more_specific_pattern_wins_unless_only_the_other_permits() {
        let world = World::default()
            .with_names(dns(1, "db.example.com", &[Filter::Tcp(5432..=5432)]))
            .with_names(dns(2, "*.example.com", &[Filter::Tcp(0..=65535)]))
            .with_resolved("db.example.com");

        assert_eq!(world.route("100.96.0.1", Protocol::Tcp(5432)), Some((resource(1), true)));
        assert_eq!(world.route("100.96.0.1", Protocol::Tcp(80)), Some((resource(2), true)));
        assert_eq!(world.route("100.96.0.1", Protocol::Udp(80)), Some((resource(1), false)));
    }

    #[test]
    fn dns_resource_routes_only_its_address_families() {
        let only = |number, ip_stack| DnsResource { ip_stack, ..dns(number, "*.example.com", OPEN) };
        let world = World::default()
            .with_names(only(1, IpStack::Ipv4Only))
            .with_names(only(2, IpStack::Ipv6Only))
            .with_resolved("a.example.com");

        assert_eq!(world.route("100.96.0.1", Protocol::Icmp), Some((resource(1), true)));
        assert_eq!(world.route("fd00:2021:1111:8000::", Protocol::Icmp), Some((resource(2), true)));
    }

    #[test]
    fn proxy_address_of_a_removed_resource_is_unrouted() {
        let mut world = World::default().with_names(dns(1, "*.example.com", OPEN)).with_resolved("a.example.com");
        world.routing.remove_names(resource(1));
        assert_eq!(world.route("100.96.0.1", Protocol::Icmp), None);

        let world = world.with_internet(5);
        assert_eq!(world.route("100.96.0.1", Protocol::Icmp), Some((resource(5), true)));
    }

    #[test]
    fn internet_resource_covers_everything_but_peer_addresses() {
        let world = World::default().with_network(cidr(1, "10.0.0.0/8", &[Filter::Icmp])).with_internet(5);

        assert_eq!(world.route("9.9.9.9", Protocol::Other), Some((resource(5), true)));
        assert_eq!(world.route("2001:db8::1", Protocol::Other), Some((resource(5), true)));
        assert_eq!(world.route("10.0.0.1", Protocol::Tcp(80)), Some((resource(1), false)), "a network shadows it");
        assert_eq!(world.route("100.64.0.9", Protocol::Icmp), None);
        assert_eq!(world.route("fd00:2021:1111::9", Protocol::Icmp), None);
    }

    #[test]
    fn host_routes_include_the_internet_only_while_enabled() {
        let mut world = World::default().with_network(cidr(1, "10.0.0.0/8", OPEN)).with_internet(5);
        let routes = world.routing.host_routes(&world.resources);
        assert_eq!(routes.len(), 9);
        assert!(routes.contains(&DEFAULT_ROUTES[0]) && routes.contains(&DEFAULT_ROUTES[1]));

        world.resources.set_internet_enabled(false);
        let routes = world.routing.host_routes(&world.resources);
        assert_eq!(routes.len(), 7);
        assert!(routes.contains(&"10.0.0.0/8".parse().unwrap()));
        assert!(routes.contains(&"fd00:2021:1111:8000:100:100:111:0/120".parse().unwrap()));
    }
}
