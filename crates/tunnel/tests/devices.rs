//! Other clients: whom we may reach, and who may reach us.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod world;

use std::net::{IpAddr, SocketAddr};

use dns::Decision;
use ip_packet::{IpPacket, Transport, build, control, icmp};
use model::{
    Device, Filter, Filters, FromPortal, Pool, Resource, ToPortal,
    message::{DeviceGrant, FailReason, InboundGrant},
};
use tunnel::Reason;
use world::{CLIENT_V4, Client, answer, device, id, interface, internet, lab::Lab, pool, secs, udp};

const UNIX_NOW: u64 = 1_800_000_000;

fn farm(devices: &[u8]) -> Resource {
    Resource::StaticDevicePool(pool(1, devices))
}

fn only(filter: Filter) -> Filters {
    std::iter::once(filter).collect()
}

/// A grant through pool 1.
fn grant(filters: Filters, expires_at: Option<u64>) -> DeviceGrant {
    DeviceGrant { resource: id(1), filters, expires_at }
}

/// A datagram from the device with this number to a port of ours.
fn from_device(number: u8, port: u16) -> IpPacket {
    let source = SocketAddr::new(device(number).ipv4.into(), 5000);
    build::udp(source, SocketAddr::new(CLIENT_V4.parse().unwrap(), port), b"hello").unwrap()
}

/// A datagram of ours back to where [`from_device`] came from.
fn back_to_device(number: u8, port: u16) -> IpPacket {
    let destination = SocketAddr::new(device(number).ipv4.into(), 5000);
    build::udp(SocketAddr::new(CLIENT_V4.parse().unwrap(), port), destination, b"back").unwrap()
}

/// Device 2 is a member of our pool, and we are connected with it because we asked.
fn connected_as_initiator() -> Lab {
    let mut lab = Lab::new(&[farm(&[2])]);
    assert_eq!(lab.add_device(), 2);
    lab.client.send(udp("100.64.1.2:53", 1));
    lab.client.take_device_requests();
    lab.introduce(2, None);
    lab.run_for(secs(3));
    assert_eq!(lab.gateways[1].received, [udp("100.64.1.2:53", 1)]);
    lab.gateways[1].received.clear();
    lab
}

/// Device 2 is connected with us because it asked, and may send what `filters` say.
fn connected_as_target(filters: Filters, expires_at: Option<u64>) -> Lab {
    let mut lab = Lab::new(&[]);
    assert_eq!(lab.add_device(), 2);
    lab.introduce(2, Some(grant(filters, expires_at)));
    lab.run_for(secs(3));
    lab
}

fn is_refusal(packet: &IpPacket) -> bool {
    matches!(packet.transport(), Transport::IcmpError(quoted) if quoted.is_prohibited())
}

#[test]
fn a_packet_to_a_member_asks_for_that_member_and_arrives_once_permitted() {
    let mut lab = Lab::new(&[farm(&[2])]);
    lab.add_device();
    lab.client.send(udp("100.64.1.2:53", 1));
    lab.client.send(udp("100.64.1.2:53", 2));
    lab.client.send(udp("[fd00:2021:1111::1:2]:53", 3));
    let (v4, v6): (IpAddr, IpAddr) = (device(2).ipv4.into(), device(2).ipv6.into());
    assert_eq!(lab.client.take_device_requests(), [(id(1), v4), (id(1), v6)]);

    lab.introduce(2, None);
    lab.run_for(secs(3));

    let expected = [udp("100.64.1.2:53", 1), udp("100.64.1.2:53", 2), udp("[fd00:2021:1111::1:2]:53", 3)];
    assert_eq!(lab.gateways[1].received, expected);
    lab.send_from(1, answer("100.64.1.2:53"));
    assert_eq!(lab.client.packets, [answer("100.64.1.2:53")]);
    let shown = lab.client.devices.last().unwrap();
    assert_eq!((shown[0].id, shown[0].name.as_deref()), (device(2).client_id, Some("device 2")));
    assert_eq!(shown[0].pools, ["pool 1"]);
}

#[test]
fn a_request_for_a_member_is_repeated_after_two_seconds_of_traffic() {
    let mut client = Client::with(&[farm(&[2])]);
    for (after, expected) in [(0, 1), (1, 0), (1, 1), (3, 1)] {
        client.advance(secs(after));
        client.send(udp("100.64.1.2:53", 1));
        assert_eq!(client.take_device_requests().len(), expected);
    }
}

#[test]
fn the_same_member_in_two_pools_is_asked_for_in_each_that_is_needed() {
    let with = |number, filter| Pool { filters: only(filter), ..pool(number, &[2]) };
    let (pings, names) = (with(1, Filter::Icmp), with(2, Filter::Udp(53..=53)));
    let mut client = Client::with(&[Resource::StaticDevicePool(pings), Resource::StaticDevicePool(names)]);
    let them: IpAddr = device(2).ipv4.into();
    client.send(udp("100.64.1.2:53", 1));
    client.send(build::echo_request(CLIENT_V4.parse().unwrap(), them, 7, 1, b"").unwrap());
    client.send(udp("100.64.1.2:53", 2));
    assert_eq!(client.take_device_requests(), [(id(2), them), (id(1), them)]);

    client.send(udp("100.64.1.2:80", 2));
    assert_eq!(client.take_device_requests(), []);
    assert!(is_refusal(&client.packets[0]), "what no pool permits is refused at once");
}

#[test]
fn a_member_is_reached_although_the_internet_is_wanted_and_nobody_else_is() {
    let mut client = Client::with(&[farm(&[2]), internet(5)]);
    client.tunnel.switch_internet_resource(true, client.now);
    client.drain();
    client.send(udp("100.64.1.2:53", 1));
    client.send(udp("100.64.1.3:53", 1));
    assert_eq!(client.take_device_requests(), [(id(1), device(2).ipv4.into())]);
    assert_eq!(client.take_requests(), []);
    assert_eq!(client.tunnel.counters().dropped(Reason::NoResource), 1);
}

#[test]
fn a_client_may_speak_only_for_itself_and_only_to_us() {
    let mut lab = connected_as_target(Filters::default(), None);
    let spoofed = build::udp("100.64.1.3:1".parse().unwrap(), "100.64.0.7:2".parse().unwrap(), b"").unwrap();
    let misdirected = build::udp("100.64.1.2:1".parse().unwrap(), "100.64.0.8:2".parse().unwrap(), b"").unwrap();
    lab.send_from(1, spoofed);
    lab.send_from(1, misdirected);
    lab.send_from(1, from_device(2, 80));

    assert_eq!(lab.client.packets, [from_device(2, 80)]);
    let counters = lab.client.tunnel.counters();
    assert_eq!((counters.dropped(Reason::SpoofedSource), counters.dropped(Reason::ForeignDestination)), (1, 1));
}

#[test]
fn what_was_not_granted_is_refused_and_what_we_answer_needs_no_request() {
    let mut lab = connected_as_target(only(Filter::Udp(80..=80)), None);
    lab.send_from(1, from_device(2, 80));
    lab.send_from(1, from_device(2, 81));
    assert_eq!(lab.client.packets, [from_device(2, 80)]);
    assert_eq!(lab.client.tunnel.counters().dropped(Reason::NotGranted), 1);
    assert!(is_refusal(&lab.gateways[1].received[0]));

    lab.client.send(back_to_device(2, 80));
    lab.client.send(back_to_device(2, 81));
    lab.run_for(secs(1));

    assert_eq!(lab.gateways[1].received[1..], [back_to_device(2, 80)]);
    assert_eq!(lab.client.take_device_requests(), []);
}

#[test]
fn without_a_grant_the_other_side_may_only_answer() {
    let mut lab = connected_as_initiator();
    lab.send_from(1, answer("100.64.1.2:53"));
    lab.send_from(1, answer("100.64.1.2:54"));
    assert_eq!(lab.client.packets, [answer("100.64.1.2:53")]);

    // Two minutes of silence, and it is a stranger's packet.
    lab.run_for(secs(121));
    lab.client.packets.clear();
    lab.seal_from(1, &answer("100.64.1.2:53"));
    lab.run_for(secs(5));
    assert_eq!(lab.client.packets, []);
}

#[test]
fn an_answer_to_what_they_began_does_not_begin_anything_of_ours() {
    let mut lab = Lab::new(&[farm(&[2])]);
    lab.add_device();
    lab.introduce(2, Some(grant(Filters::default(), None)));
    lab.client.send(udp("100.64.1.2:53", 1));
    lab.introduce(2, None);
    lab.run_for(secs(3));
    lab.send_from(1, from_device(2, 80));
    lab.client.send(back_to_device(2, 80));
    lab.client.packets.clear();

    lab.client.hear(FromPortal::RejectAccess { client: device(2).client_id, resource: id(1) });
    lab.send_from(1, from_device(2, 80));
    lab.send_from(1, answer("100.64.1.2:53"));

    assert_eq!(lab.client.packets, [answer("100.64.1.2:53")], "what we began goes on, what they began is over");
}

#[test]
fn a_grant_ends_at_its_time_by_itself() {
    let mut lab = connected_as_target(Filters::default(), Some(UNIX_NOW + 60));
    lab.send_from(1, from_device(2, 80));
    assert_eq!(lab.client.packets.len(), 1);

    lab.run_for(secs(60));
    lab.client.packets.clear();
    lab.send_from(1, from_device(2, 80));
    assert_eq!(lab.client.packets, []);

    let mut lab = connected_as_target(Filters::default(), Some(UNIX_NOW - 1));
    lab.send_from(1, from_device(2, 80));
    assert_eq!(lab.client.packets, [], "it was over before it began");
}

#[test]
fn the_portal_may_change_what_is_granted_and_its_snapshot_is_the_whole_truth() {
    let mut lab = connected_as_target(only(Filter::Icmp), None);
    lab.send_from(1, from_device(2, 80));
    assert_eq!(lab.client.packets, []);
    lab.client.hear(FromPortal::ResourceFiltersUpdated { resource: id(1), filters: only(Filter::Udp(80..=80)) });
    lab.send_from(1, from_device(2, 80));
    assert_eq!(lab.client.packets.len(), 1);

    let (client, resource) = (device(2).client_id, id(1));
    let listed = InboundGrant { client, resource, expires_at: UNIX_NOW + 1000 };
    lab.client.init_with_grants(interface(), &[], vec![listed]);
    lab.send_from(1, from_device(2, 80));
    assert_eq!(lab.client.packets.len(), 2);

    lab.client.init(&[]);
    lab.send_from(1, from_device(2, 80));
    assert_eq!(lab.client.packets.len(), 2);
}

#[test]
fn errors_pass_in_both_directions_if_they_are_about_what_we_talk_about() {
    let mut lab = connected_as_target(only(Filter::Udp(80..=80)), None);
    lab.send_from(1, from_device(2, 80));
    lab.client.packets.clear();

    // Our host says that nobody listens; and something about a packet that never came.
    lab.client.send(icmp::unreachable(&from_device(2, 80)).unwrap());
    lab.client.send(icmp::unreachable(&from_device(2, 99)).unwrap());
    lab.run_for(secs(1));
    assert_eq!(lab.gateways[1].received, [icmp::unreachable(&from_device(2, 80)).unwrap()]);
    assert_eq!(lab.client.tunnel.counters().dropped(Reason::Protocol), 1);

    // The same error, had it come from them, would be about a packet that we never sent.
    let theirs = icmp::unreachable(&from_device(2, 80)).unwrap();
    let mirrored = icmp::unreachable(&back_to_device(2, 80)).unwrap();
    lab.client.send(back_to_device(2, 80));
    lab.send_from(1, theirs);
    lab.send_from(1, icmp::unreachable(&back_to_device(2, 99)).unwrap());
    lab.send_from(1, mirrored.clone());
    assert_eq!(lab.client.packets, [mirrored]);
}

#[test]
fn a_denial_ends_the_connection_with_a_goodbye() {
    for (ipv4, ipv6, ends) in [(true, false, true), (false, true, true), (true, true, true), (false, false, false)] {
        let mut lab = connected_as_initiator();
        lab.client.hear(FromPortal::ClientDeviceAccessDenied {
            ipv4: ipv4.then_some(device(2).ipv4),
            ipv6: ipv6.then_some(device(2).ipv6),
            reason: FailReason::Forbidden,
        });
        lab.run_for(secs(1));
        assert_eq!(lab.gateways[1].goodbyes(), usize::from(ends));
        lab.client.send(udp("100.64.1.2:53", 9));
        assert_eq!(lab.client.take_device_requests().len(), usize::from(ends));
    }
}

#[test]
fn a_denial_drops_what_waits() {
    let mut client = Client::with(&[farm(&[2])]);
    client.send(udp("100.64.1.2:53", 1));
    client.hear(FromPortal::ClientDeviceAccessDenied {
        ipv4: Some(device(2).ipv4),
        ipv6: None,
        reason: FailReason::Offline,
    });
    assert_eq!(client.tunnel.counters().dropped(Reason::Expired), 1);
}

#[test]
fn a_device_that_is_offline_for_our_candidates_is_given_up_and_no_other_reason_counts() {
    let mut lab = connected_as_initiator();
    let error = |reason| FromPortal::ClientIceCandidateError { client: device(2).client_id, reason };
    lab.client.hear(error(FailReason::Other));
    assert_eq!(lab.client.devices.last().unwrap().len(), 1);
    lab.client.hear(error(FailReason::Offline));
    assert_eq!(lab.client.devices.last().unwrap().len(), 0);
    lab.run_for(secs(1));
    assert_eq!(lab.gateways[1].goodbyes(), 1);
}

#[test]
fn a_goodbye_of_the_other_side_wipes_everything_and_is_not_answered() {
    let mut lab = connected_as_initiator();
    lab.send_from(1, control::goodbye());
    assert_eq!(lab.client.devices.last().unwrap().len(), 0);
    assert_eq!(lab.gateways[1].goodbyes(), 0);
    lab.client.send(udp("100.64.1.2:53", 2));
    assert_eq!(lab.client.take_device_requests().len(), 1, "at once");
}

#[test]
fn members_that_stay_are_none_the_worse_for_a_change_and_those_that_leave_keep_their_connection() {
    let mut lab = connected_as_initiator();
    lab.client.hear(FromPortal::ResourceCreatedOrUpdated(farm(&[2, 3])));
    lab.client.send(udp("100.64.1.2:53", 2));
    assert_eq!(lab.client.take_device_requests(), []);

    lab.client.hear(FromPortal::ResourceCreatedOrUpdated(farm(&[3])));
    lab.client.send(udp("100.64.1.2:53", 3));
    assert_eq!(lab.client.take_device_requests(), []);
    lab.run_for(secs(1));
    assert_eq!(lab.gateways[1].received, [udp("100.64.1.2:53", 2)]);
    assert_eq!(lab.gateways[1].goodbyes(), 0);

    lab.client.hear(FromPortal::ResourceCreatedOrUpdated(farm(&[2])));
    lab.client.send(udp("100.64.1.2:53", 4));
    assert_eq!(lab.client.take_device_requests().len(), 1, "who comes back has to be asked for");
}

#[test]
fn a_member_that_moved_is_asked_for_at_its_new_address() {
    let mut client = Client::with(&[farm(&[2])]);
    client.send(udp("100.64.1.2:53", 1));
    client.take_device_requests();
    let moved = Device { ipv4: "100.64.1.99".parse().unwrap(), ..device(2) };
    let changed = Pool { members: vec![moved], ..pool(1, &[]) };
    client.hear(FromPortal::ResourceCreatedOrUpdated(Resource::StaticDevicePool(changed)));

    client.send(udp("100.64.1.2:53", 1));
    client.send(udp("100.64.1.99:53", 1));

    assert_eq!(client.take_device_requests(), [(id(1), "100.64.1.99".parse().unwrap())]);
    assert_eq!(client.tunnel.counters().dropped(Reason::Expired), 1);
}

#[test]
fn other_filters_of_our_pool_are_also_what_its_members_may_send() {
    let mut lab = Lab::new(&[farm(&[2])]);
    lab.add_device();
    lab.introduce(2, Some(grant(Filters::default(), None)));
    lab.run_for(secs(3));
    let closed = Pool { filters: only(Filter::Icmp), ..pool(1, &[2]) };
    lab.client.hear(FromPortal::ResourceCreatedOrUpdated(Resource::StaticDevicePool(closed)));
    lab.send_from(1, from_device(2, 80));
    assert_eq!(lab.client.packets, []);
}

#[test]
fn deleting_a_pool_forgets_who_was_reached_through_it() {
    let mut lab = connected_as_initiator();
    lab.client.hear(FromPortal::ResourceDeleted(id(1)));
    lab.client.send(udp("100.64.1.2:53", 1));
    assert_eq!(lab.client.take_device_requests(), []);
    assert_eq!(lab.client.tunnel.counters().dropped(Reason::NoResource), 1);

    lab.client.hear(FromPortal::ResourceCreatedOrUpdated(farm(&[2])));
    lab.client.send(udp("100.64.1.2:53", 1));
    assert_eq!(lab.client.take_device_requests().len(), 1);
}

#[test]
fn nobody_is_connected_that_nobody_asked_for_or_before_we_know_who_we_are() {
    let mut lab = Lab::new(&[farm(&[2])]);
    lab.add_device();
    lab.introduce(2, None);
    lab.run_for(secs(3));
    lab.client.send(udp("100.64.1.2:53", 1));
    assert_eq!(lab.client.take_device_requests().len(), 1);

    let mut client = Client::new();
    let access = world::device_access(2, lab.gateways[1].key(), Some(grant(Filters::default(), None)));
    client.hear(FromPortal::ClientDeviceAccessAuthorized(Box::new(access)));
    assert_eq!(client.to_portal, []);
}

#[test]
fn a_connection_that_is_wanted_while_there_is_no_relay_is_made_when_there_is_one() {
    let mut lab = Lab::without_relay(&[]);
    lab.add_device();
    lab.introduce(2, Some(grant(Filters::default(), None)));
    assert_eq!(lab.client.to_portal, [ToPortal::NoRelays]);
    lab.run_for(secs(2));

    lab.introduce_relay();
    lab.run_for(secs(5));
    lab.seal_from(1, &from_device(2, 80));
    lab.run_for(secs(1));

    assert_eq!(lab.client.packets, [from_device(2, 80)]);
}

#[test]
fn another_network_ends_connections_with_clients_and_stopping_says_goodbye() {
    let mut lab = connected_as_initiator();
    lab.client.tunnel.reset(lab.client.now);
    lab.client.drain();
    assert_eq!(lab.client.devices.last().unwrap().len(), 0);

    let mut lab = connected_as_initiator();
    lab.client.tunnel.stop(lab.client.now);
    lab.run_for(secs(1));
    assert_eq!(lab.gateways[1].goodbyes(), 1);
}

#[test]
fn names_of_devices_are_asked_of_the_portal_once_and_answered_for_all() {
    let mut client = Client::with(&[dynamic_pool()]);
    let (a, aaaa) = (client.ask("kim.laptops.example", "A"), client.ask("kim.laptops.example", "AAAA"));
    let question = ToPortal::ResolveDevicePoolDomain { resource: id(1), domain: "kim.laptops.example".to_owned() };
    assert_eq!(std::mem::take(&mut client.to_portal), std::slice::from_ref(&question));

    client.init(&[]);
    assert_eq!(client.decision(a), Some(&Decision::ServFail), "the pool is gone");
    assert_eq!(client.decision(aaaa), Some(&Decision::ServFail));

    client.init(&[dynamic_pool()]);
    let query = client.ask("kim.laptops.example", "A");
    client.to_portal.clear();
    client.init(&[dynamic_pool()]);
    assert_eq!(client.to_portal, [question], "a new connection has to be asked again");
    client.hear(FromPortal::DevicePoolDomainResolved {
        resource: id(1),
        domain: "kim.laptops.example".to_owned(),
        ipv4: Some(device(2).ipv4),
        ipv6: Some(device(2).ipv6),
    });
    let Some(Decision::Answer(answer)) = client.decision(query) else { panic!("{:?}", client.decision(query)) };
    assert_eq!(answer.records[0].data.ip_addr(), Some(device(2).ipv4.into()));
    assert_eq!(client.resolve("kim.laptops.example", "AAAA"), [IpAddr::from(device(2).ipv6)]);

    let query = client.ask("lee.laptops.example", "A");
    client.advance(secs(5));
    assert_eq!(client.decision(query), Some(&Decision::ServFail));
}

fn dynamic_pool() -> Resource {
    Resource::DynamicDevicePool(Pool {
        id: id(1),
        name: "laptops".to_owned(),
        members: "*.laptops.example".to_owned(),
        filters: Filters::default(),
    })
}
