//! Numbers of connections and their sessions. A WireGuard index is the number of the connection in the upper 24 bits, and a
//! count of sessions in the lower 8.

use rand::Rng;

use crate::limits::SESSIONS;

/// The number of a connection, unique within a node and hard to guess.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Number(u32);

/// The indices of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Indices {
    number: Number,
    count: u8,
}

impl Number {
    /// A number of which `is_taken` says no.
    pub(crate) fn random(rng: &mut impl Rng, is_taken: impl Fn(Self) -> bool) -> Self {
        loop {
            let number = Self(rng.random_range(0..1 << 24));
            if !is_taken(number) {
                return number;
            }
        }
    }

    /// Of which connection a session index is.
    pub(crate) fn of_index(index: u32) -> Self {
        Self(index >> 8)
    }
}

impl Indices {
    pub(crate) fn of(number: Number) -> Self {
        Self { number, count: 0 }
    }

    /// The index of the next session. It does not take the place of the session that is `in_use`, however often a peer
    /// wants new ones.
    pub(crate) fn next(&mut self, in_use: Option<u32>) -> u32 {
        loop {
            self.count = self.count.wrapping_add(1);
            let index = self.number.0 << 8 | u32::from(self.count);
            if in_use.is_none_or(|in_use| Self::slot(in_use) != Self::slot(index)) {
                return index;
            }
        }
    }

    /// The place of a session among those that are kept.
    pub(crate) fn slot(index: u32) -> usize {
        index as usize % SESSIONS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_begins_with_one_and_wraps_without_touching_the_number() {
        let mut indices = Indices::of(Number(0x00AB_CDEF));
        let first: Vec<_> = (0..256).map(|_| indices.next(None)).collect();
        assert_eq!(first[0], 0xABCD_EF01);
        assert_eq!(first[254], 0xABCD_EFFF);
        assert_eq!(first[255], 0xABCD_EF00);
        assert!(first.iter().all(|index| Number::of_index(*index) == Number(0x00AB_CDEF)));
    }

    #[test]
    fn a_session_in_use_keeps_its_place() {
        let mut indices = Indices::of(Number(1));
        let in_use = indices.next(None);
        for _ in 0..100 {
            assert_ne!(Indices::slot(indices.next(Some(in_use))), Indices::slot(in_use));
        }
    }
}
