//! One complete IP packet.

use std::{fmt, net::IpAddr};

use crate::{
    Ecn, InvalidPacket, Transport,
    buffer::Buffer,
    checksum,
    headers::{self, Headers, TCP, Version, declared_length},
};

/// One IP packet of the tunnel.
///
/// Always valid: complete, not a fragment, at most [`crate::MAX_IP_SIZE`] bytes, with consistent lengths. Its memory is
/// reused for other packets after it is dropped.
#[derive(Clone)]
pub struct IpPacket {
    pub(crate) bytes: Buffer,
    pub(crate) headers: Headers,
}

impl IpPacket {
    /// Parses a packet that fills `bytes` exactly.
    ///
    /// # Errors
    /// See [`InvalidPacket`].
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidPacket> {
        let headers = Headers::validate(bytes)?;

        Ok(Self { bytes: Buffer::copy_of(bytes), headers })
    }

    /// Parses a packet that may be followed by padding, which WireGuard adds.
    ///
    /// # Errors
    /// See [`InvalidPacket`].
    pub fn parse_padded(bytes: &[u8]) -> Result<Self, InvalidPacket> {
        let packet = bytes.get(..declared_length(bytes)?).ok_or(InvalidPacket::Length)?;

        Self::parse(packet)
    }

    /// The packet in wire format.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The source address.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        headers::source(&self.bytes, self.headers.version)
    }

    /// The destination address.
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        headers::destination(&self.bytes, self.headers.version)
    }

    /// The transport header.
    #[must_use]
    pub fn transport(&self) -> Transport {
        Transport::of(self.headers, &self.bytes)
    }

    /// The ECN bits.
    #[must_use]
    pub fn ecn(&self) -> Ecn {
        Ecn::from_bits(match self.headers.version {
            Version::V4 => self.bytes[1],
            Version::V6 => self.bytes[1] >> 4,
        })
    }

    /// Marks the packet as having experienced congestion. Has no effect if the sender does not support ECN.
    pub fn mark_congested(&mut self) {
        if self.ecn() == Ecn::NotEct {
            return;
        }
        match self.headers.version {
            Version::V4 => {
                let old = [self.bytes[0], self.bytes[1]];
                let new = [old[0], old[1] | Ecn::Ce.bits()];
                let sum = u16::from_be_bytes([self.bytes[10], self.bytes[11]]);
                self.bytes[1] = new[1];
                self.bytes[10..12].copy_from_slice(&checksum::updated(sum, &old, &new).to_be_bytes());
            }
            Version::V6 => self.bytes[1] |= Ecn::Ce.bits() << 4,
        }
    }

    /// The sequence number if this segment opens a TCP connection (SYN without ACK).
    #[must_use]
    pub fn tcp_syn_sequence(&self) -> Option<u32> {
        const SYN: u8 = 0x02;
        const ACK: u8 = 0x10;

        if self.headers.protocol != TCP {
            return None;
        }
        let tcp = self.payload();
        (tcp[13] & (SYN | ACK) == SYN).then(|| u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]))
    }

    /// Validates a packet in a buffer.
    pub(crate) fn from_buffer(bytes: Buffer) -> Result<Self, InvalidPacket> {
        let headers = Headers::validate(&bytes)?;

        Ok(Self { bytes, headers })
    }

    /// The bytes after the IP headers.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[self.headers.payload()..]
    }
}

impl PartialEq for IpPacket {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for IpPacket {}

/// Addresses and transport; never the payload.
impl fmt::Debug for IpPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IpPacket")
            .field("source", &self.source())
            .field("destination", &self.destination())
            .field("transport", &self.transport())
            .field("length", &self.bytes.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CLIENT_V4, CLIENT_V6, PAIRS, SERVER_V4, assert_checksums, at, edited, ip, tcp, udp};

    #[test]
    fn addresses_and_transport_are_parsed() {
        for pair in PAIRS {
            let packet = udp(pair, b"hello");

            assert_eq!(packet.source(), at(pair.0).ip());
            assert_eq!(packet.destination(), at(pair.1).ip());
            assert_eq!(packet.transport(), Transport::Udp { source: 40000, destination: 5000 });
            assert_checksums(&packet);
        }
    }

    #[test]
    fn padding_is_removed() {
        for pair in PAIRS {
            let packet = udp(pair, b"hello");
            let padded = [packet.as_bytes(), &[0; 15]].concat();

            assert_eq!(IpPacket::parse_padded(&padded), Ok(packet.clone()));
            assert_eq!(IpPacket::parse_padded(packet.as_bytes()), Ok(packet));
            assert_eq!(IpPacket::parse(&padded), Err(InvalidPacket::Length));
        }
    }

    #[test]
    fn truncated_packet_with_padding_is_invalid() {
        let packet = udp((CLIENT_V4, SERVER_V4), b"hello");
        let bytes = packet.as_bytes();

        assert_eq!(IpPacket::parse_padded(&bytes[..bytes.len() - 1]), Err(InvalidPacket::Length));
    }

    #[test]
    fn congestion_mark_requires_ecn_support() {
        for pair in PAIRS {
            for (before, after) in
                [(Ecn::NotEct, Ecn::NotEct), (Ecn::Ect0, Ecn::Ce), (Ecn::Ect1, Ecn::Ce), (Ecn::Ce, Ecn::Ce)]
            {
                let mut packet = with_ecn(&udp(pair, b"hello"), before);
                assert_eq!(packet.ecn(), before);

                packet.mark_congested();

                assert_eq!(packet.ecn(), after);
                assert_checksums(&packet);
            }
        }
    }

    #[test]
    fn congestion_mark_keeps_other_traffic_class_bits() {
        let packet = edited(&udp((CLIENT_V6, "[2001:db8::1]:1"), b"hello"), |bytes| {
            bytes[0..4].copy_from_slice(&[0x6b, 0xa1, 0x23, 0x45]);
        });
        let mut marked = packet.clone();

        marked.mark_congested();

        assert_eq!(marked.as_bytes()[..4], [0x6b, 0xb1, 0x23, 0x45]);
        assert_eq!(marked.as_bytes()[4..], packet.as_bytes()[4..]);
    }

    #[test]
    fn only_the_first_segment_of_a_connection_is_a_syn() {
        for pair in PAIRS {
            assert_eq!(tcp(pair, 4_000_000_000, 0x02, b"").tcp_syn_sequence(), Some(4_000_000_000));
            assert_eq!(tcp(pair, 1, 0x12, b"").tcp_syn_sequence(), None);
            assert_eq!(tcp(pair, 1, 0x10, b"").tcp_syn_sequence(), None);
            assert_eq!(udp(pair, &[0xff; 30]).tcp_syn_sequence(), None);
        }
    }

    #[test]
    fn debug_output_of_a_packet_does_not_contain_the_payload() {
        let shown = format!("{:?}", udp((CLIENT_V4, SERVER_V4), b"secret"));

        assert!(shown.contains("100.64.0.7"), "{shown}");
        assert!(!shown.contains("secret") && !shown.contains("115"), "{shown}");
    }

    #[test]
    fn packets_with_equal_bytes_are_equal() {
        let packet = udp((CLIENT_V4, SERVER_V4), b"hello");
        let mut other = packet.clone();
        assert_eq!(packet, other);

        other.set_source(ip("100.64.0.8")).unwrap();
        assert_ne!(packet, other);
    }

    fn with_ecn(packet: &IpPacket, ecn: Ecn) -> IpPacket {
        edited(packet, |bytes| match bytes[0] >> 4 {
            4 => bytes[1] |= ecn.bits(),
            _ => bytes[1] |= ecn.bits() << 4,
        })
    }
}
