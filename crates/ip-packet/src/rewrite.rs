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
