//! Where things are in a packet, and whether it is one that the tunnel carries.

use crate::MAX_IP_SIZE;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

pub(crate) const IPV4_HEADER: usize = 20;
pub(crate) const IPV6_HEADER: usize = 40;
pub(crate) const TCP_HEADER: usize = 20;
pub(crate) const UDP_HEADER: usize = 8;
pub(crate) const ICMP_HEADER: usize = 8;

/// Why bytes are not a packet that the tunnel carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Invalid {
    /// Neither IPv4 nor IPv6.
    #[error("not an IP packet")]
    Version,
    /// It ends within a header.
    #[error("ends within a header")]
    Truncated,
    /// The length in the IP header is not the length of the packet.
    #[error("the length in the IP header is wrong")]
    Length,
    /// It does not fit the MTU of the tunnel.
    #[error("larger than {MAX_IP_SIZE} bytes")]
    TooLarge,
    /// A piece of a larger packet; the tunnel carries whole packets only.
    #[error("a fragment")]
    Fragment,
    /// A header contradicts itself: lengths of IPv4 options, TCP options or UDP payload.
    #[error("a length within a header is wrong")]
    Header,
    /// ICMP in IPv6 or ICMPv6 in IPv4.
    #[error("ICMP of the other IP version")]
    IcmpVersion,
    /// A super packet whose parts cannot be told, or of too many parts.
    #[error("not a super packet that can be split")]
    SuperPacket,
}

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
    /// What the payload is, behind all extension headers.
    pub(crate) protocol: u8,
    /// Where the payload starts. Fits: a packet has at most 65,535 bytes.
    pub(crate) payload: u16,
}

impl Headers {
    /// Reads the IP headers. They must be complete and must not say that this is a fragment; lengths of the whole
    /// packet are not looked at, so that quoted and super packets can be read too.
    pub(crate) fn read(packet: &[u8]) -> Result<Self, Invalid> {
        match packet.first().map(|byte| byte >> 4) {
            Some(4) => Self::read_v4(packet),
            Some(6) => Self::read_v6(packet),
            Some(_) => Err(Invalid::Version),
            None => Err(Invalid::Truncated),
        }
    }

    /// Reads the IP headers of a whole packet and checks everything that an [`crate::IpPacket`] promises.
    pub(crate) fn validate(packet: &[u8]) -> Result<Self, Invalid> {
        if declared_length(packet)? != packet.len() {
            return Err(Invalid::Length);
        }
        if packet.len() > MAX_IP_SIZE {
            return Err(Invalid::TooLarge);
        }
        let headers = Self::read(packet)?;
        headers.validate_payload(packet.get(headers.payload()..).ok_or(Invalid::Truncated)?)?;

        Ok(headers)
    }

    /// Where the payload starts.
    pub(crate) fn payload(self) -> usize {
        usize::from(self.payload)
    }

    fn read_v4(packet: &[u8]) -> Result<Self, Invalid> {
        let header = packet.first_chunk::<IPV4_HEADER>().ok_or(Invalid::Truncated)?;
        let length = u16::from(header[0] & 0x0f) * 4;
        if usize::from(length) < IPV4_HEADER {
            return Err(Invalid::Header);
        }
        if packet.len() < usize::from(length) {
            return Err(Invalid::Truncated);
        }
        let more_fragments_or_offset = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
        if more_fragments_or_offset != 0 {
            return Err(Invalid::Fragment);
        }

        Ok(Self { version: Version::V4, protocol: header[9], payload: length })
    }

    fn read_v6(packet: &[u8]) -> Result<Self, Invalid> {
        /// Extension headers (RFC 8200 4; RFC 6275; RFC 7401; RFC 5533) with a length in units of 8 bytes.
        const HOP_BY_HOP: u8 = 0;
        const ROUTING: u8 = 43;
        const FRAGMENT: u8 = 44;
        const AUTHENTICATION: u8 = 51;
        const DESTINATION: u8 = 60;
        const MOBILITY: u8 = 135;
        const HOST_IDENTITY: u8 = 139;
        const SHIM6: u8 = 140;

        let header = packet.first_chunk::<IPV6_HEADER>().ok_or(Invalid::Truncated)?;
        let mut protocol = header[6];
        let mut at = IPV6_HEADER;
        // Ends, because every extension header moves `at` forward by at least 8.
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
                        return Err(Invalid::Fragment);
                    }
                    8
                }
                (
                    HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION | MOBILITY | HOST_IDENTITY | SHIM6,
                    _,
                ) => return Err(Invalid::Truncated),
                _ => break,
            };
            if start.len() < length {
                return Err(Invalid::Truncated);
            }
            protocol = start[0];
            at += length;
        }
        let payload = u16::try_from(at).map_err(|_| Invalid::TooLarge)?;

        Ok(Self { version: Version::V6, protocol, payload })
    }

    fn validate_payload(self, payload: &[u8]) -> Result<(), Invalid> {
        match (self.version, self.protocol) {
            (_, TCP) => {
                let header = payload.first_chunk::<TCP_HEADER>().ok_or(Invalid::Truncated)?;
                let length = usize::from(header[12] >> 4) * 4;
                if length < TCP_HEADER || length > payload.len() {
                    return Err(Invalid::Header);
                }
            }
            (_, UDP) => {
                let header = payload.first_chunk::<UDP_HEADER>().ok_or(Invalid::Truncated)?;
                if usize::from(u16::from_be_bytes([header[4], header[5]])) != payload.len() {
                    return Err(Invalid::Header);
                }
            }
            (Version::V4, ICMP) | (Version::V6, ICMPV6) if payload.len() < ICMP_HEADER => {
                return Err(Invalid::Truncated);
            }
            (Version::V4, ICMPV6) | (Version::V6, ICMP) => return Err(Invalid::IcmpVersion),
            _ => {}
        }

        Ok(())
    }
}

/// How long the IP header says that the packet is.
pub(crate) fn declared_length(packet: &[u8]) -> Result<usize, Invalid> {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => {
            let header = packet.first_chunk::<IPV4_HEADER>().ok_or(Invalid::Truncated)?;
            Ok(usize::from(u16::from_be_bytes([header[2], header[3]])))
        }
        Some(6) => {
            let header = packet.first_chunk::<IPV6_HEADER>().ok_or(Invalid::Truncated)?;
            Ok(IPV6_HEADER + usize::from(u16::from_be_bytes([header[4], header[5]])))
        }
        Some(_) => Err(Invalid::Version),
        None => Err(Invalid::Truncated),
    }
}
