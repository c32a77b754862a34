//! What connections have to say to the node.

use ip_packet::IpPacket;

/// What a connection wants to be known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum News {
    /// There are a path and a session for the first time.
    Established,
    /// Packets can be sent, and could not before.
    Ready,
    /// It is over.
    Failed(Failure),
}

/// Why a connection is over although nobody wanted that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The peer did not tell us a single address.
    Silent,
    /// No relay told us a single address of ours.
    Nowhere,
    /// There is no path left.
    Unreachable,
    /// The peer does not complete handshakes.
    Unresponsive,
}

/// What became of a received WireGuard message.
#[derive(Debug)]
pub(crate) enum Received {
    /// It contained this packet.
    Packet(IpPacket),
    /// It was for the connection itself.
    Control,
}
