//! What a connection reports to its node.

use ip_packet::IpPacket;

use crate::event::Failure;

/// What a connection reports to its node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ConnectionEvent {
    /// The connection has a path and a session for the first time.
    Established,
    /// Packets can be sent again.
    Ready,
    /// The connection failed and has to be removed.
    Failed(Failure),
}

/// The content of a received WireGuard message.
#[derive(Debug)]
pub(crate) enum Received {
    /// An IP packet.
    Packet(IpPacket),
    /// A message of the protocol itself.
    Control,
}
