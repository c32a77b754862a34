//! The header before each packet of a TUN device (`struct virtio_net_hdr`).

/// What the kernel and we tell each other about a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// How it is to be split.
    pub kind: Kind,
    /// Whether the checksum of the transport is still to be completed: its field holds the sum of the pseudo header.
    pub needs_checksum: bool,
    /// Length of all headers. The kernel does not fill it in reliably.
    pub header_length: u16,
    /// Payload bytes of each packet.
    pub segment: u16,
    /// Where the checksum starts to count.
    pub checksum_start: u16,
    /// Where its field is, counted from there.
    pub checksum_offset: u16,
}

/// How a super packet is to be split.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    /// It is an ordinary packet.
    #[default]
    Single,
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP.
    Udp,
}

/// A header that we did not ask for, or too short.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown header from the TUN device")]
pub struct UnknownHeader;

const NEEDS_CHECKSUM: u8 = 1;

impl Header {
    /// Its length in bytes.
    pub const LENGTH: usize = 10;

    /// Reads the header and returns what follows it. Numbers are in the byte order of this machine.
    pub fn decode(bytes: &mut [u8]) -> Result<(Self, &mut [u8]), UnknownHeader> {
        let (header, packet) = bytes.split_first_chunk_mut::<{ Self::LENGTH }>().ok_or(UnknownHeader)?;
        let word = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let kind = match header[1] {
            0 => Kind::Single,
            1 => Kind::TcpV4,
            4 => Kind::TcpV6,
            5 => Kind::Udp,
            _ => return Err(UnknownHeader),
        };
        let header = Self {
            kind,
            needs_checksum: header[0] & NEEDS_CHECKSUM != 0,
            header_length: word(2),
            segment: word(4),
            checksum_start: word(6),
            checksum_offset: word(8),
        };

        Ok((header, packet))
    }

    /// The header as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[0] = if self.needs_checksum { NEEDS_CHECKSUM } else { 0 };
        bytes[1] = match self.kind {
            Kind::Single => 0,
            Kind::TcpV4 => 1,
            Kind::TcpV6 => 4,
            Kind::Udp => 5,
        };
        bytes[2..4].copy_from_slice(&self.header_length.to_ne_bytes());
        bytes[4..6].copy_from_slice(&self.segment.to_ne_bytes());
        bytes[6..8].copy_from_slice(&self.checksum_start.to_ne_bytes());
        bytes[8..10].copy_from_slice(&self.checksum_offset.to_ne_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_way_out_and_in() {
        let header = Header {
            kind: Kind::TcpV6,
            needs_checksum: true,
            header_length: 72,
            segment: 1208,
            checksum_start: 40,
            checksum_offset: 16,
        };
        let mut bytes = header.encode().to_vec();
        bytes.extend_from_slice(b"packet");

        let (decoded, packet) = Header::decode(&mut bytes).unwrap();

        assert_eq!(decoded, header);
        assert_eq!(packet, b"packet");
    }

    #[test]
    fn the_header_of_an_ordinary_packet_is_all_zero() {
        assert_eq!(Header::default().encode(), [0; 10]);
    }

    #[test]
    fn a_kind_that_we_did_not_ask_for_and_a_short_read_are_refused() {
        for kind in [2, 3, 6, 0x80, 0x81, 0x84] {
            let mut bytes = [0, kind, 0, 0, 0, 0, 0, 0, 0, 0];

            assert_eq!(Header::decode(&mut bytes), Err(UnknownHeader));
        }
        assert_eq!(Header::decode(&mut [0; 9]), Err(UnknownHeader));
    }
}
