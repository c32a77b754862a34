//! Random events, and invariants that hold after each of them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test may fail loudly")]

use rand::{SeedableRng as _, rngs::StdRng};
use sim::{Op, World};

/// Interval of the recovery checks, in steps.
const STEPS_TO_CALM: u32 = 1_000;

/// Applies `steps` random events. A failure names the seed and the step.
fn live(seed: u64, steps: u32) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World::new(seed).with_relays();
    let mut note = Note { seed, step: 0, op: None };
    for step in 1..=steps {
        let op = Op::random(&mut rng, step);
        (note.step, note.op) = (step, Some(op));
        op.apply(&mut world, step);
        if let Some(broken) = world.broken_invariant() {
            panic!("{broken}");
        }
        if step % STEPS_TO_CALM == STEPS_TO_CALM / 2 {
            world.assert_decides();
        }
        if step % STEPS_TO_CALM == 0 {
            world.end_faults(step);
            world.assert_recovers();
        }
    }
}

/// Prints the seed and step if the test panics.
struct Note {
    seed: u64,
    step: u32,
    op: Option<Op>,
}

impl Drop for Note {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}, step {}, after {:?}", self.seed, self.step, self.op);
        }
    }
}

#[test]
fn connection_recovers_from_random_events() {
    for seed in 0..6 {
        live(seed, 1_000);
    }
}

#[test]
fn every_connection_is_established_or_fails() {
    for seed in 100..116 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = World::new(seed).with_relays();
        for step in 1..=150 {
            Op::random(&mut rng, step).apply(&mut world, step);
        }
        world.assert_decides();
    }
}

/// Seeds that once revealed a fault: connections without local candidates, and gateways that kept sending to an invalid
/// address. Seeds that need more steps are among the long runs below, for example 1017.
#[test]
fn connection_recovers_with_seeds_of_former_faults() {
    for (seed, steps) in [(1008, 500), (1053, 1_500), (1175, 500), (1252, 1_500), (1296, 1_000), (1020, 2_000)] {
        live(seed, steps);
    }
}

/// Long runs. `make integration` skips tests whose path contains `::every_`.
mod soak {
    /// `SIM_SEEDS` is the number of seeds, `SIM_FIRST` the first one.
    #[test]
    #[ignore = "takes minutes; `make soak`"]
    fn every_long_random_run_recovers() {
        let number = |name: &str, default| std::env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(default);
        let first = number("SIM_FIRST", 1_000);
        let seeds = first..first + number("SIM_SEEDS", 500);
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let next = std::sync::atomic::AtomicU64::new(seeds.start);
        std::thread::scope(|scope| {
            let work = || {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    super::live(seed, 10_000);
                }
            };
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            assert!(workers.into_iter().all(|worker| worker.join().is_ok()), "see above");
        });
    }
}
