//! Frames to the portal.

use std::net::IpAddr;

use model::{PeerId, ToPortal};
use serde_json::{Value, json};

use super::{PHOENIX, TOPIC};
use crate::ApiVersion;

/// A message without its `ref`, which is assigned when it is sent.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Outgoing {
    topic: &'static str,
    event: &'static str,
    payload: Value,
}

impl Outgoing {
    /// The request to join the channel.
    pub(crate) fn join() -> Self {
        Self { topic: TOPIC, event: "phx_join", payload: Value::Null }
    }

    /// The heartbeat.
    pub(crate) fn heartbeat() -> Self {
        Self { topic: PHOENIX, event: "heartbeat", payload: json!({}) }
    }

    /// A message of the tunnel.
    pub(crate) fn message(message: &ToPortal, version: ApiVersion) -> Self {
        let (event, payload) = match message {
            ToPortal::RequestAuthorization { resource, connected_gateways, device } => {
                let mut payload = json!({ "resource_id": resource, "connected_gateway_ids": connected_gateways });
                match device {
                    // Absent, not null: the portal interprets the presence of an address as a request for a device.
                    None => {}
                    Some(IpAddr::V4(ip)) => payload["ipv4"] = json!(ip),
                    Some(IpAddr::V6(ip)) => payload["ipv6"] = json!(ip),
                }
                let event = match version {
                    ApiVersion::V2 => "request_authorization",
                    ApiVersion::Unversioned => "create_flow",
                };
                (event, payload)
            }
            ToPortal::NewIceCandidates { peer: PeerId::Gateway(id), candidates } => {
                ("new_gateway_ice_candidates", json!({ "gateway_id": id, "candidates": candidates }))
            }
            ToPortal::NewIceCandidates { peer: PeerId::Client(id), candidates } => {
                ("new_client_ice_candidates", json!({ "client_id": id, "candidates": candidates }))
            }
            ToPortal::InvalidateIceCandidates { peer: PeerId::Gateway(id), candidates } => {
                ("invalidate_gateway_ice_candidates", json!({ "gateway_id": id, "candidates": candidates }))
            }
            ToPortal::InvalidateIceCandidates { peer: PeerId::Client(id), candidates } => {
                ("invalidate_client_ice_candidates", json!({ "client_id": id, "candidates": candidates }))
            }
            ToPortal::NoRelays => ("no_relays", json!({})),
            ToPortal::ResolveDevicePoolDomain { resource, domain } => (
                "resolve_device_pool_domain",
                json!({ "resource_id": resource, "domain": domain.strip_suffix('.').unwrap_or(domain) }),
            ),
        };
        Self { topic: TOPIC, event, payload }
    }

    /// The frame. It always contains all four members: the portal's socket crashes if one is missing.
    pub(crate) fn frame(&self, reference: u64) -> String {
        json!({ "topic": self.topic, "event": self.event, "payload": self.payload, "ref": reference }).to_string()
    }

    /// The name of the event, for logs.
    pub(crate) fn event(&self) -> &'static str {
        self.event
    }
}

#[cfg(test)]
mod tests {
    use model::{ClientId, GatewayId, ResourceId};

    use super::*;

    fn frame(outgoing: &Outgoing, reference: u64) -> Value {
        serde_json::from_str(&outgoing.frame(reference)).unwrap()
    }

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn frames_equal_those_of_the_official_client() {
        for (outgoing, reference, expected) in [
            (Outgoing::join(), 0, r#"{"topic":"client","event":"phx_join","payload":null,"ref":0}"#),
            (Outgoing::heartbeat(), 2, r#"{"topic":"phoenix","event":"heartbeat","payload":{},"ref":2}"#),
            (
                Outgoing::message(&ToPortal::NoRelays, ApiVersion::V2),
                3,
                r#"{"topic":"client","event":"no_relays","payload":{},"ref":3}"#,
            ),
        ] {
            assert_eq!(frame(&outgoing, reference), parsed(expected));
        }
    }

    #[test]
    fn each_message_has_its_documented_payload() {
        let resource = ResourceId::from_u128(0x11);
        let gateway = GatewayId::from_u128(0x22);
        let client = ClientId::from_u128(0x33);
        let line = "candidate:1 1 udp 2130706431 192.0.2.1 52625 typ host".to_owned();
        let (r, g, c) = (resource.to_string(), gateway.to_string(), client.to_string());
        let request = |device: Option<&str>, connected_gateways| ToPortal::RequestAuthorization {
            resource,
            connected_gateways,
            device: device.map(|ip| ip.parse().unwrap()),
        };
        for (message, event, payload) in [
            (
                request(None, vec![gateway]),
                "request_authorization",
                json!({ "resource_id": r, "connected_gateway_ids": [g] }),
            ),
            (
                request(Some("100.64.3.8"), vec![]),
                "request_authorization",
                json!({ "resource_id": r, "connected_gateway_ids": [], "ipv4": "100.64.3.8" }),
            ),
            (
                request(Some("fd00:2021:1111::2a"), vec![]),
                "request_authorization",
                json!({ "resource_id": r, "connected_gateway_ids": [], "ipv6": "fd00:2021:1111::2a" }),
            ),
            (
                ToPortal::NewIceCandidates { peer: PeerId::Gateway(gateway), candidates: vec![line.clone()] },
                "new_gateway_ice_candidates",
                json!({ "gateway_id": g, "candidates": [line] }),
            ),
            (
                ToPortal::InvalidateIceCandidates { peer: PeerId::Gateway(gateway), candidates: vec![line.clone()] },
                "invalidate_gateway_ice_candidates",
                json!({ "gateway_id": g, "candidates": [line] }),
            ),
            (
                ToPortal::NewIceCandidates { peer: PeerId::Client(client), candidates: vec![line.clone()] },
                "new_client_ice_candidates",
                json!({ "client_id": c, "candidates": [line] }),
            ),
            (
                ToPortal::InvalidateIceCandidates { peer: PeerId::Client(client), candidates: vec![line.clone()] },
                "invalidate_client_ice_candidates",
                json!({ "client_id": c, "candidates": [line] }),
            ),
            (ToPortal::NoRelays, "no_relays", json!({})),
            (
                ToPortal::ResolveDevicePoolDomain { resource, domain: "kim.laptops.example.net.".to_owned() },
                "resolve_device_pool_domain",
                json!({ "resource_id": r, "domain": "kim.laptops.example.net" }),
            ),
        ] {
            let frame = frame(&Outgoing::message(&message, ApiVersion::V2), 7);
            assert_eq!(frame, json!({ "topic": "client", "event": event, "payload": payload, "ref": 7 }));
        }
    }

    #[test]
    fn older_portal_uses_another_event_name_for_requests() {
        let request = ToPortal::RequestAuthorization {
            resource: ResourceId::from_u128(1),
            connected_gateways: Vec::new(),
            device: None,
        };
        assert_eq!(Outgoing::message(&request, ApiVersion::Unversioned).event(), "create_flow");
    }
}
