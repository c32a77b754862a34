//! What is known about the senders of messages: the user of each, and a recent permission to read.
//!
//! A unique name belongs to one connection for ever, and so to one user. A permission does not: it is valid for
//! [`READ_PERMISSION_TTL`] from the start of the query to polkit, for reading only, and until polkit announces a change. Only
//! a "yes" that polkit gave without a password is cached. So a caller that loses the permission to read can continue for that
//! time at most, if it has just read.
//!
//! The permission is cached because a query to polkit dominates the latency of `GetStatus`, which front ends call often.
//! Measured with debug builds, p99 of `GetStatus`: 12 to 19 ms without the cache and 4.2 to 7.4 ms with it
//! while the tunnel is idle; 26 to 42 ms and 8.8 to 9.5 ms while it is busy (there together with cached paths).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The capacity of the cache. A new sender replaces the one whose last call is the oldest.
const MAX_SENDERS: usize = 128;
/// How long a permission to read is valid.
const READ_PERMISSION_TTL: Duration = Duration::from_secs(1);

/// The cache.
#[derive(Clone, Debug, Default)]
pub(super) struct CallerCache(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    senders: BTreeMap<String, Sender>,
    /// The number of calls, which orders the calls of all senders.
    calls: u64,
    /// The number of changes that polkit has announced.
    changes: u64,
}

#[derive(Debug)]
struct Sender {
    uid: u32,
    last_call: u64,
    may_read_until: Option<Instant>,
}

/// The start of a query to polkit.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueryStart {
    at: Instant,
    changes: u64,
}

impl CallerCache {
    /// The user id of a sender, if it is known.
    pub(super) fn uid(&self, name: &str) -> Option<u32> {
        let mut state = self.state();
        state.calls += 1;
        let call = state.calls;
        let sender = state.senders.get_mut(name)?;
        sender.last_call = call;
        Some(sender.uid)
    }

    /// Stores the user id of a sender.
    pub(super) fn insert(&self, name: &str, uid: u32) {
        let mut state = self.state();
        if state.senders.len() >= MAX_SENDERS
            && !state.senders.contains_key(name)
            && let Some(oldest) = state.senders.iter().min_by_key(|(_, it)| it.last_call).map(|(name, _)| name.clone())
        {
            state.senders.remove(&oldest);
        }
        let sender = Sender { uid, last_call: state.calls, may_read_until: None };
        state.senders.insert(name.to_owned(), sender);
    }

    /// Whether polkit has recently permitted this sender to read.
    pub(super) fn may_read(&self, name: &str, now: Instant) -> bool {
        let state = self.state();
        state.senders.get(name).and_then(|it| it.may_read_until).is_some_and(|until| now < until)
    }

    /// Marks the start of a query, for [`Self::allow_read`].
    pub(super) fn start_query(&self, now: Instant) -> QueryStart {
        QueryStart { at: now, changes: self.state().changes }
    }

    /// Stores the permission of a sender to read, unless polkit has announced a change since the start of the query.
    pub(super) fn allow_read(&self, name: &str, query: QueryStart) {
        let mut state = self.state();
        if state.changes == query.changes
            && let Some(sender) = state.senders.get_mut(name)
        {
            sender.may_read_until = Some(query.at + READ_PERMISSION_TTL);
        }
    }

    /// Discards all permissions.
    pub(super) fn clear_permissions(&self) {
        let mut state = self.state();
        state.changes += 1;
        state.senders.values_mut().for_each(|it| it.may_read_until = None);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: &str = ":1.7";

    fn with_sender() -> (CallerCache, Instant) {
        let cache = CallerCache::default();
        cache.insert(SENDER, 1000);
        (cache, Instant::now())
    }

    #[test]
    fn read_permission_is_valid_for_a_second_from_the_query() {
        let (cache, now) = with_sender();
        assert!(!cache.may_read(SENDER, now));
        cache.allow_read(SENDER, cache.start_query(now));
        assert!(cache.may_read(SENDER, now + Duration::from_millis(999)));
        assert!(!cache.may_read(SENDER, now + Duration::from_secs(1)));
        assert!(!cache.may_read(":1.8", now), "another connection of the same user");
    }

    #[test]
    fn polkit_change_discards_permissions_and_earlier_queries() {
        let (cache, now) = with_sender();
        let before = cache.start_query(now);
        cache.allow_read(SENDER, before);
        cache.clear_permissions();
        assert!(!cache.may_read(SENDER, now));
        cache.allow_read(SENDER, before);
        assert!(!cache.may_read(SENDER, now), "the query was started before the change");
        cache.allow_read(SENDER, cache.start_query(now));
        assert!(cache.may_read(SENDER, now));
    }

    #[test]
    fn new_sender_replaces_the_least_recent_caller() {
        let (cache, _) = with_sender();
        for number in 0..1000 {
            cache.insert(&format!(":2.{number}"), 1001);
            assert_eq!(cache.uid(SENDER), Some(1000), "an active sender stays");
        }
        assert_eq!(cache.state().senders.len(), MAX_SENDERS);
        assert_eq!((cache.uid(":2.1"), cache.uid(":2.999")), (None, Some(1001)));
    }
}
