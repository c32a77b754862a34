//! Positions of headers and fields, and validation of packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{InvalidPacket, MAX_IP_SIZE};

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

pub(crate) const IPV4_HEADER: usize = 20;
pub(crate) const IPV6_HEADER: usize = 40;
pub(crate) const TCP_HEADER: usize = 20;
pub(crate) const UDP_HEADER: usize = 8;
pub(crate) const ICMP_HEADER: usize = 8;

pub(crate) const ECHO_REPLY_V4: u8 = 0;
pub(crate) const ECHO_REQUEST_V4: u8 = 8;
pub(crate) const ECHO_REQUEST_V6: u8 = 128;
pub(crate) const ECHO_REPLY_V6: u8 = 129;

/// IPv4 or IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Version {
    V4,
    V6,
}

/// The IP headers of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Headers {
    pub(crate) version: Version,
    /// The protocol of the payload after all extension headers.
    pub(crate) protocol: u8,
    /// The offset of the payload in bytes. Fits, because a packet has at most 65,535 bytes.
    pub(crate) payload: u16,
}

impl Headers {
    /// Reads the IP headers, which must be complete and not those of a fragment. Ignores the length of the packet, so that
    /// quoted packets and super packets can be read, too.
    pub(crate) fn read(packet: &[u8]) -> Result<Self, InvalidPacket> {
        match packet.first().map(|byte| byte >> 4) {
            Some(4) => Self::read_v4(packet),
            Some(6) => Self::read_v6(packet),
            Some(_) => Err(InvalidPacket::Version),
            None => Err(InvalidPacket::Truncated),
        }
    }

    /// Reads the IP headers of a complete packet and checks all guarantees of `IpPacket`.
    pub(crate) fn validate(packet: &[u8]) -> Result<Self, InvalidPacket> {
        if declared_length(packet)? != packet.len() {
            return Err(InvalidPacket::Length);
        }
        if packet.len() > MAX_IP_SIZE {
            return Err(InvalidPacket::TooLarge);
        }
        let headers = Self::read(packet)?;
        headers.validate_payload(packet.get(headers.payload()..).ok_or(InvalidPacket::Truncated)?)?;

        Ok(headers)
    }

    /// The offset of the payload in bytes.
    pub(crate) fn payload(self) -> usize {
        usize::from(self.payload)
    }

    fn read_v4(packet: &[u8]) -> Result<Self, InvalidPacket> {
        let header = packet.first_chunk::<IPV4_HEADER>().ok_or(InvalidPacket::Truncated)?;
        let length = u16::from(header[0] & 0x0f) * 4;
        if usize::from(length) < IPV4_HEADER {
            return Err(InvalidPacket::Header);
        }
        if packet.len() < usize::from(length) {
            return Err(InvalidPacket::Truncated);
        }
        let more_fragments_or_offset = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
        if more_fragments_or_offset != 0 {
            return Err(InvalidPacket::Fragment);
        }

        Ok(Self { version: Version::V4, protocol: header[9], payload: length })
    }

    fn read_v6(packet: &[u8]) -> Result<Self, InvalidPacket> {
        /// Extension headers (RFC 8200 4; RFC 6275; RFC 7401; RFC 5533) with a length in units of 8 bytes.
        const HOP_BY_HOP: u8 = 0;
        const ROUTING: u8 = 43;
        const FRAGMENT: u8 = 44;
        const AUTHENTICATION: u8 = 51;
        const DESTINATION: u8 = 60;
        const MOBILITY: u8 = 135;
        const HOST_IDENTITY: u8 = 139;
        const SHIM6: u8 = 140;

        let header = packet.first_chunk::<IPV6_HEADER>().ok_or(InvalidPacket::Truncated)?;
        let mut protocol = header[6];
        let mut at = IPV6_HEADER;
        // Terminates, because every extension header advances `at` by at least 8.
        loop {
            let start = packet.get(at..).unwrap_or_default();
            let length = match (protocol, start) {
                (HOP_BY_HOP | ROUTING | DESTINATION | MOBILITY | HOST_IDENTITY | SHIM6, [_, units, ..]) => {
                    (usize::from(*units) + 1) * 8
                }
                (AUTHENTICATION, [_, units, ..]) => (usize::from(*units) + 2) * 4,
                (FRAGMENT, [_, _, offset, flags, ..]) => {
                    let more_fragments_or_offset = u16::from_be_bytes([*offset, *flags]) & 0xfff9;
                    if more_fragments_or_offset != 0 {
                        return Err(InvalidPacket::Fragment);
                    }
                    8
                }
                (
                    HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION | MOBILITY | HOST_IDENTITY | SHIM6,
                    _,
                ) => return Err(InvalidPacket::Truncated),
                _ => break,
            };
            if start.len() < length {
                return Err(InvalidPacket::Truncated);
            }
            protocol = start[0];
            at += length;
        }
        let payload = u16::try_from(at).map_err(|_| InvalidPacket::TooLarge)?;

        Ok(Self { version: Version::V6, protocol, payload })
    }

    fn validate_payload(self, payload: &[u8]) -> Result<(), InvalidPacket> {
        match (self.version, self.protocol) {
            (_, TCP) => {
                let header = payload.first_chunk::<TCP_HEADER>().ok_or(InvalidPacket::Truncated)?;
                let length = usize::from(header[12] >> 4) * 4;
                if length < TCP_HEADER || length > payload.len() {
                    return Err(InvalidPacket::Header);
                }
            }
            (_, UDP) => {
                let header = payload.first_chunk::<UDP_HEADER>().ok_or(InvalidPacket::Truncated)?;
                if usize::from(u16::from_be_bytes([header[4], header[5]])) != payload.len() {
                    return Err(InvalidPacket::Header);
                }
            }
            (Version::V4, ICMP) | (Version::V6, ICMPV6) if payload.len() < ICMP_HEADER => {
                return Err(InvalidPacket::Truncated);
            }
            (Version::V4, ICMPV6) | (Version::V6, ICMP) => return Err(InvalidPacket::IcmpVersion),
            _ => {}
        }

        Ok(())
    }
}

/// The length of the packet according to its IP header.
pub(crate) fn declared_length(packet: &[u8]) -> Result<usize, InvalidPacket> {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => {
            let header = packet.first_chunk::<IPV4_HEADER>().ok_or(InvalidPacket::Truncated)?;
            Ok(usize::from(u16::from_be_bytes([header[2], header[3]])))
        }
        Some(6) => {
            let header = packet.first_chunk::<IPV6_HEADER>().ok_or(InvalidPacket::Truncated)?;
            Ok(IPV6_HEADER + usize::from(u16::from_be_bytes([header[4], header[5]])))
        }
        Some(_) => Err(InvalidPacket::Version),
        None => Err(InvalidPacket::Truncated),
    }
}

/// The source address of a packet with a complete IP header.
pub(crate) fn source(packet: &[u8], version: Version) -> IpAddr {
    match version {
        Version::V4 => v4(packet, 12).into(),
        Version::V6 => v6(packet, 8).into(),
    }
}

/// The destination address of a packet with a complete IP header.
pub(crate) fn destination(packet: &[u8], version: Version) -> IpAddr {
    match version {
        Version::V4 => v4(packet, 16).into(),
        Version::V6 => v6(packet, 24).into(),
    }
}

fn v4(packet: &[u8], at: usize) -> Ipv4Addr {
    let mut octets = [0; 4];
    octets.copy_from_slice(&packet[at..at + 4]);
    octets.into()
}

fn v6(packet: &[u8], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&packet[at..at + 16]);
    octets.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        IpPacket, build,
        testing::{CLIENT_V4, CLIENT_V6, PAIRS, SERVER_V4, SERVER_V6, at, ip, tcp, udp},
    };

    #[test]
    fn truncated_packet_is_invalid() {
        for pair in PAIRS {
            for packet in [udp(pair, b"hello"), tcp(pair, 1, 0x10, b"hello")] {
                let bytes = packet.as_bytes();

                for length in 0..bytes.len() {
                    assert!(IpPacket::parse(&bytes[..length]).is_err(), "{length} bytes of {packet:?}");
                }
                assert!(IpPacket::parse(bytes).is_ok());
            }
        }
    }

    #[test]
    fn flipped_bits_never_panic_in_parsing_or_rewriting() {
        for pair in PAIRS {
            let error = crate::icmp::prohibited(&udp(pair, b"quoted")).unwrap();
            let echo = build::echo_request(at(pair.0).ip(), at(pair.1).ip(), 1, 2, b"ping").unwrap();
            for packet in [udp(pair, b"hello"), tcp(pair, 1, 0x12, b"hello"), error, echo] {
                for bit in 0..packet.as_bytes().len() * 8 {
                    let mut bytes = packet.as_bytes().to_vec();
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    let Ok(mut packet) = IpPacket::parse(&bytes) else { continue };

                    let _ = (packet.transport(), packet.tcp_syn_sequence(), crate::control::parse(&packet));
                    let _ = (crate::icmp::prohibited(&packet), crate::icmp::unreachable(&packet));
                    let _ = crate::icmp::translated(&packet, at(pair.0).ip(), at(pair.1).ip(), 5);
                    let _ = (packet.set_source(at(pair.1).ip()), packet.set_destination(at(pair.0).ip()));
                    let _ = (packet.set_source_port(1), packet.set_destination_port(2));
                    packet.mark_congested();
                    assert!(IpPacket::parse(packet.as_bytes()).is_ok(), "edits keep a packet valid");
                }
            }
        }
    }

    #[test]
    fn fragments_are_rejected() {
        let packet = udp((CLIENT_V4, SERVER_V4), b"hello");

        for (flags, expected) in [
            (0x2000u16, Err(InvalidPacket::Fragment)),
            (0x0001, Err(InvalidPacket::Fragment)),
            (0x4000, Ok(())),
            (0x0000, Ok(())),
        ] {
            let mut bytes = packet.as_bytes().to_vec();
            bytes[6..8].copy_from_slice(&flags.to_be_bytes());
            assert_eq!(IpPacket::parse(&bytes).map(drop), expected, "{flags:#x}");
        }
    }

    #[test]
    fn atomic_ipv6_fragment_is_accepted() {
        for (offset_and_more, expected) in
            [(0u16, Ok(())), (1, Err(InvalidPacket::Fragment)), (8, Err(InvalidPacket::Fragment)), (6, Ok(()))]
        {
            let mut fragment = vec![UDP, 0, 0, 0, 1, 2, 3, 4];
            fragment[2..4].copy_from_slice(&offset_and_more.to_be_bytes());
            let packet = with_extensions(44, &fragment);

            assert_eq!(packet.map(drop), expected, "{offset_and_more:#x}");
        }
    }

    #[test]
    fn extension_headers_are_skipped() {
        let hop_by_hop = [60, 0, 0, 0, 0, 0, 0, 0];
        let destination = [51, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let authentication = [UDP, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let extensions = [&hop_by_hop[..], &destination, &authentication].concat();

        let packet = with_extensions(0, &extensions).unwrap();

        assert_eq!(packet.transport(), crate::Transport::Udp { source: 40000, destination: 5000 });
    }

    #[test]
    fn overlong_extension_header_is_invalid() {
        assert_eq!(with_extensions(0, &[UDP, 200, 0, 0, 0, 0, 0, 0]).map(drop), Err(InvalidPacket::Truncated));
    }

    #[test]
    fn packets_larger_than_the_mtu_are_rejected() {
        let largest = vec![0; MAX_IP_SIZE - IPV4_HEADER - UDP_HEADER];
        assert_eq!(udp((CLIENT_V4, SERVER_V4), &largest).as_bytes().len(), 1280);

        let mut bytes = vec![0; 1281];
        bytes[0] = 0x45;
        bytes[2..4].copy_from_slice(&1281u16.to_be_bytes());
        bytes[9] = 99;
        assert_eq!(IpPacket::parse(&bytes), Err(InvalidPacket::TooLarge));
    }

    #[test]
    fn contradicting_lengths_are_invalid() {
        for pair in PAIRS {
            let ip_header = if pair.0 == CLIENT_V4 { 20 } else { 40 };
            let length_at = if pair.0 == CLIENT_V4 { 3 } else { 5 };
            let udp = udp(pair, b"hello");
            let tcp = tcp(pair, 1, 0x10, b"hello");

            let wrong_ip = patched(&udp, length_at, |length| length + 1);
            let wrong_udp = patched(&udp, ip_header + 5, |length| length - 1);
            let short_tcp = patched(&tcp, ip_header + 12, |_| 0x40);
            let long_tcp = patched(&tcp, ip_header + 12, |_| 0xf0);

            assert_eq!(wrong_ip, Err(InvalidPacket::Length));
            assert_eq!(wrong_udp, Err(InvalidPacket::Header));
            assert_eq!(short_tcp, Err(InvalidPacket::Header));
            assert_eq!(long_tcp, Err(InvalidPacket::Header));
        }
        let short_header = patched(&udp((CLIENT_V4, SERVER_V4), b"hello"), 0, |_| 0x44);
        assert_eq!(short_header, Err(InvalidPacket::Header));
    }

    #[test]
    fn icmp_version_must_match_the_ip_version() {
        let (v4, v6) = ((at(CLIENT_V4).ip(), at(SERVER_V4).ip()), (at(CLIENT_V6).ip(), at(SERVER_V6).ip()));

        let icmpv6_in_ipv4 = build::other(v4.0, v4.1, ICMPV6, &[128, 0, 0, 0, 0, 0, 0, 0]);
        let icmp_in_ipv6 = build::other(v6.0, v6.1, ICMP, &[8, 0, 0, 0, 0, 0, 0, 0]);

        assert_eq!(icmpv6_in_ipv4, Err(InvalidPacket::IcmpVersion.into()));
        assert_eq!(icmp_in_ipv6, Err(InvalidPacket::IcmpVersion.into()));
    }

    #[test]
    fn payload_of_other_protocols_is_not_checked() {
        let packet = build::other(ip("10.0.0.1"), ip("10.0.0.2"), 50, &[]).unwrap();

        assert_eq!(packet.transport(), crate::Transport::Other(50));
    }

    #[test]
    fn non_ip_bytes_are_rejected() {
        assert_eq!(IpPacket::parse(&[]), Err(InvalidPacket::Truncated));
        assert_eq!(IpPacket::parse(&[0; 100]), Err(InvalidPacket::Version));
        assert_eq!(IpPacket::parse(&[0x50; 100]), Err(InvalidPacket::Version));
    }

    fn patched(packet: &IpPacket, at: usize, edit: impl FnOnce(u8) -> u8) -> Result<(), InvalidPacket> {
        let mut bytes = packet.as_bytes().to_vec();
        bytes[at] = edit(bytes[at]);
        IpPacket::parse(&bytes).map(drop)
    }

    /// A UDP datagram over IPv6 after extension headers.
    fn with_extensions(first: u8, extensions: &[u8]) -> Result<IpPacket, InvalidPacket> {
        let udp = udp((CLIENT_V6, SERVER_V6), b"hello");
        let mut bytes = [&udp.as_bytes()[..40], extensions, &udp.as_bytes()[40..]].concat();
        let length = (bytes.len() - 40) as u16;
        bytes[4..6].copy_from_slice(&length.to_be_bytes());
        bytes[6] = first;
        IpPacket::parse(&bytes)
    }
}
