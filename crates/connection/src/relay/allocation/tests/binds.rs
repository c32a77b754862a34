//! Channel bindings before, after and without a suitable allocation.

use super::*;

#[test]
fn pending_binds_wait_for_the_allocation_and_are_dropped_if_it_is_rejected() {
    let mut harness = Harness::with(&[V4]);
    for port in 1..=150 {
        harness.bind(&format!("198.51.100.20:{port}"));
    }
    harness.bound();
    harness.challenged();
    harness.succeed(ALLOCATED);
    assert_eq!(harness.requests.len(), 100, "a ring of 100");

    let mut harness = Harness::with(&[V4]);
    harness.bind("198.51.100.20:1");
    harness.bound();
    harness.challenged();
    harness.fail(486);
    assert!(harness.allocation.pending_binds.is_empty());
    harness.bind("198.51.100.20:2");
    assert!(harness.allocation.pending_binds.is_empty(), "nothing is to be expected");
}

#[test]
fn bind_on_a_forgotten_allocation_is_repeated_on_the_new_one() {
    let mut harness = Harness::allocated();
    harness.bind("198.51.100.20:4000");
    harness.fail(437);
    assert_eq!(harness.lost(), 2);
    assert_eq!(harness.asked(), ["allocate"]);
    harness.succeed(ALLOCATED);
    assert_eq!(harness.asked(), ["channel bind"]);
}

#[test]
fn no_channel_is_bound_to_a_family_that_was_not_granted() {
    let mut harness = Harness::with(&[V4]);
    harness.bound();
    harness.challenged();
    harness.succeed(|response| {
        response.add_attribute(XorRelayAddress::new(at(LENT_V4)));
        response.add_attribute(Lifetime::from_u32(600));
    });
    harness.bind("[2001:db8::20]:4000");
    assert!(harness.requests.is_empty());
}

#[test]
fn number_of_a_rejected_channel_is_reused() {
    let mut harness = Harness::allocated();
    harness.bind("198.51.100.20:1");
    let (relay, request) = harness.take();
    assert_eq!(number_of(&request), 0x4000);
    harness.deliver(relay, signed(refusal(&request, 403)));
    assert_eq!(harness.allocation.channel_to(at("198.51.100.20:1"), harness.now), None);
    harness.bind("198.51.100.20:2");
    assert_eq!(number_of(&harness.take().1), 0x4000);
}
