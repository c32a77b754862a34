//! The transport of candidates between the hosts.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

/// Delivers candidates. While it is down it keeps the changes: additions that were not withdrawn, and withdrawals of
/// candidates that were delivered before.
#[derive(Debug)]
pub struct Portal {
    /// Whether it works.
    pub up: bool,
    /// Delay of a message.
    pub latency: Duration,
    held: [Held; 2],
    in_flight: VecDeque<(Instant, usize, Signal)>,
}

/// A change of one side's candidates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Signal {
    Add(Vec<String>),
    Withdraw(Vec<String>),
}

#[derive(Debug, Default)]
struct Held {
    added: BTreeSet<String>,
    withdrawn: BTreeSet<String>,
}

impl Portal {
    pub(crate) fn new() -> Self {
        let held = [Held::default(), Held::default()];
        Self { up: true, latency: Duration::from_millis(15), held, in_flight: VecDeque::new() }
    }

    /// One side sends a signal.
    pub(crate) fn send(&mut self, from: usize, signal: Signal, now: Instant) {
        if self.up {
            self.in_flight.push_back((now + self.latency, from, signal));
            return;
        }
        let held = &mut self.held[from];
        match signal {
            Signal::Add(candidates) => {
                for candidate in candidates {
                    held.withdrawn.remove(&candidate);
                    held.added.insert(candidate);
                }
            }
            Signal::Withdraw(candidates) => {
                for candidate in candidates {
                    // The two texts may differ in priority and user name.
                    let identity = identity(&candidate);
                    let before = held.added.len();
                    held.added.retain(|it| self::identity(it) != identity);
                    if held.added.len() == before {
                        held.withdrawn.insert(candidate);
                    }
                }
            }
        }
    }

    /// Sends everything that was kept while it was down.
    pub(crate) fn release(&mut self, now: Instant) {
        for side in 0..2 {
            let Held { added, withdrawn } = std::mem::take(&mut self.held[side]);
            if !added.is_empty() {
                self.send(side, Signal::Add(added.into_iter().collect()), now);
            }
            if !withdrawn.is_empty() {
                self.send(side, Signal::Withdraw(withdrawn.into_iter().collect()), now);
            }
        }
    }

    /// Drops the kept changes of one side, whose connection ended.
    pub(crate) fn forget(&mut self, side: usize) {
        self.held[side] = Held::default();
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.in_flight.front().map(|(at, ..)| *at)
    }

    /// The next signal that has arrived, with its sender.
    pub(crate) fn arrived(&mut self, now: Instant) -> Option<(usize, Signal)> {
        if self.due()? > now {
            return None;
        }
        self.in_flight.pop_front().map(|(_, from, signal)| (from, signal))
    }
}

/// Address, port and type, which identify a candidate.
fn identity(candidate: &str) -> Vec<String> {
    candidate.split_whitespace().skip(4).take(4).map(str::to_owned).collect()
}
