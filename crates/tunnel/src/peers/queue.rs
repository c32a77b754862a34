//! What waits for a connection to one peer.

use ip_packet::IpPacket;

use crate::access::HeldPackets;

/// How many packets wait; the oldest make room.
const PACKETS: usize = 128;
/// How many of our own messages wait; the oldest make room.
const MESSAGES: usize = 128;

/// Packets and messages of ours, each in their order.
#[derive(Debug)]
pub(crate) struct Queue {
    /// While there is such a queue, all packets go behind it.
    packets: Option<HeldPackets>,
    messages: HeldPackets,
}

impl Default for Queue {
    fn default() -> Self {
        Self { packets: None, messages: HeldPackets::new(MESSAGES) }
    }
}

impl Queue {
    /// Whether packets wait.
    pub(crate) fn is_holding(&self) -> bool {
        self.packets.is_some()
    }

    /// Keeps a packet until there is a connection.
    pub(crate) fn hold(&mut self, packet: IpPacket) {
        self.packets.get_or_insert_with(|| HeldPackets::new(PACKETS)).push(packet);
    }

    /// Keeps one of our own messages until there is a connection.
    pub(crate) fn hold_message(&mut self, message: IpPacket) {
        self.messages.push(message);
    }

    /// Everything that waited, and how much had to make room.
    pub(crate) fn take(&mut self) -> Released {
        let packets = self.packets.take();
        let messages = std::mem::replace(&mut self.messages, HeldPackets::new(MESSAGES));
        let dropped = packets.as_ref().map_or(0, HeldPackets::dropped) + messages.dropped();
        Released { packets: packets.into_iter().flatten().collect(), messages: messages.into_iter().collect(), dropped }
    }
}

/// What waited for a connection.
#[derive(Debug)]
pub(crate) struct Released {
    /// Packets of programs, in their order.
    pub(crate) packets: Vec<IpPacket>,
    /// Messages of ours, in their order.
    pub(crate) messages: Vec<IpPacket>,
    /// How many had to make room.
    pub(crate) dropped: u64,
}

impl Released {
    /// How many there are or were.
    pub(crate) fn count(&self) -> u64 {
        (self.packets.len() + self.messages.len()) as u64 + self.dropped
    }
}
