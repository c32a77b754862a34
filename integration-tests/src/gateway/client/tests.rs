//! Tests of grants.

use std::net::SocketAddr;

use ip_packet::build;
use model::Filter;

use super::*;

const OWN: &str = "100.64.0.1";

fn client() -> Client {
    Client::new("100.64.0.9".parse().unwrap(), "fd00:2021:1111::9".parse().unwrap())
}

fn grant(what: What, filters: &[Filter]) -> Grant {
    Grant { what, filters: filters.iter().cloned().collect(), until: None }
}

fn lab(filters: &[Filter]) -> Grant {
    grant(What::Cidr("10.20.0.0/24".parse().unwrap()), filters)
}

fn id(number: u128) -> ResourceId {
    ResourceId::from_u128(number)
}

fn udp(from: &str, to: &str) -> IpPacket {
    build::udp(from.parse::<SocketAddr>().unwrap(), to.parse::<SocketAddr>().unwrap(), b"x").unwrap()
}

fn send(client: &mut Client, packet: IpPacket) -> Verdict {
    client.outbound(packet, |ip| ip.to_string() == OWN, Instant::now())
}

/// Type and code of the ICMP error that the client receives.
fn error(verdict: &Verdict) -> Option<(u8, u8)> {
    let Verdict::Refuse(Some(answer)) = verdict else { return None };
    let Transport::IcmpError(quoted) = answer.transport() else { return None };
    Some((quoted.icmp_type, quoted.icmp_code))
}

fn is_prohibited(verdict: &Verdict) -> bool {
    let Verdict::Refuse(Some(answer)) = verdict else { return false };
    matches!(answer.transport(), Transport::IcmpError(quoted) if quoted.is_prohibited())
}

#[test]
fn only_granted_destinations_are_forwarded() {
    let mut client = client();
    client.grant(id(1), lab(&[Filter::Udp(53..=53)]));

    assert!(matches!(send(&mut client, udp("100.64.0.9:1", "10.20.0.2:53")), Verdict::Forward(_)));
    assert!(is_prohibited(&send(&mut client, udp("100.64.0.9:1", "10.20.0.2:54"))));
    assert!(is_prohibited(&send(&mut client, udp("100.64.0.9:1", "10.21.0.2:53"))));
    assert!(is_prohibited(&send(&mut client, udp("100.64.0.8:1", "10.20.0.2:53"))));
    assert!(is_prohibited(&send(&mut client, udp("100.64.0.9:1", "100.64.0.7:53"))));
    assert!(matches!(send(&mut client, udp("100.64.0.9:1", "100.64.0.1:53535")), Verdict::Forward(_)));
}

#[test]
fn filters_of_all_networks_that_contain_the_address_apply() {
    let mut client = client();
    client.grant(id(2), grant(What::Cidr("10.20.0.2/32".parse().unwrap()), &[Filter::Icmp]));
    client.grant(id(1), lab(&[]));

    assert!(matches!(send(&mut client, udp("100.64.0.9:1", "10.20.0.2:53")), Verdict::Forward(_)));
}

#[test]
fn expired_grant_is_refused() {
    let (mut client, now) = (client(), Instant::now());
    client.grant(id(1), Grant { until: Some(now), ..lab(&[]) });

    client.tick(now);

    assert!(client.has_nothing());
    assert!(is_prohibited(&send(&mut client, udp("100.64.0.9:1", "10.20.0.2:53"))));
}

#[test]
fn replies_are_accepted_from_granted_addresses_only() {
    let mut client = client();
    client.grant(id(1), lab(&[Filter::Udp(53..=53)]));
    let mut receive = |packet| client.inbound(packet, |_| false, Instant::now());

    assert!(receive(udp("10.20.0.2:53", "100.64.0.9:1")).is_some());
    assert!(receive(udp("10.20.0.2:54", "100.64.0.9:1")).is_none());
    assert!(receive(udp("10.21.0.2:53", "100.64.0.9:1")).is_none());
}

#[test]
fn two_resources_with_one_name_permit_the_union_of_their_filters() {
    let mut client = client();
    client.grant(id(1), grant(What::Dns("*.example".into()), &[Filter::Udp(80..=80)]));
    client.grant(id(2), grant(What::Dns("a.example".into()), &[Filter::Udp(443..=443)]));
    let (server, proxy) = (["10.0.0.5".parse().unwrap()], ["100.96.0.1".parse().unwrap()]);
    client.assign("a.example", id(1), &server, &proxy).unwrap();
    client.assign("a.example", id(2), &server, &proxy).unwrap();

    for port in [80, 443] {
        assert!(matches!(send(&mut client, udp("100.64.0.9:1", &format!("100.96.0.1:{port}"))), Verdict::Forward(_)));
    }
    assert!(is_prohibited(&send(&mut client, udp("100.64.0.9:1", "100.96.0.1:81"))));
    assert_eq!(client.assign("a.other", id(1), &server, &proxy), Err(NotAllowed));
}

#[test]
fn internet_resource_covers_public_addresses_only() {
    let mut client = client();
    client.grant(id(1), grant(What::Internet, &[]));

    assert!(matches!(send(&mut client, udp("100.64.0.9:1", "192.0.2.1:53")), Verdict::Forward(_)));
    for private in ["10.0.0.1", "172.16.0.1", "192.168.0.1", "127.0.0.1", "169.254.0.1", "100.100.0.1", "240.0.0.1"] {
        if !is_proxy(private.parse().unwrap()) {
            let verdict = send(&mut client, udp("100.64.0.9:1", &format!("{private}:53")));
            assert_eq!(error(&verdict), Some((3, 0)), "network unreachable: {private}");
        }
    }
    for private in ["fc00::1", "fe80::1", "::1", "::ffff:192.0.2.1"] {
        let verdict = send(&mut client, udp("[fd00:2021:1111::9]:1", &format!("[{private}]:53")));
        assert_eq!(error(&verdict), Some((1, 3)), "address unreachable: {private}");
    }
    assert!(is_prohibited(&send(&mut client, udp("100.64.0.9:1", "100.64.0.3:53"))));
}

#[test]
fn name_without_addresses_of_a_family_is_unreachable_in_it() {
    let mut client = client();
    client.grant(id(1), grant(What::Dns("*.example".into()), &[]));
    let proxies = ["100.96.0.1".parse().unwrap(), "fd00:2021:1111:8000::1".parse().unwrap()];
    client.assign("a.example", id(1), &["10.0.0.5".parse().unwrap()], &proxies).unwrap();

    assert!(matches!(send(&mut client, udp("100.64.0.9:1", "100.96.0.1:80")), Verdict::Forward(_)));
    let verdict = send(&mut client, udp("[fd00:2021:1111::9]:1", "[fd00:2021:1111:8000::1]:80"));
    assert_eq!(error(&verdict), Some((1, 3)), "address unreachable");
}

#[test]
fn packet_to_an_unassigned_proxy_address_is_dropped() {
    let mut client = client();
    client.grant(id(1), grant(What::Dns("*.example".into()), &[]));
    client.assign("a.example", id(1), &["10.0.0.5".parse().unwrap()], &["100.96.0.1".parse().unwrap()]).unwrap();
    client.revoke(id(1));
    assert!(is_prohibited(&send(&mut client, udp("100.64.0.9:1", "100.96.0.1:80"))));
    assert!(is_prohibited(&send(&mut client, udp("100.64.0.9:1", "100.96.0.2:80"))));
}

#[test]
fn icmp_errors_of_the_client_and_multicast_are_dropped() {
    let mut client = client();
    client.grant(id(1), lab(&[]));
    let theirs = udp("10.20.0.2:53", "100.64.0.9:1");
    assert!(matches!(send(&mut client, icmp::unreachable(&theirs).unwrap()), Verdict::Drop(_)));
    assert!(matches!(send(&mut client, udp("100.64.0.9:1", "224.0.0.251:5353")), Verdict::Drop(_)));
}

#[test]
fn icmp_errors_reach_the_client_despite_filters() {
    let mut client = client();
    client.grant(id(1), lab(&[Filter::Udp(53..=53)]));
    let ours = udp("100.64.0.9:1", "10.20.0.2:53");
    let router = icmp::unreachable(&ours).unwrap();
    assert!(client.inbound(router, |_| false, Instant::now()).is_some());
}
