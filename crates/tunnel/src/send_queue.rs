//! Packets and messages that wait for a connection to one peer.

use ip_packet::IpPacket;

use crate::held_packets::HeldPackets;

/// Maximum number of held packets; the oldest is dropped first.
const MAX_PACKETS: usize = 128;
/// Maximum number of held control messages; the oldest is dropped first.
const MAX_MESSAGES: usize = 128;

/// Held packets and control messages, each in their order.
#[derive(Debug)]
pub(crate) struct SendQueue {
    /// While this queue exists, all further packets are appended to it.
    packets: Option<HeldPackets>,
    messages: HeldPackets,
}

impl Default for SendQueue {
    fn default() -> Self {
        Self { packets: None, messages: HeldPackets::new(MAX_MESSAGES) }
    }
}

impl SendQueue {
    /// Whether packets are held.
    pub(crate) fn is_holding(&self) -> bool {
        self.packets.is_some()
    }

    /// Holds a packet until the connection is established.
    pub(crate) fn hold(&mut self, packet: IpPacket) {
        self.packets.get_or_insert_with(|| HeldPackets::new(MAX_PACKETS)).push(packet);
    }

    /// Holds a control message until the connection is established.
    pub(crate) fn hold_message(&mut self, message: IpPacket) {
        self.messages.push(message);
    }

    /// Empties the queue.
    pub(crate) fn drain(&mut self) -> DrainedQueue {
        let packets = self.packets.take();
        let messages = std::mem::replace(&mut self.messages, HeldPackets::new(MAX_MESSAGES));
        let dropped = packets.as_ref().map_or(0, HeldPackets::dropped) + messages.dropped();
        DrainedQueue {
            packets: packets.into_iter().flatten().collect(),
            messages: messages.into_iter().collect(),
            dropped,
        }
    }
}

/// The content of a drained queue.
#[derive(Debug)]
pub(crate) struct DrainedQueue {
    /// Packets of the host, in order.
    pub(crate) packets: Vec<IpPacket>,
    /// Control messages, in order.
    pub(crate) messages: Vec<IpPacket>,
    /// Number of packets and messages that were dropped because the queue was full.
    pub(crate) dropped: u64,
}

impl DrainedQueue {
    /// Number of all packets and messages, including dropped ones.
    pub(crate) fn count(&self) -> u64 {
        (self.packets.len() + self.messages.len()) as u64 + self.dropped
    }
}
