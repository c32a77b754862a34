//! The packet that an ICMP error quotes (RFC 792, RFC 4443).

use std::net::IpAddr;

use crate::headers::{self, ECHO_REQUEST_V4, ECHO_REQUEST_V6, Headers, ICMP, ICMP_HEADER, ICMPV6, TCP, UDP, Version};

pub(crate) const UNREACHABLE_V4: u8 = 3;
pub(crate) const TIME_EXCEEDED_V4: u8 = 11;
pub(crate) const UNREACHABLE_V6: u8 = 1;
pub(crate) const PACKET_TOO_BIG_V6: u8 = 2;
pub(crate) const TIME_EXCEEDED_V6: u8 = 3;

pub(crate) const PROHIBITED_V4: u8 = 13;
pub(crate) const PROHIBITED_V6: u8 = 1;

/// The packet that an ICMP error quotes: the one that caused it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Quoted {
    /// The source of the packet.
    pub source: IpAddr,
    /// The destination of the packet.
    pub destination: IpAddr,
    /// The transport header of the packet.
    pub transport: QuotedTransport,
    /// The type of the error, in the numbering of this IP version.
    pub icmp_type: u8,
    /// The code of the error.
    pub icmp_code: u8,
}

/// The flow that a quoted packet belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum QuotedTransport {
    /// A TCP connection.
    Tcp {
        /// Source port of the quoted packet.
        source: u16,
        /// Destination port of the quoted packet.
        destination: u16,
    },
    /// A UDP flow.
    Udp {
        /// Source port of the quoted packet.
        source: u16,
        /// Destination port of the quoted packet.
        destination: u16,
    },
    /// An echo request.
    Echo {
        /// The identifier.
        id: u16,
    },
}

impl Quoted {
    /// Whether the error is "communication administratively prohibited".
    #[must_use]
    pub fn is_prohibited(&self) -> bool {
        match self.source {
            IpAddr::V4(_) => (self.icmp_type, self.icmp_code) == (UNREACHABLE_V4, PROHIBITED_V4),
            IpAddr::V6(_) => (self.icmp_type, self.icmp_code) == (UNREACHABLE_V6, PROHIBITED_V6),
        }
    }

    /// Parses the packet quoted in an ICMP error. `None` if this is not an error, or if it quotes too little.
    pub(crate) fn of(headers: Headers, error: &[u8]) -> Option<Self> {
        let version = headers.version;
        let (header, quote) = quote(headers, error)?;
        let quoted = Headers::read(quote).ok().filter(|quoted| quoted.version == version)?;
        let payload = &quote[quoted.payload()..];
        let word = |at: usize| Some(u16::from_be_bytes([*payload.get(at)?, *payload.get(at + 1)?]));

        let transport = match (version, quoted.protocol) {
            (_, TCP) => QuotedTransport::Tcp { source: word(0)?, destination: word(2)? },
            (_, UDP) => QuotedTransport::Udp { source: word(0)?, destination: word(2)? },
            (Version::V4, ICMP) if payload.len() >= ICMP_HEADER && payload[0] == ECHO_REQUEST_V4 => {
                QuotedTransport::Echo { id: word(4)? }
            }
            (Version::V6, ICMPV6) if payload.len() >= ICMP_HEADER && payload[0] == ECHO_REQUEST_V6 => {
                QuotedTransport::Echo { id: word(4)? }
            }
            _ => return None,
        };

        Some(Self {
            source: headers::source(quote, version),
            destination: headers::destination(quote, version),
            transport,
            icmp_type: header[0],
            icmp_code: header[1],
        })
    }
}

/// The ICMP header of an error and the packet that it quotes; `None` if this is not an error of a known type.
pub(crate) fn quote(headers: Headers, packet: &[u8]) -> Option<(&[u8; ICMP_HEADER], &[u8])> {
    let (header, quote) = packet[headers.payload()..].split_first_chunk::<ICMP_HEADER>()?;
    let is_error = matches!(
        (headers.version, headers.protocol, header[0]),
        (Version::V4, ICMP, UNREACHABLE_V4 | TIME_EXCEEDED_V4)
            | (Version::V6, ICMPV6, UNREACHABLE_V6 | PACKET_TOO_BIG_V6 | TIME_EXCEEDED_V6)
    );

    is_error.then_some((header, quote))
}
