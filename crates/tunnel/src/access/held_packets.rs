//! Packets that wait for something.

use std::collections::VecDeque;

use ip_packet::IpPacket;

/// A bounded queue of packets, the oldest making room for the newest.
///
/// Applications repeat themselves while they wait. An exact repetition is kept once, and a TCP SYN takes the place of
/// the earlier try of the same connection, so that a slow start ends with one SYN with fresh timestamps instead of a
/// burst of stale ones.
#[derive(Debug)]
pub(crate) struct HeldPackets {
    packets: VecDeque<IpPacket>,
    capacity: usize,
    dropped: u64,
}

impl HeldPackets {
    /// Room for `capacity` packets.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { packets: VecDeque::new(), capacity, dropped: 0 }
    }

    /// Keeps `packet`, unless that would be a repetition.
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

    /// How many packets had to make room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many packets wait.
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

/// Whether both are the first packet of the same try to connect: equal addresses, ports and sequence number.
fn is_same_syn(a: &IpPacket, b: &IpPacket) -> bool {
    let identity =
        |packet: &IpPacket| Some((packet.is_tcp_syn()?, packet.source(), packet.destination(), packet.transport()));
    identity(a).is_some_and(|a| identity(b) == Some(a))
}
