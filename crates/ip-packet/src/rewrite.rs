//! Rewriting of addresses and ports, with incremental checksums.

use std::net::IpAddr;

use crate::{
    IpPacket, PacketWriteError, Transport, checksum,
    headers::{ICMP, ICMPV6, TCP, UDP, Version},
};

/// The offset of the IPv4 header checksum in bytes. A payload checksum cannot be there.
const HEADER_CHECKSUM: usize = 10;

impl IpPacket {
    /// Replaces the source address.
    ///
    /// # Errors
    /// The IP version differs.
    pub fn set_source(&mut self, source: IpAddr) -> Result<(), PacketWriteError> {
        match source {
            IpAddr::V4(ip) => self.replace_address(Version::V4, 12, &ip.octets()),
            IpAddr::V6(ip) => self.replace_address(Version::V6, 8, &ip.octets()),
        }
    }

    /// Replaces the destination address.
    ///
    /// # Errors
    /// The IP version differs.
    pub fn set_destination(&mut self, destination: IpAddr) -> Result<(), PacketWriteError> {
        match destination {
            IpAddr::V4(ip) => self.replace_address(Version::V4, 16, &ip.octets()),
            IpAddr::V6(ip) => self.replace_address(Version::V6, 24, &ip.octets()),
        }
    }

    /// Replaces the source port of TCP or UDP, or the identifier of an echo.
    ///
    /// # Errors
    /// The packet has no source port.
    pub fn set_source_port(&mut self, port: u16) -> Result<(), PacketWriteError> {
        self.replace_port(0, port)
    }

    /// Replaces the destination port of TCP or UDP, or the identifier of an echo.
    ///
    /// # Errors
    /// The packet has no destination port.
    pub fn set_destination_port(&mut self, port: u16) -> Result<(), PacketWriteError> {
        self.replace_port(2, port)
    }

    fn replace_address(&mut self, version: Version, at: usize, new: &[u8]) -> Result<(), PacketWriteError> {
        if self.headers.version != version {
            return Err(PacketWriteError::Version);
        }
        let mut old = [0; 16];
        let old = &mut old[..new.len()];
        old.copy_from_slice(&self.bytes[at..at + new.len()]);
        self.bytes[at..at + new.len()].copy_from_slice(new);

        if version == Version::V4 {
            self.update_checksum(HEADER_CHECKSUM, old, new);
        }
        // Addresses are part of the pseudo header, which ICMP over IPv4 does not use.
        let covers_addresses = matches!(self.headers.protocol, TCP | UDP | ICMPV6);
        if let Some(checksum) = self.checksum_at().filter(|_| covers_addresses) {
            self.update_checksum(checksum, old, new);
        }

        Ok(())
    }

    fn replace_port(&mut self, at: usize, port: u16) -> Result<(), PacketWriteError> {
        let at = self.headers.payload()
            + match self.transport() {
                Transport::Tcp { .. } | Transport::Udp { .. } => at,
                Transport::Echo { .. } => 4,
                Transport::IcmpError(_) | Transport::OtherIcmp | Transport::Other(_) => {
                    return Err(PacketWriteError::NoPort);
                }
            };
        let old = [self.bytes[at], self.bytes[at + 1]];
        let new = port.to_be_bytes();
        self.bytes[at..at + 2].copy_from_slice(&new);
        if let Some(checksum) = self.checksum_at() {
            self.update_checksum(checksum, &old, &new);
        }

        Ok(())
    }

    /// The offset of the payload's checksum in bytes. `None` if there is none, or if the sender did not compute it.
    fn checksum_at(&self) -> Option<usize> {
        let payload = self.headers.payload();
        let at = match (self.headers.version, self.headers.protocol) {
            (_, TCP) => payload + 16,
            (_, UDP) => payload + 6,
            (Version::V4, ICMP) | (Version::V6, ICMPV6) => payload + 2,
            _ => return None,
        };
        let not_computed = self.headers.protocol == UDP && self.bytes[at..at + 2] == [0, 0];

        (!not_computed).then_some(at)
    }

    fn update_checksum(&mut self, at: usize, old: &[u8], new: &[u8]) {
        let checksum = u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]);
        let updated = match checksum::updated(checksum, old, new) {
            // Zero means "not computed" in UDP (RFC 768).
            0 if self.headers.protocol == UDP && at != HEADER_CHECKSUM => 0xffff,
            updated => updated,
        };
        self.bytes[at..at + 2].copy_from_slice(&updated.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        build,
        testing::{CLIENT_V4, CLIENT_V6, PAIRS, SERVER_V4, SERVER_V6, assert_checksums, at, echo_reply, ip, tcp, udp},
    };

    #[test]
    fn rewriting_keeps_checksums_correct() {
        for (pair, new) in PAIRS.into_iter().zip(["192.0.2.255", "2001:db8:ffff:ffff::ffff"]) {
            let (client, server) = (at(pair.0).ip(), at(pair.1).ip());
            let echo = build::echo_request(client, server, 9, 1, b"odd").unwrap();
            for packet in [udp(pair, b"odd"), tcp(pair, 1, 0x10, b"even"), echo] {
                let mut edited = packet.clone();

                edited.set_source(ip(new)).unwrap();
                edited.set_destination(client).unwrap();
                edited.set_source_port(0).unwrap();
                edited.set_destination_port(65535).unwrap();

                assert_eq!((edited.source(), edited.destination()), (ip(new), client));
                assert_checksums(&edited);
            }
        }
    }

    #[test]
    fn ports_are_replaced() {
        let mut packet = udp((CLIENT_V4, SERVER_V4), b"hello");
        packet.set_source_port(1).unwrap();
        packet.set_destination_port(2).unwrap();
        assert_eq!(packet.transport(), Transport::Udp { source: 1, destination: 2 });

        let mut echo = echo_reply(ip("10.0.0.1"), ip("10.0.0.2"), 9, 1, b"");
        echo.set_source_port(3).unwrap();
        assert_eq!(echo.transport(), Transport::Echo { id: 3, request: false });
    }

    #[test]
    fn rewriting_a_port_back_restores_the_packet() {
        for pair in PAIRS {
            let packet = udp(pair, b"hello");
            for port in 0..=u16::MAX {
                let mut edited = packet.clone();
                edited.set_source_port(port).unwrap();
                assert_checksums(&edited);
                assert_ne!(edited.payload()[6..8], [0, 0], "a computed checksum is never sent as zero");
            }
        }
    }

    #[test]
    fn missing_udp_checksum_stays_missing() {
        let mut bytes = udp((CLIENT_V4, SERVER_V4), b"hello").as_bytes().to_vec();
        bytes[26..28].fill(0);
        let mut packet = IpPacket::parse(&bytes).unwrap();

        packet.set_source(ip("192.0.2.1")).unwrap();
        packet.set_destination_port(53).unwrap();

        assert_eq!(packet.payload()[6..8], [0, 0]);
    }

    #[test]
    fn wrong_checksum_stays_wrong() {
        let mut bytes = udp((CLIENT_V4, SERVER_V4), b"hello").as_bytes().to_vec();
        bytes[29] ^= 1;
        let mut packet = IpPacket::parse(&bytes).unwrap();

        packet.set_source(ip("192.0.2.1")).unwrap();

        assert!(std::panic::catch_unwind(|| assert_checksums(&packet)).is_err());
    }

    #[test]
    fn mixed_ip_versions_and_missing_ports_are_errors() {
        let mut v4 = udp((CLIENT_V4, SERVER_V4), b"hello");
        let mut v6 = udp((CLIENT_V6, SERVER_V6), b"hello");
        let mut other = build::other(ip("10.0.0.1"), ip("10.0.0.2"), 47, &[0; 8]).unwrap();

        assert_eq!(v4.set_source(ip("::1")), Err(PacketWriteError::Version));
        assert_eq!(v6.set_destination(ip("10.0.0.1")), Err(PacketWriteError::Version));
        assert_eq!(other.set_source_port(1), Err(PacketWriteError::NoPort));
        assert_eq!(build::udp(at(CLIENT_V4), at(SERVER_V6), b""), Err(PacketWriteError::Version));
    }
}
