//! The header before each packet of a TUN device (`struct virtio_net_hdr`).

/// The segmentation and checksum state of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// How the packet is segmented.
    pub kind: GsoType,
    /// Whether the transport checksum must be completed: its field contains the sum of the pseudo header.
    pub needs_checksum: bool,
    /// Length of all headers in bytes. The kernel does not set it reliably.
    pub header_length: u16,
    /// Payload bytes of each segment.
    pub segment: u16,
    /// The offset in bytes at which the checksum starts.
    pub checksum_start: u16,
    /// The offset of the checksum field in bytes, relative to that.
    pub checksum_offset: u16,
}

/// How a super packet is segmented.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum GsoType {
    /// Not at all: an ordinary packet.
    #[default]
    Single,
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP.
    Udp,
}

/// A header with an unrequested segmentation type, or too short.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown header from the TUN device")]
pub struct UnknownHeader;

const NEEDS_CHECKSUM: u8 = 1;

impl Header {
    /// The length in bytes.
    pub const LENGTH: usize = 10;

    /// Decodes the header and returns it with the packet that follows. Numbers are in native byte order.
    ///
    /// # Errors
    /// See [`UnknownHeader`].
    pub fn decode(bytes: &mut [u8]) -> Result<(Self, &mut [u8]), UnknownHeader> {
        let (header, packet) = bytes.split_first_chunk_mut::<{ Self::LENGTH }>().ok_or(UnknownHeader)?;
        let word = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let kind = match header[1] {
            0 => GsoType::Single,
            1 => GsoType::TcpV4,
            4 => GsoType::TcpV6,
            5 => GsoType::Udp,
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

    /// Encodes the header.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[0] = if self.needs_checksum { NEEDS_CHECKSUM } else { 0 };
        bytes[1] = match self.kind {
            GsoType::Single => 0,
            GsoType::TcpV4 => 1,
            GsoType::TcpV6 => 4,
            GsoType::Udp => 5,
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
    fn virtio_header_round_trips() {
        let header = Header {
            kind: GsoType::TcpV6,
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
    fn virtio_header_of_a_plain_packet_is_zero() {
        assert_eq!(Header::default().encode(), [0; 10]);
    }

    #[test]
    fn unrequested_gso_type_and_short_read_are_errors() {
        for kind in [2, 3, 6, 0x80, 0x81, 0x84] {
            let mut bytes = [0, kind, 0, 0, 0, 0, 0, 0, 0, 0];

            assert_eq!(Header::decode(&mut bytes), Err(UnknownHeader));
        }
        assert_eq!(Header::decode(&mut [0; 9]), Err(UnknownHeader));
    }
}
