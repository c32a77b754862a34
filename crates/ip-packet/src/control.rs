//! Messages between Firezone's peers, inside the tunnel.
//!
//! They are IPv6 packets from `::` to `::` with the reserved next header 255, so that nothing routes them by accident: one
//! byte of event type, seven reserved bytes, the payload. They are always IPv6, whatever the tunnel carries otherwise.

use std::net::Ipv6Addr;

use crate::{
    IpPacket, MAX_IP_SIZE,
    buffer::Buffer,
    headers::{Headers, IPV6_HEADER, Version},
};

/// Which addresses a client uses for a name; client → gateway.
pub const ASSIGNED_IPS: u8 = 0;
/// Whether a name can be used; gateway → client.
pub const DOMAIN_STATUS: u8 = 1;
/// The sender ends the connection.
pub const GOODBYE: u8 = 2;

/// Event type and reserved bytes.
const CONTROL_HEADER: usize = 8;
/// "Reserved" among the protocol numbers.
const NEXT_HEADER: u8 = 0xff;

/// One message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Control<'a> {
    /// Its type; unknown ones are to be ignored.
    pub event: u8,
    /// Its content: JSON for the types that have one.
    pub payload: &'a [u8],
}

/// Reads a packet as a message. `None` if it is an ordinary packet.
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

/// A message. `None` if the payload is too long for one packet.
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

/// The last packet of a connection that ends on purpose.
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
