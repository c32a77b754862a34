//! Limits the pending calls of each caller, and so the memory and the polkit queries that it can cause.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Pending calls of one connection. A front end has two or three.
const MAX_CALLS_PER_CONNECTION: u32 = 16;
/// Pending calls of all connections of one user.
const MAX_CALLS_PER_USER: u32 = 32;

/// Connections of one user to the private socket.
const MAX_CONNECTIONS_PER_USER: u32 = 16;

/// What is counted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Scope {
    /// The calls of one connection to the bus or the private socket, by its name.
    Connection(String),
    /// The calls of all connections of one user.
    User(u32),
    /// The connections of one user to the private socket.
    PrivateConnections(u32),
}

/// Counts pending calls. Bounded, because scopes without pending calls are removed.
#[derive(Clone, Debug, Default)]
pub(super) struct CallLimiter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    calls: Mutex<BTreeMap<Scope, u32>>,
    refused: AtomicU64,
}

/// A pending call or connection. Dropping it ends it.
#[derive(Debug)]
pub(super) struct PendingCall {
    scope: Scope,
    counts: Arc<Counts>,
}

impl CallLimiter {
    /// Counts one more call. `None` if the limit is reached.
    pub(super) fn begin(&self, scope: Scope) -> Option<PendingCall> {
        let limit = match scope {
            Scope::Connection(_) => MAX_CALLS_PER_CONNECTION,
            Scope::User(_) => MAX_CALLS_PER_USER,
            Scope::PrivateConnections(_) => MAX_CONNECTIONS_PER_USER,
        };
        let mut calls = self.0.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let count = calls.entry(scope.clone()).or_default();
        if *count >= limit {
            let refused = self.0.refused.fetch_add(1, Ordering::Relaxed) + 1;
            // A flood of calls must not flood the log.
            if refused.is_power_of_two() {
                tracing::debug!(refused, "calls refused because of too many pending calls");
            }
            return None;
        }
        *count += 1;
        drop(calls);
        Some(PendingCall { scope, counts: Arc::clone(&self.0) })
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        let mut calls = self.counts.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = calls.get_mut(&self.scope) {
            *count -= 1;
            if *count == 0 {
                calls.remove(&self.scope);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_released_when_a_call_ends() {
        let limiter = CallLimiter::default();
        let scope = || Scope::Connection(":1.7".to_owned());
        let calls: Vec<_> = (0..MAX_CALLS_PER_CONNECTION).map(|_| limiter.begin(scope()).unwrap()).collect();
        assert!(limiter.begin(scope()).is_none());
        assert!(limiter.begin(Scope::Connection(":1.8".to_owned())).is_some(), "other connections are not affected");
        drop(calls);
        assert!(limiter.begin(scope()).is_some());
    }

    #[test]
    fn scopes_without_pending_calls_are_removed() {
        let limiter = CallLimiter::default();
        for number in 0..10_000 {
            let _call = limiter.begin(Scope::User(number)).unwrap();
        }
        assert!(limiter.0.calls.lock().unwrap().is_empty());
    }
}
