//! Random scenarios, in which the naive client predicts every outcome of the real one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::cast_possible_truncation, reason = "numbers of this scenario are small")]

mod naive;
mod support;

use naive::{
    comparison::{Comparison, Step},
    scenario::Choices,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// Seeds that failed once.
const REGRESSION_SEEDS: [u64; 2] = [329, 862];
const STEPS: usize = 60;
/// Number of random scenarios; `FIREZONE_SEEDS` overrides it.
const SEEDS: u64 = 24;

struct RandomChoices(StdRng);

impl Choices for RandomChoices {
    fn below(&mut self, count: usize) -> usize {
        self.0.random_range(0..count)
    }
}

#[test]
fn naive_client_predicts_every_outcome() {
    let seeds = std::env::var("FIREZONE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    for seed in REGRESSION_SEEDS.into_iter().chain(0..seeds) {
        let mut choices = RandomChoices(StdRng::seed_from_u64(seed));
        let mut comparison = Comparison::new();
        for step in 0..STEPS {
            if let Err(reason) = comparison.apply(Step::any(&mut choices)) {
                let history: Vec<String> = comparison.history.iter().map(|op| format!("  {op:?}")).collect();
                panic!("seed {seed}, step {step}: {reason}\n{}\ndropped: {:?}", history.join("\n"), comparison.drops());
            }
        }
    }
}
