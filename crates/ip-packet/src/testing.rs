//! Helpers for tests of several modules.

use std::net::{IpAddr, SocketAddr};

use crate::{
    IpPacket, build,
    build::TcpHeader,
    headers::{ECHO_REPLY_V4, ECHO_REPLY_V6, IPV4_HEADER, IPV6_HEADER},
};

pub(crate) const CLIENT_V4: &str = "100.64.0.7:40000";
pub(crate) const SERVER_V4: &str = "10.20.0.5:5000";
pub(crate) const CLIENT_V6: &str = "[fd00:2021:1111::7]:40000";
pub(crate) const SERVER_V6: &str = "[fd00:2021:1111:8000::4]:5000";

/// Both IP versions, client first.
pub(crate) const PAIRS: [(&str, &str); 2] = [(CLIENT_V4, SERVER_V4), (CLIENT_V6, SERVER_V6)];

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

pub(crate) fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

pub(crate) fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

pub(crate) fn udp((from, to): (&str, &str), payload: &[u8]) -> IpPacket {
    build::udp(at(from), at(to), payload).unwrap()
}

pub(crate) fn tcp((from, to): (&str, &str), sequence: u32, flags: u8, payload: &[u8]) -> IpPacket {
    let header = TcpHeader { sequence, acknowledgement: 77, flags, window: 1000 };
    build::tcp(at(from), at(to), header, payload).unwrap()
}

/// An echo reply, built from a request.
pub(crate) fn echo_reply(source: IpAddr, destination: IpAddr, id: u16, sequence: u16, payload: &[u8]) -> IpPacket {
    let (at, icmp_type) = if source.is_ipv4() { (IPV4_HEADER, ECHO_REPLY_V4) } else { (IPV6_HEADER, ECHO_REPLY_V6) };
    let request = build::echo_request(source, destination, id, sequence, payload).unwrap();
    edited(&request, |bytes| bytes[at] = icmp_type)
}

/// Changes bytes of a packet, then corrects its checksums.
pub(crate) fn edited(packet: &IpPacket, edit: impl FnOnce(&mut Vec<u8>)) -> IpPacket {
    let mut bytes = packet.as_bytes().to_vec();
    edit(&mut bytes);
    if bytes[0] >> 4 == 4 {
        let length = usize::from(bytes[0] & 0xf) * 4;
        bytes[10..12].fill(0);
        let sum = !naive_sum(&[&bytes[..length]]);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    if let Some(at) = transport_checksum_at(packet) {
        bytes[at..at + 2].fill(0);
        let sum = !naive_transport_sum(&bytes, packet.headers.payload(), packet.headers.protocol);
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    IpPacket::parse(&bytes).unwrap()
}

/// Asserts the checksums of IP header and transport with independent code.
pub(crate) fn assert_checksums(packet: &IpPacket) {
    let bytes = packet.as_bytes();
    if bytes[0] >> 4 == 4 {
        let length = usize::from(bytes[0] & 0xf) * 4;
        assert_eq!(naive_sum(&[&bytes[..length]]), 0xffff, "IPv4 header of {packet:?}");
    }
    if transport_checksum_at(packet).is_some() {
        let sum = naive_transport_sum(bytes, packet.headers.payload(), packet.headers.protocol);
        assert_eq!(sum, 0xffff, "transport of {packet:?}");
    }
}

fn transport_checksum_at(packet: &IpPacket) -> Option<usize> {
    let offset = match packet.headers.protocol {
        6 => 16,
        17 => 6,
        1 | 58 => 2,
        _ => return None,
    };
    Some(packet.headers.payload() + offset)
}

fn naive_transport_sum(bytes: &[u8], payload: usize, protocol: u8) -> u16 {
    let length = u32::try_from(bytes.len() - payload).unwrap().to_be_bytes();
    let last = [0, protocol];
    match (bytes[0] >> 4, protocol) {
        (_, 1) => naive_sum(&[&bytes[payload..]]),
        (4, _) => naive_sum(&[&bytes[12..20], &length, &last, &bytes[payload..]]),
        _ => naive_sum(&[&bytes[8..40], &length, &last, &bytes[payload..]]),
    }
}

fn naive_sum(pieces: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for piece in pieces {
        for word in piece.chunks(2) {
            sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    sum as u16
}
