//! Whatever happens in whatever order: nothing panics, nothing is due at once again, and queries are answered once.

mod world;

use std::collections::BTreeSet;

use ip_packet::{IpPacket, control};
use model::{FromPortal, Resource, message::FailReason};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use world::{answer, capable_of_ecn, cidr, id, internet, lab::Lab, names, refusal, secs, udp};

const DESTINATIONS: [&str; 6] =
    ["10.0.0.1:53", "10.20.0.1:80", "9.9.9.9:443", "100.96.0.1:443", "100.64.1.1:53535", "[2001:db8::1]:1"];
const NAMES: [&str; 3] = ["a.example.com", "b.example.com", "www.example.org"];

#[test]
fn invariants_hold_in_any_order_of_things() {
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut lab = Lab::new(&resources());
        lab.add_gateway();
        for step in 0..60 {
            happen(&mut lab, &mut rng);
            check(&mut lab, &format!("seed {seed}, step {step}"));
        }
    }
}

#[test]
fn no_mangled_packet_from_a_gateway_does_harm() {
    let lab = Lab::new(&[Resource::Dns(names(1, "*.example.com")), cidr(2, "10.0.0.0/8")]);
    let mut lab = lab.connected(id(2), udp("10.0.0.1:53", 1));
    let status = br#"{"resource":"00000000-0000-0000-0000-000000000001","domain":"a.example.com","status":"Active"}"#;
    let refused = udp("10.0.0.1:53", 1);
    for sample in [control::build(control::DOMAIN_STATUS, status).unwrap(), answer("10.0.0.1:53"), refusal(&refused)] {
        let bytes = sample.as_bytes();
        for bit in (0..bytes.len() * 8).step_by(3) {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(packet) = IpPacket::parse(&flipped) {
                lab.seal_from(0, &packet);
            }
        }
        lab.run_for(secs(1));
    }
    let counters = lab.client.tunnel.counters();
    assert!(counters.iter().map(|(_, count)| count).sum::<u64>() > 0);
    assert_eq!(lab.client.tunnel.paths().len(), 1);
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

fn happen(lab: &mut Lab, rng: &mut StdRng) {
    let resource = id(rng.random_range(1..=6));
    let gateway = rng.random_range(0..lab.gateways.len());
    let destination = DESTINATIONS[rng.random_range(0..DESTINATIONS.len())];
    match rng.random_range(0..16) {
        0..4 => lab.client.send(udp(destination, rng.random_range(0..4))),
        4 | 5 => lab.permit(resource, gateway),
        6 => {
            let reasons = [FailReason::Offline, FailReason::VersionMismatch, FailReason::Forbidden];
            lab.client.hear_failure(resource, reasons[rng.random_range(0..reasons.len())]);
        }
        7 => lab.client.hear(FromPortal::ResourceDeleted(resource)),
        8 => {
            let all = resources();
            lab.client.hear(FromPortal::ResourceCreatedOrUpdated(all[rng.random_range(0..all.len())].clone()));
        }
        9 => lab.client.init(&resources()),
        10 => {
            lab.client.tunnel.switch_internet_resource(rng.random(), lab.client.now);
            lab.client.drain();
        }
        11 => {
            let name = NAMES[rng.random_range(0..NAMES.len())];
            lab.client.ask(name, ["A", "AAAA", "TXT", "MX", "HTTPS"][rng.random_range(0..5)]);
        }
        12 => lab.seal_from(gateway, &control::goodbye()),
        13 => {
            let packet = answer(destination);
            lab.seal_from(gateway, &if destination.starts_with('[') { packet } else { capable_of_ecn(&packet) });
            lab.seal_from(gateway, &refusal(&udp(destination, 1)));
        }
        14 => lab.gateways[gateway].domain_status = [None, Some("Active"), Some("Inactive")][rng.random_range(0..3)],
        _ if rng.random_ratio(1, 4) => {
            lab.client.tunnel.reset(lab.client.now);
            lab.client.drain();
            if rng.random_ratio(3, 4) {
                lab.client.init(&resources());
            }
        }
        _ => lab.restart_gateway(gateway),
    }
    lab.run_for(secs([0, 0, 1, 2, 40][rng.random_range(0..5)]));
}

fn check(lab: &mut Lab, when: &str) {
    let now = lab.client.now;
    lab.client.tunnel.handle_timeout(now);
    let due = lab.client.tunnel.poll_timeout();
    assert!(due.is_none_or(|due| due.at > now), "{when}: due again at once: {due:?}");

    let decided: Vec<_> = lab.client.decided.iter().map(|(id, _)| *id).collect();
    assert_eq!(decided.iter().collect::<BTreeSet<_>>().len(), decided.len(), "{when}: a query was decided twice");

    assert!(
        lab.client.packets.iter().all(|packet| control::parse(packet).is_none()),
        "{when}: a program got a message between peers"
    );
    for (gateway, index) in lab.gateways.iter().zip(0..) {
        let ours = |packet: &IpPacket| ["100.64.0.7", "fd00:2021:1111::7"].contains(&&*packet.source().to_string());
        assert!(gateway.received.iter().all(ours), "{when}: gateway {index} got a foreign packet");
    }
    for pair in lab.client.interfaces.windows(2) {
        assert_ne!(pair[0], pair[1], "{when}: told the same twice");
    }
    for pair in lab.client.lists.windows(2) {
        assert_ne!(pair[0], pair[1], "{when}: told the same twice");
    }
}
