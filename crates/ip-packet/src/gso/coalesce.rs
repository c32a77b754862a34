//! Joining packets of one flow for one write to a TUN device.

use std::{collections::VecDeque, io::IoSlice, net::IpAddr};

use super::header::{GsoType, Header};
use crate::{
    IpPacket,
    build::tcp_flag,
    checksum::Sum,
    headers::{IPV4_HEADER, IPV6_HEADER, TCP, TCP_HEADER, UDP, UDP_HEADER, Version},
};

/// Accepted by every kernel that supports UDP super packets.
const MAX_SEGMENTS: usize = 64;
/// The largest IP packet in bytes.
const MAX_SIZE: usize = 65_535;
/// Number of super packets that are searched for a flow, from the end of the queue. An earlier one is not continued, which
/// costs a write and does not change the order.
const LOOK_BACK: usize = 32;

/// A queue of packets for a TUN device that joins packets of the same flow while they wait.
///
/// Each flow keeps its order: a packet is joined only with the newest entry of its flow. Packets with a wrong checksum are
/// never joined, because joining replaces the checksum by a correct one.
#[derive(Debug)]
pub struct Coalescer {
    queue: VecDeque<SuperPacket>,
    /// Packets in `queue`.
    packets: usize,
    /// Whether packets are joined.
    joins: bool,
    /// Recycled lists.
    free: Vec<Vec<IpPacket>>,
}

/// One write to the device.
#[derive(Debug)]
pub struct SuperPacket {
    /// Never empty. All packets except the first contribute only their payload.
    packets: Vec<IpPacket>,
    header: Header,
    flow: Option<Flow>,
    /// Header bytes, the same for each packet.
    headers: usize,
    /// Bytes of the headers and of all payloads.
    size: usize,
    /// Whether no packet may follow: the last one was shorter or had PSH.
    is_sealed: bool,
    /// Whether the checksum of the first packet was verified.
    is_verified: bool,
}

/// The identity of a flow. Packets of one flow are never reordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Flow {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ports: [u8; 4],
}

impl Coalescer {
    /// Creates an empty queue. Without `joins` packets are not joined, for a device without offloads.
    #[must_use]
    pub fn new(joins: bool) -> Self {
        Self { queue: VecDeque::new(), packets: 0, joins, free: Vec::new() }
    }

    /// Stops joining further packets.
    pub fn stop_joining(&mut self) {
        self.joins = false;
    }

    /// Adds a packet.
    pub fn push(&mut self, packet: IpPacket) {
        self.packets += 1;
        let flow = if self.joins { Flow::of(&packet) } else { None };
        let packet = match self.newest_of(flow) {
            Some(entry) => match entry.join(packet) {
                Ok(()) => return,
                Err(packet) => packet,
            },
            None => packet,
        };

        let mut packets = self.free.pop().unwrap_or_default();
        let entry = SuperPacket::first(packet, flow, &mut packets);
        self.queue.push_back(entry);
    }

    /// Number of queued packets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packets
    }

    /// Whether the queue is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next write. No further packets are joined to it.
    pub fn front(&mut self) -> Option<&SuperPacket> {
        let front = self.queue.front_mut()?;
        front.finish();

        Some(front)
    }

    /// Removes [`front`](Self::front) after it was written or failed. Returns its number of packets.
    pub fn pop_front(&mut self) -> usize {
        let Some(SuperPacket { mut packets, .. }) = self.queue.pop_front() else {
            return 0;
        };
        let count = packets.len();
        self.packets -= count;
        packets.clear();
        if self.free.len() < LOOK_BACK {
            self.free.push(packets);
        }

        count
    }

    fn newest_of(&mut self, flow: Option<Flow>) -> Option<&mut SuperPacket> {
        flow?;
        self.queue.iter_mut().rev().take(LOOK_BACK).find(|entry| entry.flow == flow)
    }
}

impl SuperPacket {
    /// The maximum number of [`pieces`](Self::pieces).
    pub const MAX_PIECES: usize = MAX_SEGMENTS;

    /// Whether it consists of more than one packet.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.packets.len() > 1
    }

    /// The virtio-net header to write before the packet.
    #[must_use]
    pub fn header(&self) -> [u8; Header::LENGTH] {
        self.header.encode()
    }

    /// The pieces to write after the header, in order.
    pub fn pieces(&self) -> impl Iterator<Item = IoSlice<'_>> {
        let rest = self.packets.iter().skip(1).map(|packet| &packet.as_bytes()[self.headers..]);

        self.packets.first().map(IpPacket::as_bytes).into_iter().chain(rest).map(IoSlice::new)
    }

    fn first(packet: IpPacket, flow: Option<Flow>, packets: &mut Vec<IpPacket>) -> Self {
        let headers = flow.and_then(|_| header_length(&packet));
        let size = packet.as_bytes().len();
        packets.push(packet);

        Self {
            header: Header::default(),
            flow,
            is_sealed: match headers {
                None => true,
                Some(headers) => is_pushed(&packets[0]) || headers == size,
            },
            headers: headers.unwrap_or(size),
            size,
            is_verified: false,
            packets: std::mem::take(packets),
        }
    }

    /// Appends a packet, or returns it if it cannot be joined.
    fn join(&mut self, packet: IpPacket) -> Result<(), IpPacket> {
        if !self.continues_with(&packet) {
            return Err(packet);
        }
        if !self.is_verified {
            if !has_right_checksum(&self.packets[0]) {
                self.is_sealed = true;
                return Err(packet);
            }
            self.is_verified = true;
        }
        if !has_right_checksum(&packet) {
            return Err(packet);
        }
        let payload = packet.as_bytes().len() - self.headers;
        self.is_sealed = payload < self.segment() || is_pushed(&packet);
        self.size += payload;
        self.packets.push(packet);

        Ok(())
    }

    /// Whether `packet`, of the same flow, continues this super packet.
    fn continues_with(&self, packet: &IpPacket) -> bool {
        let Some(headers) = header_length(packet).filter(|headers| *headers == self.headers) else {
            return false;
        };
        let payload = packet.as_bytes().len() - headers;
        let fits = (1..=self.segment()).contains(&payload)
            && self.size + payload <= MAX_SIZE
            && self.packets.len() < MAX_SEGMENTS;
        if self.is_sealed || !fits {
            return false;
        }
        let first = &self.packets[0];
        let same_ip = match first.headers.version {
            // TOS; flags of fragmentation; TTL.
            Version::V4 => {
                let (a, b) = (first.as_bytes(), packet.as_bytes());
                a[1] == b[1] && a[6] & 0xe0 == b[6] & 0xe0 && a[8] == b[8]
            }
            // Traffic class; hop limit.
            Version::V6 => {
                let (a, b) = (first.as_bytes(), packet.as_bytes());
                a[0] == b[0] && a[1] & 0xf0 == b[1] & 0xf0 && a[7] == b[7]
            }
        };
        let same_transport = first.headers.protocol == UDP || {
            let (a, b) = (first.payload(), packet.payload());
            let so_far = (self.size - self.headers) as u32;
            let expected = u32::from_be_bytes([a[4], a[5], a[6], a[7]]).wrapping_add(so_far);
            let sequence = u32::from_be_bytes([b[4], b[5], b[6], b[7]]);
            let options = self.headers - self.ip_headers();
            // Acknowledgement number; header length and reserved bits; window; options.
            sequence == expected
                && a[12] == b[12]
                && a[8..12] == b[8..12]
                && a[14..16] == b[14..16]
                && a[TCP_HEADER..options] == b[TCP_HEADER..options]
        };

        same_ip && same_transport
    }

    /// Updates the headers of the first packet for the super packet.
    fn finish(&mut self) {
        self.is_sealed = true;
        if self.packets.len() < 2 || self.header.kind != GsoType::Single {
            return;
        }
        let last_pushes = self.packets.last().is_some_and(is_pushed);
        let (size, segment, headers, ip_headers) = (self.size, self.segment(), self.headers, self.ip_headers());
        let first = &mut self.packets[0];
        let (version, protocol) = (first.headers.version, first.headers.protocol);
        let (source, destination) = (first.source(), first.destination());
        let transport_length = (size - ip_headers) as u16;

        match version {
            Version::V4 => {
                first.bytes[2..4].copy_from_slice(&(size as u16).to_be_bytes());
                first.bytes[10..12].fill(0);
                let checksum = Sum::default().add(&first.bytes[..ip_headers]).checksum();
                first.bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
            }
            Version::V6 => first.bytes[4..6].copy_from_slice(&transport_length.to_be_bytes()),
        }
        let transport = &mut first.bytes[ip_headers..];
        let checksum_offset = if protocol == UDP {
            transport[4..6].copy_from_slice(&transport_length.to_be_bytes());
            6
        } else {
            if last_pushes {
                transport[13] |= tcp_flag::PSH;
            }
            16
        };
        // Not complemented: the kernel continues the sum.
        let pseudo = Sum::default().add_pseudo_header(source, destination, protocol, transport_length).folded();
        transport[checksum_offset..checksum_offset + 2].copy_from_slice(&pseudo.to_be_bytes());

        self.header = Header {
            kind: match (protocol, version) {
                (UDP, _) => GsoType::Udp,
                (_, Version::V4) => GsoType::TcpV4,
                (_, Version::V6) => GsoType::TcpV6,
            },
            needs_checksum: true,
            header_length: headers as u16,
            segment: segment as u16,
            checksum_start: ip_headers as u16,
            checksum_offset: checksum_offset as u16,
        };
    }

    /// Payload bytes of each packet except the last.
    fn segment(&self) -> usize {
        self.packets[0].as_bytes().len() - self.headers
    }

    fn ip_headers(&self) -> usize {
        self.packets[0].headers.payload()
    }
}

impl Flow {
    fn of(packet: &IpPacket) -> Option<Self> {
        if !matches!(packet.headers.protocol, TCP | UDP) {
            return None;
        }

        Some(Self {
            source: packet.source(),
            destination: packet.destination(),
            protocol: packet.headers.protocol,
            ports: *packet.payload().first_chunk()?,
        })
    }
}

/// The length of the IP and transport headers of a packet that may be joined: plain IP headers, and TCP data segments or
/// UDP with a checksum.
fn header_length(packet: &IpPacket) -> Option<usize> {
    let ip = packet.headers.payload();
    let is_plain = match packet.headers.version {
        Version::V4 => ip == IPV4_HEADER,
        Version::V6 => ip == IPV6_HEADER,
    };
    if !is_plain {
        return None;
    }
    let transport = packet.payload();
    match packet.headers.protocol {
        TCP => {
            let is_data = transport[13] & !tcp_flag::PSH == tcp_flag::ACK;
            is_data.then_some(ip + usize::from(transport[12] >> 4) * 4)
        }
        UDP => {
            let has_checksum = transport[6..8] != [0, 0];
            has_checksum.then_some(ip + UDP_HEADER)
        }
        _ => None,
    }
}

fn is_pushed(packet: &IpPacket) -> bool {
    packet.headers.protocol == TCP && packet.payload()[13] & tcp_flag::PSH != 0
}

fn has_right_checksum(packet: &IpPacket) -> bool {
    let payload = packet.payload();
    let sum = Sum::default().add_pseudo_header(
        packet.source(),
        packet.destination(),
        packet.headers.protocol,
        payload.len() as u16,
    );

    sum.add(payload).folded() == 0xffff
}
