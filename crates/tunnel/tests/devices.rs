//! Other clients: outgoing and incoming access.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::net::{IpAddr, SocketAddr};

use dns::Decision;
use ip_packet::{IpPacket, Transport, build, control, icmp};
use model::{
    Device, Filter, Filters, FromPortal, Pool, Resource, ToPortal,
    message::{DeviceGrant, FailureReason, InboundGrant},
};
use support::{CLIENT_V4, Client, answer, device, id, interface, internet, network::TestNetwork, pool, secs, udp};
use tunnel::DropReason;

const UNIX_NOW: u64 = 1_800_000_000;

fn static_pool(devices: &[u8]) -> Resource {
    Resource::StaticDevicePool(pool(1, devices))
}

fn only(filter: Filter) -> Filters {
    std::iter::once(filter).collect()
}

/// A grant through pool 1.
fn grant(filters: Filters, expires_at: Option<u64>) -> DeviceGrant {
    DeviceGrant { resource: id(1), filters, expires_at }
}

/// A datagram from the device with this number to a local port.
fn from_device(number: u8, port: u16) -> IpPacket {
    let source = SocketAddr::new(device(number).ipv4.into(), 5000);
    build::udp(source, SocketAddr::new(CLIENT_V4.parse().unwrap(), port), b"hello").unwrap()
}

/// A datagram back to where [`from_device`] came from.
fn back_to_device(number: u8, port: u16) -> IpPacket {
    let destination = SocketAddr::new(device(number).ipv4.into(), 5000);
    build::udp(SocketAddr::new(CLIENT_V4.parse().unwrap(), port), destination, b"back").unwrap()
}

/// Device 2 is a pool member and connected because this client requested access.
fn connected_as_initiator() -> TestNetwork {
    let mut net = TestNetwork::new(&[static_pool(&[2])]);
    assert_eq!(net.add_device(), 2);
    net.client.send(udp("100.64.1.2:53", 1));
    net.client.take_device_requests();
    net.connect_device(2, None);
    net.run_for(secs(3));
    assert_eq!(net.gateways[1].received, [udp("100.64.1.2:53", 1)]);
    net.gateways[1].received.clear();
    net
}

/// Device 2 is connected because it requested access, and may initiate flows that `filters` permit.
fn connected_as_target(filters: Filters, expires_at: Option<u64>) -> TestNetwork {
    let mut net = TestNetwork::new(&[]);
    assert_eq!(net.add_device(), 2);
    net.connect_device(2, Some(grant(filters, expires_at)));
    net.run_for(secs(3));
    net
}

fn is_prohibited_error(packet: &IpPacket) -> bool {
    matches!(packet.transport(), Transport::IcmpError(quoted) if quoted.is_prohibited())
}

#[test]
fn packet_to_a_pool_member_requests_access_and_arrives_once_granted() {
    let mut net = TestNetwork::new(&[static_pool(&[2])]);
    net.add_device();
    net.client.send(udp("100.64.1.2:53", 1));
    net.client.send(udp("100.64.1.2:53", 2));
    net.client.send(udp("[fd00:2021:1111::1:2]:53", 3));
    let (v4, v6): (IpAddr, IpAddr) = (device(2).ipv4.into(), device(2).ipv6.into());
    assert_eq!(net.client.take_device_requests(), [(id(1), v4), (id(1), v6)]);

    net.connect_device(2, None);
    net.run_for(secs(3));

    let expected = [udp("100.64.1.2:53", 1), udp("100.64.1.2:53", 2), udp("[fd00:2021:1111::1:2]:53", 3)];
    assert_eq!(net.gateways[1].received, expected);
    net.send_from(1, answer("100.64.1.2:53"));
    assert_eq!(net.client.packets, [answer("100.64.1.2:53")]);
    let shown = net.client.devices.last().unwrap();
    assert_eq!((shown[0].id, shown[0].name.as_deref()), (device(2).client_id, Some("device 2")));
    assert_eq!(shown[0].pools, ["pool 1"]);
}

#[test]
fn request_for_a_pool_member_is_repeated_after_two_seconds() {
    let mut client = Client::with(&[static_pool(&[2])]);
    for (after, expected) in [(0, 1), (1, 0), (1, 1), (3, 1)] {
        client.advance(secs(after));
        client.send(udp("100.64.1.2:53", 1));
        assert_eq!(client.take_device_requests().len(), expected);
    }
}

#[test]
fn member_of_two_pools_is_requested_in_each_needed_pool() {
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
    assert!(is_prohibited_error(&client.packets[0]), "packets that no pool permits are rejected at once");
}

#[test]
fn pool_member_is_reached_with_internet_enabled_and_other_peers_are_not() {
    let mut client = Client::with(&[static_pool(&[2]), internet(5)]);
    client.tunnel.switch_internet_resource(true, client.now);
    client.drain();
    client.send(udp("100.64.1.2:53", 1));
    client.send(udp("100.64.1.3:53", 1));
    assert_eq!(client.take_device_requests(), [(id(1), device(2).ipv4.into())]);
    assert_eq!(client.take_requests(), []);
    assert_eq!(client.tunnel.counters().dropped(DropReason::NoResource), 1);
}

#[test]
fn client_packets_need_its_own_source_and_our_address() {
    let mut net = connected_as_target(Filters::default(), None);
    let spoofed = build::udp("100.64.1.3:1".parse().unwrap(), "100.64.0.7:2".parse().unwrap(), b"").unwrap();
    let misdirected = build::udp("100.64.1.2:1".parse().unwrap(), "100.64.0.8:2".parse().unwrap(), b"").unwrap();
    net.send_from(1, spoofed);
    net.send_from(1, misdirected);
    net.send_from(1, from_device(2, 80));

    assert_eq!(net.client.packets, [from_device(2, 80)]);
    let counters = net.client.tunnel.counters();
    assert_eq!((counters.dropped(DropReason::SpoofedSource), counters.dropped(DropReason::ForeignDestination)), (1, 1));
}

#[test]
fn ungranted_packet_is_rejected_and_replies_need_no_request() {
    let mut net = connected_as_target(only(Filter::Udp(80..=80)), None);
    net.send_from(1, from_device(2, 80));
    net.send_from(1, from_device(2, 81));
    assert_eq!(net.client.packets, [from_device(2, 80)]);
    assert_eq!(net.client.tunnel.counters().dropped(DropReason::NotGranted), 1);
    assert!(is_prohibited_error(&net.gateways[1].received[0]));

    net.client.send(back_to_device(2, 80));
    net.client.send(back_to_device(2, 81));
    net.run_for(secs(1));

    assert_eq!(net.gateways[1].received[1..], [back_to_device(2, 80)]);
    assert_eq!(net.client.take_device_requests(), []);
}

#[test]
fn client_without_a_grant_may_only_reply() {
    let mut net = connected_as_initiator();
    net.send_from(1, answer("100.64.1.2:53"));
    net.send_from(1, answer("100.64.1.2:54"));
    assert_eq!(net.client.packets, [answer("100.64.1.2:53")]);

    // After two minutes of silence the flow is expired.
    net.run_for(secs(121));
    net.client.packets.clear();
    net.seal_from(1, &answer("100.64.1.2:53"));
    net.run_for(secs(5));
    assert_eq!(net.client.packets, []);
}

#[test]
fn reply_to_an_incoming_flow_starts_no_outgoing_flow() {
    let mut net = TestNetwork::new(&[static_pool(&[2])]);
    net.add_device();
    net.connect_device(2, Some(grant(Filters::default(), None)));
    net.client.send(udp("100.64.1.2:53", 1));
    net.connect_device(2, None);
    net.run_for(secs(3));
    net.send_from(1, from_device(2, 80));
    net.client.send(back_to_device(2, 80));
    net.client.packets.clear();

    net.client.receive_portal(FromPortal::RejectAccess { client: device(2).client_id, resource: id(1) });
    net.send_from(1, from_device(2, 80));
    net.send_from(1, answer("100.64.1.2:53"));

    assert_eq!(net.client.packets, [answer("100.64.1.2:53")], "outgoing flows continue, incoming ones end");
}

#[test]
fn grant_expires_without_traffic() {
    let mut net = connected_as_target(Filters::default(), Some(UNIX_NOW + 60));
    net.send_from(1, from_device(2, 80));
    assert_eq!(net.client.packets.len(), 1);

    net.run_for(secs(60));
    net.client.packets.clear();
    net.send_from(1, from_device(2, 80));
    assert_eq!(net.client.packets, []);

    let mut net = connected_as_target(Filters::default(), Some(UNIX_NOW - 1));
    net.send_from(1, from_device(2, 80));
    assert_eq!(net.client.packets, [], "it expired before it was received");
}

#[test]
fn grants_follow_filter_updates_and_portal_snapshots() {
    let mut net = connected_as_target(only(Filter::Icmp), None);
    net.send_from(1, from_device(2, 80));
    assert_eq!(net.client.packets, []);
    net.client
        .receive_portal(FromPortal::ResourceFiltersUpdated { resource: id(1), filters: only(Filter::Udp(80..=80)) });
    net.send_from(1, from_device(2, 80));
    assert_eq!(net.client.packets.len(), 1);

    let (client, resource) = (device(2).client_id, id(1));
    let listed = InboundGrant { client, resource, expires_at: UNIX_NOW + 1000 };
    net.client.init_with_grants(interface(), &[], vec![listed]);
    net.send_from(1, from_device(2, 80));
    assert_eq!(net.client.packets.len(), 2);

    net.client.init(&[]);
    net.send_from(1, from_device(2, 80));
    assert_eq!(net.client.packets.len(), 2);
}

#[test]
fn icmp_errors_pass_both_ways_for_known_flows() {
    let mut net = connected_as_target(only(Filter::Udp(80..=80)), None);
    net.send_from(1, from_device(2, 80));
    net.client.packets.clear();

    // The host rejects a delivered packet; a second error quotes a packet that was never received.
    net.client.send(icmp::unreachable(&from_device(2, 80)).unwrap());
    net.client.send(icmp::unreachable(&from_device(2, 99)).unwrap());
    net.run_for(secs(1));
    assert_eq!(net.gateways[1].received, [icmp::unreachable(&from_device(2, 80)).unwrap()]);
    assert_eq!(net.client.tunnel.counters().dropped(DropReason::Protocol), 1);

    // The same error from the device quotes a packet that was never sent.
    let theirs = icmp::unreachable(&from_device(2, 80)).unwrap();
    let mirrored = icmp::unreachable(&back_to_device(2, 80)).unwrap();
    net.client.send(back_to_device(2, 80));
    net.send_from(1, theirs);
    net.send_from(1, icmp::unreachable(&back_to_device(2, 99)).unwrap());
    net.send_from(1, mirrored.clone());
    assert_eq!(net.client.packets, [mirrored]);
}

#[test]
fn denied_access_closes_the_connection_with_goodbye() {
    for (ipv4, ipv6, ends) in [(true, false, true), (false, true, true), (true, true, true), (false, false, false)] {
        let mut net = connected_as_initiator();
        net.client.receive_portal(FromPortal::ClientDeviceAccessDenied {
            ipv4: ipv4.then_some(device(2).ipv4),
            ipv6: ipv6.then_some(device(2).ipv6),
            reason: FailureReason::Forbidden,
        });
        net.run_for(secs(1));
        assert_eq!(net.gateways[1].goodbyes(), usize::from(ends));
        net.client.send(udp("100.64.1.2:53", 9));
        assert_eq!(net.client.take_device_requests().len(), usize::from(ends));
    }
}

#[test]
fn denied_access_drops_held_packets() {
    let mut client = Client::with(&[static_pool(&[2])]);
    client.send(udp("100.64.1.2:53", 1));
    client.receive_portal(FromPortal::ClientDeviceAccessDenied {
        ipv4: Some(device(2).ipv4),
        ipv6: None,
        reason: FailureReason::Offline,
    });
    assert_eq!(client.tunnel.counters().dropped(DropReason::Expired), 1);
}

#[test]
fn only_offline_candidate_errors_close_the_connection() {
    let mut net = connected_as_initiator();
    let error = |reason| FromPortal::ClientIceCandidateError { client: device(2).client_id, reason };
    net.client.receive_portal(error(FailureReason::Other));
    assert_eq!(net.client.devices.last().unwrap().len(), 1);
    net.client.receive_portal(error(FailureReason::Offline));
    assert_eq!(net.client.devices.last().unwrap().len(), 0);
    net.run_for(secs(1));
    assert_eq!(net.gateways[1].goodbyes(), 1);
}

#[test]
fn goodbye_of_a_client_removes_it_without_reply() {
    let mut net = connected_as_initiator();
    net.send_from(1, control::goodbye());
    assert_eq!(net.client.devices.last().unwrap().len(), 0);
    assert_eq!(net.gateways[1].goodbyes(), 0);
    net.client.send(udp("100.64.1.2:53", 2));
    assert_eq!(net.client.take_device_requests().len(), 1, "immediately");
}

#[test]
fn pool_change_keeps_remaining_members_and_existing_connections() {
    let mut net = connected_as_initiator();
    net.client.receive_portal(FromPortal::ResourceCreatedOrUpdated(static_pool(&[2, 3])));
    net.client.send(udp("100.64.1.2:53", 2));
    assert_eq!(net.client.take_device_requests(), []);

    net.client.receive_portal(FromPortal::ResourceCreatedOrUpdated(static_pool(&[3])));
    net.client.send(udp("100.64.1.2:53", 3));
    assert_eq!(net.client.take_device_requests(), []);
    net.run_for(secs(1));
    assert_eq!(net.gateways[1].received, [udp("100.64.1.2:53", 2)]);
    assert_eq!(net.gateways[1].goodbyes(), 0);

    net.client.receive_portal(FromPortal::ResourceCreatedOrUpdated(static_pool(&[2])));
    net.client.send(udp("100.64.1.2:53", 4));
    assert_eq!(net.client.take_device_requests().len(), 1, "a member that returns is requested again");
}

#[test]
fn moved_member_is_requested_at_its_new_address() {
    let mut client = Client::with(&[static_pool(&[2])]);
    client.send(udp("100.64.1.2:53", 1));
    client.take_device_requests();
    let moved = Device { ipv4: "100.64.1.99".parse().unwrap(), ..device(2) };
    let changed = Pool { members: vec![moved], ..pool(1, &[]) };
    client.receive_portal(FromPortal::ResourceCreatedOrUpdated(Resource::StaticDevicePool(changed)));

    client.send(udp("100.64.1.2:53", 1));
    client.send(udp("100.64.1.99:53", 1));

    assert_eq!(client.take_device_requests(), [(id(1), "100.64.1.99".parse().unwrap())]);
    assert_eq!(client.tunnel.counters().dropped(DropReason::Expired), 1);
}

#[test]
fn changed_pool_filters_apply_to_incoming_packets() {
    let mut net = TestNetwork::new(&[static_pool(&[2])]);
    net.add_device();
    net.connect_device(2, Some(grant(Filters::default(), None)));
    net.run_for(secs(3));
    let closed = Pool { filters: only(Filter::Icmp), ..pool(1, &[2]) };
    net.client.receive_portal(FromPortal::ResourceCreatedOrUpdated(Resource::StaticDevicePool(closed)));
    net.send_from(1, from_device(2, 80));
    assert_eq!(net.client.packets, []);
}

#[test]
fn deleting_a_pool_revokes_access_to_its_members() {
    let mut net = connected_as_initiator();
    net.client.receive_portal(FromPortal::ResourceDeleted(id(1)));
    net.client.send(udp("100.64.1.2:53", 1));
    assert_eq!(net.client.take_device_requests(), []);
    assert_eq!(net.client.tunnel.counters().dropped(DropReason::NoResource), 1);

    net.client.receive_portal(FromPortal::ResourceCreatedOrUpdated(static_pool(&[2])));
    net.client.send(udp("100.64.1.2:53", 1));
    assert_eq!(net.client.take_device_requests().len(), 1);
}

#[test]
fn unrequested_client_access_is_ignored() {
    let mut net = TestNetwork::new(&[static_pool(&[2])]);
    net.add_device();
    net.connect_device(2, None);
    net.run_for(secs(3));
    net.client.send(udp("100.64.1.2:53", 1));
    assert_eq!(net.client.take_device_requests().len(), 1);

    let mut client = Client::new();
    let access = support::device_access(2, net.gateways[1].key(), Some(grant(Filters::default(), None)));
    client.receive_portal(FromPortal::ClientDeviceAccessAuthorized(Box::new(access)));
    assert_eq!(client.to_portal, []);
}

#[test]
fn client_connection_without_relay_is_made_once_a_relay_is_available() {
    let mut net = TestNetwork::without_relay(&[]);
    net.add_device();
    net.connect_device(2, Some(grant(Filters::default(), None)));
    assert_eq!(net.client.to_portal, [ToPortal::NoRelays]);
    net.run_for(secs(2));

    net.add_relay();
    net.run_for(secs(5));
    net.seal_from(1, &from_device(2, 80));
    net.run_for(secs(1));

    assert_eq!(net.client.packets, [from_device(2, 80)]);
}

#[test]
fn network_change_drops_clients_and_stopping_sends_goodbye() {
    let mut net = connected_as_initiator();
    net.client.tunnel.reset(net.client.now);
    net.client.drain();
    assert_eq!(net.client.devices.last().unwrap().len(), 0);

    let mut net = connected_as_initiator();
    net.client.tunnel.stop(net.client.now);
    net.run_for(secs(1));
    assert_eq!(net.gateways[1].goodbyes(), 1);
}

#[test]
fn device_name_lookup_is_shared_and_repeated_on_reconnect() {
    let mut client = Client::with(&[dynamic_pool()]);
    let (a, aaaa) = (client.ask("kim.laptops.example", "A"), client.ask("kim.laptops.example", "AAAA"));
    let question = ToPortal::ResolveDevicePoolDomain { resource: id(1), domain: "kim.laptops.example".to_owned() };
    assert_eq!(std::mem::take(&mut client.to_portal), std::slice::from_ref(&question));

    client.init(&[]);
    assert_eq!(client.decision(a), Some(&Decision::ServFail), "the pool was removed");
    assert_eq!(client.decision(aaaa), Some(&Decision::ServFail));

    client.init(&[dynamic_pool()]);
    let query = client.ask("kim.laptops.example", "A");
    client.to_portal.clear();
    client.init(&[dynamic_pool()]);
    assert_eq!(client.to_portal, [question], "pending lookups are repeated");
    client.receive_portal(FromPortal::DevicePoolDomainResolved {
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
