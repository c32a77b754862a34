//! Building packets from their parts.

use std::net::{IpAddr, SocketAddr};

use crate::{
    IpPacket, MAX_IP_SIZE, PacketWriteError,
    checksum::Sum,
    headers::{ECHO_REQUEST_V4, ECHO_REQUEST_V6, ICMP, ICMP_HEADER, ICMPV6, TCP, TCP_HEADER, UDP, UDP_HEADER},
    ip_header::ip_header,
};

/// TTL or hop limit of the packets built here.
const TTL: u8 = 64;

/// The variable fields of a TCP header.
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
    /// The sender has finished sending.
    pub const FIN: u8 = 0x01;
    /// The sender opens a connection.
    pub const SYN: u8 = 0x02;
    /// The connection is refused or torn down.
    pub const RST: u8 = 0x04;
    /// The receiver should deliver its data.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number is valid.
    pub const ACK: u8 = 0x10;
    /// The sender has reduced its congestion window (RFC 3168).
    pub const CWR: u8 = 0x80;
}

/// A UDP datagram.
///
/// # Errors
/// The addresses have different IP versions, or the packet exceeds the MTU.
pub fn udp(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Result<IpPacket, PacketWriteError> {
    let length = u16::try_from(UDP_HEADER + payload.len()).map_err(|_| PacketWriteError::TooLarge)?;
    let mut header = [0; UDP_HEADER];
    header[0..2].copy_from_slice(&source.port().to_be_bytes());
    header[2..4].copy_from_slice(&destination.port().to_be_bytes());
    header[4..6].copy_from_slice(&length.to_be_bytes());

    packet(source.ip(), destination.ip(), UDP, &header, payload, 6)
}

/// A TCP segment without options.
///
/// # Errors
/// The addresses have different IP versions, or the packet exceeds the MTU.
pub fn tcp(
    source: SocketAddr,
    destination: SocketAddr,
    header: TcpHeader,
    payload: &[u8],
) -> Result<IpPacket, PacketWriteError> {
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

/// An ICMP or ICMPv6 echo request.
///
/// # Errors
/// The addresses have different IP versions, or the packet exceeds the MTU.
pub fn echo_request(
    source: IpAddr,
    destination: IpAddr,
    id: u16,
    sequence: u16,
    payload: &[u8],
) -> Result<IpPacket, PacketWriteError> {
    let (protocol, icmp_type) = if source.is_ipv4() { (ICMP, ECHO_REQUEST_V4) } else { (ICMPV6, ECHO_REQUEST_V6) };
    let mut header = [0; ICMP_HEADER];
    header[0] = icmp_type;
    header[4..6].copy_from_slice(&id.to_be_bytes());
    header[6..8].copy_from_slice(&sequence.to_be_bytes());

    packet(source, destination, protocol, &header, payload, 2)
}

/// A packet of any other protocol. The payload contains everything after the IP header.
///
/// # Errors
/// The addresses have different IP versions, the packet exceeds the MTU, or the payload is invalid for the protocol.
pub fn other(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Result<IpPacket, PacketWriteError> {
    let length = u16::try_from(payload.len()).map_err(|_| PacketWriteError::TooLarge)?;
    let mut bytes = ip_header(source, destination, protocol, length, TTL)?;
    bytes.extend_from_slice(payload);

    IpPacket::from_buffer(bytes).map_err(PacketWriteError::from)
}

fn packet(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    header: &[u8],
    payload: &[u8],
    checksum_at: usize,
) -> Result<IpPacket, PacketWriteError> {
    if header.len() + payload.len() > MAX_IP_SIZE {
        return Err(PacketWriteError::TooLarge);
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

    IpPacket::from_buffer(bytes).map_err(PacketWriteError::from)
}
