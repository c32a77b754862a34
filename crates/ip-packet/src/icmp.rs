//! ICMP errors: ours, and those of others (RFC 792, RFC 4443).

use std::net::IpAddr;

use crate::{
    IpPacket, MAX_IP_SIZE,
    buffer::Buffer,
    build,
    checksum::Sum,
    headers::{Headers, ICMP, ICMP_HEADER, ICMPV6, IPV6_HEADER, TCP, UDP, Version},
    packet,
};

pub(crate) const ECHO_REPLY_V4: u8 = 0;
pub(crate) const ECHO_REQUEST_V4: u8 = 8;
pub(crate) const ECHO_REQUEST_V6: u8 = 128;
pub(crate) const ECHO_REPLY_V6: u8 = 129;

const UNREACHABLE_V4: u8 = 3;
const TIME_EXCEEDED_V4: u8 = 11;
const UNREACHABLE_V6: u8 = 1;
const PACKET_TOO_BIG_V6: u8 = 2;
const TIME_EXCEEDED_V6: u8 = 3;

const NETWORK_V4: u8 = 0;
const PROHIBITED_V4: u8 = 13;
const PROHIBITED_V6: u8 = 1;
const ADDRESS_V6: u8 = 3;

/// How far our errors travel.
const TTL: u8 = 20;

/// What an ICMP error quotes of the packet that caused it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Quoted {
    /// Who had sent the packet.
    pub source: IpAddr,
    /// Who was to receive it.
    pub destination: IpAddr,
    /// What was inside.
    pub transport: QuotedTransport,
    /// The type of the error, in the numbers of the ICMP of this IP version.
    pub icmp_type: u8,
    /// Its code.
    pub icmp_code: u8,
}

/// Which conversation a quoted packet belongs to.
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
    /// A ping.
    Echo {
        /// Its identifier.
        id: u16,
    },
}

impl Quoted {
    /// Whether the error says that an administrator forbids the packet.
    #[must_use]
    pub fn is_prohibited(&self) -> bool {
        match self.source {
            IpAddr::V4(_) => (self.icmp_type, self.icmp_code) == (UNREACHABLE_V4, PROHIBITED_V4),
            IpAddr::V6(_) => (self.icmp_type, self.icmp_code) == (UNREACHABLE_V6, PROHIBITED_V6),
        }
    }

    /// Reads the packet quoted in an ICMP error. `None` if this is no error, or if it quotes too little.
    pub(crate) fn of(error: &IpPacket) -> Option<Self> {
        let version = error.headers.version;
        let (header, quote) = quote(error)?;
        let headers = Headers::read(quote).ok().filter(|headers| headers.version == version)?;
        let payload = &quote[headers.payload()..];
        let word = |at: usize| Some(u16::from_be_bytes([*payload.get(at)?, *payload.get(at + 1)?]));

        let transport = match (version, headers.protocol) {
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
            source: packet::source(quote, version),
            destination: packet::destination(quote, version),
            transport,
            icmp_type: header[0],
            icmp_code: header[1],
        })
    }
}

/// "Communication administratively prohibited": the sender may not do this.
///
/// `None` for packets that must not be answered with an error (RFC 1122 3.2.2, RFC 4443 2.4 (e)): errors themselves, and
/// packets from or to more than one host.
#[must_use]
pub fn prohibited(original: &IpPacket) -> Option<IpPacket> {
    match original.headers.version {
        Version::V4 => error(original, UNREACHABLE_V4, PROHIBITED_V4),
        Version::V6 => error(original, UNREACHABLE_V6, PROHIBITED_V6),
    }
}

/// "Network unreachable" (IPv4) or "address unreachable" (IPv6): there is no such host.
///
/// `None` as for [`prohibited`].
#[must_use]
pub fn unreachable(original: &IpPacket) -> Option<IpPacket> {
    match original.headers.version {
        Version::V4 => error(original, UNREACHABLE_V4, NETWORK_V4),
        Version::V6 => error(original, UNREACHABLE_V6, ADDRESS_V6),
    }
}

/// The same error, as the far side of an address translation must see it: from `from` to `to`, quoting a packet to `from`
/// with this source port or identifier. Checksums within the quote are left alone, as the quote is cut anyway.
///
/// `None` if `error` is no error that quotes enough, or if the IP versions differ.
#[must_use]
pub fn translated(error: &IpPacket, from: IpAddr, to: IpAddr, quoted_source_port: u16) -> Option<IpPacket> {
    let quoted = Quoted::of(error)?;
    let (header, quote) = quote(error)?;
    let mut quote = Buffer::copy_of(quote);
    let payload = Headers::read(&quote).ok()?.payload();
    match (error.headers.version, from) {
        (Version::V4, IpAddr::V4(ip)) => quote[16..20].copy_from_slice(&ip.octets()),
        (Version::V6, IpAddr::V6(ip)) => quote[24..40].copy_from_slice(&ip.octets()),
        (Version::V4, IpAddr::V6(_)) | (Version::V6, IpAddr::V4(_)) => return None,
    }
    let port = match quoted.transport {
        QuotedTransport::Tcp { .. } | QuotedTransport::Udp { .. } => payload,
        QuotedTransport::Echo { .. } => payload + 4,
    };
    quote[port..port + 2].copy_from_slice(&quoted_source_port.to_be_bytes());

    assemble(from, to, *header, &quote)
}

/// An error's ICMP header and what it quotes; `None` if this is no error of a kind that we know.
fn quote(packet: &IpPacket) -> Option<(&[u8; ICMP_HEADER], &[u8])> {
    let (header, quote) = packet.payload().split_first_chunk::<ICMP_HEADER>()?;
    let is_error = matches!(
        (packet.headers.version, packet.headers.protocol, header[0]),
        (Version::V4, ICMP, UNREACHABLE_V4 | TIME_EXCEEDED_V4)
            | (Version::V6, ICMPV6, UNREACHABLE_V6 | PACKET_TOO_BIG_V6 | TIME_EXCEEDED_V6)
    );

    is_error.then_some((header, quote))
}

fn error(original: &IpPacket, icmp_type: u8, icmp_code: u8) -> Option<IpPacket> {
    if !may_be_answered(original) {
        return None;
    }
    // The error travels the other way.
    let (from, to) = (original.destination(), original.source());
    let quoted = match original.headers.version {
        // The header and the first 8 bytes of the payload (RFC 792).
        Version::V4 => original.headers.payload() + 8,
        // As much as fits (RFC 4443 2.4 (c)).
        Version::V6 => MAX_IP_SIZE - IPV6_HEADER - ICMP_HEADER,
    };
    let quote = &original.as_bytes()[..quoted.min(original.as_bytes().len())];

    assemble(from, to, [icmp_type, icmp_code, 0, 0, 0, 0, 0, 0], quote)
}

/// An error from `from` to `to`; the checksum of the header is filled in.
fn assemble(from: IpAddr, to: IpAddr, header: [u8; ICMP_HEADER], quote: &[u8]) -> Option<IpPacket> {
    let length = u16::try_from(ICMP_HEADER + quote.len()).ok()?;
    let (protocol, sum) = match from {
        IpAddr::V4(_) => (ICMP, Sum::default()),
        IpAddr::V6(_) => (ICMPV6, Sum::default().add_pseudo_header(from, to, ICMPV6, length)),
    };
    let mut bytes = build::ip_header(from, to, protocol, length, TTL).ok()?;
    let start = bytes.len();
    bytes.extend_from_slice(&header);
    bytes[start + 2..start + 4].fill(0);
    bytes.extend_from_slice(quote);
    let checksum = sum.add(&bytes[start..]).checksum();
    bytes[start + 2..start + 4].copy_from_slice(&checksum.to_be_bytes());

    IpPacket::from_buffer(bytes).ok()
}

fn may_be_answered(original: &IpPacket) -> bool {
    let is_icmp_error = match (original.headers.version, original.headers.protocol) {
        // Everything but the queries and their answers (RFC 1122 3.2.2).
        (Version::V4, ICMP) => matches!(original.payload()[0], 3 | 4 | 5 | 11 | 12),
        // Types below 128 are errors (RFC 4443 2.1); 137 is a redirect.
        (Version::V6, ICMPV6) => matches!(original.payload()[0], 0..=127 | 137),
        _ => false,
    };
    let one_host = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };

    !is_icmp_error && one_host(original.source()) && one_host(original.destination())
}
