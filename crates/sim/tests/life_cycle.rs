//! The life of a connection, told as stories with virtual time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use connection::{Drops, Event, Failure, Params, Route, Sealed};
use ip_packet::{Ecn, control};
use model::{IceCredentials, PresharedKey, PublicKey, RelayId, message::IceRole};

use sim::{CLIENT, GATEWAY, Habits, World, address, gateway, packet, secs, udp_packet};

#[test]
fn the_same_parameters_keep_the_connection_and_everything_is_announced_again() {
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
fn any_other_parameter_makes_a_new_connection() {
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
fn a_gateway_that_lost_its_side_is_found_again_by_asking_once_more() {
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
fn candidates_that_come_before_their_peer_are_kept_for_a_while() {
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
fn an_idle_connection_is_quiet_and_wakes_with_the_next_packet() {
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
fn a_session_that_is_too_old_is_replaced_and_the_packet_is_not_lost() {
    let mut world = World::new(6).with_relays().connected();
    world.run_for(secs(172));
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::NotYet, "the session may expire under way");
    assert_eq!(world.send(CLIENT, packet(2)), Sealed::NotYet);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [packet(1), packet(2)]);
}

#[test]
fn an_idle_connection_renews_its_session() {
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
fn a_peer_with_another_preshared_key_is_given_up_after_twenty_seconds() {
    let mut world = World::new(8).with_relays();
    let mut params = world.params(GATEWAY);
    params.preshared_key = PresharedKey::from([1; 32]);
    let client = world.hosts[GATEWAY].peer;
    world.hosts[GATEWAY].node.upsert(client, params, world.net.now).unwrap();
    let params = world.params(CLIENT);
    world.hosts[CLIENT].node.upsert(gateway(), params, world.net.now).unwrap();
    world.run_for(secs(19));
    assert!(!world.has(CLIENT, &Event::Failed(gateway(), Failure::Unresponsive)));
    assert!(!world.has(CLIENT, &Event::Established(gateway())));
    world.run_for(secs(3));
    assert!(world.has(CLIENT, &Event::Failed(gateway(), Failure::Unresponsive)));
}

#[test]
fn a_peer_that_vanishes_is_noticed() {
    let mut world = World::new(9).with_relays().connected();
    world.net.direct = false;
    world.net.relays.clear();
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
    world.run_for(secs(16));
    assert!(!world.has(CLIENT, &Event::Failed(gateway(), Failure::Unreachable)));
    world.run_for(secs(6));
    assert!(world.has(CLIENT, &Event::Failed(gateway(), Failure::Unreachable)));
}

#[test]
fn goodbye_is_said_through_the_tunnel() {
    let mut world = World::new(10).with_relays().connected();
    let now = world.net.now;
    world.hosts[CLIENT].node.close(gateway(), &control::goodbye(), now);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [control::goodbye()]);
    assert!(world.has(CLIENT, &Event::Closed(gateway())));
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Unknown);
}

#[test]
fn goodbye_goes_through_the_relay_before_its_address_is_given_back() {
    for habits in [Habits::OFFICIAL, Habits::COTURN] {
        let mut world = World::new(12).relay_only();
        world.net.relays[0].habits = habits;
        let mut world = world.with_relays().connected();
        assert_eq!(world.net.relays[0].clients(), 2);
        let now = world.net.now;
        let node = &mut world.hosts[CLIENT].node;
        node.close(gateway(), &control::goodbye(), now);
        node.give_back_relays(now);
        world.run_for(secs(1));
        assert_eq!(world.hosts[GATEWAY].received, [control::goodbye()], "{habits:?}");
        assert_eq!(world.net.relays[0].clients(), 1, "{habits:?}");
        assert!(world.hosts[CLIENT].node.poll_timeout().is_none(), "nothing is left to do");
        assert!(!world.has(CLIENT, &Event::NoRelays), "nobody is asked for other relays");
        // Whoever comes next from the same port is lent an address at once.
        world.introduce_relays(&[]);
        world.run_for(secs(1));
        assert_eq!(world.net.relays[0].clients(), 2, "{habits:?}");
        assert_eq!(world.net.relays[0].answered("allocate", 437), 0, "{habits:?}");
    }
}

#[test]
fn a_new_network_means_a_new_key_and_no_goodbye() {
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
fn a_direct_connection_does_not_mind_the_loss_of_its_relay() {
    let mut world = World::new(12).with_relays().connected();
    world.net.relays.clear();
    world.introduce_relays(&[RelayId::from_u128(1)]);
    world.run_for(secs(1));
    assert!(world.hosts[CLIENT].events.iter().any(|event| matches!(event, Event::InvalidateCandidates { .. })));
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [packet(1)]);
    assert_eq!(world.hosts[CLIENT].node.path(gateway()).unwrap().route, Route::Direct);
}

#[test]
fn a_relay_that_comes_later_takes_over_the_connections_of_a_lost_one() {
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
fn a_relay_that_was_rebooted_lends_new_addresses() {
    let mut world = World::new(14).relay_only().with_relays().connected();
    world.net.relays[0].forget_clients();
    // The portal does not mention it, so it is asked.
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
fn a_direct_path_that_appears_later_is_used() {
    let mut world = World::new(15).relay_only().with_relays().connected();
    world.net.direct = true;
    assert_eq!(world.send(CLIENT, packet(1)), Sealed::Sent);
    world.run_for(secs(3));
    let is_direct = |world: &World| world.hosts[CLIENT].node.path(gateway()).unwrap().route == Route::Direct;
    assert!(is_direct(&world));
    assert_eq!(world.send(CLIENT, packet(2)), Sealed::Sent);
    world.run_for(secs(1));
    assert_eq!(world.hosts[GATEWAY].received, [packet(1), packet(2)]);
}

#[test]
fn congestion_marks_travel_with_the_packet() {
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
            // Only the news that there is congestion is taken over, and only for packets that understand it.
            let marked = outer == Ecn::Ce && matches!(inner, Ecn::Ect0 | Ecn::Ect1);
            assert_eq!(received.ecn(), if marked { Ecn::Ce } else { inner }, "{inner:?} in {outer:?}");
        }
    }
    world.run_for(secs(5));
    assert_eq!(world.hosts[CLIENT].node.drops(), Drops::default());
}

#[test]
fn what_is_not_about_a_packet_carries_no_congestion_mark() {
    let mut world = World::new(16).with_relays();
    world.authorize();
    while let Some(transmit) = world.hosts[CLIENT].node.poll_transmit() {
        assert_eq!(transmit.ecn, Ecn::NotEct);
    }
}

#[test]
fn a_handshake_may_be_complete_before_a_path_is_chosen() {
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

/// No relay answers in the new network, so nobody says where we are.
#[test]
fn a_connection_without_an_address_of_ours_is_given_up_after_ten_seconds() {
    let mut world = World::new(19).with_relays();
    world.net.relays[0].is_up = false;
    world.client_moves_to(vec![address("198.51.100.10:52625")]);
    world.authorize();
    world.run_for(secs(11));
    assert_eq!(world.failures(CLIENT), [Failure::Nowhere]);
    assert!(world.has(CLIENT, &Event::NoRelays));
}

#[test]
fn equal_packets_leave_as_one_batch() {
    let mut world = World::new(17).with_relays().connected();
    for n in 0..10 {
        assert_eq!(world.hosts[CLIENT].node.seal(gateway(), &packet(n), world.net.now), Sealed::Sent);
    }
    let transmit = world.hosts[CLIENT].node.poll_transmit().unwrap();
    assert_eq!((transmit.segment, transmit.payload.len()), (60 + 32, 10 * (60 + 32)));
}
