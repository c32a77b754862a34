//! Packets from their parts.

use std::net::{IpAddr, SocketAddr};

use crate::{
    IpPacket, MAX_IP_SIZE, Unsuitable,
    buffer::Buffer,
    checksum::Sum,
    headers::{ICMP, ICMP_HEADER, ICMPV6, IPV4_HEADER, IPV6_HEADER, TCP, TCP_HEADER, UDP, UDP_HEADER},
    icmp,
};

/// TTL or hop limit of the packets built here.
const TTL: u8 = 64;

/// The changing parts of a TCP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpHeader {
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// The flags, see [`tcp_flag`].
    pub flags: u8,
    /// The window, unscaled.
    pub window: u16,
}

/// Flags of a TCP header.
pub mod tcp_flag {
    /// The sender has nothing more to say.
    pub const FIN: u8 = 0x01;
    /// The sender opens a connection.
    pub const SYN: u8 = 0x02;
    /// The connection is refused or torn down.
    pub const RST: u8 = 0x04;
    /// The receiver is to hand over what it has.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number is valid.
    pub const ACK: u8 = 0x10;
    /// The sender slowed down because of congestion (RFC 3168).
    pub const CWR: u8 = 0x80;
}

/// A UDP datagram.
pub fn udp(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Result<IpPacket, Unsuitable> {
    let length = u16::try_from(UDP_HEADER + payload.len()).map_err(|_| Unsuitable::TooLarge)?;
    let mut header = [0; UDP_HEADER];
    header[0..2].copy_from_slice(&source.port().to_be_bytes());
    header[2..4].copy_from_slice(&destination.port().to_be_bytes());
    header[4..6].copy_from_slice(&length.to_be_bytes());

    packet(source.ip(), destination.ip(), UDP, &header, payload, 6)
}

/// A TCP segment without options.
pub fn tcp(
    source: SocketAddr,
    destination: SocketAddr,
    header: TcpHeader,
    payload: &[u8],
) -> Result<IpPacket, Unsuitable> {
    let mut bytes = [0; TCP_HEADER];
    bytes[0..2].copy_from_slice(&source.port().to_be_bytes());
    bytes[2..4].copy_from_slice(&destination.port().to_be_bytes());
    bytes[4..8].copy_from_slice(&header.sequence.to_be_bytes());
    bytes[8..12].copy_from_slice(&header.acknowledgement.to_be_bytes());
    bytes[12] = ((TCP_HEADER / 4) as u8) << 4;
    bytes[13] = header.flags;
    bytes[14..16].copy_from_slice(&header.window.to_be_bytes());

    packet(source.ip(), destination.ip(), TCP, &bytes, payload, 16)
}

/// A ping.
pub fn echo_request(
    source: IpAddr,
    destination: IpAddr,
    id: u16,
    sequence: u16,
    payload: &[u8],
) -> Result<IpPacket, Unsuitable> {
    let icmp_type = if source.is_ipv4() { icmp::ECHO_REQUEST_V4 } else { icmp::ECHO_REQUEST_V6 };
    echo(source, destination, icmp_type, id, sequence, payload)
}

/// The answer to a ping.
pub fn echo_reply(
    source: IpAddr,
    destination: IpAddr,
    id: u16,
    sequence: u16,
    payload: &[u8],
) -> Result<IpPacket, Unsuitable> {
    let icmp_type = if source.is_ipv4() { icmp::ECHO_REPLY_V4 } else { icmp::ECHO_REPLY_V6 };
    echo(source, destination, icmp_type, id, sequence, payload)
}

/// A packet of any other protocol; the payload is what follows the IP header.
pub fn other(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Result<IpPacket, Unsuitable> {
    let length = u16::try_from(payload.len()).map_err(|_| Unsuitable::TooLarge)?;
    let mut bytes = ip_header(source, destination, protocol, length, TTL)?;
    bytes.extend_from_slice(payload);

    IpPacket::from_buffer(bytes).map_err(Unsuitable::from)
}

/// An IP header, in a buffer that has room for the rest.
pub(crate) fn ip_header(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    payload: u16,
    ttl: u8,
) -> Result<Buffer, Unsuitable> {
    let mut bytes = Buffer::empty();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let length = payload.checked_add(IPV4_HEADER as u16).ok_or(Unsuitable::TooLarge)?;
            bytes.resize(IPV4_HEADER, 0);
            bytes[0] = 0x45;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            bytes[8] = ttl;
            bytes[9] = protocol;
            bytes[12..16].copy_from_slice(&source.octets());
            bytes[16..20].copy_from_slice(&destination.octets());
            let checksum = Sum::default().add(&bytes).checksum();
            bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            bytes.resize(IPV6_HEADER, 0);
            bytes[0] = 0x60;
            bytes[4..6].copy_from_slice(&payload.to_be_bytes());
            bytes[6] = protocol;
            bytes[7] = ttl;
            bytes[8..24].copy_from_slice(&source.octets());
            bytes[24..40].copy_from_slice(&destination.octets());
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return Err(Unsuitable::Version),
    }

    Ok(bytes)
}

fn echo(
    source: IpAddr,
    destination: IpAddr,
    icmp_type: u8,
    id: u16,
    sequence: u16,
    payload: &[u8],
) -> Result<IpPacket, Unsuitable> {
    let protocol = if source.is_ipv4() { ICMP } else { ICMPV6 };
    let mut header = [0; ICMP_HEADER];
    header[0] = icmp_type;
    header[4..6].copy_from_slice(&id.to_be_bytes());
    header[6..8].copy_from_slice(&sequence.to_be_bytes());

    packet(source, destination, protocol, &header, payload, 2)
}

fn packet(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    header: &[u8],
    payload: &[u8],
    checksum_at: usize,
) -> Result<IpPacket, Unsuitable> {
    if header.len() + payload.len() > MAX_IP_SIZE {
        return Err(Unsuitable::TooLarge);
    }
    let length = (header.len() + payload.len()) as u16;
    let mut bytes = ip_header(source, destination, protocol, length, TTL)?;
    let start = bytes.len();
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(payload);

    let sum = match protocol {
        ICMP => Sum::default(),
        _ => Sum::default().add_pseudo_header(source, destination, protocol, length),
    };
    let checksum = match sum.add(&bytes[start..]).checksum() {
        // Zero means "not computed" in UDP (RFC 768).
        0 if protocol == UDP => 0xffff,
        checksum => checksum,
    };
    bytes[start + checksum_at..start + checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());

    IpPacket::from_buffer(bytes).map_err(Unsuitable::from)
}
