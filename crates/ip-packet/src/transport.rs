//! The transport header of a packet.

use crate::{
    headers::{
        ECHO_REPLY_V4, ECHO_REPLY_V6, ECHO_REQUEST_V4, ECHO_REQUEST_V6, Headers, ICMP, ICMPV6, TCP, UDP, Version,
    },
    quoted::Quoted,
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
    /// An echo request or reply, ICMP or ICMPv6.
    Echo {
        /// The identifier, which relates a reply to its request like a port.
        id: u16,
        /// Whether it is the request.
        request: bool,
    },
    /// An ICMP or ICMPv6 error that quotes enough to identify the flow.
    IcmpError(Quoted),
    /// Any other ICMP or ICMPv6.
    OtherIcmp,
    /// The number of another protocol.
    Other(u8),
}

impl Transport {
    /// Reads the transport header of a valid packet.
    pub(crate) fn of(headers: Headers, packet: &[u8]) -> Self {
        let payload = &packet[headers.payload()..];
        let word = |at| u16::from_be_bytes([payload[at], payload[at + 1]]);

        match (headers.version, headers.protocol) {
            (_, TCP) => Self::Tcp { source: word(0), destination: word(2) },
            (_, UDP) => Self::Udp { source: word(0), destination: word(2) },
            (version, ICMP | ICMPV6) => match (version, payload[0]) {
                (Version::V4, ECHO_REQUEST_V4) | (Version::V6, ECHO_REQUEST_V6) => {
                    Self::Echo { id: word(4), request: true }
                }
                (Version::V4, ECHO_REPLY_V4) | (Version::V6, ECHO_REPLY_V6) => {
                    Self::Echo { id: word(4), request: false }
                }
                _ => Quoted::of(headers, packet).map_or(Self::OtherIcmp, Self::IcmpError),
            },
            (_, other) => Self::Other(other),
        }
    }
}
