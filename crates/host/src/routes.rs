//! Our three routing tables, and routes as netlink messages.
//!
//! | table | content | purpose |
//! |---|---|---|
//! | [`RESOURCES`] | tunnel ranges and resources | a resource takes precedence over an overlapping local network |
//! | [`LAN`] | copies of the host's on-link networks | local networks stay reachable beside the Internet resource |
//! | [`INTERNET`] | `0.0.0.0/0`, `::/0` | all other traffic enters the tunnel |

use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::family::Family;
use session::Addresses;

/// "FZ" and a tier. Upstream clients and gateways use 0x2021fd00 to 02, which a gateway flushes when it starts.
pub(super) const RESOURCES: u32 = 0x0046_5a00;
/// See the table at the top of this file.
pub(super) const LAN: u32 = 0x0046_5a01;
/// See the table at the top of this file.
pub(super) const INTERNET: u32 = 0x0046_5a02;

const MAIN: u32 = 254;

/// The kernel's default metric of IPv6 routes. Set explicitly, so that a route reads back as it was written.
const DEFAULT_METRIC_V6: u32 = 1024;

/// A route without gateway in one of our tables.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Route {
    pub(super) table: u32,
    pub(super) destination: IpNet,
    pub(super) interface: u32,
    pub(super) metric: u32,
    pub(super) source: Option<IpAddr>,
}

impl Route {
    /// A route of a network into the tunnel. It sets the tunnel address as source: by default the kernel chooses the local
    /// address with the longest matching prefix (RFC 6724), which for the assigned addresses of names is an IPv6 sentinel.
    pub(super) fn into_tunnel(destination: IpNet, interface: u32, addresses: &Addresses) -> Self {
        let destination = destination.trunc();
        let table = if destination.prefix_len() == 0 { INTERNET } else { RESOURCES };
        let (metric, source) = match Family::of(destination.addr()) {
            Family::V4 => (0, IpAddr::V4(addresses.v4)),
            Family::V6 => (DEFAULT_METRIC_V6, IpAddr::V6(addresses.v6)),
        };
        Self { table, destination, interface, metric, source: Some(source) }
    }

    pub(super) fn family(&self) -> Family {
        Family::of(self.destination.addr())
    }

    /// Whether both have the same key in the kernel, so that one has to replace the other.
    pub(super) fn displaces(&self, other: &Self) -> bool {
        (self.table, self.destination, self.metric) == (other.table, other.destination, other.metric)
    }

    /// The message that adds this route.
    pub(super) fn add_request(&self) -> RouteNetlinkMessage {
        let mut message = self.message();
        message.header.protocol = RouteProtocol::Static;
        message.header.kind = RouteType::Unicast;
        // Destinations in the tunnel are not on-link. With link scope, a program that adds a route through a gateway without
        // naming an interface would find that gateway in our tunnel. IPv6 routes have no scope.
        message.header.scope = match (self.table, self.family()) {
            (LAN, Family::V4) => RouteScope::Link,
            _ => RouteScope::Universe,
        };
        message.attributes.extend(self.source.map(|source| RouteAttribute::PrefSource(source.into())));
        RouteNetlinkMessage::NewRoute(message)
    }

    /// The message that removes this route, identified by its key alone.
    pub(super) fn delete_request(&self) -> RouteNetlinkMessage {
        let mut message = self.message();
        message.header.scope = RouteScope::NoWhere;
        RouteNetlinkMessage::DelRoute(message)
    }

    fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = self.family().into();
        message.header.destination_prefix_length = self.destination.prefix_len();
        message.attributes.push(RouteAttribute::Table(self.table));
        if self.destination.prefix_len() > 0 {
            message.attributes.push(RouteAttribute::Destination(self.destination.addr().into()));
        }
        if self.interface != 0 {
            message.attributes.push(RouteAttribute::Oif(self.interface));
        }
        if self.metric != 0 {
            message.attributes.push(RouteAttribute::Priority(self.metric));
        }
        message
    }
}

/// A route of the kernel, reduced to the relevant properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KernelRoute {
    pub(super) route: Route,
    pub(super) gateway: Option<IpAddr>,
    /// A unicast route with one next hop, described completely by its interface and gateway.
    pub(super) single_hop: bool,
    /// The kernel reports that its link is dead or down.
    pub(super) dead: bool,
}

impl KernelRoute {
    /// `None` for what is not an IP route.
    pub(super) fn parse(message: &RouteMessage) -> Option<Self> {
        let header = &message.header;
        let unspecified = match header.address_family {
            AddressFamily::Inet => IpAddr::from([0; 4]),
            AddressFamily::Inet6 => IpAddr::from([0; 16]),
            _ => return None,
        };

        let mut destination = unspecified;
        let mut found = Self {
            route: Route {
                table: u32::from(header.table),
                destination: IpNet::new(unspecified, header.destination_prefix_length).ok()?,
                interface: 0,
                metric: 0,
                source: None,
            },
            gateway: None,
            single_hop: header.kind == RouteType::Unicast && !header.flags.contains(RouteFlags::Cloned),
            dead: header.flags.intersects(RouteFlags::Dead | RouteFlags::Linkdown),
        };
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => destination = ip(address)?,
                RouteAttribute::Gateway(address) => found.gateway = Some(ip(address)?),
                RouteAttribute::PrefSource(address) => found.route.source = ip(address),
                RouteAttribute::Oif(index) => found.route.interface = *index,
                RouteAttribute::Priority(metric) => found.route.metric = *metric,
                RouteAttribute::Table(table) => found.route.table = *table,
                RouteAttribute::Via(_) | RouteAttribute::MultiPath(_) | RouteAttribute::Encap(_) => {
                    found.single_hop = false;
                }
                _ => {}
            }
        }
        found.route.destination = IpNet::new(destination, header.destination_prefix_length).ok()?;
        Some(found)
    }

    pub(super) fn is_ours(&self) -> bool {
        is_ours(self.route.table)
    }

    pub(super) fn is_main(&self) -> bool {
        self.route.table == MAIN
    }

    /// Whether a change of it is relevant: an uplink, a local network, or one of ours.
    pub(super) fn is_relevant(&self) -> bool {
        self.is_ours() || (self.is_main() && (self.gateway.is_none() || self.route.destination.prefix_len() <= 1))
    }
}

pub(super) fn is_ours(table: u32) -> bool {
    matches!(table, RESOURCES | LAN | INTERNET)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn into_tunnel(destination: IpNet, interface: u32) -> Route {
        let (v4, v6) = ("100.64.0.5".parse().unwrap(), "fd00:2021:1111::5".parse().unwrap());
        Route::into_tunnel(destination, interface, &Addresses { v4, v6, sentinels: Vec::new() })
    }

    #[test]
    fn written_message_is_parsed_back() {
        for route in [
            into_tunnel("10.1.0.0/16".parse().unwrap(), 7),
            into_tunnel("fd00:2021:1111::/107".parse().unwrap(), 7),
            into_tunnel("::/0".parse().unwrap(), 7),
            Route { source: Some("192.168.1.9".parse().unwrap()), ..into_tunnel("192.168.1.0/24".parse().unwrap(), 3) },
        ] {
            let RouteNetlinkMessage::NewRoute(message) = route.add_request() else { panic!("not a creation") };
            let found = KernelRoute::parse(&message).unwrap();
            assert_eq!(found.route, route);
            assert!(found.single_hop && found.is_ours() && found.gateway.is_none());
        }
    }

    #[test]
    fn only_default_routes_use_the_internet_table() {
        assert_eq!(into_tunnel("0.0.0.0/0".parse().unwrap(), 7).table, INTERNET);
        assert_eq!(into_tunnel("::/0".parse().unwrap(), 7).table, INTERNET);
        assert_eq!(into_tunnel("0.0.0.0/1".parse().unwrap(), 7).table, RESOURCES);
    }

    #[test]
    fn host_bits_of_a_resource_are_cleared() {
        let route = into_tunnel("10.1.2.3/16".parse().unwrap(), 7);
        assert_eq!(route.destination, "10.1.0.0/16".parse::<IpNet>().unwrap());
    }
}
