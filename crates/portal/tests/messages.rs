//! Frames of the portal, intact and damaged. The frames are invented and have the format of the portal.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test helpers may fail the test")]

use std::net::IpAddr;

use model::{
    ClientId, FromPortal, GatewayId, PeerId, Resource, ResourceId,
    filter::Protocol,
    message::{DeviceAccess, FailureReason, IceRole},
};
use portal::message::incoming::{FrameError, Incoming};
use serde_json::{Value, json};

const FRAMES: &str = include_str!("data/portal.jsonl");

fn frame(event: &str) -> Value {
    let frames = FRAMES.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    frames.into_iter().find(|frame| frame["event"] == event).unwrap()
}

fn parse(frame: &Value) -> FromPortal {
    match Incoming::parse(&frame.to_string()).unwrap() {
        Incoming::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

/// The frame with its payload changed.
fn changed(event: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut frame = frame(event);
    change(&mut frame["payload"]);
    frame
}

fn without(event: &str, member: &str) -> Value {
    changed(event, |payload| {
        payload.as_object_mut().unwrap().remove(member).unwrap();
    })
}

fn renamed(mut frame: Value, event: &str) -> Value {
    frame["event"] = json!(event);
    frame
}

fn init(frame: &Value) -> model::message::Init {
    match parse(frame) {
        FromPortal::Init(init) => *init,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_documented_message_is_parsed() {
    for line in FRAMES.lines() {
        Incoming::parse(line).unwrap();
    }
}

#[test]
fn init_is_parsed_completely() {
    let init = init(&frame("init"));
    assert_eq!(init.interface.ipv4.to_string(), "100.66.12.7");
    assert_eq!(init.interface.search_domain.as_deref(), Some("corp.example.net"));
    let kinds: Vec<_> = init.resources.iter().map(Resource::name).collect();
    assert_eq!(
        kinds,
        ["Web", "Dock net", "Internet Resource", "Cranes", "Laptops"],
        "only the unknown type is skipped"
    );
    assert_eq!(init.relays.len(), 1, "both families of the relay are one");
    assert!(init.relays[0].v4.is_some() && init.relays[0].v6.is_some());
    assert_eq!(init.authorizations.len(), 1);
    assert_eq!(init.authorizations[0].expires_at, 1_800_003_600);
}

#[test]
fn init_requires_only_the_interface() {
    let minimal = changed("init", |payload| *payload = json!({ "interface": payload["interface"] }));
    let init = init(&minimal);
    assert!(init.resources.is_empty() && init.relays.is_empty() && init.authorizations.is_empty());
    let error = Incoming::parse(&without("init", "interface").to_string()).unwrap_err();
    assert!(matches!(error, FrameError::Payload(error) if error.field == Some("interface")));
}

#[test]
fn malformed_optional_members_do_not_invalidate_init() {
    for member in ["flow_logs", "resources", "relays", "authorizations"] {
        for malformed in [json!(null), json!(7), json!("malformed"), json!({}), json!([null, 7, "malformed", {}, []])] {
            init(&changed("init", |payload| payload[member] = malformed));
        }
    }
    for member in ["search_domain", "upstream_do53", "upstream_doh", "upstream_dns"] {
        for malformed in [json!(null), json!(7), json!({}), json!([7, {}])] {
            init(&changed("init", |payload| payload["interface"][member] = malformed));
        }
    }
}

#[test]
fn malformed_resources_are_skipped() {
    let init = init(&changed("init", |payload| {
        let resources = payload["resources"].as_array_mut().unwrap();
        resources.insert(0, json!({ "type": "dns" }));
        resources.insert(2, json!("malformed"));
        resources[1]["gateway_groups"] = resources[1]["sites"].take();
    }));
    assert_eq!(init.resources.len(), 5);
    assert_eq!(init.resources[0].sites()[0].name, "Harbour");
}

#[test]
fn authorization_accepts_both_site_names_and_missing_new_members() {
    let FromPortal::AuthorizationCreated(expected) = parse(&frame("authorization_created")) else { panic!("other") };
    assert_eq!(expected.gateway_ipv4.to_string(), "100.71.4.9");
    assert_eq!(expected.client_ice_credentials.username, "w7up");
    assert!(!expected.use_iceless);
    for frame in [
        without("authorization_created", "use_iceless"),
        without("authorization_created", "flow_logs_ingest_token"),
        changed("authorization_created", |payload| payload["gateway_group_id"] = payload["site_id"].take()),
        renamed(frame("authorization_created"), "flow_created"),
    ] {
        assert_eq!(parse(&frame), FromPortal::AuthorizationCreated(expected.clone()));
    }
    let iceless = parse(&changed("authorization_created", |payload| payload["use_iceless"] = json!(true)));
    assert!(matches!(iceless, FromPortal::AuthorizationCreated(it) if it.use_iceless));
    for member in ["resource_id", "gateway_id", "gateway_public_key", "preshared_key", "gateway_ice_credentials"] {
        assert!(Incoming::parse(&without("authorization_created", member).to_string()).is_err(), "{member}");
    }
}

#[test]
fn debug_output_of_messages_contains_no_secret() {
    for event in ["authorization_created", "client_device_access_authorized", "init"] {
        let shown = format!("{:?}", parse(&frame(event)));
        for secret in ["q8Vg5uTV", "ksqwm66p", "mzkrj52x", "zVr/PcAg"] {
            assert!(!shown.contains(secret), "{event}");
        }
    }
}

#[test]
fn failure_reasons_are_parsed() {
    for (reason, expected) in [
        (json!("offline"), FailureReason::Offline),
        (json!("version_mismatch"), FailureReason::VersionMismatch),
        (json!("not_found"), FailureReason::NotFound),
        (json!("forbidden"), FailureReason::Forbidden),
        (json!("disabled"), FailureReason::Other),
        (json!("ambiguous_address"), FailureReason::Other),
        (json!("something new"), FailureReason::Other),
        (json!(7), FailureReason::Other),
        (json!(null), FailureReason::Other),
    ] {
        for event in ["authorization_creation_failed", "flow_creation_failed"] {
            let frame = changed("authorization_creation_failed", |payload| payload["reason"] = reason.clone());
            let FromPortal::AuthorizationCreationFailed(failed) = parse(&renamed(frame, event)) else {
                panic!("other")
            };
            assert_eq!(failed.reason, expected, "{reason}");
            assert_eq!(failed.violated_properties, ["remote_ip", "moon_phase"]);
        }
    }
    assert!(matches!(
        parse(&without("authorization_creation_failed", "violated_properties")),
        FromPortal::AuthorizationCreationFailed(it) if it.violated_properties.is_empty()
    ));
}

#[test]
fn malformed_candidates_are_skipped_under_all_event_names() {
    let gateway = PeerId::Gateway("6a7e0000-0000-4000-8000-000000000001".parse::<GatewayId>().unwrap());
    let client = PeerId::Client("c11e0000-0000-4000-8000-000000000001".parse::<ClientId>().unwrap());
    let good = "candidate:1 1 udp 2130706431 192.0.2.1 52625 typ host";
    let malformed = json!([
        good,
        "a=candidate:1 1 udp 1 192.0.2.1 1 typ host",
        "candidate:1 1 udp -1 x",
        "candidate:",
        "",
        7,
        null
    ]);
    for (like, event, peer) in [
        ("ice_candidates", "ice_candidates", gateway),
        ("ice_candidates", "gateway_ice_candidates", gateway),
        ("client_ice_candidates", "client_ice_candidates", client),
    ] {
        let frame = renamed(changed(like, |payload| payload["candidates"] = malformed.clone()), event);
        assert_eq!(parse(&frame), FromPortal::IceCandidates { peer, candidates: vec![good.to_owned()] });
    }
    for (like, event, peer) in [
        ("invalidate_ice_candidates", "invalidate_ice_candidates", gateway),
        ("invalidate_ice_candidates", "invalidate_gateway_ice_candidates", gateway),
        ("invalidate_client_ice_candidates", "invalidate_client_ice_candidates", client),
    ] {
        let frame = renamed(changed(like, |payload| payload["candidates"] = malformed.clone()), event);
        assert_eq!(parse(&frame), FromPortal::InvalidateIceCandidates { peer, candidates: vec![good.to_owned()] });
    }
}

#[test]
fn relays_presence_is_parsed() {
    let FromPortal::RelaysPresence { disconnected, connected } = parse(&frame("relays_presence")) else {
        panic!("other")
    };
    assert_eq!((disconnected.len(), connected.len()), (1, 1));
    let empty = changed("relays_presence", |payload| *payload = json!({ "disconnected_ids": [], "connected": [] }));
    assert_eq!(parse(&empty), FromPortal::RelaysPresence { disconnected: vec![], connected: vec![] });
}

fn access(frame: &Value) -> DeviceAccess {
    match parse(frame) {
        FromPortal::ClientDeviceAccessAuthorized(access) => *access,
        other => panic!("{other:?}"),
    }
}

#[test]
fn device_access_is_parsed_for_target_and_initiator() {
    let event = "client_device_access_authorized";
    let target = access(&frame(event));
    assert_eq!(target.ice_role, IceRole::Controlled);
    let grant = target.grant.unwrap();
    assert_eq!(grant.expires_at, Some(1_800_003_600));
    assert!(grant.filters.permit(Protocol::Tcp(22)));

    let initiator = access(&changed(event, |payload| {
        for member in ["resource", "subject", "expires_at", "client_name", "flow_logs_ingest_token", "use_iceless"] {
            payload.as_object_mut().unwrap().remove(member).unwrap();
        }
        payload["ice_role"] = json!("controlling");
    }));
    assert_eq!((initiator.ice_role, initiator.grant, initiator.client_name), (IceRole::Controlling, None, None));
}

#[test]
fn grant_without_expiry_is_unlimited_and_malformed_expiry_is_rejected() {
    let event = "client_device_access_authorized";
    assert_eq!(access(&without(event, "expires_at")).grant.unwrap().expires_at, None);
    assert_eq!(access(&changed(event, |it| it["expires_at"] = json!(-5))).grant.unwrap().expires_at, Some(0));
    for malformed in [json!("tomorrow"), json!(1.5), json!({})] {
        assert!(Incoming::parse(&changed(event, |it| it["expires_at"] = malformed).to_string()).is_err());
    }
    let odd_filter = access(&changed(event, |it| it["resource"]["filters"] = json!([{ "protocol": "sctp" }])));
    assert!(!odd_filter.grant.unwrap().filters.permit(Protocol::Tcp(22)));
    assert!(Incoming::parse(&changed(event, |it| it["ice_role"] = json!("spectator")).to_string()).is_err());
}

#[test]
fn denial_contains_either_address_both_or_none() {
    for (ipv4, ipv6) in [
        (json!("100.64.3.8"), json!(null)),
        (json!(null), json!("fd00:2021:1111::2a")),
        (json!("100.64.3.8/32"), json!("fd00:2021:1111::2a/128")),
        (json!(null), json!(null)),
    ] {
        let denied =
            changed("client_device_access_denied", |it| (it["ipv4"], it["ipv6"]) = (ipv4.clone(), ipv6.clone()));
        let FromPortal::ClientDeviceAccessDenied { ipv4: v4, ipv6: v6, reason } = parse(&denied) else {
            panic!("other")
        };
        assert_eq!((v4.is_some(), v6.is_some()), (!ipv4.is_null(), !ipv6.is_null()));
        assert_eq!(reason, FailureReason::Offline);
    }
    let bare =
        changed("client_device_access_denied", |it| *it = json!({ "reason": "missing_address", "resource_id": "x" }));
    assert!(matches!(parse(&bare), FromPortal::ClientDeviceAccessDenied { ipv4: None, ipv6: None, .. }));
}

#[test]
fn resolved_device_addresses_may_have_a_prefix_length() {
    for (ipv4, ipv6) in [("100.64.9.4/32", "fd00:2021:1111::91/128"), ("100.64.9.4", "fd00:2021:1111::91")] {
        let resolved =
            parse(&changed("device_pool_domain_resolved", |it| (it["ipv4"], it["ipv6"]) = (json!(ipv4), json!(ipv6))));
        let FromPortal::DevicePoolDomainResolved { domain, ipv4, ipv6, .. } = resolved else { panic!("other") };
        assert_eq!(domain, "kim.laptops.example.net");
        assert_eq!(ipv4.map(IpAddr::from), Some("100.64.9.4".parse().unwrap()));
        assert_eq!(ipv6.map(IpAddr::from), Some("fd00:2021:1111::91".parse().unwrap()));
    }
    assert!(matches!(
        parse(&frame("device_pool_domain_resolution_failed")),
        FromPortal::DevicePoolDomainResolutionFailed { reason: FailureReason::NotFound, .. }
    ));
}

#[test]
fn remaining_messages_are_parsed() {
    let resource: ResourceId = "4e500000-0000-4000-8000-000000000004".parse().unwrap();
    let client: ClientId = "c11e0000-0000-4000-8000-000000000001".parse().unwrap();
    assert_eq!(parse(&frame("reject_access")), FromPortal::RejectAccess { client, resource });
    assert!(matches!(
        parse(&frame("resource_filters_updated")),
        FromPortal::ResourceFiltersUpdated { filters, .. } if filters.permit(Protocol::Udp(9)) && !filters.permit(Protocol::Icmp)
    ));
    assert!(Incoming::parse(&without("resource_filters_updated", "filters").to_string()).is_err());
    assert_eq!(
        parse(&frame("client_ice_candidate_error")),
        FromPortal::ClientIceCandidateError { client, reason: FailureReason::Offline }
    );
    assert!(matches!(parse(&frame("config_changed")), FromPortal::ConfigChanged(_)));
    assert!(matches!(parse(&frame("resource_created_or_updated")), FromPortal::ResourceCreatedOrUpdated(_)));
    assert!(matches!(parse(&frame("resource_deleted")), FromPortal::ResourceDeleted(_)));
}

#[test]
fn truncated_frames_are_rejected() {
    for line in FRAMES.lines() {
        for length in 0..line.len() {
            assert_eq!(Incoming::parse(&line[..length]), Err(FrameError::Truncated));
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    for line in FRAMES.lines() {
        for position in 0..line.len() {
            // All bits of short frames, one bit of each byte of long ones.
            let bits = if line.len() < 300 { 0..8 } else { position % 8..position % 8 + 1 };
            for bit in bits {
                let mut damaged = line.as_bytes().to_vec();
                damaged[position] ^= 1 << bit;
                if let Ok(text) = std::str::from_utf8(&damaged) {
                    let _ = Incoming::parse(text);
                }
            }
        }
    }
}

#[test]
fn deep_nesting_is_rejected() {
    let deep = format!(
        r#"{{"topic":"client","event":"init","ref":null,"payload":{}1{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(Incoming::parse(&deep), Err(FrameError::NotAMessage));
}

#[test]
fn large_account_is_parsed() {
    let init = init(&changed("init", |payload| {
        let resource = payload["resources"][0].clone();
        let relay = payload["relays"][0].clone();
        payload["resources"] = json!(vec![resource; 10_000]);
        payload["relays"] = json!(vec![relay; 10_000]);
    }));
    assert_eq!((init.resources.len(), init.relays.len()), (10_000, 1));
}
