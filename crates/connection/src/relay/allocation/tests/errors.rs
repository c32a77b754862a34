//! Error responses.

use super::*;

#[test]
fn unauthorized_response_without_our_nonce_leads_to_a_retry() {
    let mut harness = Harness::with(&[V4]);
    harness.bound();
    assert_eq!(nonce_of(&harness.requests[0].1), None);
    harness.challenged();
    assert_eq!(nonce_of(&harness.requests[0].1), Some("first nonce"));
    harness.succeed(ALLOCATED);
    let local = at(HOST_V4);
    let lent = [LENT_V4, LENT_V6].map(|it| Event::CandidateFound(LocalCandidate::Relayed { address: at(it), local }));
    assert_eq!(harness.events[2..], lent);
}

#[test]
fn unauthorized_response_to_our_nonce_makes_the_relay_unusable() {
    let mut harness = Harness::with(&[V4]);
    harness.bound();
    harness.challenged();
    harness.fail(401);
    assert!(harness.allocation.is_unusable());
    harness.run_until(100.0);
    assert!(harness.requests.is_empty());
}

#[test]
fn stale_nonce_is_replaced() {
    let mut harness = Harness::allocated();
    harness.live_until(300.0);
    let (relay, refresh) = harness.take();
    harness.deliver(relay, signed(challenge(&refresh, 438, "second nonce")));
    assert_eq!(harness.asked(), ["refresh"]);
    assert_eq!(nonce_of(&harness.requests[0].1), Some("second nonce"));
}

#[test]
fn unsigned_response_is_ignored() {
    let mut harness = Harness::with(&[V4]);
    harness.bound();
    harness.challenged();
    let (relay, request) = harness.take();
    let mut forged = answer_to(&request, MessageClass::SuccessResponse);
    ALLOCATED(&mut forged);
    harness.deliver(relay, forged);
    for code in [400, 401, 420, 437, 486, 500] {
        harness.deliver(relay, refusal(&request, code));
        harness.deliver(relay, challenge(&request, code, "forged nonce"));
    }
    assert!(harness.requests.is_empty() && !harness.allocation.is_unusable());
    let mut genuine = answer_to(&request, MessageClass::SuccessResponse);
    ALLOCATED(&mut genuine);
    harness.deliver(relay, signed(genuine));
    assert!(harness.allocation.owns_relayed_address(at(LENT_V4)));
}

#[test]
fn relay_with_unsigned_challenges_is_usable() {
    let mut harness = Harness::with(&[V4]);
    harness.bound();
    let (relay, request) = harness.take();
    harness.deliver(relay, challenge(&request, 401, "first nonce"));
    harness.succeed(ALLOCATED);
    harness.live_until(300.0);
    let (relay, refresh) = harness.take();
    harness.deliver(relay, challenge(&refresh, 438, "second nonce"));
    assert_eq!(nonce_of(&harness.take().1), Some("second nonce"));
}

#[test]
fn relay_that_rejects_integrity_without_nonce_gets_an_anonymous_request() {
    let mut harness = Harness::with(&[V4]);
    harness.bound();
    let (relay, named) = harness.take();
    assert!(named.get_attribute::<MessageIntegrity>().is_some());
    harness.deliver(relay, refusal(&named, 400));
    let (relay, anonymous) = harness.take();
    assert!(anonymous.get_attribute::<MessageIntegrity>().is_none());
    harness.deliver(relay, refusal(&anonymous, 400));
    assert!(harness.requests.is_empty(), "it is not asked for ever");
    harness.deliver(relay, challenge(&anonymous, 401, "first nonce"));
    assert_eq!(nonce_of(&harness.take().1), Some("first nonce"));
}

#[test]
fn relay_with_another_realm_is_not_used() {
    let mut harness = Harness::with(&[V4]);
    harness.bound();
    let (relay, request) = harness.take();
    let mut response = refusal(&request, 401);
    response.add_attribute(Realm::new("elsewhere".to_owned()).unwrap());
    response.add_attribute(Nonce::new("nonce".to_owned()).unwrap());
    harness.deliver(relay, signed(response));
    harness.run_until(100.0);
    assert!(harness.requests.is_empty());
    assert!(harness.allocation.is_unusable());
}

#[test]
fn left_over_allocation_is_deleted_first() {
    let mut harness = Harness::with(&[V4]);
    harness.bound();
    harness.challenged();
    harness.fail(437);
    assert_eq!(harness.asked(), ["delete"]);
    harness.succeed(|response| response.add_attribute(Lifetime::from_u32(0)));
    assert_eq!(harness.asked(), ["allocate"]);
    harness.succeed(ALLOCATED);
    assert!(harness.allocation.owns_relayed_address(at(LENT_V4)));
}

#[test]
fn unauthenticated_allocation_mismatch_leads_to_a_deletion() {
    let mut harness = Harness::with(&[V4]);
    harness.bound();
    let (relay, request) = harness.take();
    harness.deliver(relay, refusal(&request, 437));
    assert_eq!(harness.asked(), ["delete"]);
    harness.challenged();
    assert_eq!(harness.asked(), ["delete"]);
    harness.succeed(|response| response.add_attribute(Lifetime::from_u32(0)));
    assert_eq!(harness.asked(), ["allocate"]);
    // From now on responses have to be authenticated.
    let (relay, request) = harness.take();
    harness.deliver(relay, refusal(&request, 437));
    assert!(harness.requests.is_empty());
    let mut genuine = answer_to(&request, MessageClass::SuccessResponse);
    ALLOCATED(&mut genuine);
    harness.deliver(relay, signed(genuine));
    assert!(harness.allocation.owns_relayed_address(at(LENT_V4)));
}

#[test]
fn forgotten_allocation_is_requested_again() {
    let mut harness = Harness::allocated();
    harness.live_until(300.0);
    harness.fail(437);
    assert_eq!(harness.lost(), 2);
    assert_eq!(harness.asked(), ["allocate"]);
}

#[test]
fn unknown_attribute_response_makes_the_relay_unusable() {
    let mut harness = Harness::with(&[V4]);
    harness.bound();
    harness.challenged();
    harness.fail(420);
    assert!(harness.allocation.is_unusable());
}

#[test]
fn refresh_is_repeated_in_minimal_form() {
    let mut harness = Harness::allocated();
    harness.live_until(300.0);
    harness.fail(420);
    let (relay, plain) = harness.next("refresh");
    assert!(plain.attributes().all(|it| !matches!(it, Attribute::RequestedTransport(_))));
    harness.deliver(relay, signed(refusal(&plain, 420)));
    assert!(harness.allocation.is_unusable(), "only once");
}

#[test]
fn relay_without_ipv4_gets_a_request_for_ipv6() {
    let mut harness = Harness::with(&[V6]);
    let (relay, request) = harness.take();
    harness.answer_binding(relay, &request, HOST_V6);
    harness.challenged();
    harness.fail(440);
    let (_, second) = harness.requests.front().unwrap();
    assert!(second.attributes().any(|it| matches!(it, Attribute::RequestedAddressFamily(_))));
    assert!(second.attributes().all(|it| !matches!(it, Attribute::AdditionalAddressFamily(_))));
    harness.succeed(|response| {
        response.add_attribute(XorRelayAddress::new(at(LENT_V6)));
        response.add_attribute(Lifetime::from_u32(600));
    });
    assert!(harness.allocation.owns_relayed_address(at(LENT_V6)));
}
