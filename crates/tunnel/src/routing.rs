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

/// What each packet asks about resources, and the look-up over everything that can be reached.
///
/// The addresses of names are not here: they belong to the name, and the name knows which resources it matches.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    networks: PrefixMap<BTreeMap<ResourceId, Filters>>,
    names: FxHashMap<ResourceId, (IpStack, Filters)>,
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

    /// Routes the names of a resource.
    pub(crate) fn insert_names(&mut self, resource: &DnsResource) {
        self.names.insert(resource.id, (resource.ip_stack, resource.filters.clone()));
    }

    /// Routes them no longer.
    pub(crate) fn remove_names(&mut self, resource: ResourceId) {
        self.names.remove(&resource);
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
        self.by_name(names, destination, protocol)
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

    /// The resource with the most specific pattern among those that let the packet through, else among all.
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

    /// The longest network that lets the packet through, else the longest at all; of equals the greater id.
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

/// The Internet is everywhere but where clients and gateways are: nobody reaches those through somebody else.
fn by_default(resources: &Resources, destination: IpAddr) -> Option<Route> {
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
            self.resources.switch_internet(true);
            self
        }

        /// Asks for the name, so that it has addresses.
        fn asked_for(mut self, name: &str) -> Self {
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
    fn the_longer_prefix_wins() {
        let world =
            World::default().with_network(cidr(9, "10.0.0.0/8", OPEN)).with_network(cidr(1, "10.20.0.0/16", OPEN));

        assert_eq!(world.route("10.20.0.1", Protocol::Icmp), Some((resource(1), true)));
        assert_eq!(world.route("10.21.0.1", Protocol::Icmp), Some((resource(9), true)));
        assert_eq!(world.route("11.0.0.1", Protocol::Icmp), None);
    }

    #[test]
    fn a_network_that_permits_the_packet_wins_over_a_longer_one_that_does_not() {
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
    fn of_equal_networks_the_greater_id_wins_and_its_removal_restores_the_other() {
        let (one, two) = (cidr(1, "10.0.0.0/8", OPEN), cidr(2, "10.0.0.0/8", OPEN));
        let mut world = World::default().with_network(two.clone()).with_network(one);
        assert_eq!(world.route("10.0.0.1", Protocol::Icmp), Some((resource(2), true)));

        world.routing.remove(&two);

        assert_eq!(world.route("10.0.0.1", Protocol::Icmp), Some((resource(1), true)));
    }

    #[test]
    fn the_more_specific_pattern_wins_unless_only_the_other_permits_the_packet() {
        let world = World::default()
            .with_names(dns(1, "db.example.com", &[Filter::Tcp(5432..=5432)]))
            .with_names(dns(2, "*.example.com", &[Filter::Tcp(0..=65535)]))
            .asked_for("db.example.com");

        assert_eq!(world.route("100.96.0.1", Protocol::Tcp(5432)), Some((resource(1), true)));
        assert_eq!(world.route("100.96.0.1", Protocol::Tcp(80)), Some((resource(2), true)));
        assert_eq!(world.route("100.96.0.1", Protocol::Udp(80)), Some((resource(1), false)));
    }

    #[test]
    fn a_resource_of_names_routes_only_the_families_it_has() {
        let only = |number, ip_stack| DnsResource { ip_stack, ..dns(number, "*.example.com", OPEN) };
        let world = World::default()
            .with_names(only(1, IpStack::Ipv4Only))
            .with_names(only(2, IpStack::Ipv6Only))
            .asked_for("a.example.com");

        assert_eq!(world.route("100.96.0.1", Protocol::Icmp), Some((resource(1), true)));
        assert_eq!(world.route("fd00:2021:1111:8000::", Protocol::Icmp), Some((resource(2), true)));
    }

    #[test]
    fn an_address_of_a_name_whose_resource_is_gone_belongs_to_nobody() {
        let mut world = World::default().with_names(dns(1, "*.example.com", OPEN)).asked_for("a.example.com");
        world.routing.remove_names(resource(1));
        assert_eq!(world.route("100.96.0.1", Protocol::Icmp), None);

        let world = world.with_internet(5);
        assert_eq!(world.route("100.96.0.1", Protocol::Icmp), Some((resource(5), true)));
    }

    #[test]
    fn the_internet_is_everywhere_but_where_peers_are() {
        let world = World::default().with_network(cidr(1, "10.0.0.0/8", &[Filter::Icmp])).with_internet(5);

        assert_eq!(world.route("9.9.9.9", Protocol::Other), Some((resource(5), true)));
        assert_eq!(world.route("2001:db8::1", Protocol::Other), Some((resource(5), true)));
        assert_eq!(world.route("10.0.0.1", Protocol::Tcp(80)), Some((resource(1), false)), "a network shadows it");
        assert_eq!(world.route("100.64.0.9", Protocol::Icmp), None);
        assert_eq!(world.route("fd00:2021:1111::9", Protocol::Icmp), None);
    }

    #[test]
    fn the_host_routes_networks_our_own_ranges_and_the_internet_while_it_is_wanted() {
        let mut world = World::default().with_network(cidr(1, "10.0.0.0/8", OPEN)).with_internet(5);
        let routes = world.routing.host_routes(&world.resources);
        assert_eq!(routes.len(), 9);
        assert!(routes.contains(&EVERYTHING[0]) && routes.contains(&EVERYTHING[1]));

        world.resources.switch_internet(false);
        let routes = world.routing.host_routes(&world.resources);
        assert_eq!(routes.len(), 7);
        assert!(routes.contains(&"10.0.0.0/8".parse().unwrap()));
        assert!(routes.contains(&"fd00:2021:1111:8000:100:100:111:0/120".parse().unwrap()));
    }
}
