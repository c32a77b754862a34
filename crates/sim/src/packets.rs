//! Packets to send.

use std::net::Ipv4Addr;

use ip_packet::{Ecn, IpPacket};

/// A packet with the number `n`.
#[must_use]
pub fn packet(n: u16) -> IpPacket {
    udp_packet(Ipv4Addr::new(100, 64, 0, 1), Ipv4Addr::new(100, 64, 0, 2), n, Ecn::Ect0, 32)
}

/// A UDP packet with source port `n` and `length` bytes of payload.
#[must_use]
pub fn udp_packet(source: Ipv4Addr, destination: Ipv4Addr, n: u16, ecn: Ecn, length: usize) -> IpPacket {
    let total = u16::try_from(20 + 8 + length).expect("fits into an IP packet");
    let mut bytes = vec![0x45, ecn.bits(), 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0];
    bytes[2..4].copy_from_slice(&total.to_be_bytes());
    bytes.extend(source.octets());
    bytes.extend(destination.octets());
    let sum: u32 = bytes.chunks(2).map(|it| u32::from(u16::from_be_bytes([it[0], it[1]]))).sum();
    let folded = !u16::try_from((sum & 0xFFFF) + (sum >> 16)).expect("folded once is enough for ten words");
    bytes[10..12].copy_from_slice(&folded.to_be_bytes());
    bytes.extend(n.to_be_bytes());
    bytes.extend(9_u16.to_be_bytes());
    bytes.extend((total - 20).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.resize(usize::from(total), 0xAB);
    IpPacket::parse(&bytes).expect("well-formed")
}
