//! A naive client is told the same as the real one, and has to expect what happens.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::cast_possible_truncation, reason = "numbers of this universe are small")]

mod naive;
mod world;

use naive::{
    judge::{Judge, Op},
    universe::Choose,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// Stories that once ended badly.
const KNOWN: [u64; 2] = [329, 862];
const STEPS: usize = 60;
/// How many stories are told; more with `FIREZONE_SEEDS`.
const SEEDS: u64 = 24;

struct Chance(StdRng);

impl Choose for Chance {
    fn below(&mut self, count: usize) -> usize {
        self.0.random_range(0..count)
    }
}

#[test]
fn the_naive_client_agrees() {
    let seeds = std::env::var("FIREZONE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    for seed in KNOWN.into_iter().chain(0..seeds) {
        let mut chance = Chance(StdRng::seed_from_u64(seed));
        let mut judge = Judge::new();
        for step in 0..STEPS {
            if let Err(why) = judge.happen(Op::any(&mut chance)) {
                let story: Vec<String> = judge.story.iter().map(|op| format!("  {op:?}")).collect();
                panic!("seed {seed}, step {step}: {why}\n{}\ndropped: {:?}", story.join("\n"), judge.drops());
            }
        }
    }
}
