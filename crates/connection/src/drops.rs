//! Counters of received datagrams that are not delivered.

use wireguard::MessageError;

/// Received datagrams that were dropped, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Drops {
    /// Longer than any message of a peer.
    pub too_long: u64,
    /// Neither STUN nor WireGuard.
    pub unrecognized: u64,
    /// Connectivity checks or WireGuard messages that belong to no connection.
    pub unknown_peer: u64,
    /// Authentication failed: another key, another recipient, or changed in transit.
    pub forged: u64,
    /// Received before, or older than the replay window.
    pub replayed: u64,
    /// For a session that has ended.
    pub unknown_session: u64,
    /// Responses for which no request is pending.
    pub unsolicited: u64,
    /// Authentic, but without a valid IP packet inside.
    pub malformed: u64,
    /// Handshakes beyond the rate limit.
    pub rate_limited: u64,
}

impl Drops {
    pub(crate) fn count(&mut self, error: MessageError) {
        let counter = match error {
            MessageError::UnknownSession => &mut self.unknown_session,
            MessageError::Forged => &mut self.forged,
            MessageError::Replayed => &mut self.replayed,
            MessageError::Unsolicited => &mut self.unsolicited,
            MessageError::Malformed => &mut self.malformed,
        };
        *counter += 1;
    }
}
