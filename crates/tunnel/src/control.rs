//! The content of the control messages that are exchanged with gateways inside the tunnel.

use std::net::IpAddr;

use dns::Domain;
use ip_packet::{
    IpPacket,
    control::{self, Control},
};
use model::ResourceId;
use serde::{Deserialize, Serialize};

/// A message of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// Whether the gateway can resolve an announced name.
    DomainStatus {
        /// The resource for which the name was announced.
        resource: ResourceId,
        /// The name.
        name: Domain,
        /// Whether the gateway forwards packets to it.
        is_active: bool,
    },
    /// The peer closes the connection.
    Goodbye,
    /// A message of an unknown type or with unreadable content.
    Unknown,
}

/// Parses a message.
pub(crate) fn parse(control: Control<'_>) -> Message {
    match control.event {
        control::DOMAIN_STATUS => match serde_json::from_slice(control.payload) {
            Ok(DomainStatus { resource, domain, status }) => Message::DomainStatus {
                resource,
                name: domain.as_str().into(),
                // An unknown status is treated as inactive.
                is_active: status == "Active",
            },
            Err(_) => Message::Unknown,
        },
        control::GOODBYE => Message::Goodbye,
        _ => Message::Unknown,
    }
}

/// The announcement that `addresses` stand for `name`. `None` if it does not fit one packet; every valid name fits.
pub(crate) fn assigned_ips(resource: ResourceId, name: &Domain, addresses: &[IpAddr]) -> Option<IpPacket> {
    let json = serde_json::to_vec(&AssignedIps { resource, domain: name.as_str(), proxy_ips: addresses }).ok()?;
    control::build(control::ASSIGNED_IPS, &json)
}

#[derive(Serialize)]
struct AssignedIps<'a> {
    resource: ResourceId,
    domain: &'a str,
    proxy_ips: &'a [IpAddr],
}

#[derive(Deserialize)]
struct DomainStatus {
    resource: ResourceId,
    domain: String,
    status: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESOURCE: &str = "5f0c7a52-3c1e-4b7d-9a60-1f2e3d4c5b6a";

    fn status(text: &str) -> Message {
        let json = format!(r#"{{"resource":"{RESOURCE}","domain":"DB.corp.example","status":"{text}"}}"#);
        parse(Control { event: control::DOMAIN_STATUS, payload: json.as_bytes() })
    }

    #[test]
    fn assigned_ips_message_has_the_exact_bytes() {
        let addresses: Vec<IpAddr> = [
            "100.96.0.5",
            "100.96.0.6",
            "100.96.0.7",
            "100.96.0.8",
            "fd00:2021:1111:8000::4",
            "fd00:2021:1111:8000::5",
            "fd00:2021:1111:8000::6",
            "fd00:2021:1111:8000::7",
        ]
        .map(|ip| ip.parse().unwrap())
        .to_vec();

        let packet = assigned_ips(RESOURCE.parse().unwrap(), &"db.corp.example".into(), &addresses).unwrap();

        let bytes = packet.as_bytes();
        assert_eq!(bytes.len(), 292);
        assert_eq!(bytes[..8], [0x60, 0, 0, 0, 0, 0xfc, 0xff, 0]);
        assert!(bytes[8..48].iter().all(|byte| *byte == 0));
        assert_eq!(
            std::str::from_utf8(&bytes[48..]).unwrap(),
            r#"{"resource":"5f0c7a52-3c1e-4b7d-9a60-1f2e3d4c5b6a","domain":"db.corp.example","proxy_ips":["100.96.0.5","100.96.0.6","100.96.0.7","100.96.0.8","fd00:2021:1111:8000::4","fd00:2021:1111:8000::5","fd00:2021:1111:8000::6","fd00:2021:1111:8000::7"]}"#
        );
    }

    #[test]
    fn longest_name_fits_one_packet() {
        let name = format!("{}com", format!("{}.", "a".repeat(49)).repeat(5));
        assert_eq!(name.len(), 253);
        let addresses: Vec<IpAddr> =
            (0..8).map(|i| if i < 4 { "127.0.0.1".parse().unwrap() } else { "::1".parse().unwrap() }).collect();

        let packet = assigned_ips(RESOURCE.parse().unwrap(), &name.as_str().into(), &addresses).unwrap();

        assert_eq!(packet.as_bytes().len() - 48, 402);
    }

    #[test]
    fn unknown_domain_status_is_inactive() {
        let expected = |is_active| Message::DomainStatus {
            resource: RESOURCE.parse().unwrap(),
            name: "db.corp.example".into(),
            is_active,
        };
        assert_eq!(status("Active"), expected(true));
        assert_eq!(status("Inactive"), expected(false));
        assert_eq!(status("whatever"), expected(false));
    }

    #[test]
    fn unknown_and_unexpected_events_are_ignored() {
        assert_eq!(parse(Control { event: 7, payload: b"" }), Message::Unknown);
        assert_eq!(parse(Control { event: control::ASSIGNED_IPS, payload: b"{}" }), Message::Unknown);
        assert_eq!(parse(Control { event: control::GOODBYE, payload: b"" }), Message::Goodbye);
    }

    #[test]
    fn mangled_messages_are_unknown() {
        let json = format!(r#"{{"resource":"{RESOURCE}","domain":"db.corp.example","status":"Active"}}"#).into_bytes();
        for length in 0..json.len() {
            let truncated = Control { event: control::DOMAIN_STATUS, payload: &json[..length] };
            assert_eq!(parse(truncated), Message::Unknown, "{length}");
        }
        for bit in 0..json.len() * 8 {
            let mut flipped = json.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = parse(Control { event: control::DOMAIN_STATUS, payload: &flipped });
        }
    }
}
