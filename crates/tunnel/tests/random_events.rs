//! Random event sequences: no panics, no deadline in the past, and each query is decided once.

mod support;

use std::collections::BTreeSet;

use ip_packet::{IpPacket, control};
use model::{FromPortal, Resource, message::FailureReason};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use support::{answer, cidr, ecn_capable, id, internet, names, network::TestNetwork, prohibited_error, secs, udp};

const DESTINATIONS: [&str; 6] =
    ["10.0.0.1:53", "10.20.0.1:80", "9.9.9.9:443", "100.96.0.1:443", "100.64.1.1:53535", "[2001:db8::1]:1"];
const NAMES: [&str; 3] = ["a.example.com", "b.example.com", "www.example.org"];

#[test]
fn invariants_hold_for_random_event_sequences() {
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut net = TestNetwork::new(&resources());
        net.add_gateway();
        for step in 0..60 {
            apply_random_event(&mut net, &mut rng);
            check_invariants(&mut net, &format!("seed {seed}, step {step}"));
        }
    }
}

#[test]
fn mangled_packets_from_a_gateway_are_harmless() {
    let net = TestNetwork::new(&[Resource::Dns(names(1, "*.example.com")), cidr(2, "10.0.0.0/8")]);
    let mut net = net.connected(id(2), udp("10.0.0.1:53", 1));
    let status = br#"{"resource":"00000000-0000-0000-0000-000000000001","domain":"a.example.com","status":"Active"}"#;
    let refused = udp("10.0.0.1:53", 1);
    for sample in
        [control::build(control::DOMAIN_STATUS, status).unwrap(), answer("10.0.0.1:53"), prohibited_error(&refused)]
    {
        let bytes = sample.as_bytes();
        for bit in (0..bytes.len() * 8).step_by(3) {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(packet) = IpPacket::parse(&flipped) {
                net.seal_from(0, &packet);
            }
        }
        net.run_for(secs(1));
    }
    let counters = net.client.tunnel.counters();
    assert!(counters.iter().map(|(_, count)| count).sum::<u64>() > 0);
    assert_eq!(net.client.tunnel.paths().len(), 1);
}

fn resources() -> Vec<Resource> {
    vec![
        cidr(1, "10.0.0.0/8"),
        cidr(2, "10.20.0.0/16"),
        Resource::Dns(names(3, "*.example.com")),
        Resource::Dns(names(4, "a.example.com")),
        internet(5),
    ]
}

fn apply_random_event(net: &mut TestNetwork, rng: &mut StdRng) {
    let resource = id(rng.random_range(1..=6));
    let gateway = rng.random_range(0..net.gateways.len());
    let destination = DESTINATIONS[rng.random_range(0..DESTINATIONS.len())];
    match rng.random_range(0..16) {
        0..4 => net.client.send(udp(destination, rng.random_range(0..4))),
        4 | 5 => net.authorize(resource, gateway),
        6 => {
            let reasons = [FailureReason::Offline, FailureReason::VersionMismatch, FailureReason::Forbidden];
            net.client.receive_failure(resource, reasons[rng.random_range(0..reasons.len())]);
        }
        7 => net.client.receive_portal(FromPortal::ResourceDeleted(resource)),
        8 => {
            let all = resources();
            net.client
                .receive_portal(FromPortal::ResourceCreatedOrUpdated(all[rng.random_range(0..all.len())].clone()));
        }
        9 => net.client.init(&resources()),
        10 => {
            net.client.tunnel.switch_internet_resource(rng.random(), net.client.now);
            net.client.drain();
        }
        11 => {
            let name = NAMES[rng.random_range(0..NAMES.len())];
            net.client.ask(name, ["A", "AAAA", "TXT", "MX", "HTTPS"][rng.random_range(0..5)]);
        }
        12 => net.seal_from(gateway, &control::goodbye()),
        13 => {
            let packet = answer(destination);
            net.seal_from(gateway, &if destination.starts_with('[') { packet } else { ecn_capable(&packet) });
            net.seal_from(gateway, &prohibited_error(&udp(destination, 1)));
        }
        14 => net.gateways[gateway].domain_status = [None, Some("Active"), Some("Inactive")][rng.random_range(0..3)],
        _ if rng.random_ratio(1, 4) => {
            net.client.tunnel.reset(net.client.now);
            net.client.drain();
            if rng.random_ratio(3, 4) {
                net.client.init(&resources());
            }
        }
        _ => net.restart_gateway(gateway),
    }
    net.run_for(secs([0, 0, 1, 2, 40][rng.random_range(0..5)]));
}

fn check_invariants(net: &mut TestNetwork, when: &str) {
    let now = net.client.now;
    net.client.tunnel.handle_timeout(now);
    let due = net.client.tunnel.poll_timeout();
    assert!(due.is_none_or(|due| due.at > now), "{when}: due again at once: {due:?}");

    let decided: Vec<_> = net.client.decided.iter().map(|(id, _)| *id).collect();
    assert_eq!(decided.iter().collect::<BTreeSet<_>>().len(), decided.len(), "{when}: a query was decided twice");

    assert!(
        net.client.packets.iter().all(|packet| control::parse(packet).is_none()),
        "{when}: a program got a message between peers"
    );
    for (gateway, index) in net.gateways.iter().zip(0..) {
        let ours = |packet: &IpPacket| ["100.64.0.7", "fd00:2021:1111::7"].contains(&&*packet.source().to_string());
        assert!(gateway.received.iter().all(ours), "{when}: gateway {index} got a foreign packet");
    }
    for pair in net.client.interfaces.windows(2) {
        assert_ne!(pair[0], pair[1], "{when}: published the same value twice");
    }
    for pair in net.client.lists.windows(2) {
        assert_ne!(pair[0], pair[1], "{when}: published the same value twice");
    }
}
