//! The way of candidates from one host to the other.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

/// Carries candidates, and keeps them while it is out: what was added and not withdrawn is told afterwards, and what was
/// told before and withdrawn meanwhile.
#[derive(Debug)]
pub struct Portal {
    /// Whether it works.
    pub up: bool,
    /// How long a message takes.
    pub latency: Duration,
    held: [Held; 2],
    under_way: VecDeque<(Instant, usize, Signal)>,
}

/// What one side says about its candidates.
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
        Self { up: true, latency: Duration::from_millis(15), held, under_way: VecDeque::new() }
    }

    /// One side says something.
    pub(crate) fn tell(&mut self, from: usize, signal: Signal, now: Instant) {
        if self.up {
            self.under_way.push_back((now + self.latency, from, signal));
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
                    // The two texts may differ in priority and user name; who they are about may not.
                    let about = about(&candidate);
                    let before = held.added.len();
                    held.added.retain(|it| self::about(it) != about);
                    if held.added.len() == before {
                        held.withdrawn.insert(candidate);
                    }
                }
            }
        }
    }

    /// It works again: what was held is told.
    pub(crate) fn release(&mut self, now: Instant) {
        for side in 0..2 {
            let Held { added, withdrawn } = std::mem::take(&mut self.held[side]);
            if !added.is_empty() {
                self.tell(side, Signal::Add(added.into_iter().collect()), now);
            }
            if !withdrawn.is_empty() {
                self.tell(side, Signal::Withdraw(withdrawn.into_iter().collect()), now);
            }
        }
    }

    /// One side's connection is gone, and with it everything that it had to say.
    pub(crate) fn forget(&mut self, side: usize) {
        self.held[side] = Held::default();
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.under_way.front().map(|(at, ..)| *at)
    }

    /// What has arrived, and from whom.
    pub(crate) fn arrived(&mut self, now: Instant) -> Option<(usize, Signal)> {
        if self.due()? > now {
            return None;
        }
        self.under_way.pop_front().map(|(_, from, signal)| (from, signal))
    }
}

/// Address, port and type of a candidate.
fn about(candidate: &str) -> Vec<String> {
    candidate.split_whitespace().skip(4).take(4).map(str::to_owned).collect()
}
