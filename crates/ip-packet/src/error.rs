//! Errors of parsing, building and rewriting packets.

use crate::MAX_IP_SIZE;

/// Why bytes are not a packet of the tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidPacket {
    /// Neither IPv4 nor IPv6.
    #[error("not an IP packet")]
    Version,
    /// The packet ends within a header.
    #[error("ends within a header")]
    Truncated,
    /// The length in the IP header differs from the length of the packet.
    #[error("the length in the IP header is wrong")]
    Length,
    /// The packet exceeds the MTU of the tunnel.
    #[error("larger than {MAX_IP_SIZE} bytes")]
    TooLarge,
    /// A fragment; the tunnel carries complete packets only.
    #[error("a fragment")]
    Fragment,
    /// A header contradicts itself: lengths of IPv4 options, TCP options or UDP payload.
    #[error("a length within a header is wrong")]
    Header,
    /// ICMP in IPv6 or ICMPv6 in IPv4.
    #[error("ICMP of the other IP version")]
    IcmpVersion,
    /// A super packet with an invalid segment size or too many segments.
    #[error("not a super packet that can be split")]
    SuperPacket,
}

/// Why a packet cannot be built or rewritten.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PacketWriteError {
    /// An IPv4 and an IPv6 address in one packet.
    #[error("addresses of different IP versions")]
    Version,
    /// The packet would exceed the MTU.
    #[error("the packet would be too large")]
    TooLarge,
    /// The packet has no ports, or not this one.
    #[error("the packet has no such port")]
    NoPort,
    /// The result would not be a valid packet.
    #[error(transparent)]
    Invalid(#[from] InvalidPacket),
}
