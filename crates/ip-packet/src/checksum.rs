//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

use std::net::IpAddr;

/// A running one's complement sum.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds bytes; an odd last byte is padded with zero, so only the last piece may be odd.
    pub(crate) fn add(self, bytes: &[u8]) -> Self {
        // The one's complement sum does not depend on the byte order it is computed in (RFC 1071, 2 (B)), so words are
        // read as they lie in memory and swapped once, at the end. A wide sum lets the compiler use vectors.
        let (words, rest) = bytes.as_chunks::<4>();
        let mut sum = self.0;
        for word in words {
            sum += u64::from(u32::from_ne_bytes(*word));
        }
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);

        // Cannot overflow: 64 KiB are 2^14 words of less than 2^32 each.
        Self(sum + u64::from(u32::from_ne_bytes(last)))
    }

    /// Adds a number in network byte order.
    pub(crate) fn add_u16(self, value: u16) -> Self {
        self.add(&value.to_be_bytes())
    }

    /// Adds the pseudo header of the transport protocols (RFC 9293 3.1, RFC 8200 8.1).
    pub(crate) fn add_pseudo_header(self, source: IpAddr, destination: IpAddr, protocol: u8, length: u16) -> Self {
        self.add_ip(source).add_ip(destination).add_u16(length).add_u16(u16::from(protocol))
    }

    fn add_ip(self, ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => self.add(&ip.octets()),
            IpAddr::V6(ip) => self.add(&ip.octets()),
        }
    }

    /// The sum itself, folded to 16 bits: the value of a checksum field that the kernel will complete.
    pub(crate) fn folded(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        // Convert to network byte order.
        u16::from_be(sum as u16)
    }

    /// The checksum: the complement of the sum.
    pub(crate) fn checksum(self) -> u16 {
        !self.folded()
    }
}

/// The checksum after `old` is replaced by `new` in the covered bytes
/// (RFC 1624, equation 3: `HC' = ~(~HC + ~m + m')`).
pub(crate) fn updated(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    let complement_of_old = !Sum::default().add(old).folded();

    Sum::default().add_u16(!checksum).add_u16(complement_of_old).add(new).checksum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sum_of_the_rfc_1071_example() {
        let sum = Sum::default().add(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);

        assert_eq!(sum.folded(), 0xddf2);
        assert_eq!(sum.checksum(), 0x220d);
    }

    #[test]
    fn sum_of_pieces_equals_sum_of_the_whole() {
        let bytes: Vec<u8> = (0..=254).collect();

        for cut in (0..bytes.len()).step_by(2) {
            let (left, right) = bytes.split_at(cut);
            assert_eq!(Sum::default().add(left).add(right).folded(), Sum::default().add(&bytes).folded());
        }
    }

    #[test]
    fn largest_sum_does_not_overflow() {
        let bytes = vec![0xff; 65_536];

        assert_eq!(Sum::default().add(&bytes).folded(), 0xffff);
    }

    #[test]
    fn update_of_the_rfc_1624_example() {
        assert_eq!(updated(0xdd2f, &[0x55, 0x55], &[0x32, 0x85]), 0x0000);
    }
}
