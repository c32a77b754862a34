//! Requests for access, and the portal's negative answers.

mod support;

use dns::Decision;
use ip_packet::{Transport, build};
use model::{
    CidrResource, Filter, FromPortal, PublicKey, Refusal, Resource, Status, ToPortal,
    message::{AuthorizationCreationFailed, FailureReason},
};
use support::{Client, authorization, cidr, id, internet, names, network, secs, site, udp};
use tunnel::{DropReason, Event};

#[test]
fn packets_request_access_at_most_every_two_seconds() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);

    client.send(udp("10.0.0.1:1", 1));
    assert_eq!(client.take_requests(), [(id(1), vec![])]);
    client.advance(secs(1));
    client.send(udp("10.0.0.1:1", 2));
    assert_eq!(client.take_requests(), []);
    client.advance(secs(2));
    assert_eq!(client.take_requests(), [], "no timer repeats the request");
    client.send(udp("10.0.0.1:1", 3));
    assert_eq!(client.take_requests(), [(id(1), vec![])]);
}

#[test]
fn two_resources_are_requested_independently() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8"), cidr(2, "172.16.0.0/12")]);

    client.send(udp("10.0.0.1:1", 1));
    client.send(udp("172.16.0.1:1", 1));

    assert_eq!(client.take_requests(), [(id(1), vec![]), (id(2), vec![])]);
}

#[test]
fn filtered_packet_is_rejected_without_requesting_access() {
    let filters = [Filter::Udp(53..=53)].into_iter().collect();
    let filtered = Resource::Cidr(CidrResource { filters, ..network(1, "10.0.0.0/8") });
    let mut client = Client::with(&[filtered]);

    client.send(udp("10.0.0.1:80", 1));

    assert_eq!(client.take_requests(), []);
    let [refusal] = client.packets.as_slice() else { panic!("{:?}", client.packets) };
    assert!(matches!(refusal.transport(), Transport::IcmpError(quoted) if quoted.is_prohibited()));
    assert_eq!(refusal.source().to_string(), "10.0.0.1");
    assert_eq!(client.tunnel.counters().dropped(DropReason::Filtered), 1);
}

#[test]
fn unroutable_destination_requests_no_access() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8"), internet(2)]);
    client.tunnel.switch_internet_resource(true, client.now);

    for destination in ["100.64.0.7:1", "100.64.3.3:1", "100.100.111.77:53", "224.0.0.1:1"] {
        client.send(udp(destination, 1));
    }

    assert_eq!(client.take_requests(), []);
    assert_eq!(client.packets, []);
}

#[test]
fn unrequested_authorization_is_ignored() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    let authorization = authorization(id(1), 1, PublicKey([1; 32]));

    client.receive_portal(FromPortal::AuthorizationCreated(Box::new(authorization.clone())));
    assert_eq!(client.to_portal, []);
    assert_eq!(client.tunnel.paths(), []);

    client.send(udp("10.0.0.1:1", 1));
    assert_eq!(client.take_requests().len(), 1);
    let unknown = model::message::AuthorizationCreated { resource_id: id(9), ..authorization };
    client.receive_portal(FromPortal::AuthorizationCreated(Box::new(unknown)));
    assert_eq!(client.to_portal, []);
}

#[test]
fn missing_relay_is_reported_and_packets_keep_waiting() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    let authorization = authorization(id(1), 1, PublicKey([1; 32]));
    client.send(udp("10.0.0.1:1", 1));
    assert_eq!(client.take_requests().len(), 1);

    client.receive_portal(FromPortal::AuthorizationCreated(Box::new(authorization.clone())));
    assert_eq!(std::mem::take(&mut client.to_portal), [ToPortal::NoRelays]);

    client.advance(secs(2));
    client.send(udp("10.0.0.1:1", 2));
    assert_eq!(client.take_requests().len(), 1, "traffic repeats the request");
    client.receive_portal(FromPortal::AuthorizationCreated(Box::new(authorization)));
    assert_eq!(client.to_portal, [], "the report is rate-limited");
}

#[test]
fn iceless_authorization_is_denied() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    client.send(udp("10.0.0.1:1", 1));

    let iceless =
        model::message::AuthorizationCreated { use_iceless: true, ..authorization(id(1), 1, PublicKey([1; 32])) };
    client.receive_portal(FromPortal::AuthorizationCreated(Box::new(iceless)));

    assert_eq!(client.tunnel.paths(), []);
    assert_eq!(client.tunnel.counters().dropped(DropReason::Expired), 1);
}

#[test]
fn offline_is_notified_once_and_expires_after_five_minutes() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    assert_eq!(client.status(id(1)), Some(Status::Unknown));
    client.send(udp("10.0.0.1:1", 1));
    assert_eq!(client.take_requests().len(), 1);

    client.receive_failure(id(1), FailureReason::Offline);
    assert_eq!(client.status(id(1)), Some(Status::Offline));
    assert_eq!(client.others, [Event::GatewaysOffline(id(1))]);
    assert_eq!(client.tunnel.counters().dropped(DropReason::Expired), 1, "held packets are dropped");

    client.advance(secs(2));
    client.send(udp("10.0.0.1:1", 2));
    assert_eq!(client.take_requests().len(), 1, "the next packet requests access again");
    client.receive_failure(id(1), FailureReason::Offline);
    assert_eq!(client.others.len(), 1);

    client.advance(secs(300));
    assert_eq!(client.status(id(1)), Some(Status::Unknown));
}

#[test]
fn denied_access_is_not_requested_per_packet() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    client.send(udp("10.0.0.1:1", 1));
    client.receive_failure(id(1), FailureReason::Offline);
    client.send(udp("10.0.0.1:1", 2));
    assert_eq!(client.take_requests().len(), 1);
}

#[test]
fn version_mismatch_is_notified_once_and_other_reasons_never() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    client.send(udp("10.0.0.1:1", 1));

    for reason in
        [FailureReason::VersionMismatch, FailureReason::VersionMismatch, FailureReason::Forbidden, FailureReason::Other]
    {
        client.receive_failure(id(1), reason);
    }

    assert_eq!(client.others, [Event::GatewayVersionMismatch(id(1))]);
    assert_eq!(client.status(id(1)), Some(Status::Unknown));
}

#[test]
fn refusal_is_listed_until_access_is_granted() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8"), cidr(2, "172.16.0.0/12")]);
    client.send(udp("10.0.0.1:1", 1));
    assert_eq!(client.refusal(id(1)), None);

    client.receive_portal(FromPortal::AuthorizationCreationFailed(AuthorizationCreationFailed {
        resource_id: id(1),
        reason: FailureReason::Forbidden,
        violated_properties: vec!["remote_ip".to_owned(), "moon_phase".to_owned()],
    }));
    let violated = ["remote_ip", "moon_phase"].map(ToOwned::to_owned).to_vec();
    assert_eq!(client.refusal(id(1)), Some(Refusal { reason: FailureReason::Forbidden, violated }));
    assert_eq!(client.refusal(id(2)), None);

    client.receive_failure(id(1), FailureReason::NotFound);
    assert_eq!(client.refusal(id(1)), Some(Refusal { reason: FailureReason::NotFound, violated: vec![] }));
    client.receive_failure(id(9), FailureReason::NotFound);

    client.receive_portal(FromPortal::AuthorizationCreated(Box::new(authorization(id(1), 1, PublicKey([1; 32])))));
    assert_eq!(client.refusal(id(1)), None);
}

#[test]
fn idle_request_times_out() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    client.send(udp("10.0.0.1:1", 1));

    client.advance(secs(30));

    assert_eq!(client.tunnel.counters().dropped(DropReason::Expired), 1);
    assert_eq!(client.tunnel.poll_timeout(), None);
}

#[test]
fn new_portal_connection_repeats_pending_requests() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    client.send(udp("10.0.0.1:1", 1));
    assert_eq!(client.take_requests().len(), 1);

    client.init(&[cidr(1, "10.0.0.0/8")]);

    assert_eq!(client.take_requests(), [(id(1), vec![])]);
    assert_eq!(client.lists.len(), 1, "an unchanged list is not published");
    assert_eq!(client.interfaces.len(), 1);
}

#[test]
fn site_query_waits_for_access_and_fails_with_it() {
    let mut client = Client::with(&[Resource::Dns(names(1, "**.example.com"))]);
    let queries = [client.ask("_ldap._tcp.example.com", "SRV"), client.ask("example.com", "TXT")];
    assert_eq!(client.take_requests(), [(id(1), vec![])]);
    assert_eq!(queries.map(|query| client.decision(query)), [None, None]);

    client.receive_failure(id(1), FailureReason::Forbidden);

    assert_eq!(queries.map(|query| client.decision(query)), [Some(&Decision::ServFail); 2]);
}

#[test]
fn removing_a_resource_fails_its_pending_queries() {
    let mut client = Client::with(&[Resource::Dns(names(1, "*.example.com"))]);
    let query = client.ask("example.com", "TXT");

    client.receive_portal(FromPortal::ResourceDeleted(id(1)));

    assert_eq!(client.decision(query), Some(&Decision::ServFail));
}

#[test]
fn each_list_change_is_published_once() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    let renamed = CidrResource { name: "another name".to_owned(), ..network(1, "10.0.0.0/8") };

    client.receive_portal(FromPortal::ResourceCreatedOrUpdated(Resource::Cidr(renamed.clone())));
    client.receive_portal(FromPortal::ResourceCreatedOrUpdated(Resource::Cidr(renamed)));

    assert_eq!(client.lists.len(), 2);
    assert_eq!(client.lists[1][0].name, "another name");
    assert_eq!(client.interfaces.len(), 1, "the interface is unchanged");
}

#[test]
fn internet_needs_both_the_setting_and_the_resource() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8"), internet(2)]);
    client.send(udp("9.9.9.9:1", 1));
    assert_eq!(client.take_requests(), []);

    client.tunnel.switch_internet_resource(true, client.now);
    client.drain();
    assert!(client.interfaces.last().unwrap().routes.contains(&"0.0.0.0/0".parse().unwrap()));
    client.send(udp("9.9.9.9:1", 1));
    assert_eq!(client.take_requests(), [(id(2), vec![])]);

    client.receive_portal(FromPortal::ResourceDeleted(id(2)));
    assert!(!client.interfaces.last().unwrap().routes.contains(&"0.0.0.0/0".parse().unwrap()));
    client.receive_portal(FromPortal::ResourceCreatedOrUpdated(internet(2)));
    assert!(client.interfaces.last().unwrap().routes.contains(&"0.0.0.0/0".parse().unwrap()), "the wish is unsent");

    client.tunnel.switch_internet_resource(false, client.now);
    client.drain();
    assert!(!client.interfaces.last().unwrap().routes.contains(&"::/0".parse().unwrap()));
    client.send(udp("9.9.9.9:1", 1));
    assert_eq!(client.take_requests(), []);
}

#[test]
fn resource_moved_to_another_site_starts_over() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    client.send(udp("10.0.0.1:1", 1));
    assert_eq!(client.take_requests().len(), 1);

    let moved = CidrResource { sites: vec![site(2)], ..network(1, "10.0.0.0/8") };
    client.receive_portal(FromPortal::ResourceCreatedOrUpdated(Resource::Cidr(moved)));
    assert_eq!(client.tunnel.counters().dropped(DropReason::Expired), 1);

    client.send(udp("10.0.0.1:1", 2));
    assert_eq!(client.take_requests().len(), 1, "without rate limit");
}

#[test]
fn echo_request_requests_access() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    let echo = build::echo_request("100.64.0.7".parse().unwrap(), "10.0.0.1".parse().unwrap(), 7, 1, b"").unwrap();
    client.send(echo);
    assert_eq!(client.take_requests().len(), 1);
}
