//! Refusals.

use super::*;

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
