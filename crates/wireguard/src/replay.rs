//! Protection against replayed messages: a sliding window of received counters (RFC 6479).

/// How far a counter may be behind the highest one. Wide, because batched sending and changes of path reorder widely.
pub(crate) const WINDOW: u64 = 8_192;
/// One word more than the window needs, so that advancing never clears counters that are still inside.
const WORDS: usize = (WINDOW / 64 + 1) as usize;

/// The counters of received messages within the window.
#[derive(Clone, Debug)]
pub(crate) struct ReplayWindow {
    /// The highest received counter plus 1.
    next: u64,
    received: [u64; WORDS],
}

impl ReplayWindow {
    pub(crate) fn new() -> Self {
        Self { next: 0, received: [0; WORDS] }
    }

    /// Whether the counter is new and not older than the window.
    pub(crate) fn is_new(&self, counter: u64) -> bool {
        counter >= self.next || (self.next - counter <= WINDOW && self.received[word(counter)] & bit(counter) == 0)
    }

    /// Records the counter of an authentic message that [is new](Self::is_new).
    pub(crate) fn record(&mut self, counter: u64) {
        if counter >= self.next {
            let (newest, wanted) = (self.next.saturating_sub(1) / 64, counter / 64);
            for number in (newest + 1..=wanted).take(WORDS) {
                self.received[word(number * 64)] = 0;
            }
            self.next = counter + 1;
        }
        self.received[word(counter)] |= bit(counter);
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

    fn window_with(counters: impl IntoIterator<Item = u64>) -> ReplayWindow {
        let mut replay = ReplayWindow::new();
        counters.into_iter().for_each(|counter| replay.record(counter));
        replay
    }

    #[test]
    fn each_counter_is_accepted_once() {
        let replay = window_with([0, 5, 3]);
        for counter in 0..10 {
            assert_eq!(replay.is_new(counter), ![0, 5, 3].contains(&counter), "{counter}");
        }
    }

    #[test]
    fn window_spans_exactly_8192_counters() {
        let replay = window_with([10_000]);
        assert!(replay.is_new(10_000 - 8_191));
        assert!(!replay.is_new(10_000 - 8_192));
    }

    #[test]
    fn counter_far_ahead_advances_the_window() {
        let mut replay = window_with(0..100);
        assert!(replay.is_new(1 << 60));
        replay.record(1 << 60);
        assert!(!replay.is_new(1 << 60) && !replay.is_new(100));
        assert!(replay.is_new((1 << 60) - 1) && replay.is_new((1 << 60) - 8_191));
    }

    #[test]
    fn window_agrees_with_a_plain_set() {
        let mut rng = StdRng::seed_from_u64(1);
        let (mut replay, mut plain, mut highest) = (ReplayWindow::new(), BTreeSet::new(), 0_u64);
        for _ in 0..50_000 {
            let back = rng.random_range(0..9_000);
            let counter = (highest + rng.random_range(0..200)).saturating_sub(back);
            let is_new = !plain.contains(&counter) && counter + WINDOW > highest;
            assert_eq!(replay.is_new(counter), is_new, "{counter} of {highest}");
            if is_new {
                replay.record(counter);
                plain.insert(counter);
                highest = highest.max(counter);
            }
        }
    }
}
