//! The life of a connection in virtual time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use connection::{Drops, Event, Failure, Params, PathKind, Sealed};
use ip_packet::{Ecn, control};
use model::{IceCredentials, PresharedKey, PublicKey, RelayId, message::IceRole};

use sim::{CLIENT, GATEWAY, Habits, World, address, gateway, packet, secs, udp_packet};

#[test]
fn equal_parameters_keep_the_connection_and_repeat_the_announcements() {
    let mut world = World::new(1).with_relays().connected();
    world.hosts[CLIENT].events.clear();
    let params = world.params(CLIENT);
    world.hosts[CLIENT].node.upsert(gateway(), params, world.net.now).unwrap();
    world.run_for(secs(1));
    let announced: Vec<_> = world.hosts[CLIENT]
        .events
        .iter()
        .filter_map(
            |event| if let Event::Candidates { candidates, .. } = event { Some(candidates.len()) } else { None },
        )
        .collect();
    assert_eq!(announced, [2], "host and relay");
    assert!(!world.has(CLIENT, &Event::Established(gateway())));
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
}

#[test]
fn changed_parameter_replaces_the_connection() {
    let other = |name: &str| IceCredentials { username: name.into(), password: "another password".into() };
    let changes: [fn(&mut Params, IceCredentials); 5] = [
        |params, _| params.public_key = PublicKey([9; 32]),
        |params, _| params.preshared_key = PresharedKey::from([9; 32]),
        |params, other| params.local_ice = other,
        |params, other| params.remote_ice = other,
        |params, _| params.role = IceRole::Controlled,
    ];
    for change in changes {
        let mut world = World::new(2).with_relays().connected();
        let mut params = world.params(CLIENT);
        change(&mut params, other("abcd"));
        world.hosts[CLIENT].node.upsert(gateway(), params, world.net.now).unwrap();
        assert!(world.hosts[CLIENT].node.path(gateway()).is_none());
        assert_eq!(world.send(CLIENT, packet(1)), Sealed::NotYet);
    }
}

#[test]
fn repeated_authorization_reconnects_to_a_restarted_gateway() {
    let mut world = World::new(3).with_relays().connected();
    let client = world.hosts[GATEWAY].peer;
    world.hosts[GATEWAY].node.remove(client, world.net.now);
    world.run_for(secs(30));
    world.hosts[GATEWAY].events.clear();
    world.authorize();
    world.run_for(secs(10));
    assert!(world.has(GATEWAY, &Event::Established(client)));
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [packet(1)]);
}

#[test]
fn candidates_before_the_connection_are_kept_for_five_seconds() {
    let mut world = World::new(4).with_relays();
    let params = world.params(GATEWAY);
    let client = world.hosts[GATEWAY].peer;
    world.hosts[GATEWAY].node.upsert(client, params, world.net.now).unwrap();
    world.run_for(secs(2));
    let params = world.params(CLIENT);
    world.hosts[CLIENT].node.upsert(gateway(), params, world.net.now).unwrap();
    world.run_for(secs(2));
    assert!(world.has(CLIENT, &Event::Established(gateway())));
}

#[test]
fn idle_connection_is_quiet_until_the_next_packet() {
    let mut world = World::new(5).with_relays().connected();
    world.run_for(secs(30));
    let before = world.net.delivered;
    world.run_for(secs(50));
    let idle = world.net.delivered - before;
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
    world.run_for(secs(15));
    let active = world.net.delivered - before - idle;
    assert_eq!(world.hosts[GATEWAY].received, [packet(1)]);
    assert!(idle < 100, "{idle} datagrams in 50 s");
    assert!(active > idle, "{active} datagrams in 15 s, {idle} in 50 s before");
}

#[test]
fn packet_on_an_expired_session_waits_for_the_next_session() {
    let mut world = World::new(6).with_relays().connected();
    world.run_for(secs(172));
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::NotYet, "the session may expire under way");
    assert_eq!(world.send(CLIENT, packet(2)), Sealed::NotYet);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [packet(1), packet(2)]);
}

#[test]
fn idle_connection_renews_its_session() {
    let mut world = World::new(7).with_relays().connected();
    for minute in 1..=30 {
        world.run_for(secs(60));
        let path = world.hosts[CLIENT].node.path(gateway()).unwrap();
        let age = world.net.now - path.last_handshake.unwrap();
        assert!(age <= secs(181), "{age:?} after {minute} min");
    }
    assert_ne!(world.send(CLIENT, packet(1)), Sealed::Unknown);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [packet(1)]);
}

#[test]
fn peer_with_another_preshared_key_fails_after_twenty_seconds() {
    let mut world = World::new(8).with_relays();
    let mut params = world.params(GATEWAY);
    params.preshared_key = PresharedKey::from([1; 32]);
    let client = world.hosts[GATEWAY].peer;
    world.hosts[GATEWAY].node.upsert(client, params, world.net.now).unwrap();
    let params = world.params(CLIENT);
    world.hosts[CLIENT].node.upsert(gateway(), params, world.net.now).unwrap();
    world.run_for(secs(19));
    assert!(!world.has(CLIENT, &Event::Failed(gateway(), Failure::HandshakeTimeout)));
    assert!(!world.has(CLIENT, &Event::Established(gateway())));
    world.run_for(secs(3));
    assert!(world.has(CLIENT, &Event::Failed(gateway(), Failure::HandshakeTimeout)));
}

#[test]
fn vanished_peer_is_detected() {
    let mut world = World::new(9).with_relays().connected();
    world.net.direct = false;
    world.net.relays.clear();
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
    world.run_for(secs(16));
    assert!(!world.has(CLIENT, &Event::Failed(gateway(), Failure::NoPath)));
    world.run_for(secs(6));
    assert!(world.has(CLIENT, &Event::Failed(gateway(), Failure::NoPath)));
}

#[test]
fn goodbye_is_sent_through_the_tunnel() {
    let mut world = World::new(10).with_relays().connected();
    let now = world.net.now;
    world.hosts[CLIENT].node.close(gateway(), &control::goodbye(), now);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [control::goodbye()]);
    assert!(world.has(CLIENT, &Event::Closed(gateway())));
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Unknown);
}

#[test]
fn goodbye_is_relayed_before_the_allocation_is_released() {
    for habits in [Habits::OFFICIAL, Habits::COTURN] {
        let mut world = World::new(12).relay_only();
        world.net.relays[0].habits = habits;
        let mut world = world.with_relays().connected();
        assert_eq!(world.net.relays[0].clients(), 2);
        let now = world.net.now;
        let node = &mut world.hosts[CLIENT].node;
        node.close(gateway(), &control::goodbye(), now);
        node.release_relays(now);
        world.run_for(secs(1));
        assert_eq!(world.hosts[GATEWAY].received, [control::goodbye()], "{habits:?}");
        assert_eq!(world.net.relays[0].clients(), 1, "{habits:?}");
        assert!(world.hosts[CLIENT].node.poll_timeout().is_none(), "nothing is left to do");
        assert!(!world.has(CLIENT, &Event::NoRelays), "no other relays are requested");
        // The next client at the same port gets an allocation at once.
        world.introduce_relays(&[]);
        world.run_for(secs(1));
        assert_eq!(world.net.relays[0].clients(), 2, "{habits:?}");
        assert_eq!(world.net.relays[0].answered("allocate", 437), 0, "{habits:?}");
    }
}

#[test]
fn reset_creates_a_new_key_and_sends_no_goodbye() {
    let mut world = World::new(11).with_relays().connected();
    let before = world.hosts[CLIENT].node.public_key();
    for _ in 0..2 {
        let now = world.net.now;
        world.hosts[CLIENT].node.reset(now);
    }
    world.hosts[CLIENT].addresses = vec![address("198.51.100.10:52625")];
    world.run_for(secs(2));
    assert_ne!(world.hosts[CLIENT].node.public_key(), before);
    assert!(world.has(CLIENT, &Event::Closed(gateway())));
    assert!(world.hosts[GATEWAY].received.is_empty());

    world.hosts[CLIENT].events.clear();
    world.authorize();
    world.run_for(secs(3));
    assert!(world.has(CLIENT, &Event::Established(gateway())));
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [packet(1)]);
}

#[test]
fn direct_connection_survives_the_loss_of_its_relay() {
    let mut world = World::new(12).with_relays().connected();
    world.net.relays.clear();
    world.introduce_relays(&[RelayId::from_u128(1)]);
    world.run_for(secs(1));
    assert!(world.hosts[CLIENT].events.iter().any(|event| matches!(event, Event::InvalidateCandidates { .. })));
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [packet(1)]);
    assert_eq!(world.hosts[CLIENT].node.path(gateway()).unwrap().kind, PathKind::Direct);
}

#[test]
fn new_relay_takes_over_the_connections_of_a_lost_one() {
    let mut world = World::new(13).relay_only().with_relays().connected();
    world.net.relays.clear();
    world.introduce_relays(&[RelayId::from_u128(1)]);
    world.run_for(secs(1));
    world.add_relay(2, &["203.0.113.2:3478"]);
    world.introduce_relays(&[]);
    world.run_for(secs(2));
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [packet(1)]);
}

#[test]
fn rebooted_relay_allocates_new_addresses() {
    let mut world = World::new(14).relay_only().with_relays().connected();
    world.net.relays[0].forget_clients();
    // It is missing from the list, so it is probed.
    for side in [CLIENT, GATEWAY] {
        let now = world.net.now;
        world.hosts[side].node.update_relays(&[], &[], now);
    }
    world.run_for(secs(3));
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [packet(1)]);
}

#[test]
fn direct_path_that_appears_later_is_used() {
    let mut world = World::new(15).relay_only().with_relays().connected();
    world.net.direct = true;
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
    world.run_for(secs(3));
    let is_direct = |world: &World| world.hosts[CLIENT].node.path(gateway()).unwrap().kind == PathKind::Direct;
    assert!(is_direct(&world));
    assert_eq!(world.send(CLIENT, packet(2)), Sealed::Sent);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [packet(1), packet(2)]);
}

#[test]
fn congestion_marks_are_propagated_to_the_packet() {
    let all = [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce];
    let mut world = World::new(16).with_relays().connected();
    let (from, to) = (world.hosts[CLIENT].addresses[0], world.hosts[GATEWAY].addresses[0]);
    for inner in all {
        for outer in all {
            let packet = udp_packet([100, 64, 0, 1].into(), [100, 64, 0, 2].into(), 1, inner, 32);
            assert_eq!(world.hosts[CLIENT].node.seal(gateway(), &packet, world.net.now), Sealed::Sent);
            let mut transmit = world.hosts[CLIENT].node.poll_transmit().unwrap();
            assert_eq!(transmit.ecn, inner);
            let node = &mut world.hosts[GATEWAY].node;
            let (_, received) = node.open(to, from, outer, &mut transmit.payload, world.net.now).unwrap();
            // Only congestion is propagated, and only to packets that support ECN.
            let marked = outer == Ecn::Ce && matches!(inner, Ecn::Ect0 | Ecn::Ect1);
            assert_eq!(received.ecn(), if marked { Ecn::Ce } else { inner }, "{inner:?} in {outer:?}");
        }
    }
    world.run_for(secs(5));
    assert_eq!(world.hosts[CLIENT].node.drops(), Drops::default());
}

#[test]
fn control_messages_carry_no_congestion_mark() {
    let mut world = World::new(16).with_relays();
    world.authorize();
    while let Some(transmit) = world.hosts[CLIENT].node.poll_transmit() {
        assert_eq!(transmit.ecn, Ecn::NotEct);
    }
}

#[test]
fn handshake_can_complete_before_a_path_is_selected() {
    let mut world = World::new(18).with_relays();
    world.net.forbidden = Some(chooses_a_path);
    world.authorize();
    world.run_for(secs(3));
    let client = world.hosts[GATEWAY].peer;
    assert!(world.path(CLIENT).is_some() && world.path(GATEWAY).is_none());
    assert!(!world.has(GATEWAY, &Event::Established(client)), "nowhere to send to");
    assert!(!world.has(CLIENT, &Event::Established(gateway())), "the answer waits for a path");
    world.net.forbidden = None;
    world.run_for(secs(2));
    assert!(world.has(GATEWAY, &Event::Established(client)));
    assert!(world.has(CLIENT, &Event::Established(gateway())));
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [packet(1)]);
}

/// A check with USE-CANDIDATE.
fn chooses_a_path(datagram: &[u8]) -> bool {
    datagram.starts_with(&[0, 1]) && datagram.windows(4).any(|it| it == [0, 0x25, 0, 0])
}

/// No relay responds in the new network, so no address of ours is known.
#[test]
fn connection_without_local_candidates_fails_after_ten_seconds() {
    let mut world = World::new(19).with_relays();
    world.net.relays[0].is_up = false;
    world.client_moves_to(vec![address("198.51.100.10:52625")]);
    world.authorize();
    world.run_for(secs(11));
    assert_eq!(world.failures(CLIENT), [Failure::NoLocalCandidates]);
    assert!(world.has(CLIENT, &Event::NoRelays));
}

#[test]
fn packets_of_equal_size_form_one_batch() {
    let mut world = World::new(17).with_relays().connected();
    for n in 0..10 {
        assert_eq!(world.hosts[CLIENT].node.seal(gateway(), &packet(n), world.net.now), Sealed::Sent);
    }
    let transmit = world.hosts[CLIENT].node.poll_transmit().unwrap();
    assert_eq!((transmit.segment, transmit.payload.len()), (60 + 32, 10 * (60 + 32)));
}
