//! What askers experience.

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

/// A stub behind one resolver, and somebody who asks it.
struct Asker {
    stub: Stub,
    now: Instant,
    reach: Reach,
}

impl Asker {
    fn with(resources: &[(ResourceId, &str, IpStack)]) -> Self {
        let mut asker = Self::remembering(Assignments::default());
        for (id, address, stack) in resources {
            asker.stub.upsert(&resource(*id, address, *stack)).expect("a pattern");
        }
        asker
    }

    fn remembering(names: Assignments) -> Self {
        let mut stub = Stub::new(names);
        stub.set_resolvers(Resolvers::choose(&[], &[], &[Resolver::plain(ip(RESOLVER))]));
        Self { stub, now: start(), reach: Reach::default() }
    }

    fn ask(&mut self, question: &Question) -> StubDecision {
        let (sentinel, _) = self.stub.sentinels().servers()[0];
        let reach = self.reach;
        self.stub.decide(question, sentinel, |_| reach, self.now)
    }

    fn asks(&mut self, name: &str, qtype: RecordType) -> StubDecision {
        self.ask(&question(name, qtype))
    }

    /// The records of a local answer as text.
    fn records(&mut self, name: &str, qtype: RecordType) -> Vec<String> {
        match self.asks(name, qtype) {
            StubDecision::Local { answer, .. } => {
                assert_eq!(answer.code, ResponseCode::NoError);
                assert!(answer.records.iter().all(|record| record.ttl == 1));
                answer.records.iter().map(|record| record.data.to_string()).collect()
            }
            other => panic!("not answered here: {other:?}"),
        }
    }

    fn is_forwarded(&mut self, name: &str, qtype: RecordType) -> bool {
        match self.asks(name, qtype) {
            StubDecision::Decided(Decision::Forward { to, via, .. }) => {
                assert_eq!(to, Upstream::Do53(SocketAddr::new(ip(RESOLVER), 53)));
                assert_eq!(via, Via::Host);
                true
            }
            _ => false,
        }
    }

    fn epoch(&mut self) -> Epoch {
        match self.asks("elsewhere.test", RecordType::A) {
            StubDecision::Decided(Decision::Forward { epoch, .. }) => epoch,
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
    let answers = vec![Record::from_rdata(asked.asked.clone(), 3600, data)];
    let metadata = Metadata::new(1, MessageType::Response, OpCode::Query);
    let response = Response { metadata, question: Query::query(asked.asked.clone(), qtype), answers };
    Cacheable::new(&asked, &response).expect("cacheable")
}

#[test]
fn the_first_names_get_the_first_addresses_whichever_family_is_asked_for() {
    let mut asker = Asker::with(&[(ONE, "*.corp.test", IpStack::Dual)]);
    let v4 = ["100.96.0.1", "100.96.0.2", "100.96.0.3", "100.96.0.4"];
    let v6 = ["fd00:2021:1111:8000::4", "fd00:2021:1111:8000::5", "fd00:2021:1111:8000::6", "fd00:2021:1111:8000::7"];
    assert_eq!(asker.records("a.corp.test", RecordType::A), v4);
    assert_eq!(asker.records("b.corp.test", RecordType::AAAA), v6);
    assert_eq!(asker.records("A.Corp.TEST", RecordType::A), v4);
    assert_eq!(asker.records("a.corp.test", RecordType::AAAA)[0], "fd00:2021:1111:8000::");
}

#[test]
fn a_name_of_no_resource_goes_to_the_resolver() {
    let mut asker = Asker::with(&[(ONE, "*.corp.test", IpStack::Dual)]);
    for qtype in [RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::SRV, RecordType::PTR] {
        assert!(asker.is_forwarded("www.example.test", qtype), "{qtype}");
    }
}

#[test]
fn a_family_that_no_resource_has_is_answered_with_nothing() {
    let mut asker = Asker::with(&[(ONE, "six.test", IpStack::Ipv6Only), (TWO, "four.test", IpStack::Ipv4Only)]);
    assert_eq!(asker.records("six.test", RecordType::A).len(), 0);
    assert_eq!(asker.records("six.test", RecordType::AAAA).len(), 4);
    assert_eq!(asker.records("four.test", RecordType::A).len(), 4);
    assert_eq!(asker.records("four.test", RecordType::AAAA).len(), 0);
}

#[test]
fn a_changed_family_is_honoured_at_once_and_the_addresses_stay() {
    let mut asker = Asker::with(&[(ONE, "a.test", IpStack::Ipv4Only)]);
    let before = asker.records("a.test", RecordType::A);
    asker.stub.upsert(&resource(ONE, "a.test", IpStack::Ipv6Only)).expect("a pattern");
    assert_eq!(asker.records("a.test", RecordType::A).len(), 0);
    assert_eq!(asker.records("a.test", RecordType::AAAA).len(), 4);
    asker.stub.upsert(&resource(ONE, "a.test", IpStack::Dual)).expect("a pattern");
    assert_eq!(asker.records("a.test", RecordType::A), before);
}

#[test]
fn two_resources_with_one_family_each_share_the_name() {
    let mut asker = Asker::with(&[(ONE, "a.test", IpStack::Ipv4Only), (TWO, "*.test", IpStack::Ipv6Only)]);
    assert_eq!(asker.records("a.test", RecordType::A).len(), 4);
    assert_eq!(asker.records("a.test", RecordType::AAAA).len(), 4);
    let assigned = asker.stub.assigned(&"a.test".into()).expect("assigned");
    assert_eq!(assigned.matches.len(), 2);
    assert!(assigned.addresses(IpStack::Ipv6Only).all(|ip| ip.is_ipv6()));
}

#[test]
fn each_answer_renews_the_name_and_new_matches_are_noted() {
    let mut asker = Asker::with(&[(ONE, "*.test", IpStack::Dual)]);
    let name = Domain::from("a.test");
    for matches in 1..=2 {
        let StubDecision::Local { renew, .. } = asker.asks("a.test", RecordType::A) else {
            panic!("not answered here")
        };
        assert_eq!(renew, Some(name.clone()));
        assert_eq!(asker.stub.assigned(&name).expect("assigned").matches.len(), matches);
        asker.stub.upsert(&resource(TWO, "a.test", IpStack::Dual)).expect("a pattern");
    }
    let StubDecision::Local { renew, .. } = asker.asks("a.test", RecordType::HTTPS) else {
        panic!("not answered here")
    };
    assert_eq!(renew, Some(name));
}

#[test]
fn https_records_of_resources_are_hidden() {
    let mut asker = Asker::with(&[(ONE, "*.test", IpStack::Dual)]);
    assert_eq!(asker.records("a.test", RecordType::HTTPS).len(), 0);
    assert_eq!(asker.stub.assigned(&"a.test".into()), None, "only addresses assign");
}

#[test]
fn other_types_of_a_resources_name_go_to_the_resolver() {
    let mut asker = Asker::with(&[(ONE, "*.test", IpStack::Dual)]);
    let types = [RecordType::MX, RecordType::NS, RecordType::CNAME, RecordType::SOA, RecordType::CAA, RecordType::SVCB];
    for qtype in types.into_iter().chain([RecordType::ANY]) {
        assert!(asker.is_forwarded("a.test", qtype), "{qtype}");
    }
}

#[test]
fn services_and_texts_are_asked_at_the_site_of_the_most_specific_resource() {
    let mut asker = Asker::with(&[(ONE, "_ldap._tcp.corp.test", IpStack::Dual), (TWO, "**.corp.test", IpStack::Dual)]);
    for (name, expected) in [("_ldap._tcp.corp.test", ONE), ("_http._tcp.corp.test", TWO)] {
        for qtype in [RecordType::SRV, RecordType::TXT] {
            assert_eq!(asker.asks(name, qtype), StubDecision::Site { resource: expected });
        }
    }
    let decision = asker.stub.at_site(ip("100.64.0.9"));
    let Decision::Forward { to, via, .. } = decision else { panic!("not forwarded") };
    assert_eq!((to, via), (Upstream::Do53("100.64.0.9:53535".parse().expect("an address")), Via::Tunnel));
}

#[test]
fn of_equal_patterns_the_greater_id_is_asked() {
    let mut asker = Asker::with(&[(TWO, "*.test", IpStack::Dual), (ONE, "*.test", IpStack::Dual)]);
    assert_eq!(asker.asks("a.test", RecordType::SRV), StubDecision::Site { resource: TWO });
}

#[test]
fn our_addresses_have_names_even_when_the_resource_is_gone() {
    let mut asker = Asker::with(&[(ONE, "*.test", IpStack::Dual)]);
    asker.records("a.test", RecordType::A);
    let v6 = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.1.1.1.1.1.2.0.2.0.0.d.f.ip6.arpa";
    for reverse in ["4.0.96.100.in-addr.arpa", "4.0.96.100.IN-ADDR.ARPA", v6, &v6.to_uppercase()] {
        assert_eq!(asker.records(reverse, RecordType::PTR), ["a.test."], "{reverse}");
    }
    asker.stub.remove(ONE);
    assert_eq!(asker.records("4.0.96.100.in-addr.arpa", RecordType::PTR), ["a.test."]);
    assert!(asker.is_forwarded("a.test", RecordType::A));
}

#[test]
fn names_that_only_resemble_a_reverse_name_go_to_the_resolver() {
    let mut asker = Asker::with(&[(ONE, "*.test", IpStack::Dual)]);
    asker.records("a.test", RecordType::A);
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
        assert!(asker.is_forwarded(other, RecordType::PTR), "{other}");
    }
}

#[test]
fn browsers_are_told_not_to_pass_by_us() {
    let mut asker = Asker::with(&[(ONE, "**", IpStack::Dual)]);
    for qtype in [RecordType::A, RecordType::AAAA, RecordType::MX] {
        let nothing = StubDecision::Decided(Decision::Answer(Answer::no_such_name()));
        assert_eq!(asker.asks("use-application-DNS.net", qtype), nothing);
    }
    let mut asker = Asker::with(&[]);
    assert!(asker.is_forwarded("www.use-application-dns.net", RecordType::A));
}

#[test]
fn an_address_on_which_we_pretend_nothing_gets_no_answer() {
    let mut asker = Asker::with(&[(ONE, "**", IpStack::Dual)]);
    let asked = question("a.test", RecordType::A);
    let decision = asker.stub.decide(&asked, ip("100.100.111.200"), |_| Reach::default(), asker.now);
    assert_eq!(decision, StubDecision::Decided(Decision::ServFail));
}

#[test]
fn what_is_no_standard_query_is_only_passed_on() {
    let mut asker = Asker::with(&[(ONE, "**", IpStack::Dual)]);
    let odd = Question { standard: false, ..question("a.test", RecordType::A) };
    assert!(matches!(asker.ask(&odd), StubDecision::Decided(Decision::Forward { .. })));
}

#[test]
fn what_a_resolver_said_is_remembered_until_resources_or_resolvers_change() {
    let mut asker = Asker::with(&[]);
    let epoch = asker.epoch();
    asker.stub.learn(epoch, cacheable("www.test", RecordType::A), asker.now);
    asker.now += Duration::from_secs(100);
    let StubDecision::Decided(Decision::Answer(answer)) = asker.asks("WWW.test", RecordType::A) else {
        panic!("not remembered")
    };
    assert_eq!(answer.records[0].ttl, 3500);

    asker.stub.upsert(&resource(ONE, "other.test", IpStack::Dual)).expect("a pattern");
    assert!(asker.is_forwarded("www.test", RecordType::A));

    let epoch = asker.epoch();
    asker.stub.learn(epoch, cacheable("www.test", RecordType::A), asker.now);
    asker.stub.set_resolvers(Resolvers::choose(&[], &[], &[Resolver::plain(ip("192.168.1.2"))]));
    assert!(!matches!(asker.asks("www.test", RecordType::A), StubDecision::Decided(Decision::Answer(_))));
}

#[test]
fn an_answer_that_comes_after_the_name_became_a_resources_is_not_remembered() {
    let mut asker = Asker::with(&[]);
    let epoch = asker.epoch();
    asker.stub.upsert(&resource(ONE, "*.corp.test", IpStack::Dual)).expect("a pattern");
    asker.stub.learn(epoch, cacheable("a.corp.test", RecordType::TXT), asker.now);
    assert_eq!(asker.asks("a.corp.test", RecordType::TXT), StubDecision::Site { resource: ONE });
}

#[test]
fn a_resolver_of_the_portal_inside_a_resource_is_asked_through_the_tunnel() {
    let mut asker = Asker::with(&[]);
    asker.stub.set_resolvers(Resolvers::choose(&[ip("10.0.0.53")], &[], &[Resolver::plain(ip(RESOLVER))]));
    asker.reach = Reach { cidr: true, internet: false };
    let StubDecision::Decided(Decision::Forward { to, via, .. }) = asker.asks("a.test", RecordType::A) else {
        panic!("not forwarded")
    };
    assert_eq!((to, via), (Upstream::Do53("10.0.0.53:53".parse().expect("an address")), Via::Tunnel));
}

#[test]
fn a_pattern_that_is_none_matches_nothing_and_replaces_what_was_there() {
    let mut asker = Asker::with(&[(ONE, "a.test", IpStack::Dual)]);
    assert!(asker.stub.upsert(&resource(ONE, "a**.test", IpStack::Dual)).is_err());
    assert!(asker.is_forwarded("a.test", RecordType::A));
}

#[test]
fn assignments_survive_a_session_and_wait_for_their_resources() {
    let mut asker = Asker::with(&[(ONE, "*.corp.test", IpStack::Dual)]);
    let before = asker.records("a.corp.test", RecordType::A);

    let mut asker = Asker::remembering(asker.stub.into_names());
    asker.stub.upsert(&resource(ONE, "*.corp.test", IpStack::Dual)).expect("a pattern");
    let names: Vec<_> = asker.stub.names().names_of(ONE).map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["a.corp.test"]);
    assert_eq!(asker.records("b.corp.test", RecordType::A)[0], "100.96.0.5");
    assert_eq!(asker.records("a.corp.test", RecordType::A), before);
}

#[test]
fn an_id_with_another_pattern_gives_up_its_names() {
    let mut asker = Asker::with(&[(ONE, "*.corp.test", IpStack::Dual)]);
    let before = asker.records("a.corp.test", RecordType::A);

    let mut asker = Asker::remembering(asker.stub.into_names());
    asker.stub.upsert(&resource(ONE, "*.other.test", IpStack::Dual)).expect("a pattern");
    assert_eq!(asker.stub.names().names_of(ONE).count(), 0);
    let name = Domain::from("a.corp.test");
    assert!(asker.stub.assigned(&name).expect("assigned").matches.is_empty());
    asker.stub.upsert(&resource(TWO, "a.corp.test", IpStack::Dual)).expect("a pattern");
    assert_eq!(asker.records("a.corp.test", RecordType::A), before);
}

#[test]
fn a_wildcard_finds_its_names_among_many_patterns() {
    let mut asker = Asker::with(&[]);
    for i in 0..1000_u128 {
        let address = format!("*.r{i}.corp.test");
        asker.stub.upsert(&resource(ResourceId::from_u128(i), &address, IpStack::Dual)).expect("a pattern");
    }
    asker.stub.upsert(&resource(TWO, "w*", IpStack::Dual)).expect("a pattern");
    let ids = |name: &str| -> Vec<_> { asker.stub.matches(&name.into()).into_iter().map(|(_, id)| id).collect() };
    assert_eq!(ids("a.r7.corp.test"), [ResourceId::from_u128(7)]);
    assert_eq!(ids("r999.corp.test"), [ResourceId::from_u128(999)]);
    assert_eq!(ids("a.b.r7.corp.test"), []);
    assert_eq!(ids("wiki"), [TWO]);
}

#[test]
fn an_explanation_says_who_answers_and_why_and_changes_nothing() {
    let mut asker = Asker::with(&[(ONE, "*.test", IpStack::Ipv4Only), (TWO, "a.test", IpStack::Ipv6Only)]);
    let explained = asker.stub.explain(&"a.test".into(), asker.now);
    assert_eq!(explained.verdict, Verdict::Resource);
    let patterns: Vec<_> = explained.matches.iter().map(|(pattern, id)| (pattern.as_str(), *id)).collect();
    assert_eq!(patterns, [("a.test", TWO), ("*.test", ONE)]);
    assert!(explained.addresses.is_empty() && asker.stub.assigned(&"a.test".into()).is_none());

    asker.records("b.test", RecordType::A);
    let explained = asker.stub.explain(&"b.test".into(), asker.now);
    assert_eq!(explained.addresses.len(), 4, "those that its resource shows");
    let reverse = asker.stub.explain(&"1.0.96.100.in-addr.arpa".into(), asker.now);
    assert_eq!(reverse.verdict, Verdict::Reverse("b.test".into()));

    let elsewhere = asker.stub.explain(&"www.example".into(), asker.now);
    assert_eq!((elsewhere.verdict, elsewhere.is_cached), (Verdict::Forwarded, false));
    let epoch = match asker.asks("www.example", RecordType::A) {
        StubDecision::Decided(Decision::Forward { epoch, .. }) => epoch,
        other => panic!("not forwarded: {other:?}"),
    };
    asker.stub.learn(epoch, cacheable("www.example", RecordType::A), asker.now);
    assert!(asker.stub.explain(&"www.example".into(), asker.now).is_cached);
    assert_eq!(asker.stub.explain(&CANARY.into(), asker.now).verdict, Verdict::Blocked);

    let servers = asker.stub.servers(|_| Reach { cidr: true, internet: true });
    assert_eq!(servers.iter().map(|server| server.via).collect::<Vec<_>>(), [Via::Host]);
}

#[test]
fn mangled_messages_never_do_more_than_be_refused() {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii("a.corp.test.").expect("a name"), RecordType::A));
    let bytes = message.to_vec().expect("a message");
    let mut asker = Asker::with(&[(ONE, "**", IpStack::Dual)]);
    let mut feed = |bytes: &[u8]| {
        let Ok(message) = Message::from_vec(bytes) else { return };
        for query in &message.queries {
            let question = Question::new(query, &message.metadata, message.edns.as_ref());
            asker.ask(&question);
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
