use bytecodec::{DecodeExt as _, EncodeExt as _};
use model::Secret;
use rand::SeedableRng as _;
use stun_codec::{
    Message, MessageClass, MessageDecoder, MessageEncoder,
    rfc5389::attributes::{ErrorCode, MessageIntegrity, Nonce, Realm, XorMappedAddress},
    rfc5766::attributes::{ChannelNumber, Lifetime, XorRelayAddress},
};

use super::*;
use crate::{
    relay::{
        credentials::REALM,
        stun::{Attribute, Response},
    },
    testing::epoch,
};

mod binds;
mod errors;
mod lease;

type Raw = Message<Attribute>;

const V4: &str = "203.0.113.1:3478";
const V6: &str = "[2001:db8:1::1]:3478";
const HOST_V4: &str = "192.0.2.10:52625";
const HOST_V6: &str = "[2001:db8::10]:52625";
const LENT_V4: &str = "203.0.113.1:50000";
const LENT_V6: &str = "[2001:db8:1::1]:50000";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn credentials() -> Credentials {
    Credentials::new("1700000000:abcd".to_owned(), Secret::from("sekret"))
}

/// An allocation with a scripted relay.
struct Harness {
    allocation: Allocation,
    rng: StdRng,
    start: Instant,
    now: Instant,
    /// Requests without response.
    requests: VecDeque<(SocketAddr, Raw)>,
    events: Vec<Event>,
}

impl Harness {
    fn with(addresses: &[&str]) -> Self {
        let (now, mut rng) = (epoch(), StdRng::seed_from_u64(1));
        let addresses = addresses.iter().map(|it| at(it)).collect();
        let allocation = Allocation::new(addresses, credentials(), &mut rng, now);
        let (requests, events) = (VecDeque::new(), Vec::new());
        let mut this = Self { allocation, rng, start: now, now, requests, events };
        this.collect();
        this
    }

    /// An allocation with a lease of both families.
    fn allocated() -> Self {
        let mut harness = Self::with(&[V4]);
        harness.grant();
        harness.events.clear();
        harness
    }

    /// Responds to binding, challenges the first allocate request, and grants the second.
    fn grant(&mut self) {
        self.bound();
        self.challenged();
        self.succeed(ALLOCATED);
    }

    fn grant_over_v4(&mut self) {
        self.bound();
        self.requests.retain(|(_, request)| name_of(request) == "allocate");
        self.challenged();
        self.succeed(ALLOCATED);
    }

    fn bound(&mut self) {
        let (relay, request) = self.next("binding");
        self.answer_binding(relay, &request, "198.51.100.7:61000");
    }

    fn answer_binding(&mut self, relay: SocketAddr, request: &Raw, mapped: &str) {
        let mut response = answer_to(request, MessageClass::SuccessResponse);
        response.add_attribute(XorMappedAddress::new(at(mapped)));
        self.deliver(relay, response);
    }

    fn challenged(&mut self) {
        let (relay, request) = self.take();
        self.deliver(relay, signed(challenge(&request, 401, "first nonce")));
    }

    fn succeed(&mut self, attributes: impl FnOnce(&mut Raw)) {
        let (relay, request) = self.take();
        let mut response = answer_to(&request, MessageClass::SuccessResponse);
        attributes(&mut response);
        self.deliver(relay, signed(response));
    }

    fn fail(&mut self, code: u16) {
        let (relay, request) = self.take();
        self.deliver(relay, signed(refusal(&request, code)));
    }

    fn deliver(&mut self, relay: SocketAddr, response: Raw) {
        let local = at(if relay.is_ipv4() { HOST_V4 } else { HOST_V6 });
        let bytes = MessageEncoder::new().encode_into_bytes(response).unwrap();
        let response = Response::parse(&bytes).unwrap();
        self.allocation.handle_response(local, relay, &response, &mut self.rng, self.now);
        self.collect();
    }

    /// The next request, which has to be of this kind.
    fn next(&mut self, name: &str) -> (SocketAddr, Raw) {
        let (relay, request) = self.take();
        assert_eq!(name_of(&request), name);
        (relay, request)
    }

    fn take(&mut self) -> (SocketAddr, Raw) {
        self.requests.pop_front().expect("a request")
    }

    fn asked(&self) -> Vec<&'static str> {
        self.requests.iter().map(|(_, request)| name_of(request)).collect()
    }

    fn collect(&mut self) {
        while let Some(transmit) = self.allocation.poll_transmit() {
            let decoded = MessageDecoder::new().decode_from_bytes(&transmit.payload).unwrap().unwrap();
            self.requests.push_back((transmit.destination, decoded));
        }
        self.events.extend(std::iter::from_fn(|| self.allocation.poll_event()));
    }

    /// Advances the time from deadline to deadline.
    fn run_until(&mut self, seconds: f64) {
        let end = self.start + Duration::from_secs_f64(seconds);
        while let Some(due) = self.allocation.poll_timeout().filter(|due| due.at <= end) {
            self.now = self.now.max(due.at);
            self.allocation.handle_timeout(&mut self.rng, self.now);
            let next = self.allocation.poll_timeout();
            assert!(next.is_none_or(|next| next.at > self.now), "{next:?} has passed");
            self.collect();
        }
        self.now = end;
    }

    /// The same with a relay that responds to keep-alives only.
    fn live_until(&mut self, seconds: f64) {
        let end = self.start + Duration::from_secs_f64(seconds);
        while let Some(due) = self.allocation.poll_timeout().filter(|due| due.at <= end) {
            self.run_until((due.at - self.start).as_secs_f64());
            while let Some(index) = self.requests.iter().position(|(_, request)| name_of(request) == "binding") {
                let (relay, request) = self.requests.remove(index).unwrap();
                self.answer_binding(relay, &request, "198.51.100.7:61000");
            }
        }
        self.now = end;
    }

    fn bind(&mut self, peer: &str) {
        self.allocation.bind_channel(at(peer), &mut self.rng, self.now);
        self.collect();
    }

    fn lost(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::CandidateLost(_))).count()
    }
}

const ALLOCATED: fn(&mut Raw) = |response| {
    response.add_attribute(XorRelayAddress::new(at(LENT_V4)));
    response.add_attribute(XorRelayAddress::new(at(LENT_V6)));
    response.add_attribute(Lifetime::from_u32(600));
};

fn answer_to(request: &Raw, class: MessageClass) -> Raw {
    Message::new(class, request.method(), request.transaction_id())
}

fn refusal(request: &Raw, code: u16) -> Raw {
    let mut response = answer_to(request, MessageClass::ErrorResponse);
    response.add_attribute(ErrorCode::new(code, "no".to_owned()).unwrap());
    response
}

fn challenge(request: &Raw, code: u16, nonce: &str) -> Raw {
    let mut response = refusal(request, code);
    response.add_attribute(Realm::new(REALM.to_owned()).unwrap());
    response.add_attribute(Nonce::new(nonce.to_owned()).unwrap());
    response
}

fn signed(mut response: Raw) -> Raw {
    let (username, realm) = credentials().attributes().unwrap();
    let integrity = MessageIntegrity::new_long_term_credential(&response, &username, &realm, "sekret").unwrap();
    response.add_attribute(integrity);
    response
}

fn name_of(request: &Raw) -> &'static str {
    match request.method().as_u16() {
        1 => "binding",
        3 => "allocate",
        4 if request.get_attribute::<Lifetime>().is_some() => "delete",
        4 => "refresh",
        9 => "channel bind",
        _ => "something else",
    }
}

fn nonce_of(request: &Raw) -> Option<&str> {
    request.get_attribute::<Nonce>().map(Nonce::value)
}

fn number_of(request: &Raw) -> u16 {
    request.get_attribute::<ChannelNumber>().unwrap().value()
}

#[test]
fn first_response_to_the_binding_requests_selects_the_address() {
    let mut harness = Harness::with(&[V4, V6]);
    assert_eq!(harness.asked(), ["binding", "binding"]);
    let (v4, over_v4) = harness.take();
    let (v6, over_v6) = harness.take();
    harness.answer_binding(v6, &over_v6, HOST_V6);
    assert_eq!(harness.asked(), ["allocate"]);
    assert_eq!(harness.requests[0].0, v6);
    harness.answer_binding(v4, &over_v4, "198.51.100.7:61000");
    assert_eq!(harness.asked(), ["allocate"], "the second answer only yields candidates");
    let (host_v4, host_v6) = (at(HOST_V4), at(HOST_V6));
    assert_eq!(
        harness.events,
        [
            Event::CandidateFound(LocalCandidate::Host(host_v6)),
            Event::CandidateFound(LocalCandidate::ServerReflexive { address: host_v6, base: host_v6 }),
            Event::CandidateFound(LocalCandidate::Host(host_v4)),
            Event::CandidateFound(LocalCandidate::ServerReflexive { address: at("198.51.100.7:61000"), base: host_v4 }),
        ]
    );
}

#[test]
fn dead_address_of_the_other_family_is_tolerated() {
    let mut harness = Harness::with(&[V4, V6]);
    harness.grant_over_v4();
    harness.run_until(20.0);
    assert_eq!(harness.lost(), 0);
    assert!(harness.allocation.owns_relayed_address(at(LENT_V4)));
}

#[test]
fn relay_without_response_is_unusable_after_eight_seconds() {
    let mut harness = Harness::with(&[V4, V6]);
    harness.run_until(8.124);
    assert!(!harness.allocation.is_unusable());
    assert_eq!(harness.requests.len(), 8, "four transmissions to each address");
    harness.run_until(8.125);
    assert!(harness.allocation.is_unusable());
}

#[test]
fn keepalive_is_sent_after_25_seconds_without_data() {
    let mut harness = Harness::allocated();
    harness.run_until(24.9);
    assert!(harness.requests.is_empty());
    harness.run_until(25.0);
    harness.bound();
    harness.run_until(40.0);
    harness.allocation.postpone_keep_alive(harness.now);
    harness.run_until(64.9);
    assert!(harness.requests.is_empty());
    harness.run_until(65.0);
    assert_eq!(harness.asked(), ["binding"]);
}

#[test]
fn unusable_addresses_are_not_candidates() {
    let mut harness = Harness::with(&[V4]);
    let (relay, request) = harness.take();
    harness.answer_binding(relay, &request, "169.254.1.1:61000");
    assert_eq!(harness.events, [Event::CandidateFound(LocalCandidate::Host(at(HOST_V4)))]);
    harness.challenged();
    harness.succeed(|response| {
        response.add_attribute(XorRelayAddress::new(at("0.0.0.0:50000")));
        response.add_attribute(Lifetime::from_u32(600));
    });
    assert_eq!(harness.events.len(), 1);
}

#[test]
fn late_response_to_an_earlier_transmission_is_accepted() {
    let mut harness = Harness::with(&[V4]);
    harness.bound();
    harness.challenged();
    let (relay, first) = harness.take();
    harness.run_until(3.0);
    assert_eq!(harness.asked(), ["allocate", "allocate"]);
    assert_ne!(harness.requests[0].1.transaction_id(), first.transaction_id());
    let mut response = answer_to(&first, MessageClass::SuccessResponse);
    ALLOCATED(&mut response);
    harness.deliver(relay, signed(response));
    assert!(harness.allocation.owns_relayed_address(at(LENT_V4)));
    assert_eq!(harness.allocation.round_trip(), Some(secs(3) / 8));
}

#[test]
fn new_network_restarts_the_allocation() {
    let mut harness = Harness::allocated();
    let (mut rng, now) = (StdRng::seed_from_u64(2), harness.now);
    harness.allocation.restart(&mut rng, now);
    harness.collect();
    assert_eq!(harness.asked(), ["binding"]);
    harness.bound();
    assert_eq!(nonce_of(&harness.requests[0].1), None);
    assert!(!harness.allocation.owns_relayed_address(at(LENT_V4)));
}
