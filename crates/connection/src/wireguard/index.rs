//! Numbers of connections. The number is the upper 24 bits of a WireGuard index; the engine counts sessions in the lower 8.

use rand::Rng;

/// The number of a connection, unique within a node and hard to guess.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Number(u32);

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

    /// The 24 bits.
    pub(crate) fn value(self) -> u32 {
        self.0
    }
}
