use bytecodec::{DecodeExt as _, EncodeExt as _};
use model::Secret;
use rand::SeedableRng as _;
use stun_codec::{
    Message, MessageClass, MessageDecoder, MessageEncoder,
    rfc5389::attributes::{ErrorCode, MessageIntegrity, Nonce, Realm, XorMappedAddress},
    rfc5766::attributes::{ChannelNumber, Lifetime, XorRelayAddress},
};

use super::*;
use crate::{relay::stun::Attribute, testing::epoch};

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
fn a_refusal_without_a_nonce_of_ours_is_an_invitation() {
    let mut story = Story::with(&[V4]);
    story.bound();
    assert_eq!(nonce_of(&story.requests[0].1), None);
    story.challenged();
    assert_eq!(nonce_of(&story.requests[0].1), Some("first nonce"));
    story.succeed(ALLOCATED);
    let local = at(HOST_V4);
    let lent = [LENT_V4, LENT_V6].map(|it| Event::Found(LocalCandidate::Relayed { address: at(it), local }));
    assert_eq!(story.events[2..], lent);
}

#[test]
fn a_refusal_of_a_nonce_of_ours_ends_it() {
    let mut story = Story::with(&[V4]);
    story.bound();
    story.challenged();
    story.fail(401);
    assert!(story.allocation.is_useless());
    story.run_until(100.0);
    assert!(story.requests.is_empty());
}

#[test]
fn a_stale_nonce_is_replaced() {
    let mut story = Story::allocated();
    story.live_until(300.0);
    let (relay, refresh) = story.take();
    story.deliver(relay, signed(challenge(&refresh, 438, "second nonce")));
    assert_eq!(story.asked(), ["refresh"]);
    assert_eq!(nonce_of(&story.requests[0].1), Some("second nonce"));
}

#[test]
fn an_answer_that_nobody_signed_changes_nothing() {
    let mut story = Story::with(&[V4]);
    story.bound();
    story.challenged();
    let (relay, request) = story.take();
    let mut forged = answer_to(&request, MessageClass::SuccessResponse);
    ALLOCATED(&mut forged);
    story.deliver(relay, forged);
    for code in [400, 401, 420, 437, 486, 500] {
        story.deliver(relay, refusal(&request, code));
        story.deliver(relay, challenge(&request, code, "forged nonce"));
    }
    assert!(story.requests.is_empty() && !story.allocation.is_useless());
    let mut genuine = answer_to(&request, MessageClass::SuccessResponse);
    ALLOCATED(&mut genuine);
    story.deliver(relay, signed(genuine));
    assert!(story.allocation.lends(at(LENT_V4)));
}

#[test]
fn a_relay_that_does_not_sign_invitations_is_usable() {
    let mut story = Story::with(&[V4]);
    story.bound();
    let (relay, request) = story.take();
    story.deliver(relay, challenge(&request, 401, "first nonce"));
    story.succeed(ALLOCATED);
    story.live_until(300.0);
    let (relay, refresh) = story.take();
    story.deliver(relay, challenge(&refresh, 438, "second nonce"));
    assert_eq!(nonce_of(&story.take().1), Some("second nonce"));
}

#[test]
fn a_relay_that_wants_to_be_asked_anonymously_first_is() {
    let mut story = Story::with(&[V4]);
    story.bound();
    let (relay, named) = story.take();
    assert!(named.get_attribute::<MessageIntegrity>().is_some());
    story.deliver(relay, refusal(&named, 400));
    let (relay, anonymous) = story.take();
    assert!(anonymous.get_attribute::<MessageIntegrity>().is_none());
    story.deliver(relay, refusal(&anonymous, 400));
    assert!(story.requests.is_empty(), "it is not asked for ever");
    story.deliver(relay, challenge(&anonymous, 401, "first nonce"));
    assert_eq!(nonce_of(&story.take().1), Some("first nonce"));
}

#[test]
fn another_realm_is_none_of_our_business() {
    let mut story = Story::with(&[V4]);
    story.bound();
    let (relay, request) = story.take();
    let mut answer = refusal(&request, 401);
    answer.add_attribute(Realm::new("elsewhere".to_owned()).unwrap());
    answer.add_attribute(Nonce::new("nonce".to_owned()).unwrap());
    story.deliver(relay, signed(answer));
    story.run_until(100.0);
    assert!(story.requests.is_empty());
    assert!(story.allocation.is_useless());
}

#[test]
fn a_left_over_allocation_is_deleted_first() {
    let mut story = Story::with(&[V4]);
    story.bound();
    story.challenged();
    story.fail(437);
    assert_eq!(story.asked(), ["delete"]);
    story.succeed(|answer| answer.add_attribute(Lifetime::from_u32(0)));
    assert_eq!(story.asked(), ["allocate"]);
    story.succeed(ALLOCATED);
    assert!(story.allocation.lends(at(LENT_V4)));
}

#[test]
fn a_relay_that_does_not_look_who_asks_lends_again_after_a_restart() {
    let mut story = Story::with(&[V4]);
    story.bound();
    let (relay, request) = story.take();
    story.deliver(relay, refusal(&request, 437));
    assert_eq!(story.asked(), ["delete"]);
    story.challenged();
    assert_eq!(story.asked(), ["delete"]);
    story.succeed(|answer| answer.add_attribute(Lifetime::from_u32(0)));
    assert_eq!(story.asked(), ["allocate"]);
    // From now on it has to say who it is.
    let (relay, request) = story.take();
    story.deliver(relay, refusal(&request, 437));
    assert!(story.requests.is_empty());
    let mut genuine = answer_to(&request, MessageClass::SuccessResponse);
    ALLOCATED(&mut genuine);
    story.deliver(relay, signed(genuine));
    assert!(story.allocation.lends(at(LENT_V4)));
}

#[test]
fn a_relay_that_has_forgotten_us_is_asked_again() {
    let mut story = Story::allocated();
    story.live_until(300.0);
    story.fail(437);
    assert_eq!(story.lost(), 2);
    assert_eq!(story.asked(), ["allocate"]);
}

#[test]
fn a_bind_on_a_forgotten_allocation_is_repeated_on_the_new_one() {
    let mut story = Story::allocated();
    story.bind("198.51.100.20:4000");
    story.fail(437);
    assert_eq!(story.lost(), 2);
    assert_eq!(story.asked(), ["allocate"]);
    story.succeed(ALLOCATED);
    assert_eq!(story.asked(), ["channel bind"]);
}

#[test]
fn what_a_relay_does_not_understand_ends_it() {
    let mut story = Story::with(&[V4]);
    story.bound();
    story.challenged();
    story.fail(420);
    assert!(story.allocation.is_useless());
}

#[test]
fn a_relay_that_wants_refreshes_plain_gets_them_plain() {
    let mut story = Story::allocated();
    story.live_until(300.0);
    story.fail(420);
    let (relay, plain) = story.next("refresh");
    assert!(plain.attributes().all(|it| !matches!(it, Attribute::RequestedTransport(_))));
    story.deliver(relay, signed(refusal(&plain, 420)));
    assert!(story.allocation.is_useless(), "only once");
}

#[test]
fn a_relay_without_ipv4_is_asked_for_ipv6() {
    let mut story = Story::with(&[V6]);
    let (relay, request) = story.take();
    story.answer_binding(relay, &request, HOST_V6);
    story.challenged();
    story.fail(440);
    let (_, second) = story.requests.front().unwrap();
    assert!(second.attributes().any(|it| matches!(it, Attribute::RequestedAddressFamily(_))));
    assert!(second.attributes().all(|it| !matches!(it, Attribute::AdditionalAddressFamily(_))));
    story.succeed(|answer| {
        answer.add_attribute(XorRelayAddress::new(at(LENT_V6)));
        answer.add_attribute(Lifetime::from_u32(600));
    });
    assert!(story.allocation.lends(at(LENT_V6)));
}

#[test]
fn a_lease_is_renewed_once_at_half_of_its_life() {
    let mut story = Story::allocated();
    story.live_until(299.9);
    assert!(story.requests.is_empty());
    story.live_until(300.0);
    assert_eq!(story.asked(), ["refresh"]);
    story.succeed(|answer| answer.add_attribute(Lifetime::from_u32(600)));
    assert_eq!(story.allocation.lease.map(Lease::expiry), Some(story.start + secs(900)));
    story.live_until(599.9);
    assert!(story.requests.is_empty());
}

#[test]
fn a_renewal_without_answer_ends_the_lease() {
    let mut story = Story::allocated();
    story.bind("198.51.100.20:4000");
    story.succeed(|_| {});
    // Nothing is answered from here on; the first keep-alive dies long before a renewal would.
    story.run_until(25.0 + 8.125);
    assert_eq!(story.lost(), 2);
    assert_eq!(story.allocation.channel_to(at("198.51.100.20:4000"), story.now), None);
    assert!(story.allocation.is_useless());
}

#[test]
fn a_lease_that_is_not_renewed_is_lost_once() {
    let mut story = Story::allocated();
    story.live_until(300.0);
    story.fail(500);
    story.live_until(599.9);
    assert_eq!(story.lost(), 0);
    story.live_until(700.0);
    assert_eq!(story.lost(), 2);
}

#[test]
fn a_lease_that_ended_while_we_slept_is_asked_for_again() {
    let mut story = Story::allocated();
    story.now += secs(3_600);
    story.allocation.handle_timeout(&mut story.rng, story.now);
    story.collect();
    assert_eq!((story.lost(), story.asked()), (2, vec!["allocate"]));
    story.succeed(ALLOCATED);
    assert!(story.allocation.lends(at(LENT_V4)));
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
fn binds_wait_for_the_allocation_and_are_forgotten_when_it_is_refused() {
    let mut story = Story::with(&[V4]);
    for port in 1..=150 {
        story.bind(&format!("198.51.100.20:{port}"));
    }
    story.bound();
    story.challenged();
    story.succeed(ALLOCATED);
    assert_eq!(story.requests.len(), 100, "a ring of 100");

    let mut story = Story::with(&[V4]);
    story.bind("198.51.100.20:1");
    story.bound();
    story.challenged();
    story.fail(486);
    assert!(story.allocation.waiting_binds.is_empty());
    story.bind("198.51.100.20:2");
    assert!(story.allocation.waiting_binds.is_empty(), "nothing is to be expected");
}

#[test]
fn no_channel_is_bound_to_a_family_that_was_not_granted() {
    let mut story = Story::with(&[V4]);
    story.bound();
    story.challenged();
    story.succeed(|answer| {
        answer.add_attribute(XorRelayAddress::new(at(LENT_V4)));
        answer.add_attribute(Lifetime::from_u32(600));
    });
    story.bind("[2001:db8::20]:4000");
    assert!(story.requests.is_empty());
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
fn an_allocation_without_lifetime_or_address_is_ignored() {
    let mut story = Story::with(&[V4]);
    story.bound();
    story.challenged();
    story.succeed(|answer| answer.add_attribute(XorRelayAddress::new(at(LENT_V4))));
    assert!(!story.allocation.lends(at(LENT_V4)));
}

#[test]
fn a_probe_without_answer_ends_the_lease_after_a_second() {
    let mut story = Story::allocated();
    story.allocation.probe(&mut story.rng, story.now);
    story.collect();
    assert_eq!(story.asked(), ["refresh"]);
    story.run_until(0.9);
    assert_eq!(story.lost(), 0);
    story.run_until(1.0);
    assert_eq!(story.lost(), 2);
    assert_eq!(story.asked(), ["refresh"], "it is not repeated");
}

#[test]
fn a_probe_of_a_suspended_relay_starts_over() {
    let mut story = Story::with(&[V4]);
    story.bound();
    story.challenged();
    story.fail(486);
    assert!(story.requests.is_empty());
    story.allocation.probe(&mut story.rng, story.now);
    story.collect();
    assert_eq!(story.asked(), ["binding"]);
}

#[test]
fn only_a_suspended_relay_is_revived() {
    let mut story = Story::with(&[V4]);
    story.bound();
    story.challenged();
    story.allocation.revive(&mut story.rng, story.now);
    story.collect();
    assert_eq!(story.asked(), ["allocate"], "it is about to lend us something");
    story.fail(508);
    story.allocation.revive(&mut story.rng, story.now);
    story.collect();
    assert_eq!(story.asked(), ["binding"]);
    story.bound();
    story.succeed(ALLOCATED);
    story.allocation.revive(&mut story.rng, story.now);
    assert!(story.requests.is_empty() && story.allocation.lends(at(LENT_V4)));
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
fn a_refused_channel_is_free_again() {
    let mut story = Story::allocated();
    story.bind("198.51.100.20:1");
    let (relay, request) = story.take();
    assert_eq!(number_of(&request), 0x4000);
    story.deliver(relay, signed(refusal(&request, 403)));
    assert_eq!(story.allocation.channel_to(at("198.51.100.20:1"), story.now), None);
    story.bind("198.51.100.20:2");
    assert_eq!(number_of(&story.take().1), 0x4000);
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
