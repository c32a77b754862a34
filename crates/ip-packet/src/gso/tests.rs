//! Apart and together again.

use super::{Coalescer, GsoType, Header, split};
use crate::{
    Ecn, InvalidPacket, IpPacket,
    build::tcp_flag::{ACK, CWR, FIN, PSH},
    testing::{CLIENT_V4, CLIENT_V6, PAIRS, SERVER_V4, SERVER_V6, assert_checksums, at, edited, tcp, udp},
};

const V4: (&str, &str) = (CLIENT_V4, SERVER_V4);
const V6: (&str, &str) = (CLIENT_V6, SERVER_V6);

#[test]
fn coalesced_packets_split_into_the_originals() {
    for pair in PAIRS {
        // The sequence number wraps on the way.
        let start = u32::MAX - 2000;
        let tcp: Vec<_> = (0..20).map(|i| tcp(pair, start.wrapping_add(i * 1000), ACK, &[i as u8; 1000])).collect();
        let udp: Vec<_> = (0..20).map(|i| udp(pair, &[i; 999])).collect();
        for packets in [tcp, udp] {
            let writes = coalesce(packets.clone());

            assert_eq!(writes.len(), 1);
            let parts = read(&writes[0]);
            for (part, packet) in parts.iter().zip(&packets) {
                assert_eq!(without_id(part), without_id(packet));
                assert_checksums(part);
            }
            assert_eq!(parts.len(), 20);
        }
    }
}

#[test]
fn virtio_header_describes_the_segmentation() {
    for (pair, kind, ip_header) in [(V4, GsoType::TcpV4, 20), (V6, GsoType::TcpV6, 40)] {
        let writes = coalesce(vec![tcp(pair, 0, ACK, &[1; 1000]), tcp(pair, 1000, ACK | PSH, &[2; 10])]);

        let expected = Header {
            kind,
            needs_checksum: true,
            header_length: ip_header + 20,
            segment: 1000,
            checksum_start: ip_header,
            checksum_offset: 16,
        };
        assert_eq!(writes[0][..10], expected.encode());
        let tcp = &writes[0][10 + usize::from(ip_header)..];
        assert_eq!(tcp[13], ACK | PSH, "the push of the last packet is kept");
    }
}

#[test]
fn partial_checksum_is_the_sum_of_the_pseudo_header() {
    let writes = coalesce(vec![udp(V4, &[1; 100]), udp(V4, &[2; 100])]);
    let packet = &writes[0][10..];

    // 100.64.0.7 → 10.20.0.5, UDP, 208 bytes.
    let sum = [0x6440u32, 0x0007, 0x0a14, 0x0005, 17, 208].iter().sum::<u32>();
    assert_eq!(u32::from(u16::from_be_bytes([packet[26], packet[27]])), (sum >> 16) + (sum & 0xffff));
    assert_eq!(packet[2..4], 228u16.to_be_bytes(), "the length of the IPv4 packet");
    assert_eq!(packet[24..26], 208u16.to_be_bytes(), "the length of the UDP datagram");
}

#[test]
fn identification_increments_and_only_the_last_segment_closes() {
    let writes = coalesce((0..3).map(|i| tcp(V4, i * 100, ACK, &[1; 100])).collect());
    let mut bytes = writes[0].clone();
    bytes[10 + 4..10 + 6].copy_from_slice(&0xffffu16.to_be_bytes());
    bytes[10 + 20 + 13] |= FIN | PSH | CWR;

    let parts = read(&bytes);

    let ids: Vec<_> = parts.iter().map(|part| part.as_bytes()[4..6].to_vec()).collect();
    assert_eq!(ids, [[0xff, 0xff], [0, 0], [0, 1]]);
    let flags: Vec<_> = parts.iter().map(|part| part.payload()[13]).collect();
    assert_eq!(flags, [ACK | CWR, ACK, ACK | FIN | PSH]);
    parts.iter().for_each(assert_checksums);
}

#[test]
fn zero_udp_checksum_is_sent_as_all_ones() {
    for pair in PAIRS {
        // Looks for a payload whose checksum comes out as zero.
        let found = (0..=u16::MAX).find_map(|word| {
            let packet = udp(pair, &word.to_be_bytes());
            (packet.payload()[6..8] == [0xff, 0xff]).then_some(packet)
        });
        let packet = found.unwrap();
        let mut bytes = super_packet(GsoType::Udp, 2, &packet);
        bytes.extend_from_slice(&packet.payload()[8..]);
        fix_length(&mut bytes);

        let parts = read(&bytes);

        assert_eq!(parts.len(), 2);
        for part in parts {
            assert_eq!(part.payload()[6..8], [0xff, 0xff]);
            assert_checksums(&part);
        }
    }
}

#[test]
fn partial_checksum_is_completed() {
    for pair in PAIRS {
        for (packet, offset) in [(udp(pair, b"odd"), 6), (tcp(pair, 1, ACK, b"even"), 16)] {
            let start = packet.headers.payload();
            let mut bytes = packet.as_bytes().to_vec();
            let pseudo = crate::checksum::Sum::default().add_pseudo_header(
                packet.source(),
                packet.destination(),
                packet.headers.protocol,
                packet.payload().len() as u16,
            );
            bytes[start + offset..start + offset + 2].copy_from_slice(&pseudo.folded().to_be_bytes());
            let header = Header {
                needs_checksum: true,
                checksum_start: start as u16,
                checksum_offset: offset as u16,
                ..Header::default()
            };

            let parts: Vec<_> = split(header, &mut bytes).collect();

            assert_eq!(parts, [Ok(packet)]);
        }
    }
}

#[test]
fn checksum_offset_outside_the_packet_is_an_error() {
    let packet = udp(V4, b"hello");
    for (start, offset) in [(20, 13), (33, 0), (65535, 65535)] {
        let header =
            Header { needs_checksum: true, checksum_start: start, checksum_offset: offset, ..Header::default() };

        let parts: Vec<_> = split(header, &mut packet.as_bytes().to_vec()).collect();

        assert_eq!(parts, [Err(InvalidPacket::Truncated)]);
    }
}

#[test]
fn malformed_super_packet_is_one_error() {
    let tcp = tcp(V4, 0, ACK, &[1; 1000]);
    let fragment = {
        let mut bytes = super_packet(GsoType::TcpV4, 100, &tcp);
        bytes[10 + 6] = 0x20;
        bytes
    };
    for (bytes, expected) in [
        (super_packet(GsoType::TcpV4, 0, &tcp), InvalidPacket::SuperPacket),
        (super_packet(GsoType::TcpV4, 3, &tcp), InvalidPacket::SuperPacket),
        (super_packet(GsoType::TcpV6, 100, &tcp), InvalidPacket::SuperPacket),
        (super_packet(GsoType::Udp, 100, &tcp), InvalidPacket::SuperPacket),
        (super_packet(GsoType::TcpV4, 1000, &self::tcp(V4, 0, ACK, b"")), InvalidPacket::SuperPacket),
        (fragment, InvalidPacket::Fragment),
    ] {
        assert_eq!(try_read(&bytes), [Err(expected)]);
    }
    let mut large = super_packet(GsoType::TcpV4, 1241, &tcp);
    large.extend_from_slice(&[0; 1000]);
    assert_eq!(try_read(&large), [Err(InvalidPacket::TooLarge)]);
}

#[test]
fn damaged_super_packets_never_panic() {
    for pair in PAIRS {
        let packets = (0..3).map(|i| tcp(pair, i * 100, ACK, &[1; 100])).collect();
        let bytes = coalesce(packets).remove(0);

        for length in 0..bytes.len() {
            let _ = try_read(&bytes[..length]);
        }
        for bit in 0..(10 + 60) * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = try_read(&bytes);
        }
    }
}

#[test]
fn packets_with_different_headers_are_not_coalesced() {
    for pair in PAIRS {
        let first = tcp(pair, 0, ACK, &[1; 100]);
        let next = tcp(pair, 100, ACK, &[2; 100]);
        let ip_header = if pair == V4 { 20 } else { 40 };
        let is_v4 = pair == V4;
        assert_eq!(coalesce(vec![first.clone(), next.clone()]).len(), 1);

        for other in [
            edited(&next, |bytes| bytes[if is_v4 { 8 } else { 7 }] -= 1), // TTL
            edited(&next, |bytes| bytes[1] |= if is_v4 { 4 } else { 0x40 }), // TOS
            edited(&next, |bytes| bytes[ip_header + 11] += 1),            // acknowledgement
            edited(&next, |bytes| bytes[ip_header + 15] += 1),            // window
            edited(&next, |bytes| bytes[ip_header + 13] |= FIN),
            edited(&next, |bytes| bytes[ip_header + 13] |= 0x20), // URG
            edited(&next, |bytes| bytes[ip_header + 13] |= 0x80), // CWR
            edited(&next, |bytes| bytes[ip_header + 12] |= 0x02), // reserved bits
            edited(&next, |bytes| bytes[ip_header + 7] += 1),     // a gap in the sequence
            tcp(pair, 100, ACK, b""),
            tcp(pair, 100, ACK, &[2; 101]),
        ] {
            let writes = coalesce(vec![first.clone(), other.clone()]);

            assert_eq!(writes.len(), 2, "{other:?}");
            assert_eq!(writes[1], single(&other));
        }
    }
    let first = tcp(V4, 0, ACK, &[1; 100]);
    let may_fragment = edited(&tcp(V4, 100, ACK, &[2; 100]), |bytes| bytes[6] ^= 0x40);
    assert_eq!(coalesce(vec![first, may_fragment]).len(), 2);
}

#[test]
fn different_ecn_prevents_coalescing() {
    let ect = |packet: IpPacket| edited(&packet, |bytes| bytes[1] |= Ecn::Ect0.bits());
    let mut marked = ect(tcp(V4, 100, ACK, &[2; 100]));
    marked.mark_congested();

    assert_eq!(coalesce(vec![ect(tcp(V4, 0, ACK, &[1; 100])), marked]).len(), 2);
}

#[test]
fn identification_and_flow_label_may_differ() {
    let other_id = edited(&tcp(V4, 100, ACK, &[2; 100]), |bytes| bytes[5] = 9);
    let other_label = edited(&tcp(V6, 100, ACK, &[2; 100]), |bytes| bytes[3] = 9);

    assert_eq!(coalesce(vec![tcp(V4, 0, ACK, &[1; 100]), other_id]).len(), 1);
    assert_eq!(coalesce(vec![tcp(V6, 0, ACK, &[1; 100]), other_label]).len(), 1);
}

#[test]
fn tcp_options_must_be_equal() {
    let with_option = |sequence: u32, value: u8| {
        let plain = tcp(V4, sequence, ACK, &[1; 104]);
        // Four bytes of the payload become an option.
        edited(&plain, |bytes| {
            bytes[32] = 0x60;
            bytes[40..44].copy_from_slice(&[254, 4, 0, value]);
        })
    };

    assert_eq!(coalesce(vec![with_option(0, 1), with_option(100, 1)]).len(), 1);
    assert_eq!(coalesce(vec![with_option(0, 1), with_option(100, 2)]).len(), 2);
    assert_eq!(coalesce(vec![with_option(0, 1), tcp(V4, 100, ACK, &[1; 100])]).len(), 2);
}

#[test]
fn ip_options_and_extension_headers_prevent_coalescing() {
    let options = |sequence| {
        let plain = tcp(V4, sequence, ACK, &[1; 100]);
        let bytes = plain.as_bytes();
        let mut bytes = [&bytes[..20], &[1, 1, 1, 1], &bytes[20..]].concat();
        bytes[0] = 0x46;
        bytes[3] += 4;
        IpPacket::parse(&bytes).unwrap()
    };
    let extension = |sequence| {
        let plain = tcp(V6, sequence, ACK, &[1; 100]);
        let bytes = plain.as_bytes();
        let mut bytes = [&bytes[..40], &[6, 0, 1, 4, 0, 0, 0, 0], &bytes[40..]].concat();
        bytes[6] = 60;
        bytes[5] += 8;
        IpPacket::parse(&bytes).unwrap()
    };

    assert_eq!(coalesce(vec![options(0), options(100)]).len(), 2);
    assert_eq!(coalesce(vec![extension(0), extension(100)]).len(), 2);
}

#[test]
fn shorter_packet_or_push_ends_a_super_packet() {
    for pair in PAIRS {
        let shorter = vec![tcp(pair, 0, ACK, &[1; 100]), tcp(pair, 100, ACK, &[1; 50]), tcp(pair, 150, ACK, &[1; 50])];
        let pushed =
            vec![tcp(pair, 0, ACK, &[1; 100]), tcp(pair, 100, ACK | PSH, &[1; 100]), tcp(pair, 200, ACK, &[1; 100])];
        let pushed_first = vec![tcp(pair, 0, ACK | PSH, &[1; 100]), tcp(pair, 100, ACK, &[1; 100])];

        for packets in [shorter, pushed, pushed_first] {
            assert_eq!(coalesce(packets).len(), 2);
        }
    }
}

#[test]
fn uncoalescable_packet_ends_the_previous_super_packet() {
    let packets = vec![
        tcp(V4, 0, ACK, &[1; 100]),
        tcp(V4, 100, ACK, b""),
        // Would continue the first, but must not overtake the second.
        tcp(V4, 100, ACK, &[1; 100]),
    ];

    assert_eq!(coalesce(packets.clone()), packets.iter().map(single).collect::<Vec<_>>());
}

#[test]
fn interleaved_flows_keep_their_order() {
    let other = ("100.64.0.7:40001", SERVER_V4);
    let packets: Vec<_> =
        (0..10).flat_map(|i| [tcp(V4, i * 100, ACK, &[1; 100]), tcp(other, i * 100, ACK, &[2; 100])]).collect();

    let writes = coalesce(packets.clone());

    assert_eq!(writes.len(), 2);
    let parts: Vec<_> = writes.iter().flat_map(|write| read(write)).collect();
    for flow in [40000, 40001] {
        let of_flow = |packets: &[IpPacket]| -> Vec<Vec<u8>> {
            packets.iter().filter(|packet| packet.payload()[..2] == u16::to_be_bytes(flow)).map(without_id).collect()
        };
        assert_eq!(of_flow(&parts), of_flow(&packets));
    }
}

#[test]
fn super_packet_is_limited_to_64_packets_and_the_ip_packet_size() {
    let small = coalesce((0..65).map(|_| udp(V4, &[1; 10])).collect());
    let large = coalesce((0..53).map(|_| udp(V4, &[1; 1252])).collect());

    assert_eq!(small.iter().map(|write| read(write).len()).collect::<Vec<_>>(), [64, 1]);
    assert_eq!(large.iter().map(|write| read(write).len()).collect::<Vec<_>>(), [52, 1]);
    assert!(large[0].len() <= 10 + 65_535);
}

#[test]
fn packets_with_wrong_checksums_are_not_coalesced() {
    let broken = |packet: IpPacket| {
        let mut bytes = packet.as_bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        IpPacket::parse(&bytes).unwrap()
    };
    let (first, next) = (udp(V4, &[1; 100]), udp(V4, &[2; 100]));
    for packets in [vec![broken(first.clone()), next.clone()], vec![first.clone(), broken(next.clone())]] {
        assert_eq!(coalesce(packets.clone()), packets.iter().map(single).collect::<Vec<_>>());
    }
    // Not computed at all.
    let without = edited(&first, |_| ());
    let mut bytes = without.as_bytes().to_vec();
    bytes[26..28].fill(0);
    let without = IpPacket::parse(&bytes).unwrap();
    assert_eq!(coalesce(vec![without.clone(), without]).len(), 2);
}

#[test]
fn other_protocols_and_single_packets_are_unchanged() {
    let echo = crate::build::echo_request(at(CLIENT_V4).ip(), at(SERVER_V4).ip(), 1, 1, &[1; 100]).unwrap();
    let goodbye = crate::control::goodbye();
    for packet in [echo, goodbye, udp(V6, b""), tcp(V4, 1, 0x02, b"")] {
        assert_eq!(coalesce(vec![packet.clone(), packet.clone()]), [single(&packet), single(&packet)]);
    }
}

#[test]
fn coalescing_can_be_disabled() {
    let mut coalescer = Coalescer::new(false);
    coalescer.push(udp(V4, &[1; 100]));
    coalescer.push(udp(V4, &[1; 100]));

    assert_eq!(drain(&mut coalescer).len(), 2);
}

#[test]
fn super_packet_does_not_grow_after_front() {
    let mut coalescer = Coalescer::new(true);
    coalescer.push(udp(V4, &[1; 100]));
    coalescer.push(udp(V4, &[1; 100]));
    assert!(coalescer.front().unwrap().is_joined());

    coalescer.push(udp(V4, &[1; 100]));

    assert_eq!(coalescer.len(), 3);
    assert_eq!(drain(&mut coalescer).len(), 2);
    assert!(coalescer.is_empty());
    assert_eq!(coalescer.len(), 0);
}

fn coalesce(packets: Vec<IpPacket>) -> Vec<Vec<u8>> {
    let mut coalescer = Coalescer::new(true);
    packets.into_iter().for_each(|packet| coalescer.push(packet));
    drain(&mut coalescer)
}

/// What would be written.
fn drain(coalescer: &mut Coalescer) -> Vec<Vec<u8>> {
    let mut writes = Vec::new();
    while let Some(packet) = coalescer.front() {
        let mut write = packet.header().to_vec();
        packet.pieces().for_each(|piece| write.extend_from_slice(&piece));
        writes.push(write);
        coalescer.pop_front();
    }
    writes
}

/// What would be read if the kernel gave back what was written.
fn read(bytes: &[u8]) -> Vec<IpPacket> {
    try_read(bytes).into_iter().map(Result::unwrap).collect()
}

fn try_read(bytes: &[u8]) -> Vec<Result<IpPacket, InvalidPacket>> {
    let mut bytes = bytes.to_vec();
    match Header::decode(&mut bytes) {
        Ok((header, packet)) => split(header, packet).collect(),
        Err(_) => Vec::new(),
    }
}

fn single(packet: &IpPacket) -> Vec<u8> {
    [&[0; 10], packet.as_bytes()].concat()
}

fn super_packet(kind: GsoType, segment: u16, packet: &IpPacket) -> Vec<u8> {
    let header = Header { kind, segment, ..Header::default() };
    [&header.encode(), packet.as_bytes()].concat()
}

fn fix_length(bytes: &mut [u8]) {
    let length = (bytes.len() - 10) as u16;
    match bytes[10] >> 4 {
        4 => bytes[12..14].copy_from_slice(&length.to_be_bytes()),
        _ => bytes[14..16].copy_from_slice(&(length - 40).to_be_bytes()),
    }
}

/// All but what is allowed to change on the way: identification, and with it the checksum, of IPv4.
fn without_id(packet: &IpPacket) -> Vec<u8> {
    let mut bytes = packet.as_bytes().to_vec();
    if bytes[0] >> 4 == 4 {
        bytes[4..6].fill(0);
        bytes[10..12].fill(0);
    }
    bytes
}
