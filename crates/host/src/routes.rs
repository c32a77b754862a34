//! Our three routing tables: which networks belong in which, and how a route looks to the kernel.
//!
//! | table | holds | so that |
//! |---|---|---|
//! | [`RESOURCES`] | tunnel ranges and resources | a resource wins over a local network that it overlaps |
//! | [`LAN`] | copies of the host's on-link networks | these stay reachable beside the Internet resource |
//! | [`INTERNET`] | `0.0.0.0/0`, `::/0` | everything else goes into the tunnel |

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

/// What the kernel gives IPv6 routes that name no metric. We name it, so that what we read back equals what we wrote.
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
    /// A network that belongs into the tunnel. Packets to it must come from our tunnel address. Left to itself the kernel
    /// takes the local address that resembles the destination most (RFC 6724), and towards the invented addresses of names
    /// that is an IPv6 sentinel.
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

    /// Whether the kernel would see both as the same place in a table, so that one has to replace the other.
    pub(super) fn displaces(&self, other: &Self) -> bool {
        (self.table, self.destination, self.metric) == (other.table, other.destination, other.metric)
    }

    /// The message that adds this route.
    pub(super) fn creation(&self) -> RouteNetlinkMessage {
        let mut message = self.message();
        message.header.protocol = RouteProtocol::Static;
        message.header.kind = RouteType::Unicast;
        // Nothing in the tunnel is on a link of ours. With link scope, whoever adds a route by way of a gateway and names
        // no interface would find that gateway in our tunnel. IPv6 has no scopes.
        message.header.scope = match (self.table, self.family()) {
            (LAN, Family::V4) => RouteScope::Link,
            _ => RouteScope::Universe,
        };
        message.attributes.extend(self.source.map(|source| RouteAttribute::PrefSource(source.into())));
        RouteNetlinkMessage::NewRoute(message)
    }

    /// The message that removes this route. It names only its place; the rest is "whatever".
    pub(super) fn removal(&self) -> RouteNetlinkMessage {
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

/// A route as found in the kernel, reduced to what matters to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) route: Route,
    pub(super) gateway: Option<IpAddr>,
    /// A plain single-hop unicast route, whose interface and gateway tell it all.
    pub(super) plain: bool,
    /// The kernel itself says that it leads nowhere now.
    pub(super) dead: bool,
}

impl Found {
    /// `None` for what is not an IP route.
    pub(super) fn read(message: &RouteMessage) -> Option<Self> {
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
            plain: header.kind == RouteType::Unicast && !header.flags.contains(RouteFlags::Cloned),
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
                    found.plain = false;
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

    /// Whether news of it are worth a look: a way to the outside, a local network, or one of ours.
    pub(super) fn may_concern_us(&self) -> bool {
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
    fn what_we_write_is_what_we_read_back() {
        for route in [
            into_tunnel("10.1.0.0/16".parse().unwrap(), 7),
            into_tunnel("fd00:2021:1111::/107".parse().unwrap(), 7),
            into_tunnel("::/0".parse().unwrap(), 7),
            Route { source: Some("192.168.1.9".parse().unwrap()), ..into_tunnel("192.168.1.0/24".parse().unwrap(), 3) },
        ] {
            let RouteNetlinkMessage::NewRoute(message) = route.creation() else { panic!("not a creation") };
            let found = Found::read(&message).unwrap();
            assert_eq!(found.route, route);
            assert!(found.plain && found.is_ours() && found.gateway.is_none());
        }
    }

    #[test]
    fn only_default_routes_belong_to_the_internet_tier() {
        assert_eq!(into_tunnel("0.0.0.0/0".parse().unwrap(), 7).table, INTERNET);
        assert_eq!(into_tunnel("::/0".parse().unwrap(), 7).table, INTERNET);
        assert_eq!(into_tunnel("0.0.0.0/1".parse().unwrap(), 7).table, RESOURCES);
    }

    #[test]
    fn host_bits_of_a_resource_are_cut_off_because_the_kernel_refuses_them() {
        let route = into_tunnel("10.1.2.3/16".parse().unwrap(), 7);
        assert_eq!(route.destination, "10.1.0.0/16".parse::<IpNet>().unwrap());
    }
}
