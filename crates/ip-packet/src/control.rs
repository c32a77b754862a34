//! Control messages between Firezone peers, inside the tunnel.
//!
//! They are IPv6 packets from `::` to `::` with the reserved next header 255, so they are never routed: one byte of event
//! type, seven reserved bytes, the payload. They are always IPv6, also for peers with only IPv4 resources.

use std::net::Ipv6Addr;

use crate::{
    IpPacket, MAX_IP_SIZE,
    buffer::Buffer,
    headers::{Headers, IPV6_HEADER, Version},
};

/// The proxy addresses that a client uses for a name; client → gateway.
pub const ASSIGNED_IPS: u8 = 0;
/// Whether a name is ready; gateway → client.
pub const DOMAIN_STATUS: u8 = 1;
/// The sender closes the connection.
pub const GOODBYE: u8 = 2;

/// Event type and reserved bytes.
const CONTROL_HEADER: usize = 8;
/// "Reserved" among the protocol numbers.
const NEXT_HEADER: u8 = 0xff;

/// One control message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Control<'a> {
    /// The event type. Unknown types must be ignored.
    pub event: u8,
    /// The content: JSON, or empty.
    pub payload: &'a [u8],
}

/// Parses a control message. `None` if this is an ordinary packet.
#[must_use]
pub fn parse(packet: &IpPacket) -> Option<Control<'_>> {
    let bytes = packet.as_bytes();
    let is_control = packet.headers.version == Version::V6
        && bytes[6] == NEXT_HEADER
        && packet.source() == Ipv6Addr::UNSPECIFIED
        && packet.destination() == Ipv6Addr::UNSPECIFIED;
    if !is_control {
        return None;
    }
    let (header, payload) = bytes[IPV6_HEADER..].split_first_chunk::<CONTROL_HEADER>()?;

    Some(Control { event: header[0], payload })
}

/// Builds a control message. `None` if the payload does not fit one packet.
#[must_use]
pub fn build(event: u8, payload: &[u8]) -> Option<IpPacket> {
    let length = CONTROL_HEADER + payload.len();
    if IPV6_HEADER + length > MAX_IP_SIZE {
        return None;
    }
    let mut bytes = Buffer::empty();
    bytes.resize(IPV6_HEADER + CONTROL_HEADER, 0);
    bytes[0] = 0x60;
    bytes[4..6].copy_from_slice(&u16::try_from(length).ok()?.to_be_bytes());
    bytes[6] = NEXT_HEADER;
    bytes[IPV6_HEADER] = event;
    bytes.extend_from_slice(payload);

    IpPacket::from_buffer(bytes).ok()
}

/// The last packet of a connection that is closed intentionally.
#[must_use]
pub fn goodbye() -> IpPacket {
    let mut bytes = Buffer::empty();
    bytes.resize(IPV6_HEADER + CONTROL_HEADER, 0);
    bytes[0] = 0x60;
    bytes[5] = CONTROL_HEADER as u8;
    bytes[6] = NEXT_HEADER;
    bytes[IPV6_HEADER] = GOODBYE;
    let headers = Headers { version: Version::V6, protocol: NEXT_HEADER, payload: IPV6_HEADER as u16 };

    IpPacket { bytes, headers }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CLIENT_V6, SERVER_V6, hex, udp};

    const ASSIGNED: &[u8] = br#"{"resource":"5f0c7a52-3c1e-4b7d-9a60-1f2e3d4c5b6a","domain":"db.corp.example","proxy_ips":["100.96.0.5","100.96.0.6","100.96.0.7","100.96.0.8","fd00:2021:1111:8000::4","fd00:2021:1111:8000::5","fd00:2021:1111:8000::6","fd00:2021:1111:8000::7"]}"#;
    const STATUS: &[u8] =
        br#"{"resource":"5f0c7a52-3c1e-4b7d-9a60-1f2e3d4c5b6a","domain":"db.corp.example","status":"Active"}"#;

    #[test]
    fn goodbye_has_the_documented_48_bytes() {
        let expected = hex(concat!(
            "600000000008ff00",
            "00000000000000000000000000000000",
            "00000000000000000000000000000000",
            "0200000000000000"
        ));

        assert_eq!(goodbye().as_bytes(), expected);
        assert_eq!(build(GOODBYE, &[]), Some(goodbye()));
        assert_eq!(IpPacket::parse(&expected), Ok(goodbye()));
    }

    #[test]
    fn control_message_consists_of_header_and_payload() {
        for (event, json, length, header) in
            [(ASSIGNED_IPS, ASSIGNED, 292, "6000000000fcff00"), (DOMAIN_STATUS, STATUS, 144, "600000000068ff00")]
        {
            let packet = build(event, json).unwrap();

            assert_eq!(packet.as_bytes().len(), length);
            assert_eq!(packet.as_bytes()[..8], hex(header));
            assert_eq!(packet.as_bytes()[8..40], [0; 32]);
            assert_eq!(packet.as_bytes()[40..48], [event, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(parse(&packet), Some(Control { event, payload: json }));
        }
    }

    #[test]
    fn unknown_type_and_reserved_bytes_are_accepted() {
        let mut bytes = build(7, b"x").unwrap().as_bytes().to_vec();
        bytes[41..48].fill(0xaa);

        let packet = IpPacket::parse(&bytes).unwrap();

        assert_eq!(parse(&packet), Some(Control { event: 7, payload: b"x" }));
    }

    #[test]
    fn truncated_header_is_no_control_message() {
        for length in 0..CONTROL_HEADER {
            let mut bytes = goodbye().as_bytes()[..IPV6_HEADER + length].to_vec();
            bytes[5] = length as u8;

            assert_eq!(parse(&IpPacket::parse(&bytes).unwrap()), None, "{length}");
        }
    }

    #[test]
    fn addresses_and_next_header_of_a_control_message_must_match() {
        for at in [6, 8, 23, 24, 39] {
            let mut bytes = goodbye().as_bytes().to_vec();
            bytes[at] ^= 0x01;

            assert_eq!(parse(&IpPacket::parse(&bytes).unwrap()), None, "byte {at}");
        }
        assert_eq!(parse(&udp((CLIENT_V6, SERVER_V6), b"hello")), None);
    }

    #[test]
    fn oversized_control_message_is_not_built() {
        assert_eq!(build(0, &[0; 1232]).unwrap().as_bytes().len(), 1280);
        assert_eq!(build(0, &[0; 1233]), None);
    }
}
