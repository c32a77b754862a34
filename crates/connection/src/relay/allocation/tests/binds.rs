//! Channels on an allocation that comes, goes, and lacks a family.

use super::*;

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
