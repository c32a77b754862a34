//! Connection ids and session indices. A session index consists of the connection id in the upper 24 bits and a counter of
//! the connection's sessions in the lower 8.

use rand::Rng;

/// Sessions that are kept per peer. A new session replaces the one that was created this many sessions ago, but never the
/// one in use.
pub(crate) const MAX_SESSIONS: usize = 8;

/// Identifies a connection within a node; 24 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(u32);

/// Assigns the session indices of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionIndices {
    connection: ConnectionId,
    counter: u8,
}

impl ConnectionId {
    /// A random id for which `is_taken` returns `false`.
    pub fn random(rng: &mut impl Rng, is_taken: impl Fn(Self) -> bool) -> Self {
        loop {
            let id = Self(rng.random_range(0..1 << 24));
            if !is_taken(id) {
                return id;
            }
        }
    }

    /// The connection that a session index belongs to.
    pub(crate) fn of_index(index: u32) -> Self {
        Self(index >> 8)
    }
}

impl SessionIndices {
    pub(crate) fn new(connection: ConnectionId) -> Self {
        Self { connection, counter: 0 }
    }

    /// The index of the next session. It never occupies the slot of the session that is `in_use`, however many handshakes
    /// a peer starts.
    pub(crate) fn next(&mut self, in_use: Option<u32>) -> u32 {
        loop {
            self.counter = self.counter.wrapping_add(1);
            let index = self.connection.0 << 8 | u32::from(self.counter);
            if in_use.is_none_or(|in_use| Self::slot(in_use) != Self::slot(index)) {
                return index;
            }
        }
    }

    /// The position of a session in the array of kept sessions.
    pub(crate) fn slot(index: u32) -> usize {
        index as usize % MAX_SESSIONS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_counter_starts_at_1_and_wraps_within_8_bits() {
        let mut indices = SessionIndices::new(ConnectionId(0x00AB_CDEF));
        let first: Vec<_> = (0..256).map(|_| indices.next(None)).collect();
        assert_eq!(first[0], 0xABCD_EF01);
        assert_eq!(first[254], 0xABCD_EFFF);
        assert_eq!(first[255], 0xABCD_EF00);
        assert!(first.iter().all(|index| ConnectionId::of_index(*index) == ConnectionId(0x00AB_CDEF)));
    }

    #[test]
    fn session_in_use_keeps_its_slot() {
        let mut indices = SessionIndices::new(ConnectionId(1));
        let in_use = indices.next(None);
        for _ in 0..100 {
            assert_ne!(SessionIndices::slot(indices.next(Some(in_use))), SessionIndices::slot(in_use));
        }
    }
}
