//! Helpers of this crate's unit tests.

use std::time::Instant;

use ip_packet::{IpPacket, build};
use model::{
    CidrResource, ClientId, Device, DnsResource, Filter, Filters, Interface, InternetResource, IpStack, Pool, Resource,
    ResourceId, Site, SiteId,
};

/// The beginning of virtual time.
#[allow(clippy::disallowed_methods, reason = "an Instant can only be made from the clock; tests count from there")]
pub(crate) fn start() -> Instant {
    Instant::now()
}

pub(crate) fn interface() -> Interface {
    Interface {
        ipv4: "100.64.0.7".parse().unwrap(),
        ipv6: "fd00:2021:1111::7".parse().unwrap(),
        upstream_do53: vec!["1.1.1.1".parse().unwrap()],
        upstream_doh: Vec::new(),
        search_domain: None,
    }
}

pub(crate) fn site(number: u128) -> Site {
    Site { id: SiteId::from_u128(number), name: format!("site {number}") }
}

pub(crate) fn cidr(number: u128, network: &str, filters: &[Filter]) -> CidrResource {
    CidrResource {
        id: ResourceId::from_u128(number),
        address: network.parse().unwrap(),
        name: format!("network {number}"),
        address_description: None,
        sites: vec![site(1)],
        filters: filters.iter().cloned().collect::<Filters>(),
    }
}

pub(crate) fn dns(number: u128, pattern: &str, filters: &[Filter]) -> DnsResource {
    DnsResource {
        id: ResourceId::from_u128(number),
        address: pattern.to_owned(),
        name: format!("names {number}"),
        address_description: None,
        sites: vec![site(1)],
        ip_stack: IpStack::Dual,
        filters: filters.iter().cloned().collect::<Filters>(),
    }
}

pub(crate) fn internet(number: u128) -> Resource {
    let id = ResourceId::from_u128(number);
    Resource::Internet(InternetResource { id, name: "Internet".to_owned(), sites: vec![site(1)] })
}

/// A UDP datagram from the client's own address of the same family.
pub(crate) fn udp_to(destination: &str) -> IpPacket {
    let destination: std::net::SocketAddr = destination.parse().unwrap();
    let source = if destination.is_ipv4() { "100.64.0.7:40000" } else { "[fd00:2021:1111::7]:40000" };
    build::udp(source.parse().unwrap(), destination, b"hi").unwrap()
}

/// The device whose addresses end with its number.
pub(crate) fn device(number: u8) -> Device {
    Device {
        client_id: ClientId::from_u128(number.into()),
        ipv4: [100, 64, 0, number].into(),
        ipv6: format!("fd00:2021:1111::{number:x}").parse().unwrap(),
    }
}

pub(crate) fn pool(number: u128, members: &[Device], filters: &[Filter]) -> Pool<Vec<Device>> {
    Pool {
        id: ResourceId::from_u128(number),
        name: format!("pool {number}"),
        members: members.to_vec(),
        filters: filters.iter().cloned().collect::<Filters>(),
    }
}
