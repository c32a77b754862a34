//! What is inside a packet.

use crate::{
    IpPacket,
    headers::{ICMP, ICMPV6, TCP, UDP, Version},
    icmp::{self, Quoted},
};

/// The protocol above IP, as far as the tunnel distinguishes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Transport {
    /// A TCP segment.
    Tcp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// A UDP datagram.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// A ping or its answer, ICMP or ICMPv6.
    Echo {
        /// What ties an answer to its request, like a port.
        id: u16,
        /// Whether it is the ping.
        request: bool,
    },
    /// An ICMP or ICMPv6 error that quotes enough to know whom it concerns.
    IcmpError(Quoted),
    /// Any other ICMP or ICMPv6.
    OtherIcmp,
    /// Another protocol, by its number.
    Other(u8),
}

impl Transport {
    pub(crate) fn of(packet: &IpPacket) -> Self {
        let payload = packet.payload();
        let word = |at| u16::from_be_bytes([payload[at], payload[at + 1]]);

        match (packet.headers.version, packet.headers.protocol) {
            (_, TCP) => Self::Tcp { source: word(0), destination: word(2) },
            (_, UDP) => Self::Udp { source: word(0), destination: word(2) },
            (version, ICMP | ICMPV6) => match (version, payload[0]) {
                (Version::V4, icmp::ECHO_REQUEST_V4) | (Version::V6, icmp::ECHO_REQUEST_V6) => {
                    Self::Echo { id: word(4), request: true }
                }
                (Version::V4, icmp::ECHO_REPLY_V4) | (Version::V6, icmp::ECHO_REPLY_V6) => {
                    Self::Echo { id: word(4), request: false }
                }
                _ => Quoted::of(packet).map_or(Self::OtherIcmp, Self::IcmpError),
            },
            (_, other) => Self::Other(other),
        }
    }
}
