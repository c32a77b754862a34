//! Whose turn it is to have polkit asked: it answers one question after the other, so somebody who calls without end would
//! have everybody wait who calls once. Each user has only a few questions with it at a time; the rest wait here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Questions about one user that polkit has at a time.
const QUICK: usize = 2;
/// Questions about one user that a person has at a time.
const DIALOGS: usize = 1;

/// The turns of all users. A user without calls in the works is not remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Mutex<BTreeMap<u32, Weak<OfOne>>>>);

/// The turns of one user.
#[derive(Debug)]
pub(super) struct OfOne {
    quick: Semaphore,
    dialogs: Semaphore,
}

impl Turns {
    /// The turns of this user.
    pub(super) fn of(&self, uid: u32) -> Arc<OfOne> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = all.get(&uid).and_then(Weak::upgrade) {
            return turns;
        }
        all.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(OfOne { quick: Semaphore::new(QUICK), dialogs: Semaphore::new(DIALOGS) });
        all.insert(uid, Arc::downgrade(&turns));
        turns
    }
}

impl OfOne {
    /// Waits for the turn of a question that polkit answers by itself. There is none only if nobody gives turns any more.
    pub(super) async fn quick(&self) -> Option<SemaphorePermit<'_>> {
        self.quick.acquire().await.ok()
    }

    /// Waits for the turn of a question that a person has to answer.
    pub(super) async fn dialog(&self) -> Option<SemaphorePermit<'_>> {
        self.dialogs.acquire().await.ok()
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

    #[test]
    fn whoever_asks_nothing_is_not_remembered() {
        let turns = Turns::default();
        for uid in 0..10_000 {
            drop(turns.of(uid));
        }
        assert_eq!(turns.0.lock().unwrap().len(), 1);
    }
}
