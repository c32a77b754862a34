//! Renewal, expiry and release of the lease.

use super::*;

#[test]
fn lease_is_renewed_once_at_half_of_its_lifetime() {
    let mut harness = Harness::allocated();
    harness.live_until(299.9);
    assert!(harness.requests.is_empty());
    harness.live_until(300.0);
    assert_eq!(harness.asked(), ["refresh"]);
    harness.succeed(|response| response.add_attribute(Lifetime::from_u32(600)));
    assert_eq!(harness.allocation.lease.map(Lease::expiry), Some(harness.start + secs(900)));
    harness.live_until(599.9);
    assert!(harness.requests.is_empty());
}

#[test]
fn keepalive_without_response_ends_the_lease() {
    let mut harness = Harness::allocated();
    harness.bind("198.51.100.20:4000");
    harness.succeed(|_| {});
    // No response from here on; the first keep-alive times out long before a renewal.
    harness.run_until(25.0 + 8.125);
    assert_eq!(harness.lost(), 2);
    assert_eq!(harness.allocation.channel_to(at("198.51.100.20:4000"), harness.now), None);
    assert!(harness.allocation.is_unusable());
}

#[test]
fn lease_that_is_not_renewed_is_reported_lost_once() {
    let mut harness = Harness::allocated();
    harness.live_until(300.0);
    harness.fail(500);
    harness.live_until(599.9);
    assert_eq!(harness.lost(), 0);
    harness.live_until(700.0);
    assert_eq!(harness.lost(), 2);
}

#[test]
fn lease_that_expired_during_suspend_is_requested_again() {
    let mut harness = Harness::allocated();
    harness.now += secs(3_600);
    harness.allocation.handle_timeout(&mut harness.rng, harness.now);
    harness.collect();
    assert_eq!((harness.lost(), harness.asked()), (2, vec!["allocate"]));
    harness.succeed(ALLOCATED);
    assert!(harness.allocation.owns_relayed_address(at(LENT_V4)));
}

#[test]
fn allocation_without_lifetime_is_ignored() {
    let mut harness = Harness::with(&[V4]);
    harness.bound();
    harness.challenged();
    harness.succeed(|response| response.add_attribute(XorRelayAddress::new(at(LENT_V4))));
    assert!(!harness.allocation.owns_relayed_address(at(LENT_V4)));
}

#[test]
fn probe_without_response_ends_the_lease_after_a_second() {
    let mut harness = Harness::allocated();
    harness.allocation.probe(&mut harness.rng, harness.now);
    harness.collect();
    assert_eq!(harness.asked(), ["refresh"]);
    harness.run_until(0.9);
    assert_eq!(harness.lost(), 0);
    harness.run_until(1.0);
    assert_eq!(harness.lost(), 2);
    assert_eq!(harness.asked(), ["refresh"], "it is not repeated");
}

#[test]
fn probe_of_a_dormant_relay_restarts_it() {
    let mut harness = Harness::with(&[V4]);
    harness.bound();
    harness.challenged();
    harness.fail(486);
    assert!(harness.requests.is_empty());
    harness.allocation.probe(&mut harness.rng, harness.now);
    harness.collect();
    assert_eq!(harness.asked(), ["binding"]);
}

#[test]
fn only_a_dormant_relay_is_revived() {
    let mut harness = Harness::with(&[V4]);
    harness.bound();
    harness.challenged();
    harness.allocation.revive(&mut harness.rng, harness.now);
    harness.collect();
    assert_eq!(harness.asked(), ["allocate"], "it is about to lend us something");
    harness.fail(508);
    harness.allocation.revive(&mut harness.rng, harness.now);
    harness.collect();
    assert_eq!(harness.asked(), ["binding"]);
    harness.bound();
    harness.succeed(ALLOCATED);
    harness.allocation.revive(&mut harness.rng, harness.now);
    assert!(harness.requests.is_empty() && harness.allocation.owns_relayed_address(at(LENT_V4)));
}

#[test]
fn allocation_is_released_once_without_awaiting_the_response() {
    let mut harness = Harness::allocated();
    harness.bind("198.51.100.20:4000");
    harness.requests.clear();
    for _ in 0..2 {
        harness.allocation.release(&mut harness.rng, harness.now);
        harness.collect();
    }
    assert_eq!((harness.asked(), harness.lost()), (vec!["delete", "delete"], 2), "in each manner once");
    for is_plain in [false, true] {
        let (_, last) = harness.take();
        assert_eq!(nonce_of(&last), Some("first nonce"));
        assert_eq!(last.attributes().all(|it| !matches!(it, Attribute::RequestedTransport(_))), is_plain);
    }
    harness.run_until(3_600.0);
    assert!(harness.requests.is_empty());
}

#[test]
fn allocation_is_released_in_the_known_refresh_form() {
    let mut harness = Harness::allocated();
    harness.live_until(300.0);
    harness.fail(420);
    harness.succeed(|response| response.add_attribute(Lifetime::from_u32(600)));
    harness.allocation.release(&mut harness.rng, harness.now);
    harness.collect();
    assert_eq!(harness.asked(), ["delete"]);
}

#[test]
fn release_without_lease_sends_nothing() {
    let mut harness = Harness::with(&[V4]);
    harness.requests.clear();
    harness.allocation.release(&mut harness.rng, harness.now);
    harness.collect();
    assert!(harness.requests.is_empty());
}
