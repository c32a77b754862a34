//! What is lent, for how long, and how it ends.

use super::*;

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
fn what_is_lent_is_given_back_once_and_nobody_waits_for_the_answer() {
    let mut story = Story::allocated();
    story.bind("198.51.100.20:4000");
    story.requests.clear();
    for _ in 0..2 {
        story.allocation.give_back(&mut story.rng, story.now);
        story.collect();
    }
    assert_eq!((story.asked(), story.lost()), (vec!["delete", "delete"], 2), "in each manner once");
    for is_plain in [false, true] {
        let (_, last) = story.take();
        assert_eq!(nonce_of(&last), Some("first nonce"));
        assert_eq!(last.attributes().all(|it| !matches!(it, Attribute::RequestedTransport(_))), is_plain);
    }
    story.run_until(3_600.0);
    assert!(story.requests.is_empty());
}

#[test]
fn a_relay_that_wants_refreshes_plain_gets_its_address_back_plain() {
    let mut story = Story::allocated();
    story.live_until(300.0);
    story.fail(420);
    story.succeed(|answer| answer.add_attribute(Lifetime::from_u32(600)));
    story.allocation.give_back(&mut story.rng, story.now);
    story.collect();
    assert_eq!(story.asked(), ["delete"]);
}

#[test]
fn where_nothing_is_lent_nothing_is_given_back() {
    let mut story = Story::with(&[V4]);
    story.requests.clear();
    story.allocation.give_back(&mut story.rng, story.now);
    story.collect();
    assert!(story.requests.is_empty());
}
