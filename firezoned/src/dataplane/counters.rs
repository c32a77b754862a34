//! What was dropped at the edge, and why.

/// Counts of packets that did not make it. None of them ends the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Reads from the TUN device with a header that we do not understand.
    pub tun_unreadable: u64,
    /// Packets from the TUN device that the tunnel does not carry, such as fragments.
    pub tun_invalid: u64,
    /// Packets that the TUN device did not take.
    pub tun_write_failed: u64,
    /// Received datagrams of impossible length, or without the address at which they arrived.
    pub udp_unusable: u64,
    /// Failed receive calls.
    pub udp_receive_failed: u64,
    /// Datagrams that could not be sent.
    pub udp_send_failed: u64,
    /// Datagrams for an address family that has no socket.
    pub udp_no_socket: u64,
}
