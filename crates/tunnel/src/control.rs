//! The content of the messages that we exchange with gateways inside the tunnel.

use std::net::IpAddr;

use dns::Domain;
use ip_packet::{
    IpPacket,
    control::{self, Control},
};
use model::ResourceId;
use serde::{Deserialize, Serialize};

/// Something that a gateway tells us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// Whether it can use a name that we announced.
    DomainStatus {
        /// Because of which resource it was announced.
        resource: ResourceId,
        /// The name.
        name: Domain,
        /// Whether packets to it have a chance.
        is_active: bool,
    },
    /// It ends the connection.
    Goodbye,
    /// Nothing that we understand.
    Unknown,
}

/// Reads a message.
pub(crate) fn read(control: Control<'_>) -> Message {
    match control.event {
        control::DOMAIN_STATUS => match serde_json::from_slice(control.payload) {
            Ok(DomainStatus { resource, domain, status }) => Message::DomainStatus {
                resource,
                name: domain.as_str().into(),
                // Anything that we do not know is no promise.
                is_active: status == "Active",
            },
            Err(_) => Message::Unknown,
        },
        control::GOODBYE => Message::Goodbye,
        _ => Message::Unknown,
    }
}

/// Announces that packets to `addresses` mean `name`. `None` if that does not fit a packet, which no valid name can
/// bring about.
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
        read(Control { event: control::DOMAIN_STATUS, payload: json.as_bytes() })
    }

    #[test]
    fn the_announcement_is_byte_for_byte_what_gateways_expect() {
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
    fn the_longest_name_fits() {
        let name = format!("{}com", format!("{}.", "a".repeat(49)).repeat(5));
        assert_eq!(name.len(), 253);
        let addresses: Vec<IpAddr> =
            (0..8).map(|i| if i < 4 { "127.0.0.1".parse().unwrap() } else { "::1".parse().unwrap() }).collect();

        let packet = assigned_ips(RESOURCE.parse().unwrap(), &name.as_str().into(), &addresses).unwrap();

        assert_eq!(packet.as_bytes().len() - 48, 402);
    }

    #[test]
    fn any_status_but_active_is_inactive() {
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
    fn unknown_events_and_our_own_kind_of_message_mean_nothing() {
        assert_eq!(read(Control { event: 7, payload: b"" }), Message::Unknown);
        assert_eq!(read(Control { event: control::ASSIGNED_IPS, payload: b"{}" }), Message::Unknown);
        assert_eq!(read(Control { event: control::GOODBYE, payload: b"" }), Message::Goodbye);
    }

    #[test]
    fn a_mangled_message_is_never_more_than_misunderstood() {
        let json = format!(r#"{{"resource":"{RESOURCE}","domain":"db.corp.example","status":"Active"}}"#).into_bytes();
        for length in 0..json.len() {
            let truncated = Control { event: control::DOMAIN_STATUS, payload: &json[..length] };
            assert_eq!(read(truncated), Message::Unknown, "{length}");
        }
        for bit in 0..json.len() * 8 {
            let mut flipped = json.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = read(Control { event: control::DOMAIN_STATUS, payload: &flipped });
        }
    }
}
