//! Splitting of super packets that were read from a TUN device.

use std::fmt;

use super::header::{GsoType, Header};
use crate::{
    InvalidPacket, IpPacket, MAX_IP_SIZE,
    buffer::Buffer,
    build::tcp_flag,
    checksum::Sum,
    headers::{self, Headers, IPV6_HEADER, TCP, TCP_HEADER, UDP, UDP_HEADER, Version},
};

/// Super packets with more segments are invalid.
const MAX_SEGMENTS: usize = 256;

/// The packets of one read, each with its own lengths, sequence numbers and checksums.
///
/// A malformed segment yields one `Err`; a malformed super packet yields a single `Err`. Modifies `packet` if the kernel has
/// not completed the checksum of an ordinary packet.
pub fn split(header: Header, packet: &mut [u8]) -> Split<'_> {
    Split(match header.kind {
        GsoType::Single => State::Single(single(header, packet)),
        GsoType::TcpV4 => State::of(SuperPacket::read(packet, header.segment, Version::V4, TCP)),
        GsoType::TcpV6 => State::of(SuperPacket::read(packet, header.segment, Version::V6, TCP)),
        GsoType::Udp => {
            let version = if packet.first().is_some_and(|byte| byte >> 4 == 4) { Version::V4 } else { Version::V6 };
            State::of(SuperPacket::read(packet, header.segment, version, UDP))
        }
    })
}

/// The packets of one read.
pub struct Split<'a>(State<'a>);

enum State<'a> {
    Single(Result<IpPacket, InvalidPacket>),
    Many { from: SuperPacket<'a>, next: usize },
    Done,
}

impl<'a> State<'a> {
    fn of(packet: Result<SuperPacket<'a>, InvalidPacket>) -> Self {
        match packet {
            Ok(from) => State::Many { from, next: 0 },
            Err(invalid) => State::Single(Err(invalid)),
        }
    }
}

impl fmt::Debug for Split<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Split").finish_non_exhaustive()
    }
}

impl Iterator for Split<'_> {
    type Item = Result<IpPacket, InvalidPacket>;

    fn next(&mut self) -> Option<Self::Item> {
        match std::mem::replace(&mut self.0, State::Done) {
            State::Single(packet) => Some(packet),
            State::Many { from, next } => {
                let packet = from.segment(next);
                if next + 1 < from.segments() {
                    self.0 = State::Many { from, next: next + 1 };
                }
                Some(packet)
            }
            State::Done => None,
        }
    }
}

fn single(header: Header, packet: &mut [u8]) -> Result<IpPacket, InvalidPacket> {
    if header.needs_checksum {
        let start = usize::from(header.checksum_start);
        let at = start + usize::from(header.checksum_offset);
        if at + 2 > packet.len() {
            return Err(InvalidPacket::Truncated);
        }
        // The field already contains the sum of the pseudo header, so it is included.
        let checksum = complete(Sum::default().add(&packet[start..]));
        packet[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }

    IpPacket::parse(packet)
}

/// Zero equals 0xffff in one's complement, but means "not computed" in UDP (RFC 768).
fn complete(sum: Sum) -> u16 {
    match sum.checksum() {
        0 => 0xffff,
        checksum => checksum,
    }
}

/// A packet of several segments.
struct SuperPacket<'a> {
    /// The IP and transport headers.
    headers: &'a [u8],
    payload: &'a [u8],
    /// Payload bytes of each segment except the last.
    segment: usize,
    ip: Headers,
}

impl<'a> SuperPacket<'a> {
    fn read(packet: &'a [u8], segment: u16, version: Version, protocol: u8) -> Result<Self, InvalidPacket> {
        let ip = Headers::read(packet)?;
        if ip.version != version || ip.protocol != protocol {
            return Err(InvalidPacket::SuperPacket);
        }
        let transport = packet.get(ip.payload()..).ok_or(InvalidPacket::Truncated)?;
        let length = match protocol {
            UDP => UDP_HEADER,
            _ => usize::from(transport.get(12).ok_or(InvalidPacket::Truncated)? >> 4) * 4,
        };
        if protocol == TCP && length < TCP_HEADER {
            return Err(InvalidPacket::Header);
        }
        let (headers, payload) = packet.split_at_checked(ip.payload() + length).ok_or(InvalidPacket::Truncated)?;
        let segment = usize::from(segment);
        if segment == 0 || payload.is_empty() || payload.len().div_ceil(segment) > MAX_SEGMENTS {
            return Err(InvalidPacket::SuperPacket);
        }
        if headers.len() + segment.min(payload.len()) > MAX_IP_SIZE {
            return Err(InvalidPacket::TooLarge);
        }

        Ok(Self { headers, payload, segment, ip })
    }

    fn segments(&self) -> usize {
        self.payload.len().div_ceil(self.segment)
    }

    fn segment(&self, index: usize) -> Result<IpPacket, InvalidPacket> {
        let offset = index * self.segment;
        let end = self.payload.len().min(offset + self.segment);
        let mut bytes = Buffer::copy_of(self.headers);
        bytes.extend_from_slice(&self.payload[offset..end]);

        self.fix_ip(&mut bytes, index);
        match self.ip.protocol {
            TCP => self.fix_tcp(&mut bytes, offset, end),
            _ => self.fix_udp(&mut bytes),
        }

        IpPacket::from_buffer(bytes)
    }

    /// Sets the length; for IPv4 also the identification and the header checksum.
    fn fix_ip(&self, bytes: &mut [u8], index: usize) {
        match self.ip.version {
            Version::V4 => {
                let length = bytes.len() as u16;
                let id = u16::from_be_bytes([bytes[4], bytes[5]]).wrapping_add(index as u16);
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
                bytes[4..6].copy_from_slice(&id.to_be_bytes());
                bytes[10..12].fill(0);
                let checksum = Sum::default().add(&bytes[..self.ip.payload()]).checksum();
                bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
            }
            Version::V6 => {
                let length = (bytes.len() - IPV6_HEADER) as u16;
                bytes[4..6].copy_from_slice(&length.to_be_bytes());
            }
        }
    }

    fn fix_tcp(&self, bytes: &mut [u8], offset: usize, end: usize) {
        let (is_first, is_last) = (offset == 0, end == self.payload.len());
        let tcp = &mut bytes[self.ip.payload()..];
        let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]).wrapping_add(offset as u32);
        tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
        if !is_last {
            tcp[13] &= !(tcp_flag::FIN | tcp_flag::PSH);
        }
        if !is_first {
            tcp[13] &= !tcp_flag::CWR;
        }
        self.fix_checksum(bytes, 16);
    }

    fn fix_udp(&self, bytes: &mut [u8]) {
        let udp = &mut bytes[self.ip.payload()..];
        let length = udp.len() as u16;
        udp[4..6].copy_from_slice(&length.to_be_bytes());
        self.fix_checksum(bytes, 6);
    }

    fn fix_checksum(&self, bytes: &mut [u8], at: usize) {
        let (source, destination) =
            (headers::source(bytes, self.ip.version), headers::destination(bytes, self.ip.version));
        let payload = &mut bytes[self.ip.payload()..];
        payload[at..at + 2].fill(0);
        let checksum = complete(
            Sum::default().add_pseudo_header(source, destination, self.ip.protocol, payload.len() as u16).add(payload),
        );
        payload[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }
}
