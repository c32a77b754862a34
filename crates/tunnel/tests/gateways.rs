//! Connections with gateways, from the first packet until they are closed.

mod support;

use ip_packet::{Ecn, IpPacket, build};
use model::{FromPortal, GatewayId, Resource, Status, ToPortal, message::FailureReason};
use support::{answer, cidr, ecn_capable, id, internet, names, network::TestNetwork, prohibited_error, secs, udp};
use tunnel::{DropReason, Event};

#[test]
fn held_packets_arrive_in_order_and_replies_come_back() {
    let mut net = TestNetwork::new(&[cidr(1, "10.0.0.0/8")]);
    for number in 0..5 {
        net.client.send(udp("10.0.0.1:53", number));
    }
    assert_eq!(net.client.take_requests(), [(id(1), vec![])]);
    assert_eq!(net.client.status(id(1)), Some(Status::Unknown));

    net.authorize(id(1), 0);
    net.client.send(udp("10.0.0.1:53", 5));
    net.run_for(secs(3));

    assert_eq!(net.gateways[0].received, (0..6).map(|number| udp("10.0.0.1:53", number)).collect::<Vec<_>>());
    assert_eq!(net.client.status(id(1)), Some(Status::Online));
    assert_eq!(net.client.tunnel.paths().len(), 1);

    let answer = answer("10.0.0.1:53");
    net.send_from(0, answer.clone());
    assert_eq!(net.client.packets, [answer]);
}

#[test]
fn first_connection_to_a_name_announces_it_and_delivers() {
    let mut net = TestNetwork::new(&[Resource::Dns(names(1, "*.example.com"))]);
    let addresses = net.client.resolve("DB.example.com", "A");
    assert_eq!(addresses[0].to_string(), "100.96.0.1");
    assert_eq!(addresses.len(), 4);
    assert_eq!(net.client.take_requests(), [], "a query alone does not connect");

    let packet = udp(format!("{}:443", addresses[0]), 1);
    net.client.send(packet.clone());
    assert_eq!(net.client.take_requests(), [(id(1), vec![])]);
    net.authorize(id(1), 0);
    net.run_for(secs(3));

    assert_eq!(net.gateways[0].received, [packet]);
    let [(_, announcement)] = net.gateways[0].messages.as_slice() else { panic!("{:?}", net.gateways[0].messages) };
    assert_eq!(announcement["domain"], "db.example.com");
    assert_eq!(announcement["proxy_ips"].as_array().unwrap().len(), 8);

    let answer = answer(format!("{}:443", addresses[0]));
    net.send_from(0, answer.clone());
    assert_eq!(net.client.packets, [answer]);
}

#[test]
fn packets_to_a_name_wait_for_its_confirmation() {
    let mut net = TestNetwork::new(&[Resource::Dns(names(1, "*.example.com"))]);
    net.gateways[0].domain_status = None;
    let address = net.client.resolve("db.example.com", "A")[0];
    let packet = |number| udp(format!("{address}:443"), number);
    let mut net = net.connected(id(1), packet(1));
    assert_eq!(net.gateways[0].received, []);
    assert_eq!(net.gateways[0].announcements(), 1);

    net.client.send(packet(2));
    net.run_for(secs(1));
    assert_eq!(net.gateways[0].announcements(), 2, "packets repeat the announcement");

    let (now, announcement) = (net.client.now, net.gateways[0].messages[0].1.clone());
    net.gateways[0].send_status(&announcement, "Active", now);
    net.run_for(secs(1));
    assert_eq!(net.gateways[0].received, [packet(1), packet(2)]);

    net.client.resolve("db.example.com", "AAAA");
    net.run_for(secs(1));
    assert_eq!(net.gateways[0].announcements(), 3, "a query makes the gateway resolve the name again");
    net.client.send(packet(3));
    net.run_for(secs(1));
    assert_eq!(net.gateways[0].received.len(), 3, "packets are not held");
}

#[test]
fn gateway_that_forgot_a_name_gets_it_announced_again() {
    let mut net = TestNetwork::new(&[Resource::Dns(names(1, "*.example.com"))]);
    let address = net.client.resolve("db.example.com", "A")[0];
    let packet = |number| udp(format!("{address}:443"), number);
    let mut net = net.connected(id(1), packet(1));
    assert_eq!(net.gateways[0].announcements(), 1);

    let error = ip_packet::icmp::unreachable(&packet(2)).unwrap();
    net.send_from(0, error.clone());

    assert_eq!(net.gateways[0].announcements(), 2);
    assert_eq!(net.client.packets, [error], "the program gets the error, too");
}

#[test]
fn second_resource_reuses_the_gateway_connection() {
    let net = TestNetwork::new(&[cidr(1, "10.0.0.0/8"), cidr(2, "172.16.0.0/12")]);
    let mut net = net.connected(id(1), udp("10.0.0.1:53", 1));

    net.client.send(udp("172.16.0.1:53", 2));
    assert_eq!(net.client.take_requests(), [(id(2), vec![GatewayId::from_u128(1)])]);
    net.authorize(id(2), 0);
    net.run_for(secs(1));

    assert_eq!(net.gateways[0].received.len(), 2);
    assert_eq!(net.client.tunnel.paths().len(), 1);
}

#[test]
fn gateway_packets_need_an_allowed_source_and_our_address() {
    let net = TestNetwork::new(&[cidr(1, "10.0.0.0/8"), cidr(2, "172.16.0.0/12")]);
    let mut net = net.connected(id(1), udp("10.0.0.1:53", 1));

    net.send_from(0, answer("172.16.0.1:53"));
    assert_eq!(net.client.tunnel.counters().dropped(DropReason::SpoofedSource), 1);
    let elsewhere = build::udp("10.0.0.1:53".parse().unwrap(), "100.64.0.8:1".parse().unwrap(), b"").unwrap();
    net.send_from(0, elsewhere);
    assert_eq!(net.client.tunnel.counters().dropped(DropReason::ForeignDestination), 1);
    assert_eq!(net.client.packets, []);

    net.send_from(0, answer("100.64.1.1:53535"));
    assert_eq!(net.client.packets.len(), 1, "its own address is always permitted");
}

#[test]
fn internet_gateway_may_send_from_any_source() {
    let mut net = TestNetwork::new(&[internet(1)]);
    net.client.tunnel.switch_internet_resource(true, net.client.now);
    let mut net = net.connected(id(1), udp("9.9.9.9:53", 1));

    net.send_from(0, answer("9.9.9.9:53"));

    assert_eq!(net.gateways[0].received.len(), 1);
    assert_eq!(net.client.packets.len(), 1);

    net.client.tunnel.switch_internet_resource(false, net.client.now);
    net.run_for(secs(1));
    assert_eq!(net.gateways[0].goodbyes(), 1, "no other resource uses the gateway");
}

#[test]
fn goodbye_removes_the_gateway_and_the_next_packet_requests_access() {
    let net = TestNetwork::new(&[cidr(1, "10.0.0.0/8")]);
    let mut net = net.connected(id(1), udp("10.0.0.1:53", 1));

    net.send_from(0, ip_packet::control::goodbye());
    assert_eq!(net.client.tunnel.paths(), []);
    assert_eq!(net.client.status(id(1)), Some(Status::Unknown));
    assert_eq!(net.client.packets, [], "control messages are not delivered");

    net.client.send(udp("10.0.0.1:53", 2));
    assert_eq!(net.client.take_requests(), [(id(1), vec![GatewayId::from_u128(1)])]);
}

#[test]
fn removing_the_last_resource_of_a_gateway_sends_goodbye() {
    let net = TestNetwork::new(&[cidr(1, "10.0.0.0/8"), cidr(2, "172.16.0.0/12")]);
    let mut net = net.connected(id(1), udp("10.0.0.1:53", 1)).connected(id(2), udp("172.16.0.1:53", 1));

    net.client.receive_portal(FromPortal::ResourceDeleted(id(1)));
    net.run_for(secs(1));
    assert_eq!(net.gateways[0].goodbyes(), 0);

    net.client.receive_portal(FromPortal::ResourceDeleted(id(2)));
    net.run_for(secs(1));
    assert_eq!(net.gateways[0].goodbyes(), 1);
    assert_eq!(net.client.tunnel.paths(), []);
}

#[test]
fn stopping_sends_goodbye_to_all_gateways_and_releases_relays() {
    let net = TestNetwork::new(&[cidr(1, "10.0.0.0/8"), cidr(2, "172.16.0.0/12")]);
    let mut net = net.connected(id(1), udp("10.0.0.1:53", 1));
    net.add_gateway();
    net.client.send(udp("172.16.0.1:53", 1));
    net.authorize(id(2), 1);
    net.run_for(secs(3));
    assert_eq!(net.gateways[1].received.len(), 1, "two gateways of one site work");

    assert_eq!(net.relay.clients(), 3);
    net.client.tunnel.stop(net.client.now);
    net.run_for(secs(1));

    assert_eq!(net.relay.clients(), 2, "the allocation is released");

    assert_eq!(net.gateways.iter().map(|gateway| gateway.goodbyes()).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn prohibited_packet_requests_access_again_with_rate_limit() {
    let net = TestNetwork::new(&[cidr(1, "10.0.0.0/8")]);
    let packet = udp("10.0.0.1:53", 1);
    let mut net = net.connected(id(1), packet.clone());
    net.client.advance(secs(2));

    let refusal = prohibited_error(&packet);
    net.send_from(0, refusal.clone());
    assert_eq!(net.client.take_requests(), [(id(1), vec![GatewayId::from_u128(1)])]);
    assert_eq!(net.client.packets.len(), 1, "the program gets the error, too");
    net.send_from(0, refusal.clone());
    assert_eq!(net.client.take_requests(), []);
    net.run_for(secs(1));
    net.send_from(0, refusal);
    assert_eq!(net.client.take_requests().len(), 1);

    net.authorize(id(1), 0);
    net.client.send(udp("10.0.0.1:53", 2));
    net.run_for(secs(1));
    assert_eq!(net.gateways[0].received.len(), 2);
}

#[test]
fn renewed_access_announces_the_names_again() {
    let mut net = TestNetwork::new(&[Resource::Dns(names(1, "*.example.com"))]);
    let address = net.client.resolve("db.example.com", "A")[0];
    let packet = udp(format!("{address}:443"), 1);
    let mut net = net.connected(id(1), packet.clone());
    assert_eq!(net.gateways[0].announcements(), 1);
    net.client.advance(secs(2));

    net.send_from(0, prohibited_error(&packet));
    net.authorize(id(1), 0);
    net.run_for(secs(1));

    assert_eq!(net.gateways[0].announcements(), 2);
}

#[test]
fn offline_for_a_granted_resource_closes_the_connection() {
    let net = TestNetwork::new(&[cidr(1, "10.0.0.0/8")]);
    let packet = udp("10.0.0.1:53", 1);
    let mut net = net.connected(id(1), packet.clone());
    net.client.advance(secs(2));
    net.send_from(0, prohibited_error(&packet));

    net.client.receive_failure(id(1), FailureReason::Offline);
    net.run_for(secs(1));

    assert_eq!(net.client.status(id(1)), Some(Status::Offline));
    assert_eq!(net.client.others, [Event::GatewaysOffline(id(1))]);
    assert_eq!(net.gateways[0].goodbyes(), 1);
}

#[test]
fn restarted_gateway_is_a_new_peer() {
    let net = TestNetwork::new(&[cidr(1, "10.0.0.0/8"), cidr(2, "172.16.0.0/12")]);
    let mut net = net.connected(id(1), udp("10.0.0.1:53", 1));
    let old_key = net.gateways[0].key();
    net.restart_gateway(0);
    assert_ne!(net.gateways[0].key(), old_key);

    let mut net = net.connected(id(2), udp("172.16.0.1:53", 1));
    assert_eq!(net.gateways[0].received.len(), 1);
    net.client.send(udp("10.0.0.1:53", 2));
    assert_eq!(net.client.take_requests().len(), 1, "the old one's authorizations are void");
}

#[test]
fn late_relay_repeats_pending_requests() {
    let mut net = TestNetwork::without_relay(&[cidr(1, "10.0.0.0/8")]);
    net.client.send(udp("10.0.0.1:53", 1));
    net.authorize(id(1), 0);
    assert!(net.client.to_portal.contains(&ToPortal::NoRelays));
    net.client.take_requests();

    net.add_relay();
    assert_eq!(net.client.take_requests(), [(id(1), vec![])]);
    net.authorize(id(1), 0);
    net.run_for(secs(3));

    assert_eq!(net.gateways[0].received, [udp("10.0.0.1:53", 1)]);
}

#[test]
fn network_change_takes_a_new_key_and_prefers_the_same_gateway() {
    let net = TestNetwork::new(&[cidr(1, "10.0.0.0/8")]);
    let mut net = net.connected(id(1), udp("10.0.0.1:53", 1));
    let key = net.client.tunnel.public_key();

    net.client.tunnel.reset(net.client.now);
    net.client.drain();

    let new_key = net.client.tunnel.public_key();
    assert_ne!(key, new_key);
    assert_eq!(net.client.others, [Event::NewPublicKey(new_key)]);
    assert_eq!(net.client.status(id(1)), Some(Status::Unknown));
    assert_eq!(net.client.tunnel.paths(), []);
    net.run_for(secs(1));

    net.client.init(&[cidr(1, "10.0.0.0/8")]);
    net.client.send(udp("10.0.0.1:53", 2));
    assert_eq!(net.client.take_requests(), [(id(1), vec![GatewayId::from_u128(1)])]);
    net.authorize(id(1), 0);
    net.run_for(secs(3));
    assert_eq!(net.gateways[0].received.len(), 2);
}

#[test]
fn receive_only_resource_is_requested_again_after_a_network_change() {
    let net = TestNetwork::new(&[cidr(1, "10.0.0.0/8")]);
    let mut net = net.connected(id(1), udp("10.0.0.1:53", 1));
    net.send_from(0, answer("10.0.0.1:53"));
    net.client.take_requests();

    net.client.tunnel.reset(net.client.now);
    net.client.drain();
    assert_eq!(net.client.take_requests(), [], "the portal does not use the new key yet");

    net.client.init(&[cidr(1, "10.0.0.0/8")]);
    assert_eq!(net.client.take_requests(), [(id(1), vec![GatewayId::from_u128(1)])]);
}

#[test]
fn receive_only_name_is_announced_again_after_a_network_change() {
    let resource = Resource::Dns(names(1, "*.example.com"));
    let mut net = TestNetwork::new(std::slice::from_ref(&resource));
    let used = net.client.resolve("db.example.com", "A")[0];
    let unused = net.client.resolve("web.example.com", "A")[0];
    let mut net = net.connected(id(1), udp(format!("{used}:443"), 1));
    net.client.send(udp(format!("{unused}:443"), 2));
    net.run_for(secs(3));
    let from_name = answer(format!("{used}:443"));
    net.send_from(0, from_name.clone());
    assert_eq!(net.client.packets, std::slice::from_ref(&from_name));

    net.client.tunnel.reset(net.client.now);
    net.client.drain();
    net.client.init(std::slice::from_ref(&resource));
    net.gateways[0].messages.clear();
    net.authorize(id(1), 0);
    net.run_for(secs(3));
    net.send_from(0, from_name.clone());

    let announced: Vec<_> = net.gateways[0].messages.iter().map(|(_, message)| &message["domain"]).collect();
    assert_eq!(announced, ["db.example.com"], "no packet of the other one was received");
    assert_eq!(net.client.packets, [from_name.clone(), from_name]);
}

#[test]
fn authorization_for_the_previous_key_is_ignored() {
    let mut net = TestNetwork::new(&[cidr(1, "10.0.0.0/8")]);
    net.client.send(udp("10.0.0.1:53", 1));
    assert_eq!(net.client.take_requests().len(), 1);

    net.client.tunnel.reset(net.client.now);
    net.client.drain();
    net.authorize(id(1), 0);
    assert_eq!(net.client.tunnel.paths(), [], "it was sent for the previous key");

    net.client.init(&[cidr(1, "10.0.0.0/8")]);
    assert_eq!(net.client.take_requests(), [(id(1), vec![])], "pending requests are repeated with the new key");
    net.authorize(id(1), 0);
    net.run_for(secs(3));
    assert_eq!(net.gateways[0].received, [udp("10.0.0.1:53", 1)]);
}

#[test]
fn site_query_is_forwarded_to_the_gateway_once_access_is_granted() {
    let mut net = TestNetwork::new(&[Resource::Dns(names(1, "*.example.com"))]);
    let waiting = net.client.ask("db.example.com", "TXT");
    assert_eq!(net.client.decision(waiting), None);
    net.authorize(id(1), 0);
    let at_once = net.client.ask("db.example.com", "SRV");

    for query in [waiting, at_once] {
        let Some(dns::Decision::Forward { to, via, .. }) = net.client.decision(query) else { panic!("{query:?}") };
        assert_eq!(*to, dns::Upstream::Do53("100.64.1.1:53535".parse().unwrap()));
        assert_eq!(*via, dns::Via::Tunnel);
    }
    net.client.send(udp("100.64.1.1:53535", 1));
    net.run_for(secs(3));
    assert_eq!(net.gateways[0].received.len(), 1);
}

#[test]
fn congestion_mark_is_copied_only_to_ecn_capable_packets() {
    let net = TestNetwork::new(&[cidr(1, "10.0.0.0/8")]);
    let mut net = net.connected(id(1), udp("10.0.0.1:53", 1));
    net.is_congested = true;

    net.send_from(0, answer("10.0.0.1:53"));
    net.send_from(0, ecn_capable(&answer("10.0.0.1:53")));

    assert_eq!(net.client.packets.iter().map(IpPacket::ecn).collect::<Vec<_>>(), [Ecn::NotEct, Ecn::Ce]);
}
