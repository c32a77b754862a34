use rand::SeedableRng as _;

use super::*;
use crate::testing::epoch;

fn relay(id: u128, address: &str, password: &str) -> Relay {
    let address = address.parse().unwrap();
    let (v4, v6) = match address {
        SocketAddr::V4(v4) => (Some(v4), None),
        SocketAddr::V6(v6) => (None, Some(v6)),
    };
    Relay { id: RelayId::from_u128(id), v4, v6, username: "1700000000:abcd".to_owned(), password: password.into() }
}

/// Takes `add` over. Returns the relays that began anew, and where binding requests went.
fn update(relays: &mut Relays, add: &[Relay]) -> (Vec<RelayId>, Vec<String>) {
    let removed = relays.update(&[], add, &mut StdRng::seed_from_u64(1), epoch());
    let asked = std::iter::from_fn(|| relays.poll_transmit()).map(|it| it.destination.to_string());
    (removed, asked.collect())
}

#[test]
fn entries_of_one_relay_are_merged() {
    let mut relays = Relays::default();
    let entries = [
        relay(1, "[2001:db8::1]:3478", "sekret"),
        relay(2, "203.0.113.2:3478", "sekret"),
        relay(1, "203.0.113.1:3478", "sekret"),
        relay(1, "203.0.113.99:3478", "sekret"),
    ];
    let (_, asked) = update(&mut relays, &entries);
    assert_eq!(asked, ["203.0.113.1:3478", "[2001:db8::1]:3478", "203.0.113.2:3478"], "the first of a family counts");
}

#[test]
fn only_changed_relays_are_restarted() {
    let mut relays = Relays::default();
    let first = relay(1, "203.0.113.1:3478", "sekret");
    update(&mut relays, std::slice::from_ref(&first));
    assert_eq!(update(&mut relays, std::slice::from_ref(&first)), (vec![], vec![]));
    for changed in [relay(1, "203.0.113.1:3478", "other"), relay(1, "203.0.113.2:3478", "other")] {
        let (removed, asked) = update(&mut relays, std::slice::from_ref(&changed));
        assert_eq!((removed, asked.len()), (vec![first.id], 1));
    }
    assert!(relays.is_relay_address("203.0.113.1:3478".parse().unwrap()), "late datagrams are still known");
}

#[test]
fn datagrams_of_a_former_relay_are_consumed() {
    let mut relays = Relays::default();
    update(&mut relays, &[relay(1, "203.0.113.1:3478", "sekret")]);
    relays.update(&[RelayId::from_u128(1)], &[], &mut StdRng::seed_from_u64(1), epoch());
    let from = "203.0.113.1:3478".parse().unwrap();
    assert_eq!(relays.handle_channel_data(from, 0x4000, epoch()), Received::Consumed);
    let (local, mut rng) = ("192.0.2.10:52625".parse().unwrap(), StdRng::seed_from_u64(1));
    assert_eq!(relays.handle_stun(local, from, &[1, 1, 0, 0], &mut rng, epoch()), Received::Consumed);
    assert!(relays.poll_transmit().is_none());
}
