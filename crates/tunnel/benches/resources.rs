//! The cost of many resources: when they are listed, and per packet.
//!
//! Half of the resources are DNS resources, half are networks of different sizes. Look-ups are measured with packets that
//! the filters reject and with packets without a resource: both pass the complete decision and need no connection.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a measurement needs the clock")]

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use divan::{Bencher, black_box};
use dns::{Assignments, Question};
use ip_packet::{IpPacket, build};
use model::{
    CidrResource, DnsResource, Filter, FromPortal, Interface, IpStack, Resource, ResourceId, Site, SiteId,
    message::Init,
};
use tunnel::{Event, QueryId, Tunnel};

const SIZES: [u32; 2] = [10, 10_000];
/// Packets go to this many destinations in turn, spread over all resources: the look-up is measured, not how many packets
/// fit into the processor's cache.
const DESTINATIONS: u32 = 5;

fn main() {
    divan::main();
}

/// The portal sends its complete state.
#[divan::bench(args = SIZES)]
fn init(bencher: Bencher<'_, '_>, resources: u32) {
    bencher.with_inputs(|| (empty(), snapshot(resources))).bench_values(|(mut tunnel, init)| {
        tunnel.handle_portal(init, Instant::now());
        while let Some(event) = tunnel.poll_event() {
            black_box(event);
        }
        tunnel
    });
}

/// The portal repeats its complete state without changes.
#[divan::bench(args = SIZES)]
fn init_again(bencher: Bencher<'_, '_>, resources: u32) {
    let mut tunnel = tunnel_with(resources);
    bencher.with_inputs(|| snapshot(resources)).bench_local_values(|init| {
        tunnel.handle_portal(init, Instant::now());
        while let Some(event) = tunnel.poll_event() {
            black_box(event);
        }
    });
}

/// A packet to a network whose filters reject it.
#[divan::bench(args = SIZES, sample_size = 1000)]
fn packet_to_a_network(bencher: Bencher<'_, '_>, resources: u32) {
    let mut tunnel = tunnel_with(resources);
    let packets: Vec<IpPacket> = spread(resources).map(|number| packet(host(number))).collect();
    send(bencher, &mut tunnel, &packets);
}

/// A packet to a name whose filters reject it.
#[divan::bench(args = SIZES, sample_size = 1000)]
fn packet_to_a_name(bencher: Bencher<'_, '_>, resources: u32) {
    let mut tunnel = tunnel_with(resources);
    for number in 0..resources / 2 {
        resolve(&mut tunnel, number);
    }
    let packets: Vec<IpPacket> = spread(resources).map(|number| packet(resolve(&mut tunnel, number))).collect();
    send(bencher, &mut tunnel, &packets);
}

/// A packet without a resource.
#[divan::bench(args = SIZES, sample_size = 1000)]
fn packet_without_route(bencher: Bencher<'_, '_>, resources: u32) {
    let mut tunnel = tunnel_with(resources);
    let packets: Vec<IpPacket> =
        spread(resources).map(|number| packet(Ipv4Addr::from_bits(0xcb00_7100 + number).into())).collect();
    send(bencher, &mut tunnel, &packets);
}

/// A program resolves a name that has addresses already.
#[divan::bench(args = SIZES, sample_size = 1000)]
fn query(bencher: Bencher<'_, '_>, resources: u32) {
    let mut tunnel = tunnel_with(resources);
    for number in 0..resources / 2 {
        resolve(&mut tunnel, number);
    }
    let mut order = spread(resources).cycle();
    bencher.bench_local(|| black_box(resolve(&mut tunnel, order.next().unwrap())));
}

fn send(bencher: Bencher<'_, '_>, tunnel: &mut Tunnel, packets: &[IpPacket]) {
    let now = Instant::now();
    let mut order = packets.iter().cycle();
    bencher.with_inputs(|| order.next().unwrap().clone()).bench_local_values(|packet| {
        tunnel.handle_outbound(packet, now);
        tunnel.poll_packet()
    });
}

/// The indices of some resources, far apart.
fn spread(resources: u32) -> impl Iterator<Item = u32> + Clone {
    (0..DESTINATIONS).map(move |index| index * (resources / 2 / DESTINATIONS))
}

fn empty() -> Tunnel {
    Tunnel::new(Instant::now(), Duration::from_secs(1_800_000_000), [7; 32], Assignments::default())
}

/// A tunnel with this many resources.
fn tunnel_with(resources: u32) -> Tunnel {
    let mut tunnel = empty();
    tunnel.handle_portal(snapshot(resources), Instant::now());
    while tunnel.poll_event().is_some() {}
    tunnel
}

fn snapshot(resources: u32) -> FromPortal {
    let resources = (0..resources / 2).flat_map(|number| [names(number), network(number)]).collect();
    let interface = Interface {
        ipv4: "100.64.0.7".parse().unwrap(),
        ipv6: "fd00:2021:1111::7".parse().unwrap(),
        upstream_do53: vec!["1.1.1.1".parse().unwrap()],
        upstream_doh: Vec::new(),
        search_domain: None,
    };
    FromPortal::Init(Box::new(Init { interface, resources, relays: Vec::new(), authorizations: Vec::new() }))
}

/// Even indices are single names, odd ones are all names below a domain.
fn names(number: u32) -> Resource {
    let address = if number.is_multiple_of(2) {
        format!("host-{number}.corp.example.com")
    } else {
        format!("**.team-{number}.corp.example.com")
    };
    Resource::Dns(DnsResource {
        id: ResourceId::from_u128(u128::from(number) << 32),
        address,
        name: format!("names {number}"),
        address_description: None,
        sites: vec![site()],
        ip_stack: IpStack::Dual,
        filters: std::iter::once(Filter::Tcp(443..=443)).collect(),
    })
}

/// From /20 to /24, so that the same five prefix lengths are in use for any number of resources.
fn network(number: u32) -> Resource {
    let length = 20 + u8::try_from(number % 5).unwrap();
    Resource::Cidr(CidrResource {
        id: ResourceId::from_u128(u128::from(number) + 1),
        address: ipnet::IpNet::new(host(number), length).unwrap().trunc(),
        name: format!("network {number}"),
        address_description: None,
        sites: vec![site()],
        filters: std::iter::once(Filter::Tcp(443..=443)).collect(),
    })
}

/// An address in the network with this number. Networks are 4 096 addresses apart.
fn host(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0005 + number * 4096).into()
}

fn site() -> Site {
    Site { id: SiteId::from_u128(1), name: "site".to_owned() }
}

fn packet(destination: IpAddr) -> IpPacket {
    let source: SocketAddr = "100.64.0.7:40000".parse().unwrap();
    build::udp(source, SocketAddr::new(destination, 80), b"hello").unwrap()
}

/// Resolves the name with this index.
fn resolve(tunnel: &mut Tunnel, number: u32) -> IpAddr {
    let name = if number.is_multiple_of(2) {
        format!("host-{number}.corp.example.com")
    } else {
        format!("www.team-{number}.corp.example.com")
    };
    let question = Question::plain(&name, "A".parse().unwrap()).unwrap();
    let sentinel = "100.100.111.1".parse().unwrap();
    tunnel.handle_query(QueryId(number.into()), &question, sentinel, Instant::now());
    while let Some(event) = tunnel.poll_event() {
        if let Event::Decided { decision: dns::Decision::Answer(answer), .. } = event {
            return answer.records[0].data.ip_addr().unwrap();
        }
    }
    panic!("{name} has no address")
}
