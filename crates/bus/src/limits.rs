//! How many calls of one caller may be in the works: nobody can make us remember more, or ask polkit more at once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Calls of one connection. A front end has two or three.
const PER_CONNECTION: u32 = 16;
/// Calls of all connections of one user.
const PER_USER: u32 = 32;

/// Connections of one user to the private socket.
const CONNECTIONS: u32 = 16;

/// Whose calls are counted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Who {
    /// One connection to the bus or the private socket, by its name.
    Connection(String),
    /// All connections of one user.
    User(u32),
    /// The connections themselves that one user has to the private socket.
    Guest(u32),
}

/// The calls in the works. Whoever has none is not remembered, which bounds it.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    calls: Mutex<BTreeMap<Who, u32>>,
    refused: AtomicU64,
}

/// A call in the works.
#[derive(Debug)]
pub(super) struct Place {
    who: Who,
    counts: Arc<Counts>,
}

impl Limits {
    /// A place for one more call, if there is one. Who is refused is told so at once, and counted.
    pub(super) fn enter(&self, who: Who) -> Option<Place> {
        let most = match who {
            Who::Connection(_) => PER_CONNECTION,
            Who::User(_) => PER_USER,
            Who::Guest(_) => CONNECTIONS,
        };
        let mut calls = self.0.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let count = calls.entry(who.clone()).or_default();
        if *count >= most {
            let refused = self.0.refused.fetch_add(1, Ordering::Relaxed) + 1;
            // Whoever floods us must not flood the log.
            if refused.is_power_of_two() {
                tracing::debug!(refused, "calls refused, because their caller has too many in the works");
            }
            return None;
        }
        *count += 1;
        drop(calls);
        Some(Place { who, counts: Arc::clone(&self.0) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut calls = self.counts.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = calls.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                calls.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_call_is_over() {
        let limits = Limits::default();
        let who = || Who::Connection(":1.7".to_owned());
        let places: Vec<_> = (0..PER_CONNECTION).map(|_| limits.enter(who()).unwrap()).collect();
        assert!(limits.enter(who()).is_none());
        assert!(limits.enter(Who::Connection(":1.8".to_owned())).is_some(), "others are not concerned");
        drop(places);
        assert!(limits.enter(who()).is_some());
    }

    #[test]
    fn whoever_has_no_call_in_the_works_is_not_remembered() {
        let limits = Limits::default();
        for number in 0..10_000 {
            let _place = limits.enter(Who::User(number)).unwrap();
        }
        assert!(limits.0.calls.lock().unwrap().is_empty());
    }
}
