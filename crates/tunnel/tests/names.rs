//! Names: their addresses, the resolvers that queries go to, and the published interface.

mod support;

use std::net::IpAddr;

use dns::{Decision, Upstream, Via};
use hickory_proto::op::{MessageType, Metadata, OpCode, Query};
use model::{CidrResource, DnsResource, Filter, FromPortal, Interface, IpStack, Resolver, Resource};
use support::{Client, cidr, id, interface, internet, names, network, udp};

#[test]
fn interface_config_maps_sentinels_to_resolvers() {
    let client = Client::with(&[]);

    let published = client.interfaces.last().unwrap();

    let sentinels: Vec<String> = published.sentinels.iter().map(|(ip, _)| ip.to_string()).collect();
    assert_eq!(sentinels, ["100.100.111.1", "fd00:2021:1111:8000:100:100:111:0"]);
    assert_eq!(published.sentinels[0].1, Upstream::Do53("1.1.1.1:53".parse().unwrap()));
    assert_eq!(published.routes.len(), 6);
    assert_eq!(published.ipv4.to_string(), "100.64.0.7");
}

#[test]
fn only_changed_resolvers_are_published() {
    let mut client = Client::with(&[]);
    let with = |resolvers: &[&str]| {
        let upstream_do53 = resolvers.iter().map(|ip| ip.parse().unwrap()).collect();
        FromPortal::ConfigChanged(Interface { upstream_do53, ..interface() })
    };

    client.receive_portal(with(&["2606:4700:4700::1111", "1.1.1.1"]));
    assert_eq!(client.interfaces.len(), 1);
    client.receive_portal(with(&["9.9.9.9"]));
    client.receive_portal(with(&["9.9.9.9"]));
    assert_eq!(client.interfaces.len(), 2);
    assert_eq!(client.interfaces[1].sentinels[0].0.to_string(), "100.100.111.2");
}

#[test]
fn host_resolvers_are_used_when_the_portal_lists_none() {
    let mut client = Client::new();
    client.tunnel.handle_resolvers(&[Resolver::plain("192.168.1.1".parse().unwrap())], client.now);
    client.init_with(Interface { upstream_do53: Vec::new(), ..interface() }, &[cidr(1, "192.168.0.0/16")]);

    let query = client.ask("www.example.org", "A");

    let Some(Decision::Forward { to, via, .. }) = client.decision(query) else { panic!("{:?}", client.decided) };
    assert_eq!(
        (to, *via),
        (&Upstream::Do53("192.168.1.1:53".parse().unwrap()), Via::Host),
        "even inside a CIDR resource"
    );
}

#[test]
fn unmatched_name_goes_to_portal_doh_outside_the_tunnel() {
    let url = model::DohUrl::new("https://dns.example.net/dns-query".parse().unwrap()).unwrap();
    let with_doh = Interface { upstream_do53: Vec::new(), upstream_doh: vec![url.clone()], ..interface() };
    let mut client = Client::new();
    client.init_with(with_doh, &[Resource::Dns(names(1, "*.example.com"))]);
    assert_eq!(client.resolve("db.example.com", "A").len(), 4, "even without another resolver");
    assert_eq!(client.interfaces.last().unwrap().sentinels[0].1, Upstream::Doh(url.clone()));

    client.tunnel.handle_resolvers(&[Resolver::plain("192.168.1.1".parse().unwrap())], client.now);
    client.drain();
    assert_eq!(client.resolve("db.example.com", "A").len(), 4);
    let query = client.ask("www.example.org", "A");
    let Some(Decision::Forward { to, via, .. }) = client.decision(query) else { panic!("{:?}", client.decided) };
    assert_eq!((to, *via), (&Upstream::Doh(url), Via::Host));
}

#[test]
fn portal_resolver_inside_a_cidr_resource_uses_the_tunnel() {
    let filtered = |filters: &[Filter]| {
        Resource::Cidr(CidrResource { filters: filters.iter().cloned().collect(), ..network(1, "1.1.1.0/24") })
    };
    let mut client = Client::with(&[filtered(&[])]);
    let query = client.ask("www.example.org", "A");
    assert!(matches!(client.decision(query), Some(Decision::Forward { via: Via::Tunnel, .. })));

    client.receive_portal(FromPortal::ResourceCreatedOrUpdated(filtered(&[Filter::Tcp(443..=443)])));
    let query = client.ask("www.example.org", "A");
    assert_eq!(client.decision(query), Some(&Decision::ServFail), "the filters forbid DNS");

    client.receive_portal(FromPortal::ResourceDeleted(id(1)));
    let query = client.ask("www.example.org", "A");
    assert!(matches!(client.decision(query), Some(Decision::Forward { via: Via::Host, .. })));
}

#[test]
fn public_resolvers_use_the_tunnel_with_internet_enabled() {
    let mut client = Client::with(&[internet(1)]);
    client.tunnel.switch_internet_resource(true, client.now);
    client.drain();

    let query = client.ask("www.example.org", "A");

    assert!(matches!(client.decision(query), Some(Decision::Forward { via: Via::Tunnel, .. })));
}

#[test]
fn added_resource_resolves_at_once_and_removed_resource_stops_at_once() {
    let mut client = Client::with(&[]);
    let query = client.ask("db.example.com", "A");
    assert!(matches!(client.decision(query), Some(Decision::Forward { .. })));

    client.receive_portal(FromPortal::ResourceCreatedOrUpdated(Resource::Dns(names(1, "*.example.com"))));
    let addresses = client.resolve("db.example.com", "A");
    assert_eq!(addresses.len(), 4);

    client.receive_portal(FromPortal::ResourceDeleted(id(1)));
    let query = client.ask("db.example.com", "A");
    assert!(matches!(client.decision(query), Some(Decision::Forward { .. })));
    client.send(udp(format!("{}:80", addresses[0]), 1));
    assert_eq!(client.take_requests(), []);

    client.receive_portal(FromPortal::ResourceCreatedOrUpdated(Resource::Dns(names(1, "*.example.com"))));
    client.send(udp(format!("{}:80", addresses[0]), 1));
    assert_eq!(client.take_requests().len(), 1, "a program that does not resolve again keeps working");
}

#[test]
fn names_keep_their_addresses_across_sessions() {
    let resource = Resource::Dns(names(1, "*.example.com"));
    let mut client = Client::with(std::slice::from_ref(&resource));
    let before = client.resolve("a.example.com", "A");

    let mut client = Client::with_names(client.tunnel.into_names());
    client.init(&[resource]);

    client.send(udp(format!("{}:80", before[0]), 1));
    assert_eq!(client.take_requests().len(), 1, "without a query");
    assert_eq!(client.resolve("b.example.com", "A")[0].to_string(), "100.96.0.5");
    assert_eq!(client.resolve("a.example.com", "A"), before);
}

#[test]
fn two_single_family_resources_are_both_requested_for_a_name() {
    let only = |number, ip_stack| Resource::Dns(DnsResource { ip_stack, ..names(number, "*.example.com") });
    let mut client = Client::with(&[only(1, IpStack::Ipv4Only), only(2, IpStack::Ipv6Only)]);
    let (v4, v6) = (client.resolve("a.example.com", "A"), client.resolve("a.example.com", "AAAA"));
    assert_eq!((v4.len(), v6.len()), (4, 4));

    client.send(udp(std::net::SocketAddr::new(v4[0], 80), 1));
    client.send(udp(std::net::SocketAddr::new(v6[0], 80), 1));

    assert_eq!(client.take_requests(), [(id(1), vec![]), (id(2), vec![])]);
}

#[test]
fn upstream_answer_is_cached_until_resources_change() {
    let mut client = Client::with(&[]);
    let query = client.ask("www.example.org", "A");
    let Some(Decision::Forward { generation, .. }) = client.decision(query).cloned() else { panic!("forwarded") };
    let question = dns::Question::plain("www.example.org", "A".parse().unwrap()).unwrap();
    let ip: IpAddr = "93.184.216.34".parse().unwrap();
    let record = hickory_proto::rr::Record::from_rdata(question.original_name.clone(), 3600, ip.into());
    let metadata = Metadata::new(7, MessageType::Response, OpCode::Query);
    let query = Query::query(question.original_name.clone(), question.qtype);
    let response = dns::Response { metadata, question: query, answers: vec![record] };
    let cacheable = dns::Cacheable::new(&question, &response).unwrap();

    client.tunnel.handle_answer(generation, cacheable, client.now);
    assert_eq!(client.resolve("www.example.org", "A"), [ip]);

    client.receive_portal(FromPortal::ResourceCreatedOrUpdated(cidr(1, "10.0.0.0/8")));
    let query = client.ask("www.example.org", "A");
    assert!(matches!(client.decision(query), Some(Decision::Forward { .. })));
}

#[test]
fn resource_with_an_invalid_pattern_is_listed_but_matches_nothing() {
    let mut client = Client::with(&[Resource::Dns(names(1, "a**.example.com"))]);
    assert_eq!(client.lists.last().unwrap().len(), 1);
    let query = client.ask("a.example.com", "A");
    assert!(matches!(client.decision(query), Some(Decision::Forward { .. })));
}
