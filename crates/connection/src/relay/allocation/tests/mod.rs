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
        stun::{Answer, Attribute},
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

/// An allocation, and a relay that says what the story wants it to say.
struct Story {
    allocation: Allocation,
    rng: StdRng,
    start: Instant,
    now: Instant,
    /// Requests that were sent and not answered yet.
    requests: VecDeque<(SocketAddr, Raw)>,
    events: Vec<Event>,
}

impl Story {
    fn with(addresses: &[&str]) -> Self {
        let (now, mut rng) = (epoch(), StdRng::seed_from_u64(1));
        let addresses = addresses.iter().map(|it| at(it)).collect();
        let allocation = Allocation::new(addresses, credentials(), &mut rng, now);
        let (requests, events) = (VecDeque::new(), Vec::new());
        let mut this = Self { allocation, rng, start: now, now, requests, events };
        this.collect();
        this
    }

    /// As far as the lease of an address of each family.
    fn allocated() -> Self {
        let mut story = Self::with(&[V4]);
        story.grant();
        story.events.clear();
        story
    }

    /// Answers binding, refusal for a nonce, and allocation.
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
        let mut answer = answer_to(request, MessageClass::SuccessResponse);
        answer.add_attribute(XorMappedAddress::new(at(mapped)));
        self.deliver(relay, answer);
    }

    fn challenged(&mut self) {
        let (relay, request) = self.take();
        self.deliver(relay, signed(challenge(&request, 401, "first nonce")));
    }

    fn succeed(&mut self, attributes: impl FnOnce(&mut Raw)) {
        let (relay, request) = self.take();
        let mut answer = answer_to(&request, MessageClass::SuccessResponse);
        attributes(&mut answer);
        self.deliver(relay, signed(answer));
    }

    fn fail(&mut self, code: u16) {
        let (relay, request) = self.take();
        self.deliver(relay, signed(refusal(&request, code)));
    }

    fn deliver(&mut self, relay: SocketAddr, answer: Raw) {
        let local = at(if relay.is_ipv4() { HOST_V4 } else { HOST_V6 });
        let bytes = MessageEncoder::new().encode_into_bytes(answer).unwrap();
        let answer = Answer::parse(&bytes).unwrap();
        self.allocation.handle_answer(local, relay, &answer, &mut self.rng, self.now);
        self.collect();
    }

    /// The request that is next, which has to be of this kind.
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

    /// Lets time pass as the deadlines want it.
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

    /// The same with a relay that answers keep-alives and nothing else.
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
        self.events.iter().filter(|event| matches!(event, Event::Lost(_))).count()
    }
}

const ALLOCATED: fn(&mut Raw) = |answer| {
    answer.add_attribute(XorRelayAddress::new(at(LENT_V4)));
    answer.add_attribute(XorRelayAddress::new(at(LENT_V6)));
    answer.add_attribute(Lifetime::from_u32(600));
};

fn answer_to(request: &Raw, class: MessageClass) -> Raw {
    Message::new(class, request.method(), request.transaction_id())
}

fn refusal(request: &Raw, code: u16) -> Raw {
    let mut answer = answer_to(request, MessageClass::ErrorResponse);
    answer.add_attribute(ErrorCode::new(code, "no".to_owned()).unwrap());
    answer
}

fn challenge(request: &Raw, code: u16, nonce: &str) -> Raw {
    let mut answer = refusal(request, code);
    answer.add_attribute(Realm::new(REALM.to_owned()).unwrap());
    answer.add_attribute(Nonce::new(nonce.to_owned()).unwrap());
    answer
}

fn signed(mut answer: Raw) -> Raw {
    let (username, realm) = credentials().attributes().unwrap();
    let integrity = MessageIntegrity::new_long_term_credential(&answer, &username, &realm, "sekret").unwrap();
    answer.add_attribute(integrity);
    answer
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
fn binding_goes_to_all_addresses_and_the_first_answer_decides() {
    let mut story = Story::with(&[V4, V6]);
    assert_eq!(story.asked(), ["binding", "binding"]);
    let (v4, over_v4) = story.take();
    let (v6, over_v6) = story.take();
    story.answer_binding(v6, &over_v6, HOST_V6);
    assert_eq!(story.asked(), ["allocate"]);
    assert_eq!(story.requests[0].0, v6);
    story.answer_binding(v4, &over_v4, "198.51.100.7:61000");
    assert_eq!(story.asked(), ["allocate"], "the second answer only yields candidates");
    let (host_v4, host_v6) = (at(HOST_V4), at(HOST_V6));
    assert_eq!(
        story.events,
        [
            Event::Found(LocalCandidate::Host(host_v6)),
            Event::Found(LocalCandidate::ServerReflexive { address: host_v6, base: host_v6 }),
            Event::Found(LocalCandidate::Host(host_v4)),
            Event::Found(LocalCandidate::ServerReflexive { address: at("198.51.100.7:61000"), base: host_v4 }),
        ]
    );
}

#[test]
fn an_address_of_the_other_family_may_be_dead() {
    let mut story = Story::with(&[V4, V6]);
    story.grant_over_v4();
    story.run_until(20.0);
    assert_eq!(story.lost(), 0);
    assert!(story.allocation.lends(at(LENT_V4)));
}

#[test]
fn a_relay_that_never_answers_is_useless_after_eight_seconds() {
    let mut story = Story::with(&[V4, V6]);
    story.run_until(8.124);
    assert!(!story.allocation.is_useless());
    assert_eq!(story.requests.len(), 8, "four transmissions to each address");
    story.run_until(8.125);
    assert!(story.allocation.is_useless());
}

#[test]
fn we_show_ourselves_every_25_seconds_unless_data_does() {
    let mut story = Story::allocated();
    story.run_until(24.9);
    assert!(story.requests.is_empty());
    story.run_until(25.0);
    story.bound();
    story.run_until(40.0);
    story.allocation.postpone_keep_alive(story.now);
    story.run_until(64.9);
    assert!(story.requests.is_empty());
    story.run_until(65.0);
    assert_eq!(story.asked(), ["binding"]);
}

#[test]
fn unusable_addresses_are_no_candidates() {
    let mut story = Story::with(&[V4]);
    let (relay, request) = story.take();
    story.answer_binding(relay, &request, "169.254.1.1:61000");
    assert_eq!(story.events, [Event::Found(LocalCandidate::Host(at(HOST_V4)))]);
    story.challenged();
    story.succeed(|answer| {
        answer.add_attribute(XorRelayAddress::new(at("0.0.0.0:50000")));
        answer.add_attribute(Lifetime::from_u32(600));
    });
    assert_eq!(story.events.len(), 1);
}

#[test]
fn a_late_answer_to_an_earlier_transmission_counts() {
    let mut story = Story::with(&[V4]);
    story.bound();
    story.challenged();
    let (relay, first) = story.take();
    story.run_until(3.0);
    assert_eq!(story.asked(), ["allocate", "allocate"]);
    assert_ne!(story.requests[0].1.transaction_id(), first.transaction_id());
    let mut answer = answer_to(&first, MessageClass::SuccessResponse);
    ALLOCATED(&mut answer);
    story.deliver(relay, signed(answer));
    assert!(story.allocation.lends(at(LENT_V4)));
    assert_eq!(story.allocation.round_trip(), Some(secs(3) / 8));
}

#[test]
fn a_new_network_starts_everything_over() {
    let mut story = Story::allocated();
    let (mut rng, now) = (StdRng::seed_from_u64(2), story.now);
    story.allocation.restart(&mut rng, now);
    story.collect();
    assert_eq!(story.asked(), ["binding"]);
    story.bound();
    assert_eq!(nonce_of(&story.requests[0].1), None);
    assert!(!story.allocation.lends(at(LENT_V4)));
}
