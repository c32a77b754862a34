//! Tests of the stub resolver from a client's point of view.

use std::{net::Ipv4Addr, time::Duration};

use hickory_proto::{
    op::{Message, MessageType, Metadata, OpCode, Query, ResponseCode},
    rr::Name,
};

use model::Resolver;

use super::*;
use crate::Response;

const ONE: ResourceId = ResourceId::from_u128(1);
const TWO: ResourceId = ResourceId::from_u128(2);
const RESOLVER: &str = "192.168.1.1";

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn resource(id: ResourceId, address: &str, ip_stack: IpStack) -> DnsResource {
    DnsResource {
        id,
        address: address.to_owned(),
        name: String::new(),
        address_description: None,
        sites: Vec::new(),
        ip_stack,
        filters: model::Filters::default(),
    }
}

#[expect(clippy::disallowed_methods, reason = "each test has to begin somewhere")]
fn start() -> Instant {
    Instant::now()
}

/// A client of a stub resolver with one upstream resolver.
struct Client {
    stub: Stub,
    now: Instant,
    coverage: Coverage,
}

impl Client {
    fn with(resources: &[(ResourceId, &str, IpStack)]) -> Self {
        let mut client = Self::with_names(Assignments::default());
        for (id, address, stack) in resources {
            client.stub.upsert(&resource(*id, address, *stack)).expect("a pattern");
        }
        client
    }

    fn with_names(names: Assignments) -> Self {
        let mut stub = Stub::new(names);
        stub.set_resolvers(Resolvers::choose(&[], &[], &[Resolver::plain(ip(RESOLVER))]));
        Self { stub, now: start(), coverage: Coverage::default() }
    }

    fn ask(&mut self, question: &Question) -> StubDecision {
        let (sentinel, _) = self.stub.sentinels().servers()[0];
        let coverage = self.coverage;
        self.stub.decide(question, sentinel, |_| coverage, self.now)
    }

    fn query(&mut self, name: &str, qtype: RecordType) -> StubDecision {
        self.ask(&question(name, qtype))
    }

    /// The records of a local answer as text.
    fn records(&mut self, name: &str, qtype: RecordType) -> Vec<String> {
        match self.query(name, qtype) {
            StubDecision::Local { answer, .. } => {
                assert_eq!(answer.code, ResponseCode::NoError);
                assert!(answer.records.iter().all(|record| record.ttl == 1));
                answer.records.iter().map(|record| record.data.to_string()).collect()
            }
            other => panic!("not answered here: {other:?}"),
        }
    }

    fn is_forwarded(&mut self, name: &str, qtype: RecordType) -> bool {
        match self.query(name, qtype) {
            StubDecision::Decided(Decision::Forward { to, via, .. }) => {
                assert_eq!(to, Upstream::Do53(SocketAddr::new(ip(RESOLVER), 53)));
                assert_eq!(via, Via::Host);
                true
            }
            _ => false,
        }
    }

    fn generation(&mut self) -> CacheGeneration {
        match self.query("elsewhere.test", RecordType::A) {
            StubDecision::Decided(Decision::Forward { generation, .. }) => generation,
            other => panic!("not forwarded: {other:?}"),
        }
    }
}

fn question(name: &str, qtype: RecordType) -> Question {
    Question::plain(name, qtype).expect("a question")
}

fn cacheable(name: &str, qtype: RecordType) -> Cacheable {
    let asked = question(name, qtype);
    let data = match qtype {
        RecordType::A => RData::A(A(Ipv4Addr::new(192, 0, 2, 1))),
        _ => RData::TXT(hickory_proto::rr::rdata::TXT::new(vec!["public".to_owned()])),
    };
    let answers = vec![Record::from_rdata(asked.original_name.clone(), 3600, data)];
    let metadata = Metadata::new(1, MessageType::Response, OpCode::Query);
    let response = Response { metadata, question: Query::query(asked.original_name.clone(), qtype), answers };
    Cacheable::new(&asked, &response).expect("cacheable")
}

#[test]
fn names_get_addresses_in_query_order_for_either_family() {
    let mut client = Client::with(&[(ONE, "*.corp.test", IpStack::Dual)]);
    let v4 = ["100.96.0.1", "100.96.0.2", "100.96.0.3", "100.96.0.4"];
    let v6 = ["fd00:2021:1111:8000::4", "fd00:2021:1111:8000::5", "fd00:2021:1111:8000::6", "fd00:2021:1111:8000::7"];
    assert_eq!(client.records("a.corp.test", RecordType::A), v4);
    assert_eq!(client.records("b.corp.test", RecordType::AAAA), v6);
    assert_eq!(client.records("A.Corp.TEST", RecordType::A), v4);
    assert_eq!(client.records("a.corp.test", RecordType::AAAA)[0], "fd00:2021:1111:8000::");
}

#[test]
fn unmatched_name_is_forwarded() {
    let mut client = Client::with(&[(ONE, "*.corp.test", IpStack::Dual)]);
    for qtype in [RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::SRV, RecordType::PTR] {
        assert!(client.is_forwarded("www.example.test", qtype), "{qtype}");
    }
}

#[test]
fn missing_address_family_of_a_resource_is_empty() {
    let mut client = Client::with(&[(ONE, "six.test", IpStack::Ipv6Only), (TWO, "four.test", IpStack::Ipv4Only)]);
    assert_eq!(client.records("six.test", RecordType::A).len(), 0);
    assert_eq!(client.records("six.test", RecordType::AAAA).len(), 4);
    assert_eq!(client.records("four.test", RecordType::A).len(), 4);
    assert_eq!(client.records("four.test", RecordType::AAAA).len(), 0);
}

#[test]
fn changed_address_family_takes_effect_at_once_and_addresses_stay() {
    let mut client = Client::with(&[(ONE, "a.test", IpStack::Ipv4Only)]);
    let before = client.records("a.test", RecordType::A);
    client.stub.upsert(&resource(ONE, "a.test", IpStack::Ipv6Only)).expect("a pattern");
    assert_eq!(client.records("a.test", RecordType::A).len(), 0);
    assert_eq!(client.records("a.test", RecordType::AAAA).len(), 4);
    client.stub.upsert(&resource(ONE, "a.test", IpStack::Dual)).expect("a pattern");
    assert_eq!(client.records("a.test", RecordType::A), before);
}

#[test]
fn two_single_family_resources_share_the_name() {
    let mut client = Client::with(&[(ONE, "a.test", IpStack::Ipv4Only), (TWO, "*.test", IpStack::Ipv6Only)]);
    assert_eq!(client.records("a.test", RecordType::A).len(), 4);
    assert_eq!(client.records("a.test", RecordType::AAAA).len(), 4);
    let assigned = client.stub.assignment(&"a.test".into()).expect("assigned");
    assert_eq!(assigned.matches.len(), 2);
    assert!(assigned.addresses(IpStack::Ipv6Only).all(|ip| ip.is_ipv6()));
}

#[test]
fn each_answer_renews_the_name_and_records_new_matches() {
    let mut client = Client::with(&[(ONE, "*.test", IpStack::Dual)]);
    let name = Domain::from("a.test");
    for matches in 1..=2 {
        let StubDecision::Local { renew, .. } = client.query("a.test", RecordType::A) else {
            panic!("not answered here")
        };
        assert_eq!(renew, Some(name.clone()));
        assert_eq!(client.stub.assignment(&name).expect("assigned").matches.len(), matches);
        client.stub.upsert(&resource(TWO, "a.test", IpStack::Dual)).expect("a pattern");
    }
    let StubDecision::Local { renew, .. } = client.query("a.test", RecordType::HTTPS) else {
        panic!("not answered here")
    };
    assert_eq!(renew, Some(name));
}

#[test]
fn https_records_of_resources_are_empty() {
    let mut client = Client::with(&[(ONE, "*.test", IpStack::Dual)]);
    assert_eq!(client.records("a.test", RecordType::HTTPS).len(), 0);
    assert_eq!(client.stub.assignment(&"a.test".into()), None, "only addresses assign");
}

#[test]
fn other_record_types_of_a_resource_are_forwarded() {
    let mut client = Client::with(&[(ONE, "*.test", IpStack::Dual)]);
    let types = [RecordType::MX, RecordType::NS, RecordType::CNAME, RecordType::SOA, RecordType::CAA, RecordType::SVCB];
    for qtype in types.into_iter().chain([RecordType::ANY]) {
        assert!(client.is_forwarded("a.test", qtype), "{qtype}");
    }
}

#[test]
fn srv_and_txt_go_to_the_site_of_the_most_specific_resource() {
    let mut client =
        Client::with(&[(ONE, "_ldap._tcp.corp.test", IpStack::Dual), (TWO, "**.corp.test", IpStack::Dual)]);
    for (name, expected) in [("_ldap._tcp.corp.test", ONE), ("_http._tcp.corp.test", TWO)] {
        for qtype in [RecordType::SRV, RecordType::TXT] {
            assert_eq!(client.query(name, qtype), StubDecision::Site { resource: expected });
        }
    }
    let decision = client.stub.forward_to_gateway(ip("100.64.0.9"));
    let Decision::Forward { to, via, .. } = decision else { panic!("not forwarded") };
    assert_eq!((to, via), (Upstream::Do53("100.64.0.9:53535".parse().expect("an address")), Via::Tunnel));
}

#[test]
fn greater_id_wins_between_equal_patterns() {
    let mut client = Client::with(&[(TWO, "*.test", IpStack::Dual), (ONE, "*.test", IpStack::Dual)]);
    assert_eq!(client.query("a.test", RecordType::SRV), StubDecision::Site { resource: TWO });
}

#[test]
fn ptr_of_a_proxy_address_is_answered_even_after_its_resource_is_removed() {
    let mut client = Client::with(&[(ONE, "*.test", IpStack::Dual)]);
    client.records("a.test", RecordType::A);
    let v6 = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.1.1.1.1.1.2.0.2.0.0.d.f.ip6.arpa";
    for reverse in ["4.0.96.100.in-addr.arpa", "4.0.96.100.IN-ADDR.ARPA", v6, &v6.to_uppercase()] {
        assert_eq!(client.records(reverse, RecordType::PTR), ["a.test."], "{reverse}");
    }
    client.stub.remove(ONE);
    assert_eq!(client.records("4.0.96.100.in-addr.arpa", RecordType::PTR), ["a.test."]);
    assert!(client.is_forwarded("a.test", RecordType::A));
}

#[test]
fn malformed_reverse_names_are_forwarded() {
    let mut client = Client::with(&[(ONE, "*.test", IpStack::Dual)]);
    client.records("a.test", RecordType::A);
    for other in [
        "5.0.96.100.in-addr.arpa",
        "1.1.168.192.in-addr.arpa",
        "0.4.0.96.100.in-addr.arpa",
        "0.96.100.in-addr.arpa",
        "+4.0.96.100.in-addr.arpa",
        "04.0.96.100.in-addr.arpa",
        "4.0.96.100.in-addr.carpa",
        "4.0.96.100.in-addr.arpa.test.example",
        "2.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.1.1.1.1.1.2.0.2.0.0.d.f.ip6.arpa",
        "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.1.1.1.1.1.2.0.2.0.0.d.f.ip6.arpa",
        "arpa",
        "ip6.arpa",
    ] {
        assert!(client.is_forwarded(other, RecordType::PTR), "{other}");
    }
}

#[test]
fn doh_canary_domain_does_not_exist() {
    let mut client = Client::with(&[(ONE, "**", IpStack::Dual)]);
    for qtype in [RecordType::A, RecordType::AAAA, RecordType::MX] {
        let nothing = StubDecision::Decided(Decision::Answer(Answer::no_such_name()));
        assert_eq!(client.query("use-application-DNS.net", qtype), nothing);
    }
    let mut client = Client::with(&[]);
    assert!(client.is_forwarded("www.use-application-dns.net", RecordType::A));
}

#[test]
fn query_at_an_unused_sentinel_is_servfail() {
    let mut client = Client::with(&[(ONE, "**", IpStack::Dual)]);
    let asked = question("a.test", RecordType::A);
    let decision = client.stub.decide(&asked, ip("100.100.111.200"), |_| Coverage::default(), client.now);
    assert_eq!(decision, StubDecision::Decided(Decision::ServFail));
}

#[test]
fn non_standard_query_is_forwarded() {
    let mut client = Client::with(&[(ONE, "**", IpStack::Dual)]);
    let unusual = Question { is_standard: false, ..question("a.test", RecordType::A) };
    assert!(matches!(client.ask(&unusual), StubDecision::Decided(Decision::Forward { .. })));
}

#[test]
fn cache_is_flushed_when_resources_or_resolvers_change() {
    let mut client = Client::with(&[]);
    let generation = client.generation();
    client.stub.cache_response(generation, cacheable("www.test", RecordType::A), client.now);
    client.now += Duration::from_secs(100);
    let StubDecision::Decided(Decision::Answer(answer)) = client.query("WWW.test", RecordType::A) else {
        panic!("not remembered")
    };
    assert_eq!(answer.records[0].ttl, 3500);

    client.stub.upsert(&resource(ONE, "other.test", IpStack::Dual)).expect("a pattern");
    assert!(client.is_forwarded("www.test", RecordType::A));

    let generation = client.generation();
    client.stub.cache_response(generation, cacheable("www.test", RecordType::A), client.now);
    client.stub.set_resolvers(Resolvers::choose(&[], &[], &[Resolver::plain(ip("192.168.1.2"))]));
    assert!(!matches!(client.query("www.test", RecordType::A), StubDecision::Decided(Decision::Answer(_))));
}

#[test]
fn late_answer_for_a_name_that_became_a_resource_is_not_cached() {
    let mut client = Client::with(&[]);
    let generation = client.generation();
    client.stub.upsert(&resource(ONE, "*.corp.test", IpStack::Dual)).expect("a pattern");
    client.stub.cache_response(generation, cacheable("a.corp.test", RecordType::TXT), client.now);
    assert_eq!(client.query("a.corp.test", RecordType::TXT), StubDecision::Site { resource: ONE });
}

#[test]
fn portal_resolver_inside_a_resource_is_reached_through_the_tunnel() {
    let mut client = Client::with(&[]);
    client.stub.set_resolvers(Resolvers::choose(&[ip("10.0.0.53")], &[], &[Resolver::plain(ip(RESOLVER))]));
    client.coverage = Coverage { cidr: true, internet: false };
    let StubDecision::Decided(Decision::Forward { to, via, .. }) = client.query("a.test", RecordType::A) else {
        panic!("not forwarded")
    };
    assert_eq!((to, via), (Upstream::Do53("10.0.0.53:53".parse().expect("an address")), Via::Tunnel));
}

#[test]
fn invalid_pattern_matches_nothing_and_replaces_the_previous_one() {
    let mut client = Client::with(&[(ONE, "a.test", IpStack::Dual)]);
    assert!(client.stub.upsert(&resource(ONE, "a**.test", IpStack::Dual)).is_err());
    assert!(client.is_forwarded("a.test", RecordType::A));
}

#[test]
fn assignments_survive_a_session_and_reattach_to_their_resources() {
    let mut client = Client::with(&[(ONE, "*.corp.test", IpStack::Dual)]);
    let before = client.records("a.corp.test", RecordType::A);

    let mut client = Client::with_names(client.stub.into_names());
    client.stub.upsert(&resource(ONE, "*.corp.test", IpStack::Dual)).expect("a pattern");
    let names: Vec<_> = client.stub.names().names_of(ONE).map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["a.corp.test"]);
    assert_eq!(client.records("b.corp.test", RecordType::A)[0], "100.96.0.5");
    assert_eq!(client.records("a.corp.test", RecordType::A), before);
}

#[test]
fn resource_with_a_new_pattern_releases_its_names() {
    let mut client = Client::with(&[(ONE, "*.corp.test", IpStack::Dual)]);
    let before = client.records("a.corp.test", RecordType::A);

    let mut client = Client::with_names(client.stub.into_names());
    client.stub.upsert(&resource(ONE, "*.other.test", IpStack::Dual)).expect("a pattern");
    assert_eq!(client.stub.names().names_of(ONE).count(), 0);
    let name = Domain::from("a.corp.test");
    assert!(client.stub.assignment(&name).expect("assigned").matches.is_empty());
    client.stub.upsert(&resource(TWO, "a.corp.test", IpStack::Dual)).expect("a pattern");
    assert_eq!(client.records("a.corp.test", RecordType::A), before);
}

#[test]
fn wildcard_is_found_among_many_patterns() {
    let mut client = Client::with(&[]);
    for i in 0..1000_u128 {
        let address = format!("*.r{i}.corp.test");
        client.stub.upsert(&resource(ResourceId::from_u128(i), &address, IpStack::Dual)).expect("a pattern");
    }
    client.stub.upsert(&resource(TWO, "w*", IpStack::Dual)).expect("a pattern");
    let ids = |name: &str| -> Vec<_> { client.stub.matches(&name.into()).into_iter().map(|(_, id)| id).collect() };
    assert_eq!(ids("a.r7.corp.test"), [ResourceId::from_u128(7)]);
    assert_eq!(ids("r999.corp.test"), [ResourceId::from_u128(999)]);
    assert_eq!(ids("a.b.r7.corp.test"), []);
    assert_eq!(ids("wiki"), [TWO]);
}

#[test]
fn explaining_a_name_reports_its_source_without_side_effects() {
    let mut client = Client::with(&[(ONE, "*.test", IpStack::Ipv4Only), (TWO, "a.test", IpStack::Ipv6Only)]);
    let explained = client.stub.explain(&"a.test".into(), client.now);
    assert_eq!(explained.source, AnswerSource::Resource);
    let patterns: Vec<_> = explained.matches.iter().map(|(pattern, id)| (pattern.as_str(), *id)).collect();
    assert_eq!(patterns, [("a.test", TWO), ("*.test", ONE)]);
    assert!(explained.addresses.is_empty() && client.stub.assignment(&"a.test".into()).is_none());

    client.records("b.test", RecordType::A);
    let explained = client.stub.explain(&"b.test".into(), client.now);
    assert_eq!(explained.addresses.len(), 4, "those that its resource shows");
    let reverse = client.stub.explain(&"1.0.96.100.in-addr.arpa".into(), client.now);
    assert_eq!(reverse.source, AnswerSource::Reverse("b.test".into()));

    let elsewhere = client.stub.explain(&"www.example".into(), client.now);
    assert_eq!((elsewhere.source, elsewhere.is_cached), (AnswerSource::Forwarded, false));
    let generation = match client.query("www.example", RecordType::A) {
        StubDecision::Decided(Decision::Forward { generation, .. }) => generation,
        other => panic!("not forwarded: {other:?}"),
    };
    client.stub.cache_response(generation, cacheable("www.example", RecordType::A), client.now);
    assert!(client.stub.explain(&"www.example".into(), client.now).is_cached);
    assert_eq!(client.stub.explain(&DOH_CANARY_DOMAIN.into(), client.now).source, AnswerSource::Blocked);

    let servers = client.stub.servers(|_| Coverage { cidr: true, internet: true });
    assert_eq!(servers.iter().map(|server| server.via).collect::<Vec<_>>(), [Via::Host]);
}

#[test]
fn mangled_queries_never_panic() {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii("a.corp.test.").expect("a name"), RecordType::A));
    let bytes = message.to_vec().expect("a message");
    let mut client = Client::with(&[(ONE, "**", IpStack::Dual)]);
    let mut feed = |bytes: &[u8]| {
        let Ok(message) = Message::from_vec(bytes) else { return };
        for query in &message.queries {
            let question = Question::new(query, &message.metadata, message.edns.as_ref());
            client.ask(&question);
        }
    };
    for length in 0..=bytes.len() {
        feed(&bytes[..length]);
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        feed(&flipped);
    }
}
