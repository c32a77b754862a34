//! Explicit congestion notification (RFC 3168).

/// The two ECN bits of an IP header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum Ecn {
    /// The sender does not understand ECN.
    #[default]
    NotEct = 0,
    /// The sender understands ECN (RFC 9331).
    Ect1 = 1,
    /// The sender understands ECN.
    Ect0 = 2,
    /// A router was congested.
    Ce = 3,
}

impl Ecn {
    /// From the lower two bits of a TOS or traffic class byte.
    #[must_use]
    pub fn from_bits(tos: u8) -> Self {
        match tos & 0b11 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// The two bits.
    #[must_use]
    pub fn bits(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecn_bits_round_trip_and_other_bits_are_ignored() {
        for bits in 0..4 {
            assert_eq!(Ecn::from_bits(0b1011_1000 | bits).bits(), bits);
        }
    }
}
