//! Counters of dropped packets and datagrams.

/// Number of dropped packets and datagrams by reason. None of the reasons ends the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Reads from the TUN device with an invalid header.
    pub tun_unreadable: u64,
    /// Packets from the TUN device that the tunnel does not carry, such as fragments.
    pub tun_invalid: u64,
    /// Packets that the TUN device did not accept.
    pub tun_write_failed: u64,
    /// Received datagrams of invalid length, or without local address.
    pub udp_unusable: u64,
    /// Failed receive calls.
    pub udp_receive_failed: u64,
    /// Datagrams that could not be sent.
    pub udp_send_failed: u64,
    /// Datagrams for an address family that has no socket.
    pub udp_no_socket: u64,
}

impl Counters {
    /// All counters with their names in status output.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("tun_unreadable", self.tun_unreadable),
            ("tun_invalid", self.tun_invalid),
            ("tun_write_failed", self.tun_write_failed),
            ("udp_unusable", self.udp_unusable),
            ("udp_receive_failed", self.udp_receive_failed),
            ("udp_send_failed", self.udp_send_failed),
            ("udp_no_socket", self.udp_no_socket),
        ]
        .into_iter()
    }
}
