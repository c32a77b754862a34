//! From the first packet to a working connection, and what ends it.

mod world;

use ip_packet::{Ecn, IpPacket, build};
use model::{FromPortal, GatewayId, Resource, Status, ToPortal, message::FailReason};
use tunnel::{Event, Reason};
use world::{answer, capable_of_ecn, cidr, id, internet, lab::Lab, names, refusal, secs, udp};

#[test]
fn the_first_packets_to_a_network_arrive_in_order_and_answers_come_back() {
    let mut lab = Lab::new(&[cidr(1, "10.0.0.0/8")]);
    for number in 0..5 {
        lab.client.send(udp("10.0.0.1:53", number));
    }
    assert_eq!(lab.client.take_requests(), [(id(1), vec![])]);
    assert_eq!(lab.client.status(id(1)), Some(Status::Unknown));

    lab.permit(id(1), 0);
    lab.client.send(udp("10.0.0.1:53", 5));
    lab.run_for(secs(3));

    assert_eq!(lab.gateways[0].received, (0..6).map(|number| udp("10.0.0.1:53", number)).collect::<Vec<_>>());
    assert_eq!(lab.client.status(id(1)), Some(Status::Online));
    assert_eq!(lab.client.tunnel.paths().len(), 1);

    let answer = answer("10.0.0.1:53");
    lab.send_from(0, answer.clone());
    assert_eq!(lab.client.packets, [answer]);
}

#[test]
fn the_first_connection_to_a_name_works_as_it_should() {
    let mut lab = Lab::new(&[Resource::Dns(names(1, "*.example.com"))]);
    let addresses = lab.client.resolve("DB.example.com", "A");
    assert_eq!(addresses[0].to_string(), "100.96.0.1");
    assert_eq!(addresses.len(), 4);
    assert_eq!(lab.client.take_requests(), [], "a question is no reason to connect");

    let packet = udp(format!("{}:443", addresses[0]), 1);
    lab.client.send(packet.clone());
    assert_eq!(lab.client.take_requests(), [(id(1), vec![])]);
    lab.permit(id(1), 0);
    lab.run_for(secs(3));

    assert_eq!(lab.gateways[0].received, [packet]);
    let [(_, announcement)] = lab.gateways[0].messages.as_slice() else { panic!("{:?}", lab.gateways[0].messages) };
    assert_eq!(announcement["domain"], "db.example.com");
    assert_eq!(announcement["proxy_ips"].as_array().unwrap().len(), 8);

    let answer = answer(format!("{}:443", addresses[0]));
    lab.send_from(0, answer.clone());
    assert_eq!(lab.client.packets, [answer]);
}

#[test]
fn packets_to_a_name_wait_for_the_gateway_to_know_it() {
    let mut lab = Lab::new(&[Resource::Dns(names(1, "*.example.com"))]);
    lab.gateways[0].domain_status = None;
    let address = lab.client.resolve("db.example.com", "A")[0];
    let packet = |number| udp(format!("{address}:443"), number);
    let mut lab = lab.connected(id(1), packet(1));
    assert_eq!(lab.gateways[0].received, []);
    assert_eq!(lab.gateways[0].announcements(), 1);

    lab.client.send(packet(2));
    lab.run_for(secs(1));
    assert_eq!(lab.gateways[0].announcements(), 2, "traffic repeats the announcement");

    let (now, announcement) = (lab.client.now, lab.gateways[0].messages[0].1.clone());
    lab.gateways[0].say_status(&announcement, "Active", now);
    lab.run_for(secs(1));
    assert_eq!(lab.gateways[0].received, [packet(1), packet(2)]);

    lab.client.resolve("db.example.com", "AAAA");
    lab.run_for(secs(1));
    assert_eq!(lab.gateways[0].announcements(), 3, "a question makes the gateway look again");
    lab.client.send(packet(3));
    lab.run_for(secs(1));
    assert_eq!(lab.gateways[0].received.len(), 3, "while packets flow");
}

#[test]
fn a_gateway_that_has_forgotten_a_name_is_told_again() {
    let mut lab = Lab::new(&[Resource::Dns(names(1, "*.example.com"))]);
    let address = lab.client.resolve("db.example.com", "A")[0];
    let packet = |number| udp(format!("{address}:443"), number);
    let mut lab = lab.connected(id(1), packet(1));
    assert_eq!(lab.gateways[0].announcements(), 1);

    let error = ip_packet::icmp::unreachable(&packet(2)).unwrap();
    lab.send_from(0, error.clone());

    assert_eq!(lab.gateways[0].announcements(), 2);
    assert_eq!(lab.client.packets, [error], "the program hears of it all the same");
}

#[test]
fn a_second_resource_on_the_same_gateway_uses_the_connection_at_once() {
    let lab = Lab::new(&[cidr(1, "10.0.0.0/8"), cidr(2, "172.16.0.0/12")]);
    let mut lab = lab.connected(id(1), udp("10.0.0.1:53", 1));

    lab.client.send(udp("172.16.0.1:53", 2));
    assert_eq!(lab.client.take_requests(), [(id(2), vec![GatewayId::from_u128(1)])]);
    lab.permit(id(2), 0);
    lab.run_for(secs(1));

    assert_eq!(lab.gateways[0].received.len(), 2);
    assert_eq!(lab.client.tunnel.paths().len(), 1);
}

#[test]
fn a_gateway_may_speak_only_for_what_it_was_permitted_for_and_only_to_us() {
    let lab = Lab::new(&[cidr(1, "10.0.0.0/8"), cidr(2, "172.16.0.0/12")]);
    let mut lab = lab.connected(id(1), udp("10.0.0.1:53", 1));

    lab.send_from(0, answer("172.16.0.1:53"));
    assert_eq!(lab.client.tunnel.counters().dropped(Reason::SpoofedSource), 1);
    let elsewhere = build::udp("10.0.0.1:53".parse().unwrap(), "100.64.0.8:1".parse().unwrap(), b"").unwrap();
    lab.send_from(0, elsewhere);
    assert_eq!(lab.client.tunnel.counters().dropped(Reason::ForeignDestination), 1);
    assert_eq!(lab.client.packets, []);

    lab.send_from(0, answer("100.64.1.1:53535"));
    assert_eq!(lab.client.packets.len(), 1, "its own address is always fine");
}

#[test]
fn the_internet_goes_through_its_gateway_and_every_source_may_answer() {
    let mut lab = Lab::new(&[internet(1)]);
    lab.client.tunnel.switch_internet_resource(true, lab.client.now);
    let mut lab = lab.connected(id(1), udp("9.9.9.9:53", 1));

    lab.send_from(0, answer("9.9.9.9:53"));

    assert_eq!(lab.gateways[0].received.len(), 1);
    assert_eq!(lab.client.packets.len(), 1);

    lab.client.tunnel.switch_internet_resource(false, lab.client.now);
    lab.run_for(secs(1));
    assert_eq!(lab.gateways[0].goodbyes(), 1, "nothing else needs the gateway");
}

#[test]
fn a_goodbye_wipes_the_gateway_and_the_next_packet_asks_for_it_again() {
    let lab = Lab::new(&[cidr(1, "10.0.0.0/8")]);
    let mut lab = lab.connected(id(1), udp("10.0.0.1:53", 1));

    lab.send_from(0, ip_packet::control::goodbye());
    assert_eq!(lab.client.tunnel.paths(), []);
    assert_eq!(lab.client.status(id(1)), Some(Status::Unknown));
    assert_eq!(lab.client.packets, [], "messages are not for programs");

    lab.client.send(udp("10.0.0.1:53", 2));
    assert_eq!(lab.client.take_requests(), [(id(1), vec![GatewayId::from_u128(1)])]);
}

#[test]
fn removing_the_last_resource_of_a_gateway_says_goodbye() {
    let lab = Lab::new(&[cidr(1, "10.0.0.0/8"), cidr(2, "172.16.0.0/12")]);
    let mut lab = lab.connected(id(1), udp("10.0.0.1:53", 1)).connected(id(2), udp("172.16.0.1:53", 1));

    lab.client.hear(FromPortal::ResourceDeleted(id(1)));
    lab.run_for(secs(1));
    assert_eq!(lab.gateways[0].goodbyes(), 0);

    lab.client.hear(FromPortal::ResourceDeleted(id(2)));
    lab.run_for(secs(1));
    assert_eq!(lab.gateways[0].goodbyes(), 1);
    assert_eq!(lab.client.tunnel.paths(), []);
}

#[test]
fn stopping_says_goodbye_to_everybody() {
    let lab = Lab::new(&[cidr(1, "10.0.0.0/8"), cidr(2, "172.16.0.0/12")]);
    let mut lab = lab.connected(id(1), udp("10.0.0.1:53", 1));
    lab.add_gateway();
    lab.client.send(udp("172.16.0.1:53", 1));
    lab.permit(id(2), 1);
    lab.run_for(secs(3));
    assert_eq!(lab.gateways[1].received.len(), 1, "two gateways of one site are fine");

    assert_eq!(lab.relay.clients(), 3);
    lab.client.tunnel.stop(lab.client.now);
    lab.run_for(secs(1));

    assert_eq!(lab.relay.clients(), 2, "what the relay lent is given back");

    assert_eq!(lab.gateways.iter().map(|gateway| gateway.goodbyes()).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn what_a_gateway_forbids_is_asked_for_again_but_not_for_every_packet() {
    let lab = Lab::new(&[cidr(1, "10.0.0.0/8")]);
    let packet = udp("10.0.0.1:53", 1);
    let mut lab = lab.connected(id(1), packet.clone());
    lab.client.advance(secs(2));

    let refusal = refusal(&packet);
    lab.send_from(0, refusal.clone());
    assert_eq!(lab.client.take_requests(), [(id(1), vec![GatewayId::from_u128(1)])]);
    assert_eq!(lab.client.packets.len(), 1, "the program hears of it, too");
    lab.send_from(0, refusal.clone());
    assert_eq!(lab.client.take_requests(), []);
    lab.run_for(secs(1));
    lab.send_from(0, refusal);
    assert_eq!(lab.client.take_requests().len(), 1);

    lab.permit(id(1), 0);
    lab.client.send(udp("10.0.0.1:53", 2));
    lab.run_for(secs(1));
    assert_eq!(lab.gateways[0].received.len(), 2);
}

#[test]
fn a_gateway_that_was_asked_again_hears_the_names_again() {
    let mut lab = Lab::new(&[Resource::Dns(names(1, "*.example.com"))]);
    let address = lab.client.resolve("db.example.com", "A")[0];
    let packet = udp(format!("{address}:443"), 1);
    let mut lab = lab.connected(id(1), packet.clone());
    assert_eq!(lab.gateways[0].announcements(), 1);
    lab.client.advance(secs(2));

    lab.send_from(0, refusal(&packet));
    lab.permit(id(1), 0);
    lab.run_for(secs(1));

    assert_eq!(lab.gateways[0].announcements(), 2);
}

#[test]
fn offline_for_a_resource_that_was_permitted_ends_as_offline_and_closes_the_connection() {
    let lab = Lab::new(&[cidr(1, "10.0.0.0/8")]);
    let packet = udp("10.0.0.1:53", 1);
    let mut lab = lab.connected(id(1), packet.clone());
    lab.client.advance(secs(2));
    lab.send_from(0, refusal(&packet));

    lab.client.hear_failure(id(1), FailReason::Offline);
    lab.run_for(secs(1));

    assert_eq!(lab.client.status(id(1)), Some(Status::Offline));
    assert_eq!(lab.client.others, [Event::GatewaysOffline(id(1))]);
    assert_eq!(lab.gateways[0].goodbyes(), 1);
}

#[test]
fn a_gateway_that_restarted_is_another_one() {
    let lab = Lab::new(&[cidr(1, "10.0.0.0/8"), cidr(2, "172.16.0.0/12")]);
    let mut lab = lab.connected(id(1), udp("10.0.0.1:53", 1));
    let old_key = lab.gateways[0].key();
    lab.restart_gateway(0);
    assert_ne!(lab.gateways[0].key(), old_key);

    let mut lab = lab.connected(id(2), udp("172.16.0.1:53", 1));
    assert_eq!(lab.gateways[0].received.len(), 1);
    lab.client.send(udp("10.0.0.1:53", 2));
    assert_eq!(lab.client.take_requests().len(), 1, "what the old one permitted is void");
}

#[test]
fn a_relay_that_comes_late_lets_what_waits_be_asked_for_again() {
    let mut lab = Lab::without_relay(&[cidr(1, "10.0.0.0/8")]);
    lab.client.send(udp("10.0.0.1:53", 1));
    lab.permit(id(1), 0);
    assert!(lab.client.to_portal.contains(&ToPortal::NoRelays));
    lab.client.take_requests();

    lab.introduce_relay();
    assert_eq!(lab.client.take_requests(), [(id(1), vec![])]);
    lab.permit(id(1), 0);
    lab.run_for(secs(3));

    assert_eq!(lab.gateways[0].received, [udp("10.0.0.1:53", 1)]);
}

#[test]
fn another_network_means_a_new_key_and_the_same_gateway_if_possible() {
    let lab = Lab::new(&[cidr(1, "10.0.0.0/8")]);
    let mut lab = lab.connected(id(1), udp("10.0.0.1:53", 1));
    let key = lab.client.tunnel.public_key();

    lab.client.tunnel.reset(lab.client.now);
    lab.client.drain();

    let new_key = lab.client.tunnel.public_key();
    assert_ne!(key, new_key);
    assert_eq!(lab.client.others, [Event::NewPublicKey(new_key)]);
    assert_eq!(lab.client.status(id(1)), Some(Status::Unknown));
    assert_eq!(lab.client.tunnel.paths(), []);
    lab.run_for(secs(1));

    lab.client.init(&[cidr(1, "10.0.0.0/8")]);
    lab.client.send(udp("10.0.0.1:53", 2));
    assert_eq!(lab.client.take_requests(), [(id(1), vec![GatewayId::from_u128(1)])]);
    lab.permit(id(1), 0);
    lab.run_for(secs(3));
    assert_eq!(lab.gateways[0].received.len(), 2);
}

#[test]
fn what_was_listened_to_is_asked_for_again_without_a_packet_of_ours() {
    let lab = Lab::new(&[cidr(1, "10.0.0.0/8")]);
    let mut lab = lab.connected(id(1), udp("10.0.0.1:53", 1));
    lab.send_from(0, answer("10.0.0.1:53"));
    lab.client.take_requests();

    lab.client.tunnel.reset(lab.client.now);
    lab.client.drain();
    assert_eq!(lab.client.take_requests(), [], "the portal does not know our new key yet");

    lab.client.init(&[cidr(1, "10.0.0.0/8")]);
    assert_eq!(lab.client.take_requests(), [(id(1), vec![GatewayId::from_u128(1)])]);
}

#[test]
fn a_name_that_was_listened_to_is_announced_again_without_a_packet_of_ours() {
    let resource = Resource::Dns(names(1, "*.example.com"));
    let mut lab = Lab::new(std::slice::from_ref(&resource));
    let used = lab.client.resolve("db.example.com", "A")[0];
    let unused = lab.client.resolve("web.example.com", "A")[0];
    let mut lab = lab.connected(id(1), udp(format!("{used}:443"), 1));
    lab.client.send(udp(format!("{unused}:443"), 2));
    lab.run_for(secs(3));
    let from_name = answer(format!("{used}:443"));
    lab.send_from(0, from_name.clone());
    assert_eq!(lab.client.packets, std::slice::from_ref(&from_name));

    lab.client.tunnel.reset(lab.client.now);
    lab.client.drain();
    lab.client.init(std::slice::from_ref(&resource));
    lab.gateways[0].messages.clear();
    lab.permit(id(1), 0);
    lab.run_for(secs(3));
    lab.send_from(0, from_name.clone());

    let announced: Vec<_> = lab.gateways[0].messages.iter().map(|(_, message)| &message["domain"]).collect();
    assert_eq!(announced, ["db.example.com"], "nobody was listening to the other one");
    assert_eq!(lab.client.packets, [from_name.clone(), from_name]);
}

#[test]
fn a_permission_for_the_old_key_is_of_no_use_to_the_new_one() {
    let mut lab = Lab::new(&[cidr(1, "10.0.0.0/8")]);
    lab.client.send(udp("10.0.0.1:53", 1));
    assert_eq!(lab.client.take_requests().len(), 1);

    lab.client.tunnel.reset(lab.client.now);
    lab.client.drain();
    lab.permit(id(1), 0);
    assert_eq!(lab.client.tunnel.paths(), [], "it was on its way while the key changed");

    lab.client.init(&[cidr(1, "10.0.0.0/8")]);
    assert_eq!(lab.client.take_requests(), [(id(1), vec![])], "what waits is asked for with the new key");
    lab.permit(id(1), 0);
    lab.run_for(secs(3));
    assert_eq!(lab.gateways[0].received, [udp("10.0.0.1:53", 1)]);
}

#[test]
fn a_query_for_a_site_is_sent_to_the_gateway_once_it_is_permitted() {
    let mut lab = Lab::new(&[Resource::Dns(names(1, "*.example.com"))]);
    let waiting = lab.client.ask("db.example.com", "TXT");
    assert_eq!(lab.client.decision(waiting), None);
    lab.permit(id(1), 0);
    let at_once = lab.client.ask("db.example.com", "SRV");

    for query in [waiting, at_once] {
        let Some(dns::Decision::Forward { to, via, .. }) = lab.client.decision(query) else { panic!("{query:?}") };
        assert_eq!(*to, dns::Upstream::Do53("100.64.1.1:53535".parse().unwrap()));
        assert_eq!(*via, dns::Via::Tunnel);
    }
    lab.client.send(udp("100.64.1.1:53535", 1));
    lab.run_for(secs(3));
    assert_eq!(lab.gateways[0].received.len(), 1);
}

#[test]
fn congestion_on_the_way_is_passed_on_to_those_who_understand_it() {
    let lab = Lab::new(&[cidr(1, "10.0.0.0/8")]);
    let mut lab = lab.connected(id(1), udp("10.0.0.1:53", 1));
    lab.is_congested = true;

    lab.send_from(0, answer("10.0.0.1:53"));
    lab.send_from(0, capable_of_ecn(&answer("10.0.0.1:53")));

    assert_eq!(lab.client.packets.iter().map(IpPacket::ecn).collect::<Vec<_>>(), [Ecn::NotEct, Ecn::Ce]);
}
