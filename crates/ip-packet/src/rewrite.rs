//! Edits of address translation, with incremental checksums.

use std::net::IpAddr;

use crate::{
    Invalid, IpPacket, Transport, checksum,
    headers::{ICMP, ICMPV6, TCP, UDP, Version},
};

/// Where IPv4 keeps the checksum of its header; no checksum of a payload can be there.
const HEADER_CHECKSUM: usize = 10;

/// Why a packet cannot be built or edited like this.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unsuitable {
    /// An IPv4 and an IPv6 address in one packet.
    #[error("addresses of different IP versions")]
    Version,
    /// It would not fit the MTU.
    #[error("the packet would be too large")]
    TooLarge,
    /// It has no ports, or not this one.
    #[error("the packet has no such port")]
    NoPort,
    /// The result would not be a valid packet.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl IpPacket {
    /// Replaces the source address.
    pub fn set_source(&mut self, source: IpAddr) -> Result<(), Unsuitable> {
        match source {
            IpAddr::V4(ip) => self.replace_address(Version::V4, 12, &ip.octets()),
            IpAddr::V6(ip) => self.replace_address(Version::V6, 8, &ip.octets()),
        }
    }

    /// Replaces the destination address.
    pub fn set_destination(&mut self, destination: IpAddr) -> Result<(), Unsuitable> {
        match destination {
            IpAddr::V4(ip) => self.replace_address(Version::V4, 16, &ip.octets()),
            IpAddr::V6(ip) => self.replace_address(Version::V6, 24, &ip.octets()),
        }
    }

    /// Replaces the source port of TCP or UDP, or the identifier of a ping.
    pub fn set_source_port(&mut self, port: u16) -> Result<(), Unsuitable> {
        self.replace_port(0, port)
    }

    /// Replaces the destination port of TCP or UDP, or the identifier of a ping.
    pub fn set_destination_port(&mut self, port: u16) -> Result<(), Unsuitable> {
        self.replace_port(2, port)
    }

    fn replace_address(&mut self, version: Version, at: usize, new: &[u8]) -> Result<(), Unsuitable> {
        if self.headers.version != version {
            return Err(Unsuitable::Version);
        }
        let mut old = [0; 16];
        let old = &mut old[..new.len()];
        old.copy_from_slice(&self.bytes[at..at + new.len()]);
        self.bytes[at..at + new.len()].copy_from_slice(new);

        if version == Version::V4 {
            self.update_checksum(HEADER_CHECKSUM, old, new);
        }
        // Addresses are part of the pseudo header, which ICMP for IPv4 does not have.
        let covers_addresses = matches!(self.headers.protocol, TCP | UDP | ICMPV6);
        if let Some(checksum) = self.checksum_at().filter(|_| covers_addresses) {
            self.update_checksum(checksum, old, new);
        }

        Ok(())
    }

    fn replace_port(&mut self, at: usize, port: u16) -> Result<(), Unsuitable> {
        let at = self.headers.payload()
            + match self.transport() {
                Transport::Tcp { .. } | Transport::Udp { .. } => at,
                Transport::Echo { .. } => 4,
                Transport::IcmpError(_) | Transport::OtherIcmp | Transport::Other(_) => return Err(Unsuitable::NoPort),
            };
        let old = [self.bytes[at], self.bytes[at + 1]];
        let new = port.to_be_bytes();
        self.bytes[at..at + 2].copy_from_slice(&new);
        if let Some(checksum) = self.checksum_at() {
            self.update_checksum(checksum, &old, &new);
        }

        Ok(())
    }

    /// Where the checksum of the payload is. `None` if there is none, or if its sender did not compute it.
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
        testing::{CLIENT_V4, CLIENT_V6, PAIRS, SERVER_V4, SERVER_V6, assert_checksums, at, ip, tcp, udp},
    };

    #[test]
    fn every_edit_keeps_the_checksums_right() {
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
    fn ports_are_replaced_where_they_are() {
        let mut packet = udp((CLIENT_V4, SERVER_V4), b"hello");
        packet.set_source_port(1).unwrap();
        packet.set_destination_port(2).unwrap();
        assert_eq!(packet.transport(), Transport::Udp { source: 1, destination: 2 });

        let mut echo = build::echo_reply(ip("10.0.0.1"), ip("10.0.0.2"), 9, 1, b"").unwrap();
        echo.set_source_port(3).unwrap();
        assert_eq!(echo.transport(), Transport::Echo { id: 3, request: false });
    }

    #[test]
    fn every_port_and_checksum_survives_there_and_back() {
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
    fn a_checksum_that_was_not_computed_stays_so() {
        let mut bytes = udp((CLIENT_V4, SERVER_V4), b"hello").as_bytes().to_vec();
        bytes[26..28].fill(0);
        let mut packet = IpPacket::parse(&bytes).unwrap();

        packet.set_source(ip("192.0.2.1")).unwrap();
        packet.set_destination_port(53).unwrap();

        assert_eq!(packet.payload()[6..8], [0, 0]);
    }

    #[test]
    fn a_wrong_checksum_stays_wrong() {
        let mut bytes = udp((CLIENT_V4, SERVER_V4), b"hello").as_bytes().to_vec();
        bytes[29] ^= 1;
        let mut packet = IpPacket::parse(&bytes).unwrap();

        packet.set_source(ip("192.0.2.1")).unwrap();

        assert!(std::panic::catch_unwind(|| assert_checksums(&packet)).is_err());
    }

    #[test]
    fn ip_versions_are_not_mixed_and_missing_ports_are_not_invented() {
        let mut v4 = udp((CLIENT_V4, SERVER_V4), b"hello");
        let mut v6 = udp((CLIENT_V6, SERVER_V6), b"hello");
        let mut other = build::other(ip("10.0.0.1"), ip("10.0.0.2"), 47, &[0; 8]).unwrap();

        assert_eq!(v4.set_source(ip("::1")), Err(Unsuitable::Version));
        assert_eq!(v6.set_destination(ip("10.0.0.1")), Err(Unsuitable::Version));
        assert_eq!(other.set_source_port(1), Err(Unsuitable::NoPort));
        assert_eq!(build::udp(at(CLIENT_V4), at(SERVER_V6), b""), Err(Unsuitable::Version));
    }
}
