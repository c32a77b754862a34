//! ICMP errors: building and translation (RFC 792, RFC 4443).

use std::net::IpAddr;

use crate::{
    IpPacket, MAX_IP_SIZE,
    buffer::Buffer,
    checksum::Sum,
    headers::{Headers, ICMP, ICMP_HEADER, ICMPV6, IPV6_HEADER, Version},
    ip_header::ip_header,
    quoted::{PROHIBITED_V4, PROHIBITED_V6, UNREACHABLE_V4, UNREACHABLE_V6, quote},
};

pub use crate::quoted::{Quoted, QuotedTransport};

const NETWORK_V4: u8 = 0;
const ADDRESS_V6: u8 = 3;

/// TTL or hop limit of our errors.
const TTL: u8 = 20;

/// "Communication administratively prohibited".
///
/// `None` for packets that must not be answered with an error (RFC 1122 3.2.2, RFC 4443 2.4 (e)): errors, and packets from
/// or to more than one host.
#[must_use]
pub fn prohibited(original: &IpPacket) -> Option<IpPacket> {
    match original.headers.version {
        Version::V4 => error(original, UNREACHABLE_V4, PROHIBITED_V4),
        Version::V6 => error(original, UNREACHABLE_V6, PROHIBITED_V6),
    }
}

/// "Network unreachable" (IPv4) or "address unreachable" (IPv6).
///
/// `None` as for [`prohibited`].
#[must_use]
pub fn unreachable(original: &IpPacket) -> Option<IpPacket> {
    match original.headers.version {
        Version::V4 => error(original, UNREACHABLE_V4, NETWORK_V4),
        Version::V6 => error(original, UNREACHABLE_V6, ADDRESS_V6),
    }
}

/// The same error after address translation: from `from` to `to`, quoting a packet to `from` with this source port or
/// identifier. Checksums within the quote are not updated, because the quote is truncated.
///
/// `None` if `error` is not an error or quotes too little, or if the IP versions differ.
#[must_use]
pub fn translated(error: &IpPacket, from: IpAddr, to: IpAddr, quoted_source_port: u16) -> Option<IpPacket> {
    let quoted = Quoted::of(error.headers, error.as_bytes())?;
    let (header, quote) = quote(error.headers, error.as_bytes())?;
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

fn error(original: &IpPacket, icmp_type: u8, icmp_code: u8) -> Option<IpPacket> {
    if !may_be_answered(original) {
        return None;
    }
    // The error goes to the source of the packet.
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

/// An error from `from` to `to`, with its checksum.
fn assemble(from: IpAddr, to: IpAddr, header: [u8; ICMP_HEADER], quote: &[u8]) -> Option<IpPacket> {
    let length = u16::try_from(ICMP_HEADER + quote.len()).ok()?;
    let (protocol, sum) = match from {
        IpAddr::V4(_) => (ICMP, Sum::default()),
        IpAddr::V6(_) => (ICMPV6, Sum::default().add_pseudo_header(from, to, ICMPV6, length)),
    };
    let mut bytes = ip_header(from, to, protocol, length, TTL).ok()?;
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
        // All types except queries and their replies (RFC 1122 3.2.2).
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Transport, build,
        quoted::{TIME_EXCEEDED_V4, TIME_EXCEEDED_V6},
        testing::{
            CLIENT_V4, CLIENT_V6, PAIRS, SERVER_V4, SERVER_V6, assert_checksums, at, echo_reply, edited, hex, ip, tcp,
            udp,
        },
    };

    #[test]
    fn prohibited_over_ipv4_has_the_documented_56_bytes() {
        let original = hex("4500001e0000000040110c70644000070a1400059c401388000a79486869");
        let expected = hex(concat!(
            "4500003800000000140138660a14000564400007030dd3d700000000",
            "4500001e0000000040110c70644000070a1400059c401388000a7948"
        ));

        let error = prohibited(&IpPacket::parse(&original).unwrap()).unwrap();

        assert_eq!(error.as_bytes(), expected);
        assert_checksums(&error);
    }

    #[test]
    fn prohibited_over_ipv6_has_the_documented_98_bytes() {
        let original = hex(concat!(
            "60000000000a1140fd002021111100000000000000000007fd002021111180000000000000000004",
            "9c401388000a0b376869"
        ));
        let expected = hex(concat!(
            "60000000003a3a14fd002021111180000000000000000004fd002021111100000000000000000007",
            "0101b0e900000000",
            "60000000000a1140fd002021111100000000000000000007fd002021111180000000000000000004",
            "9c401388000a0b376869"
        ));

        let error = prohibited(&IpPacket::parse(&original).unwrap()).unwrap();

        assert_eq!(error.as_bytes(), expected);
        assert_checksums(&error);
    }

    #[test]
    fn unreachable_code_is_network_for_ipv4_and_address_for_ipv6() {
        for (pair, expected) in PAIRS.into_iter().zip([[3, 0], [1, 3]]) {
            let error = unreachable(&tcp(pair, 1, 0x02, b"")).unwrap();

            assert_eq!(error.payload()[..2], expected);
            assert!(!quoted(&error).is_prohibited());
            assert_checksums(&error);
        }
    }

    #[test]
    fn quote_length_follows_the_protocol() {
        let large = [7; 1000];
        let largest = [7; 1232];

        assert_eq!(prohibited(&udp((CLIENT_V4, SERVER_V4), &large)).unwrap().as_bytes().len(), 20 + 8 + 20 + 8);
        assert_eq!(prohibited(&udp((CLIENT_V6, SERVER_V6), &largest)).unwrap().as_bytes().len(), 1280);
    }

    #[test]
    fn quoted_packet_is_parsed() {
        for pair in PAIRS {
            let (client, server) = (at(pair.0), at(pair.1));
            let echo = build::echo_request(client.ip(), server.ip(), 9, 1, b"ping").unwrap();
            for (original, transport) in [
                (udp(pair, b"hello"), QuotedTransport::Udp { source: 40000, destination: 5000 }),
                (tcp(pair, 1, 0x02, b""), QuotedTransport::Tcp { source: 40000, destination: 5000 }),
                (echo, QuotedTransport::Echo { id: 9 }),
            ] {
                let error = prohibited(&original).unwrap();

                let quoted = quoted(&error);

                assert_eq!((error.source(), error.destination()), (server.ip(), client.ip()));
                assert_eq!((quoted.source, quoted.destination), (client.ip(), server.ip()));
                assert_eq!(quoted.transport, transport);
                assert!(quoted.is_prohibited());
            }
        }
    }

    #[test]
    fn quote_requires_four_bytes_of_ports_or_eight_of_an_echo() {
        for pair in PAIRS {
            let (client, server) = (at(pair.0).ip(), at(pair.1).ip());
            let ip_header = if client.is_ipv4() { 20 } else { 40 };
            let echo = build::echo_request(client, server, 9, 1, b"ping").unwrap();
            for (original, needed) in [(udp(pair, b"hello"), 4), (tcp(pair, 1, 0x02, b""), 4), (echo, 8)] {
                for length in 0..=8 {
                    let error = time_exceeded(&original.as_bytes()[..ip_header + length], server, client);

                    let is_recognised = matches!(error.transport(), Transport::IcmpError(_));

                    assert_eq!(is_recognised, length >= needed, "{length} bytes of {original:?}");
                }
            }
        }
    }

    #[test]
    fn quoted_echo_reply_is_not_recognised() {
        let reply = echo_reply(ip("10.0.0.1"), ip("10.0.0.2"), 9, 1, b"pong");

        let error = prohibited(&reply).unwrap();

        assert_eq!(error.transport(), Transport::OtherIcmp);
    }

    #[test]
    fn errors_and_multicast_are_not_answered_with_errors() {
        let error = prohibited(&udp((CLIENT_V4, SERVER_V4), b"hello")).unwrap();
        let error_v6 = prohibited(&udp((CLIENT_V6, SERVER_V6), b"hello")).unwrap();

        assert_eq!(prohibited(&error), None);
        assert_eq!(unreachable(&error_v6), None);
        for pair in [
            (CLIENT_V4, "224.0.0.251:5353"),
            (CLIENT_V4, "255.255.255.255:67"),
            ("0.0.0.0:68", SERVER_V4),
            (CLIENT_V6, "[ff02::1]:5353"),
            ("[::]:1", SERVER_V6),
        ] {
            assert_eq!(prohibited(&udp(pair, b"hello")), None, "{pair:?}");
        }
    }

    #[test]
    fn translated_error_quotes_the_packet_of_the_client() {
        for (pair, proxy) in PAIRS.into_iter().zip(["100.96.0.1", "fd00:2021:1111:8000::1"]) {
            let (client, server) = (at(pair.0).ip(), at(pair.1).ip());
            // After translation the packet had another source port.
            let error = unreachable(&udp((&format_at(client, 41000), pair.1), b"hello")).unwrap();

            let error = translated(&error, ip(proxy), client, 40000).unwrap();

            assert_eq!((error.source(), error.destination()), (ip(proxy), client));
            let quoted = quoted(&error);
            assert_eq!((quoted.source, quoted.destination), (client, ip(proxy)));
            assert_eq!(quoted.transport, QuotedTransport::Udp { source: 40000, destination: 5000 });
            assert_checksums(&error);
            assert_ne!(server, ip(proxy));
        }
    }

    #[test]
    fn translation_keeps_the_mtu_of_an_error() {
        let original = unreachable(&udp((CLIENT_V4, SERVER_V4), b"hello")).unwrap();
        let too_big = edited(&original, |bytes| bytes[20..28].copy_from_slice(&[3, 4, 0, 0, 0, 0, 0x05, 0x00]));

        let error = translated(&too_big, ip("100.96.0.1"), ip("100.64.0.7"), 40000).unwrap();

        assert_eq!(error.payload()[..2], [3, 4]);
        assert_eq!(error.payload()[4..8], [0, 0, 5, 0]);
        assert_checksums(&error);
    }

    #[test]
    fn only_errors_are_translated() {
        assert_eq!(translated(&udp((CLIENT_V4, SERVER_V4), b"hello"), ip("100.96.0.1"), ip("100.64.0.7"), 1), None);
        let error = prohibited(&udp((CLIENT_V4, SERVER_V4), b"hello")).unwrap();
        assert_eq!(translated(&error, ip("fd00::1"), ip("100.64.0.7"), 1), None);
    }

    fn quoted(error: &IpPacket) -> Quoted {
        let Transport::IcmpError(quoted) = error.transport() else {
            panic!("{error:?} is not an error");
        };
        quoted
    }

    fn time_exceeded(quote: &[u8], from: IpAddr, to: IpAddr) -> IpPacket {
        let icmp_type = if from.is_ipv4() { TIME_EXCEEDED_V4 } else { TIME_EXCEEDED_V6 };
        assemble(from, to, [icmp_type, 0, 0, 0, 0, 0, 0, 0], quote).unwrap()
    }

    fn format_at(ip: IpAddr, port: u16) -> String {
        std::net::SocketAddr::new(ip, port).to_string()
    }
}
