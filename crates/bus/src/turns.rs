//! Whose turn it is to have polkit asked: it answers one question after the other, so somebody who calls without end would
//! have everybody wait who calls once. Each user has only a few questions with it at a time; the rest wait here. And whoever
//! is refused again and again is refused slowly, so that polkit, and the processors, have time for others.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

/// Questions about one user that polkit has at a time.
const QUICK: usize = 2;
/// Questions about one user that a person has at a time.
const DIALOGS: usize = 1;

/// The time in which a user may be refused once,
const PACE: Duration = Duration::from_millis(50);
/// and how much of it may be used at once: front ends ask for all that they might be permitted.
const LENIENCE: Duration = PACE.saturating_mul(20);

/// The turns of all users. A user without calls in the works is not remembered for longer than refusals count.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Mutex<BTreeMap<u32, Arc<OfOne>>>>);

/// The turns of one user.
#[derive(Debug)]
pub(super) struct OfOne {
    quick: Semaphore,
    dialogs: Semaphore,
    /// Until when the refusals so far have used the user's time. Nothing: they have not.
    used_until: Mutex<Option<Instant>>,
}

impl Turns {
    /// The turns of this user.
    pub(super) fn of(&self, uid: u32) -> Arc<OfOne> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = all.get(&uid) {
            return Arc::clone(turns);
        }
        let now = Instant::now();
        all.retain(|_, turns| Arc::strong_count(turns) > 1 || turns.used(now) > Duration::ZERO);
        let turns = Arc::new(OfOne {
            quick: Semaphore::new(QUICK),
            dialogs: Semaphore::new(DIALOGS),
            used_until: Mutex::new(None),
        });
        all.insert(uid, Arc::clone(&turns));
        turns
    }
}

impl OfOne {
    /// Waits for the turn of a question that polkit answers by itself. There is none only if nobody gives turns any more.
    pub(super) async fn quick(&self) -> Option<SemaphorePermit<'_>> {
        let turn = self.quick.acquire().await.ok()?;
        let overdrawn = self.used(Instant::now()).saturating_sub(LENIENCE);
        if !overdrawn.is_zero() {
            tokio::time::sleep(overdrawn).await;
        }
        Some(turn)
    }

    /// Waits for the turn of a question that a person has to answer.
    pub(super) async fn dialog(&self) -> Option<SemaphorePermit<'_>> {
        self.dialogs.acquire().await.ok()
    }

    /// The user was refused.
    pub(super) fn refused(&self) {
        let now = Instant::now();
        let mut used_until = self.used_until.lock().unwrap_or_else(PoisonError::into_inner);
        *used_until = Some(used_until.map_or(now, |until| until.max(now)) + PACE);
    }

    /// How much time the refusals so far have used of what is to come.
    fn used(&self, now: Instant) -> Duration {
        let used_until = *self.used_until.lock().unwrap_or_else(PoisonError::into_inner);
        used_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn whoever_asks_much_waits_and_keeps_nobody_else() {
        let turns = Turns::default();
        let (anna, bob) = (turns.of(1), turns.of(2));
        let taken = [bob.quick().await, bob.quick().await];
        assert!(turns.of(2).quick().now_or_never().is_none(), "of all his connections");
        assert!(anna.quick().now_or_never().is_some());
        assert!(bob.dialog().now_or_never().is_some(), "a person is not polkit");
        drop(taken);
        assert!(bob.quick().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_refused_again_and_again_is_refused_slowly() {
        let turns = Turns::default();
        let start = Instant::now();
        let refuse = async |often: u32| {
            for _ in 0..often {
                // Nobody holds on to them: the user has no other calls in the works.
                let bob = turns.of(2);
                let _turn = bob.quick().await;
                bob.refused();
            }
        };
        refuse(21).await;
        assert_eq!(start.elapsed(), Duration::ZERO, "front ends ask for much at once");
        refuse(100).await;
        let took = start.elapsed();
        assert!((Duration::from_millis(4950)..=Duration::from_millis(5200)).contains(&took), "{took:?}");
        assert!(turns.of(1).quick().now_or_never().is_some(), "others are not concerned");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(turns.of(2).quick().now_or_never().is_some(), "it is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_nothing_is_not_remembered() {
        let turns = Turns::default();
        for uid in 0..10_000 {
            turns.of(uid).refused();
            tokio::time::advance(PACE).await;
        }
        assert_eq!(turns.0.lock().unwrap().len(), 1);
    }
}
