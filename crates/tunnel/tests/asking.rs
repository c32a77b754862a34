//! Asking the portal for access, and what it may answer instead of yes.

mod world;

use dns::Decision;
use ip_packet::{Transport, build};
use model::{
    CidrResource, Filter, FromPortal, PublicKey, Refusal, Resource, Status, ToPortal,
    message::{AuthorizationCreationFailed, FailReason},
};
use tunnel::{Event, Reason};
use world::{Client, cidr, id, internet, names, network, permission, secs, site, udp};

#[test]
fn the_first_packet_asks_and_the_next_ones_ask_again_every_two_seconds() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);

    client.send(udp("10.0.0.1:1", 1));
    assert_eq!(client.take_requests(), [(id(1), vec![])]);
    client.advance(secs(1));
    client.send(udp("10.0.0.1:1", 2));
    assert_eq!(client.take_requests(), []);
    client.advance(secs(2));
    assert_eq!(client.take_requests(), [], "no timer asks");
    client.send(udp("10.0.0.1:1", 3));
    assert_eq!(client.take_requests(), [(id(1), vec![])]);
}

#[test]
fn two_resources_are_asked_for_independently() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8"), cidr(2, "172.16.0.0/12")]);

    client.send(udp("10.0.0.1:1", 1));
    client.send(udp("172.16.0.1:1", 1));

    assert_eq!(client.take_requests(), [(id(1), vec![]), (id(2), vec![])]);
}

#[test]
fn what_the_filters_forbid_is_refused_at_once_and_not_asked_for() {
    let filters = [Filter::Udp(53..=53)].into_iter().collect();
    let filtered = Resource::Cidr(CidrResource { filters, ..network(1, "10.0.0.0/8") });
    let mut client = Client::with(&[filtered]);

    client.send(udp("10.0.0.1:80", 1));

    assert_eq!(client.take_requests(), []);
    let [refusal] = client.packets.as_slice() else { panic!("{:?}", client.packets) };
    assert!(matches!(refusal.transport(), Transport::IcmpError(quoted) if quoted.is_prohibited()));
    assert_eq!(refusal.source().to_string(), "10.0.0.1");
    assert_eq!(client.tunnel.counters().dropped(Reason::Filtered), 1);
}

#[test]
fn nothing_is_asked_for_what_is_nobodys() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8"), internet(2)]);
    client.tunnel.switch_internet_resource(true, client.now);

    for destination in ["100.64.0.7:1", "100.64.3.3:1", "100.100.111.77:53", "224.0.0.1:1"] {
        client.send(udp(destination, 1));
    }

    assert_eq!(client.take_requests(), []);
    assert_eq!(client.packets, []);
}

#[test]
fn a_permission_that_nobody_asked_for_changes_nothing() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    let permission = permission(id(1), 1, PublicKey([1; 32]));

    client.hear(FromPortal::AuthorizationCreated(Box::new(permission.clone())));
    assert_eq!(client.to_portal, []);
    assert_eq!(client.tunnel.paths(), []);

    client.send(udp("10.0.0.1:1", 1));
    assert_eq!(client.take_requests().len(), 1);
    let unknown = model::message::AuthorizationCreated { resource_id: id(9), ..permission };
    client.hear(FromPortal::AuthorizationCreated(Box::new(unknown)));
    assert_eq!(client.to_portal, []);
}

#[test]
fn without_a_relay_the_portal_is_told_and_everything_goes_on_waiting() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    let permission = permission(id(1), 1, PublicKey([1; 32]));
    client.send(udp("10.0.0.1:1", 1));
    assert_eq!(client.take_requests().len(), 1);

    client.hear(FromPortal::AuthorizationCreated(Box::new(permission.clone())));
    assert_eq!(std::mem::take(&mut client.to_portal), [ToPortal::NoRelays]);

    client.advance(secs(2));
    client.send(udp("10.0.0.1:1", 2));
    assert_eq!(client.take_requests().len(), 1, "traffic asks again");
    client.hear(FromPortal::AuthorizationCreated(Box::new(permission)));
    assert_eq!(client.to_portal, [], "but the portal is not told again so soon");
}

#[test]
fn a_connection_without_ice_is_not_supported() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    client.send(udp("10.0.0.1:1", 1));

    let iceless =
        model::message::AuthorizationCreated { use_iceless: true, ..permission(id(1), 1, PublicKey([1; 32])) };
    client.hear(FromPortal::AuthorizationCreated(Box::new(iceless)));

    assert_eq!(client.tunnel.paths(), []);
    assert_eq!(client.tunnel.counters().dropped(Reason::Expired), 1);
}

#[test]
fn offline_is_shown_and_said_once_and_forgotten_after_five_minutes() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    assert_eq!(client.status(id(1)), Some(Status::Unknown));
    client.send(udp("10.0.0.1:1", 1));
    assert_eq!(client.take_requests().len(), 1);

    client.hear_failure(id(1), FailReason::Offline);
    assert_eq!(client.status(id(1)), Some(Status::Offline));
    assert_eq!(client.others, [Event::GatewaysOffline(id(1))]);
    assert_eq!(client.tunnel.counters().dropped(Reason::Expired), 1, "what waited is gone");

    client.advance(secs(2));
    client.send(udp("10.0.0.1:1", 2));
    assert_eq!(client.take_requests().len(), 1, "the next packet asks again");
    client.hear_failure(id(1), FailReason::Offline);
    assert_eq!(client.others.len(), 1);

    client.advance(secs(300));
    assert_eq!(client.status(id(1)), Some(Status::Unknown));
}

#[test]
fn a_refusal_does_not_lead_to_one_request_per_packet() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    client.send(udp("10.0.0.1:1", 1));
    client.hear_failure(id(1), FailReason::Offline);
    client.send(udp("10.0.0.1:1", 2));
    assert_eq!(client.take_requests().len(), 1);
}

#[test]
fn a_version_mismatch_is_said_once_and_other_reasons_are_not_said() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    client.send(udp("10.0.0.1:1", 1));

    for reason in [FailReason::VersionMismatch, FailReason::VersionMismatch, FailReason::Forbidden, FailReason::Other] {
        client.hear_failure(id(1), reason);
    }

    assert_eq!(client.others, [Event::GatewayVersionMismatch(id(1))]);
    assert_eq!(client.status(id(1)), Some(Status::Unknown));
}

#[test]
fn why_a_resource_is_refused_is_shown_until_it_is_permitted() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8"), cidr(2, "172.16.0.0/12")]);
    client.send(udp("10.0.0.1:1", 1));
    assert_eq!(client.refusal(id(1)), None);

    client.hear(FromPortal::AuthorizationCreationFailed(AuthorizationCreationFailed {
        resource_id: id(1),
        reason: FailReason::Forbidden,
        violated_properties: vec!["remote_ip".to_owned(), "moon_phase".to_owned()],
    }));
    let violated = ["remote_ip", "moon_phase"].map(ToOwned::to_owned).to_vec();
    assert_eq!(client.refusal(id(1)), Some(Refusal { reason: FailReason::Forbidden, violated }));
    assert_eq!(client.refusal(id(2)), None);

    client.hear_failure(id(1), FailReason::NotFound);
    assert_eq!(client.refusal(id(1)), Some(Refusal { reason: FailReason::NotFound, violated: vec![] }));
    client.hear_failure(id(9), FailReason::NotFound);

    client.hear(FromPortal::AuthorizationCreated(Box::new(permission(id(1), 1, PublicKey([1; 32])))));
    assert_eq!(client.refusal(id(1)), None);
}

#[test]
fn what_waits_is_given_up_when_nothing_new_comes() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    client.send(udp("10.0.0.1:1", 1));

    client.advance(secs(30));

    assert_eq!(client.tunnel.counters().dropped(Reason::Expired), 1);
    assert_eq!(client.tunnel.poll_timeout(), None);
}

#[test]
fn a_new_portal_connection_is_asked_again_for_what_waits() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    client.send(udp("10.0.0.1:1", 1));
    assert_eq!(client.take_requests().len(), 1);

    client.init(&[cidr(1, "10.0.0.0/8")]);

    assert_eq!(client.take_requests(), [(id(1), vec![])]);
    assert_eq!(client.lists.len(), 1, "the same resources are no news");
    assert_eq!(client.interfaces.len(), 1);
}

#[test]
fn a_query_for_a_site_waits_for_the_permission_and_fails_with_it() {
    let mut client = Client::with(&[Resource::Dns(names(1, "**.example.com"))]);
    let queries = [client.ask("_ldap._tcp.example.com", "SRV"), client.ask("example.com", "TXT")];
    assert_eq!(client.take_requests(), [(id(1), vec![])]);
    assert_eq!(queries.map(|query| client.decision(query)), [None, None]);

    client.hear_failure(id(1), FailReason::Forbidden);

    assert_eq!(queries.map(|query| client.decision(query)), [Some(&Decision::ServFail); 2]);
}

#[test]
fn removing_a_resource_answers_the_queries_that_waited_for_it() {
    let mut client = Client::with(&[Resource::Dns(names(1, "*.example.com"))]);
    let query = client.ask("example.com", "TXT");

    client.hear(FromPortal::ResourceDeleted(id(1)));

    assert_eq!(client.decision(query), Some(&Decision::ServFail));
}

#[test]
fn the_list_tells_of_each_change_once() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    let renamed = CidrResource { name: "another name".to_owned(), ..network(1, "10.0.0.0/8") };

    client.hear(FromPortal::ResourceCreatedOrUpdated(Resource::Cidr(renamed.clone())));
    client.hear(FromPortal::ResourceCreatedOrUpdated(Resource::Cidr(renamed)));

    assert_eq!(client.lists.len(), 2);
    assert_eq!(client.lists[1][0].name, "another name");
    assert_eq!(client.interfaces.len(), 1, "the host need not change");
}

#[test]
fn the_internet_needs_the_wish_and_the_resource() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8"), internet(2)]);
    client.send(udp("9.9.9.9:1", 1));
    assert_eq!(client.take_requests(), []);

    client.tunnel.switch_internet_resource(true, client.now);
    client.drain();
    assert!(client.interfaces.last().unwrap().routes.contains(&"0.0.0.0/0".parse().unwrap()));
    client.send(udp("9.9.9.9:1", 1));
    assert_eq!(client.take_requests(), [(id(2), vec![])]);

    client.hear(FromPortal::ResourceDeleted(id(2)));
    assert!(!client.interfaces.last().unwrap().routes.contains(&"0.0.0.0/0".parse().unwrap()));
    client.hear(FromPortal::ResourceCreatedOrUpdated(internet(2)));
    assert!(client.interfaces.last().unwrap().routes.contains(&"0.0.0.0/0".parse().unwrap()), "the wish is kept");

    client.tunnel.switch_internet_resource(false, client.now);
    client.drain();
    assert!(!client.interfaces.last().unwrap().routes.contains(&"::/0".parse().unwrap()));
    client.send(udp("9.9.9.9:1", 1));
    assert_eq!(client.take_requests(), []);
}

#[test]
fn moving_a_resource_to_another_site_makes_it_a_new_one() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    client.send(udp("10.0.0.1:1", 1));
    assert_eq!(client.take_requests().len(), 1);

    let moved = CidrResource { sites: vec![site(2)], ..network(1, "10.0.0.0/8") };
    client.hear(FromPortal::ResourceCreatedOrUpdated(Resource::Cidr(moved)));
    assert_eq!(client.tunnel.counters().dropped(Reason::Expired), 1);

    client.send(udp("10.0.0.1:1", 2));
    assert_eq!(client.take_requests().len(), 1, "without waiting");
}

#[test]
fn an_echo_is_as_good_as_any_packet() {
    let mut client = Client::with(&[cidr(1, "10.0.0.0/8")]);
    let echo = build::echo_request("100.64.0.7".parse().unwrap(), "10.0.0.1".parse().unwrap(), 7, 1, b"").unwrap();
    client.send(echo);
    assert_eq!(client.take_requests().len(), 1);
}
