//! The small scenario of the naive client: few resources of each kind, chosen so that they interact.

use std::net::IpAddr;

use ip_packet::{IpPacket, build};
use ipnet::IpNet;
use model::{CidrResource, DnsResource, Filter, IpStack, Pool, Resource};

use super::super::support::{self, CLIENT_V4, CLIENT_V6};

/// Each site has one gateway.
pub(crate) const GATEWAYS: usize = 2;
pub(crate) const DEVICES: usize = 2;
pub(crate) const PEERS: usize = 4;
/// The pseudo site of all devices.
pub(crate) const DEVICE_SITE: u128 = 0;
pub(crate) const OUR_PORT: u16 = 40_000;

pub(crate) const NAMES: [&str; 5] =
    ["db.example.com", "a.example.com", "example.com", "x.y.example.org", "www.example.net"];
pub(crate) const TYPES: [&str; 6] = ["A", "A", "AAAA", "HTTPS", "TXT", "MX"];
pub(crate) const PORTS: [u16; 2] = [53, 80];
const NETWORKS: [&str; 5] = ["10.0.0.0/8", "10.20.0.0/16", "10.20.1.7/32", "2001:db8::/32", "2001:db8:20::/48"];
/// Ordered by specificity, the most specific last.
const PATTERNS: [&str; 4] = ["**.example.org", "**.example.com", "*.example.com", "db.example.com"];
const STACKS: [Stack; 4] = [Stack::Both, Stack::Both, Stack::V4, Stack::V6];
pub(crate) const RANGES: [&str; 6] = [
    "100.64.0.0/11",
    "100.96.0.0/11",
    "100.100.111.0/24",
    "fd00:2021:1111::/107",
    "fd00:2021:1111:8000::/107",
    "fd00:2021:1111:8000:100:100:111:0/120",
];
const DESTINATIONS: [&str; 16] = [
    "10.1.1.1",
    "10.20.0.5",
    "10.20.1.7",
    "9.9.9.9",
    "2001:db8:1::5",
    "2001:db8:20::5",
    "2606:4700::1",
    "100.64.1.1",
    "100.64.1.2",
    "100.64.1.3",
    "fd00:2021:1111::1:4",
    "100.64.1.77",
    CLIENT_V4,
    "224.0.0.251",
    "100.100.111.200",
    "fd00:2021:1111:8000:100:100:111:70",
];

/// A resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModelResource {
    pub(crate) kind: Kind,
    pub(crate) site: u128,
    pub(crate) filters: Vec<ModelFilter>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Names(&'static str, Stack),
    Network(&'static str),
    Internet,
    /// The members' indices.
    Pool(Vec<usize>),
}

/// The address families of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stack {
    Both,
    V4,
    V6,
}

/// A filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ModelFilter {
    Tcp(u16),
    Udp(u16),
    Icmp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proto {
    Tcp(u16),
    Udp(u16),
    Ping,
    Gre,
}

/// A packet that a program sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet {
    pub(crate) to: IpAddr,
    pub(crate) proto: Proto,
}

/// A source of choices that determine a scenario.
pub(crate) trait Choices {
    /// A number below `count`.
    fn below(&mut self, count: usize) -> usize;

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

impl Stack {
    pub(crate) fn has(self, v4: bool) -> bool {
        match self {
            Self::Both => true,
            Self::V4 => v4,
            Self::V6 => !v4,
        }
    }
}

/// Ids are few and shared by all kinds, except that pools have ids of their own.
pub(crate) fn any_resource(choices: &mut impl Choices) -> (u128, ModelResource) {
    let filters = match choices.below(5) {
        0 | 1 => vec![],
        2 => vec![ModelFilter::Icmp],
        3 => vec![ModelFilter::Udp(53), ModelFilter::Tcp(443)],
        _ => vec![ModelFilter::Udp(80), ModelFilter::Icmp],
    };
    let site = 1 + choices.below(GATEWAYS) as u128;
    let id = 1 + choices.below(6) as u128;
    let resource = |kind| ModelResource { kind, site, filters: filters.clone() };
    match choices.below(7) {
        0..3 => (id, resource(Kind::Names(choices.one_of(&PATTERNS), choices.one_of(&STACKS)))),
        3..5 => (id, resource(Kind::Network(choices.one_of(&NETWORKS)))),
        5 => (9, ModelResource { filters: vec![], ..resource(Kind::Internet) }),
        _ => {
            let members = (GATEWAYS..PEERS).filter(|_| choices.below(3) > 0).collect();
            (7 + choices.below(2) as u128, ModelResource { site: DEVICE_SITE, ..resource(Kind::Pool(members)) })
        }
    }
}

pub(crate) fn any_packet(choices: &mut impl Choices) -> Packet {
    let to = if choices.below(3) == 0 {
        let place = choices.below(NAMES.len() + 1);
        choices.one_of(&proxy_addresses(place))
    } else {
        choices.one_of(&DESTINATIONS).parse().unwrap()
    };
    let proto = match choices.below(8) {
        0..4 => Proto::Udp(choices.one_of(&PORTS)),
        4..6 => Proto::Tcp(443),
        6 => Proto::Ping,
        _ => Proto::Gre,
    };
    // Traffic with devices is UDP only.
    let proto = if device_at(to).is_some() { Proto::Udp(choices.one_of(&PORTS)) } else { proto };
    Packet { to, proto }
}

/// The eight proxy addresses of the name at this position in query order.
pub(crate) fn proxy_addresses(place: usize) -> Vec<IpAddr> {
    let v4 = (1..=4).map(|n| IpAddr::from([100, 96, 0, (4 * place + n) as u8]));
    let v6 = (0..4).map(|n| IpAddr::from([0xfd00, 0x2021, 0x1111, 0x8000, 0, 0, 0, (4 * place + n) as u16]));
    v4.chain(v6).collect()
}

pub(crate) fn is_ours(ip: IpAddr) -> bool {
    [CLIENT_V4, CLIENT_V6].contains(&&*ip.to_string())
}

pub(crate) fn is_sentinel(ip: IpAddr) -> bool {
    contains(RANGES[2], ip) || contains(RANGES[5], ip)
}

pub(crate) fn is_peer(ip: IpAddr) -> bool {
    contains(RANGES[0], ip) || contains(RANGES[3], ip)
}

pub(crate) fn contains(network: &str, ip: IpAddr) -> bool {
    network.parse::<IpNet>().unwrap().contains(&ip)
}

pub(crate) fn length(network: &str) -> u8 {
    network.parse::<IpNet>().unwrap().prefix_len()
}

/// Peers are numbered from 1 in their addresses and from 0 in lists.
fn peer_at(ip: IpAddr) -> Option<usize> {
    (0..PEERS).find(|index| addresses_of_peer(*index).contains(&ip))
}

pub(crate) fn addresses_of_peer(index: usize) -> [IpAddr; 2] {
    let number = u8::try_from(index + 1).unwrap();
    let device = support::device(number);
    [device.ipv4.into(), device.ipv6.into()]
}

pub(crate) fn gateway_at(ip: IpAddr) -> Option<usize> {
    peer_at(ip).filter(|index| *index < GATEWAYS)
}

pub(crate) fn device_at(ip: IpAddr) -> Option<usize> {
    peer_at(ip).filter(|index| *index >= GATEWAYS)
}

pub(crate) fn gateway_of(site: u128) -> usize {
    usize::try_from(site).unwrap() - 1
}

pub(crate) fn permits(filters: &[ModelFilter], proto: Proto) -> bool {
    filters.is_empty()
        || filters.iter().any(|filter| match (filter, proto) {
            (ModelFilter::Tcp(open), Proto::Tcp(port)) | (ModelFilter::Udp(open), Proto::Udp(port)) => *open == port,
            (ModelFilter::Icmp, Proto::Ping) => true,
            _ => false,
        })
}

/// Matches the patterns of this scenario, one by one.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    match pattern {
        "**.example.org" => name == "example.org" || name.ends_with(".example.org"),
        "**.example.com" => name == "example.com" || name.ends_with(".example.com"),
        "*.example.com" => {
            name == "example.com" || name.strip_suffix(".example.com").is_some_and(|label| !label.contains('.'))
        }
        exact => exact == name,
    }
}

pub(crate) fn specificity(kind: &Kind) -> usize {
    let Kind::Names(pattern, _) = kind else { return 0 };
    PATTERNS.iter().position(|known| known == pattern).unwrap_or_default()
}

pub(crate) fn filters(known: &[ModelFilter]) -> model::Filters {
    let filter = |known: &ModelFilter| match known {
        ModelFilter::Tcp(port) => Filter::Tcp(*port..=*port),
        ModelFilter::Udp(port) => Filter::Udp(*port..=*port),
        ModelFilter::Icmp => Filter::Icmp,
    };
    known.iter().map(filter).collect()
}

/// The resource as the portal sends it.
pub(crate) fn resource(id: u128, resource: &ModelResource) -> Resource {
    let sites = vec![support::site(resource.site)];
    let filters = filters(&resource.filters);
    match &resource.kind {
        Kind::Names(pattern, stack) => {
            let ip_stack = match stack {
                Stack::Both => IpStack::Dual,
                Stack::V4 => IpStack::Ipv4Only,
                Stack::V6 => IpStack::Ipv6Only,
            };
            Resource::Dns(DnsResource { sites, filters, ip_stack, name: "x".to_owned(), ..support::names(id, pattern) })
        }
        Kind::Network(network) => {
            Resource::Cidr(CidrResource { sites, filters, name: "x".to_owned(), ..support::network(id, network) })
        }
        Kind::Internet => {
            let Resource::Internet(it) = support::internet(id) else { unreachable!("it is") };
            Resource::Internet(model::InternetResource { sites, ..it })
        }
        Kind::Pool(members) => {
            let numbers: Vec<u8> = members.iter().map(|index| u8::try_from(index + 1).unwrap()).collect();
            Resource::StaticDevicePool(Pool { filters, ..support::pool(id, &numbers) })
        }
    }
}

/// The packet as a program sends it; `number` makes it unique.
pub(crate) fn bytes(packet: Packet, number: u16) -> IpPacket {
    let us: IpAddr = if packet.to.is_ipv4() { CLIENT_V4 } else { CLIENT_V6 }.parse().unwrap();
    let at = |ip, port| std::net::SocketAddr::new(ip, port);
    let payload = number.to_be_bytes();
    match packet.proto {
        Proto::Udp(port) => build::udp(at(us, OUR_PORT), at(packet.to, port), &payload),
        Proto::Tcp(port) => {
            let header = build::TcpHeader { sequence: number.into(), ..build::TcpHeader::default() };
            build::tcp(at(us, OUR_PORT), at(packet.to, port), header, &payload)
        }
        Proto::Ping => build::echo_request(us, packet.to, 7, number, &payload),
        Proto::Gre => build::other(us, packet.to, 47, &payload),
    }
    .unwrap()
}
