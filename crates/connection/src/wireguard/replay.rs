//! Which counters were seen already (RFC 6479).

/// Counters that may come late, in bits. Wide, because batched sending and changes of path reorder widely.
pub(crate) const WINDOW: u64 = 8_192;
/// One word more than the window has, so that moving it never clears what is still inside.
const WORDS: usize = (WINDOW / 64 + 1) as usize;

/// Remembers the counters of received messages.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    /// The counter after the highest that was seen.
    next: u64,
    seen: [u64; WORDS],
}

impl Replay {
    pub(crate) fn new() -> Self {
        Self { next: 0, seen: [0; WORDS] }
    }

    /// Whether a message with this counter may still be accepted.
    pub(crate) fn is_new(&self, counter: u64) -> bool {
        counter >= self.next || (self.next - counter <= WINDOW && self.seen[word(counter)] & bit(counter) == 0)
    }

    /// Notes the counter of a message that was authentic and [new](Self::is_new).
    pub(crate) fn note(&mut self, counter: u64) {
        if counter >= self.next {
            let (newest, wanted) = (self.next.saturating_sub(1) / 64, counter / 64);
            for number in (newest + 1..=wanted).take(WORDS) {
                self.seen[word(number * 64)] = 0;
            }
            self.next = counter + 1;
        }
        self.seen[word(counter)] |= bit(counter);
    }
}

fn word(counter: u64) -> usize {
    (counter / 64) as usize % WORDS
}

fn bit(counter: u64) -> u64 {
    1 << (counter % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    fn seen(counters: impl IntoIterator<Item = u64>) -> Replay {
        let mut replay = Replay::new();
        counters.into_iter().for_each(|counter| replay.note(counter));
        replay
    }

    #[test]
    fn each_counter_is_accepted_once() {
        let replay = seen([0, 5, 3]);
        for counter in 0..10 {
            assert_eq!(replay.is_new(counter), ![0, 5, 3].contains(&counter), "{counter}");
        }
    }

    #[test]
    fn the_window_has_exactly_8192_counters() {
        let replay = seen([10_000]);
        assert!(replay.is_new(10_000 - 8_191));
        assert!(!replay.is_new(10_000 - 8_192));
    }

    #[test]
    fn a_counter_far_ahead_is_accepted_and_makes_all_others_old() {
        let mut replay = seen(0..100);
        assert!(replay.is_new(1 << 60));
        replay.note(1 << 60);
        assert!(!replay.is_new(1 << 60) && !replay.is_new(100));
        assert!(replay.is_new((1 << 60) - 1) && replay.is_new((1 << 60) - 8_191));
    }

    #[test]
    fn the_window_agrees_with_a_plain_set() {
        let mut rng = StdRng::seed_from_u64(1);
        let (mut replay, mut plain, mut highest) = (Replay::new(), BTreeSet::new(), 0_u64);
        for _ in 0..50_000 {
            let back = rng.random_range(0..9_000);
            let counter = (highest + rng.random_range(0..200)).saturating_sub(back);
            let is_new = !plain.contains(&counter) && counter + WINDOW > highest;
            assert_eq!(replay.is_new(counter), is_new, "{counter} of {highest}");
            if is_new {
                replay.note(counter);
                plain.insert(counter);
                highest = highest.max(counter);
            }
        }
    }
}
