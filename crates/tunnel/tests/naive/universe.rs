//! The small universe of the naive client: few things of each kind, chosen so that they get in each other's way.

use std::net::IpAddr;

use ip_packet::{IpPacket, build};
use ipnet::IpNet;
use model::{CidrResource, DnsResource, Filter, IpStack, Pool, Resource};

use super::super::world::{self, CLIENT_V4, CLIENT_V6};

/// Each site has one gateway.
pub(crate) const GATEWAYS: usize = 2;
pub(crate) const DEVICES: usize = 2;
pub(crate) const PEERS: usize = 4;
/// What stands for "where devices are" when it is asked whether somebody is there.
pub(crate) const DEVICE_SITE: u128 = 0;
pub(crate) const OUR_PORT: u16 = 40_000;

pub(crate) const NAMES: [&str; 5] =
    ["db.example.com", "a.example.com", "example.com", "x.y.example.org", "www.example.net"];
pub(crate) const TYPES: [&str; 6] = ["A", "A", "AAAA", "HTTPS", "TXT", "MX"];
pub(crate) const PORTS: [u16; 2] = [53, 80];
const NETWORKS: [&str; 5] = ["10.0.0.0/8", "10.20.0.0/16", "10.20.1.7/32", "2001:db8::/32", "2001:db8:20::/48"];
/// The most specific last.
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
pub(crate) struct Thing {
    pub(crate) kind: Kind,
    pub(crate) site: u128,
    pub(crate) filters: Vec<Known>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Names(&'static str, Stack),
    Network(&'static str),
    Internet,
    /// By their indices.
    Pool(Vec<usize>),
}

/// Which families names have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stack {
    Both,
    V4,
    V6,
}

/// What a filter may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
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

/// A packet of a program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet {
    pub(crate) to: IpAddr,
    pub(crate) proto: Proto,
}

/// Something that chooses. Scenarios are made of its choices alone.
pub(crate) trait Choose {
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

/// Ids are small, and each may be anything at one time or another, except that devices have ids of their own.
pub(crate) fn any_thing(chance: &mut impl Choose) -> (u128, Thing) {
    let filters = match chance.below(5) {
        0 | 1 => vec![],
        2 => vec![Known::Icmp],
        3 => vec![Known::Udp(53), Known::Tcp(443)],
        _ => vec![Known::Udp(80), Known::Icmp],
    };
    let site = 1 + chance.below(GATEWAYS) as u128;
    let id = 1 + chance.below(6) as u128;
    let thing = |kind| Thing { kind, site, filters: filters.clone() };
    match chance.below(7) {
        0..3 => (id, thing(Kind::Names(chance.one_of(&PATTERNS), chance.one_of(&STACKS)))),
        3..5 => (id, thing(Kind::Network(chance.one_of(&NETWORKS)))),
        5 => (9, Thing { filters: vec![], ..thing(Kind::Internet) }),
        _ => {
            let members = (GATEWAYS..PEERS).filter(|_| chance.below(3) > 0).collect();
            (7 + chance.below(2) as u128, Thing { site: DEVICE_SITE, ..thing(Kind::Pool(members)) })
        }
    }
}

pub(crate) fn any_packet(chance: &mut impl Choose) -> Packet {
    let to = if chance.below(3) == 0 {
        let place = chance.below(NAMES.len() + 1);
        chance.one_of(&invented(place))
    } else {
        chance.one_of(&DESTINATIONS).parse().unwrap()
    };
    let proto = match chance.below(8) {
        0..4 => Proto::Udp(chance.one_of(&PORTS)),
        4..6 => Proto::Tcp(443),
        6 => Proto::Ping,
        _ => Proto::Gre,
    };
    // Devices and we talk by UDP only.
    let proto = if device_at(to).is_some() { Proto::Udp(chance.one_of(&PORTS)) } else { proto };
    Packet { to, proto }
}

/// The eight addresses of the name that was asked for so many names after the first.
pub(crate) fn invented(place: usize) -> Vec<IpAddr> {
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
    let device = world::device(number);
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

pub(crate) fn permits(filters: &[Known], proto: Proto) -> bool {
    filters.is_empty()
        || filters.iter().any(|filter| match (filter, proto) {
            (Known::Tcp(open), Proto::Tcp(port)) | (Known::Udp(open), Proto::Udp(port)) => *open == port,
            (Known::Icmp, Proto::Ping) => true,
            _ => false,
        })
}

/// The patterns of this universe, understood one by one.
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

pub(crate) fn filters(known: &[Known]) -> model::Filters {
    let filter = |known: &Known| match known {
        Known::Tcp(port) => Filter::Tcp(*port..=*port),
        Known::Udp(port) => Filter::Udp(*port..=*port),
        Known::Icmp => Filter::Icmp,
    };
    known.iter().map(filter).collect()
}

/// The resource as the portal tells it.
pub(crate) fn resource(id: u128, thing: &Thing) -> Resource {
    let sites = vec![world::site(thing.site)];
    let filters = filters(&thing.filters);
    match &thing.kind {
        Kind::Names(pattern, stack) => {
            let ip_stack = match stack {
                Stack::Both => IpStack::Dual,
                Stack::V4 => IpStack::Ipv4Only,
                Stack::V6 => IpStack::Ipv6Only,
            };
            Resource::Dns(DnsResource { sites, filters, ip_stack, name: "x".to_owned(), ..world::names(id, pattern) })
        }
        Kind::Network(network) => {
            Resource::Cidr(CidrResource { sites, filters, name: "x".to_owned(), ..world::network(id, network) })
        }
        Kind::Internet => {
            let Resource::Internet(it) = world::internet(id) else { unreachable!("it is") };
            Resource::Internet(model::InternetResource { sites, ..it })
        }
        Kind::Pool(members) => {
            let numbers: Vec<u8> = members.iter().map(|index| u8::try_from(index + 1).unwrap()).collect();
            Resource::StaticDevicePool(Pool { filters, ..world::pool(id, &numbers) })
        }
    }
}

/// The packet as a program makes it; `number` makes it differ from others.
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
