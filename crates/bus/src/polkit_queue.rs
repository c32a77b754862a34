//! Shares polkit among users: polkit handles queries one after the other, so a user who calls continuously would delay all
//! others. Each user has a few queries at a time; more wait here. Repeated denials are rate-limited, which leaves time of
//! polkit and of the processors for others.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

/// Concurrent queries about one user.
const MAX_QUERIES_PER_USER: usize = 2;
/// Concurrent dialogs about one user.
const MAX_DIALOGS_PER_USER: usize = 1;

/// The interval of denials that a user can sustain.
const DENIAL_INTERVAL: Duration = Duration::from_millis(50);
/// The burst of denials that is not delayed, as front ends preview all actions at once.
const DENIAL_BURST: Duration = DENIAL_INTERVAL.saturating_mul(20);

/// The queues of all users. A queue is removed when it is unused and its denials have expired.
#[derive(Clone, Debug, Default)]
pub(super) struct PolkitQueue(Arc<Mutex<BTreeMap<u32, Arc<UserQueue>>>>);

/// The queue of one user.
#[derive(Debug)]
pub(super) struct UserQueue {
    queries: Semaphore,
    dialogs: Semaphore,
    /// The time at which all denials so far have expired.
    denied_until: Mutex<Option<Instant>>,
}

impl PolkitQueue {
    /// The queue of this user.
    pub(super) fn of_user(&self, uid: u32) -> Arc<UserQueue> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(&uid) {
            return Arc::clone(queue);
        }
        let now = Instant::now();
        queues.retain(|_, queue| Arc::strong_count(queue) > 1 || queue.denial_time(now) > Duration::ZERO);
        let queue = Arc::new(UserQueue {
            queries: Semaphore::new(MAX_QUERIES_PER_USER),
            dialogs: Semaphore::new(MAX_DIALOGS_PER_USER),
            denied_until: Mutex::new(None),
        });
        queues.insert(uid, Arc::clone(&queue));
        queue
    }
}

impl UserQueue {
    /// Waits for a slot for a query without a dialog. The semaphore is never closed, so there is always a slot.
    pub(super) async fn query_slot(&self) -> Option<SemaphorePermit<'_>> {
        let slot = self.queries.acquire().await.ok()?;
        let delay = self.denial_time(Instant::now()).saturating_sub(DENIAL_BURST);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        Some(slot)
    }

    /// Waits for a slot for a dialog.
    pub(super) async fn dialog_slot(&self) -> Option<SemaphorePermit<'_>> {
        self.dialogs.acquire().await.ok()
    }

    /// Counts a denial.
    pub(super) fn count_denial(&self) {
        let now = Instant::now();
        let mut denied_until = self.denied_until.lock().unwrap_or_else(PoisonError::into_inner);
        *denied_until = Some(denied_until.map_or(now, |until| until.max(now)) + DENIAL_INTERVAL);
    }

    /// The time until all denials so far have expired.
    fn denial_time(&self, now: Instant) -> Duration {
        let denied_until = *self.denied_until.lock().unwrap_or_else(PoisonError::into_inner);
        denied_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn queries_of_one_user_do_not_delay_those_of_another() {
        let queue = PolkitQueue::default();
        let (first, second) = (queue.of_user(1), queue.of_user(2));
        let slots = [second.query_slot().await, second.query_slot().await];
        assert!(queue.of_user(2).query_slot().now_or_never().is_none(), "for all connections of the user");
        assert!(first.query_slot().now_or_never().is_some());
        assert!(second.dialog_slot().now_or_never().is_some(), "dialogs have slots of their own");
        drop(slots);
        assert!(second.query_slot().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn repeated_denials_are_rate_limited() {
        let queue = PolkitQueue::default();
        let start = Instant::now();
        let deny = async |times: u32| {
            for _ in 0..times {
                // The queue is dropped after each call, as for a user without other calls.
                let second = queue.of_user(2);
                let _slot = second.query_slot().await;
                second.count_denial();
            }
        };
        deny(21).await;
        assert_eq!(start.elapsed(), Duration::ZERO, "a burst is not delayed");
        deny(100).await;
        let elapsed = start.elapsed();
        assert!((Duration::from_millis(4950)..=Duration::from_millis(5200)).contains(&elapsed), "{elapsed:?}");
        assert!(queue.of_user(1).query_slot().now_or_never().is_some(), "other users are not affected");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(queue.of_user(2).query_slot().now_or_never().is_some(), "denials expire");
    }

    #[tokio::test(start_paused = true)]
    async fn unused_queues_are_removed() {
        let queue = PolkitQueue::default();
        for uid in 0..10_000 {
            queue.of_user(uid).count_denial();
            tokio::time::advance(DENIAL_INTERVAL).await;
        }
        assert_eq!(queue.0.lock().unwrap().len(), 1);
    }
}
