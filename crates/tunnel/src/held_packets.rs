//! Packets that are held until they can be sent.

use std::collections::VecDeque;

use ip_packet::IpPacket;

/// A bounded queue of packets; the oldest is dropped first.
///
/// Applications retransmit while they wait. An identical packet is held once, and a retransmitted TCP SYN replaces the
/// earlier one of the same connection attempt, so that a slow start sends one SYN with fresh timestamps instead of a
/// burst of stale ones.
#[derive(Debug)]
pub(crate) struct HeldPackets {
    packets: VecDeque<IpPacket>,
    capacity: usize,
    dropped: u64,
}

impl HeldPackets {
    /// An empty queue for at most `capacity` packets.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { packets: VecDeque::new(), capacity, dropped: 0 }
    }

    /// Holds `packet`, unless an identical one is held already.
    pub(crate) fn push(&mut self, packet: IpPacket) {
        if self.packets.contains(&packet) {
            return;
        }
        if let Some(earlier) = self.packets.iter_mut().find(|earlier| is_same_syn(earlier, &packet)) {
            *earlier = packet;
            return;
        }
        if self.packets.len() == self.capacity {
            self.packets.pop_front();
            self.dropped += 1;
        }
        self.packets.push_back(packet);
    }

    /// Number of packets that were dropped because the queue was full.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Number of held packets.
    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }
}

impl IntoIterator for HeldPackets {
    type Item = IpPacket;
    type IntoIter = std::collections::vec_deque::IntoIter<IpPacket>;

    fn into_iter(self) -> Self::IntoIter {
        self.packets.into_iter()
    }
}

/// Whether both are the SYN of the same connection attempt: equal addresses, ports and sequence number.
fn is_same_syn(a: &IpPacket, b: &IpPacket) -> bool {
    let identity = |packet: &IpPacket| {
        Some((packet.tcp_syn_sequence()?, packet.source(), packet.destination(), packet.transport()))
    };
    identity(a).is_some_and(|a| identity(b) == Some(a))
}

#[cfg(test)]
mod tests {
    use ip_packet::build::{self, TcpHeader, tcp_flag};

    use super::*;

    fn segment(port: u16, sequence: u32, flags: u8, payload: &[u8]) -> IpPacket {
        let source = std::net::SocketAddr::new("100.64.0.7".parse().unwrap(), port);
        let header = TcpHeader { sequence, flags, ..TcpHeader::default() };
        build::tcp(source, "10.0.0.1:443".parse().unwrap(), header, payload).unwrap()
    }

    fn held(packets: &[IpPacket]) -> Vec<IpPacket> {
        let mut held = HeldPackets::new(4);
        packets.iter().cloned().for_each(|packet| held.push(packet));
        held.into_iter().collect()
    }

    #[test]
    fn duplicate_packet_is_held_once() {
        let (a, b) = (segment(1, 1, tcp_flag::ACK, b"a"), segment(1, 2, tcp_flag::ACK, b"b"));
        assert_eq!(held(&[a.clone(), b.clone(), a.clone()]), [a, b]);
    }

    #[test]
    fn retransmitted_syn_replaces_the_first() {
        let early = segment(1, 7, tcp_flag::SYN, b"");
        let other = segment(2, 7, tcp_flag::SYN, b"");
        let late = segment(1, 7, tcp_flag::SYN, b"newer options");
        assert_eq!(held(&[early, other.clone(), late.clone()]), [late, other]);
    }

    #[test]
    fn new_connection_attempt_and_syn_ack_are_held_separately() {
        let packets = [
            segment(1, 7, tcp_flag::SYN, b""),
            segment(1, 8, tcp_flag::SYN, b""),
            segment(1, 7, tcp_flag::SYN | tcp_flag::ACK, b""),
        ];
        assert_eq!(held(&packets), packets);
    }

    #[test]
    fn full_queue_drops_the_oldest() {
        let packets: Vec<IpPacket> = (0..6).map(|i| segment(1, i, tcp_flag::ACK, b"")).collect();
        assert_eq!(held(&packets), packets[2..]);
    }
}
