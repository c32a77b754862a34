//! One whole IP packet.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    Ecn, Transport,
    buffer::Buffer,
    checksum,
    headers::{Headers, Invalid, TCP, Version, declared_length},
};

/// One IP packet that the tunnel carries.
///
/// Valid once it exists: complete, no fragment, at most [`crate::MAX_IP_SIZE`] bytes, lengths within agree. The address
/// of its memory may be used again for another packet after it is dropped.
#[derive(Clone)]
pub struct IpPacket {
    pub(crate) bytes: Buffer,
    pub(crate) headers: Headers,
}

impl IpPacket {
    /// Reads a packet that fills `bytes` exactly.
    pub fn parse(bytes: &[u8]) -> Result<Self, Invalid> {
        let headers = Headers::validate(bytes)?;

        Ok(Self { bytes: Buffer::copy_of(bytes), headers })
    }

    /// Reads a packet that may be followed by padding, as WireGuard adds.
    pub fn parse_padded(bytes: &[u8]) -> Result<Self, Invalid> {
        let packet = bytes.get(..declared_length(bytes)?).ok_or(Invalid::Length)?;

        Self::parse(packet)
    }

    /// The packet as it goes over the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Who sends it.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        source(&self.bytes, self.headers.version)
    }

    /// Who is to receive it.
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        destination(&self.bytes, self.headers.version)
    }

    /// What is inside.
    #[must_use]
    pub fn transport(&self) -> Transport {
        Transport::of(self)
    }

    /// Its congestion mark.
    #[must_use]
    pub fn ecn(&self) -> Ecn {
        Ecn::from_bits(match self.headers.version {
            Version::V4 => self.bytes[1],
            Version::V6 => self.bytes[1] >> 4,
        })
    }

    /// Notes that a router was congested while it carried this packet. Nothing changes if the sender does not
    /// understand ECN.
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

    /// The sequence number, if this is a first attempt to open a TCP connection (SYN without ACK).
    #[must_use]
    pub fn is_tcp_syn(&self) -> Option<u32> {
        const SYN: u8 = 0x02;
        const ACK: u8 = 0x10;

        if self.headers.protocol != TCP {
            return None;
        }
        let tcp = self.payload();
        (tcp[13] & (SYN | ACK) == SYN).then(|| u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]))
    }

    /// Wraps bytes that are already in a buffer.
    pub(crate) fn from_buffer(bytes: Buffer) -> Result<Self, Invalid> {
        let headers = Headers::validate(&bytes)?;

        Ok(Self { bytes, headers })
    }

    /// What follows the IP headers.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[self.headers.payload()..]
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

impl PartialEq for IpPacket {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for IpPacket {}

/// Addresses and kind; never the payload.
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
    fn a_packet_says_who_talks_to_whom_about_what() {
        for pair in PAIRS {
            let packet = udp(pair, b"hello");

            assert_eq!(packet.source(), at(pair.0).ip());
            assert_eq!(packet.destination(), at(pair.1).ip());
            assert_eq!(packet.transport(), Transport::Udp { source: 40000, destination: 5000 });
            assert_checksums(&packet);
        }
    }

    #[test]
    fn padding_is_cut_off() {
        for pair in PAIRS {
            let packet = udp(pair, b"hello");
            let padded = [packet.as_bytes(), &[0; 15]].concat();

            assert_eq!(IpPacket::parse_padded(&padded), Ok(packet.clone()));
            assert_eq!(IpPacket::parse_padded(packet.as_bytes()), Ok(packet));
            assert_eq!(IpPacket::parse(&padded), Err(Invalid::Length));
        }
    }

    #[test]
    fn padding_cannot_replace_what_is_missing() {
        let packet = udp((CLIENT_V4, SERVER_V4), b"hello");
        let bytes = packet.as_bytes();

        assert_eq!(IpPacket::parse_padded(&bytes[..bytes.len() - 1]), Err(Invalid::Length));
    }

    #[test]
    fn a_congestion_mark_is_set_only_where_ecn_is_understood() {
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
    fn a_mark_leaves_the_rest_of_the_traffic_class_alone() {
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
            assert_eq!(tcp(pair, 4_000_000_000, 0x02, b"").is_tcp_syn(), Some(4_000_000_000));
            assert_eq!(tcp(pair, 1, 0x12, b"").is_tcp_syn(), None);
            assert_eq!(tcp(pair, 1, 0x10, b"").is_tcp_syn(), None);
            assert_eq!(udp(pair, &[0xff; 30]).is_tcp_syn(), None);
        }
    }

    #[test]
    fn what_is_shown_for_debugging_does_not_contain_the_payload() {
        let shown = format!("{:?}", udp((CLIENT_V4, SERVER_V4), b"secret"));

        assert!(shown.contains("100.64.0.7"), "{shown}");
        assert!(!shown.contains("secret") && !shown.contains("115"), "{shown}");
    }

    #[test]
    fn packets_are_equal_if_their_bytes_are() {
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
