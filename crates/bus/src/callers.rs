//! What is known of the senders of messages, so that neither the bus nor polkit is asked the same again and again: whose
//! process each is, and that polkit has just let it read.
//!
//! A unique name of a bus belongs to one connection for ever, and so to one user. A permission does not: it is good for
//! [`GOOD_FOR`] from the moment in which polkit was asked, for nothing but to read, and not after polkit has said that
//! anything about permissions has changed. Only a "yes" that polkit has given by itself is remembered, never a "no" and
//! never what a person had to be asked for. So whoever may no longer read does so for that long at most, if they had
//! just done so.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Senders that are remembered. Whoever called longest ago is forgotten for a new one.
const SENDERS: usize = 128;
/// How long a permission to read is good for.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// The senders of messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Callers(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    senders: BTreeMap<String, Sender>,
    /// Counts calls, to know which was the last of each sender.
    calls: u64,
    /// Counts what polkit says of changes, to know whether a verdict is older.
    changes: u64,
}

#[derive(Debug)]
struct Sender {
    uid: u32,
    last_call: u64,
    may_read_until: Option<Instant>,
}

/// A question to polkit, when it is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    at: Instant,
    changes: u64,
}

impl Callers {
    /// Whose process this sender is, if that is known.
    pub(super) fn uid(&self, name: &str) -> Option<u32> {
        let mut known = self.known();
        known.calls += 1;
        let call = known.calls;
        let sender = known.senders.get_mut(name)?;
        sender.last_call = call;
        Some(sender.uid)
    }

    /// This is whose process it is.
    pub(super) fn learn(&self, name: &str, uid: u32) {
        let mut known = self.known();
        if known.senders.len() >= SENDERS
            && !known.senders.contains_key(name)
            && let Some(oldest) = known.senders.iter().min_by_key(|(_, it)| it.last_call).map(|(name, _)| name.clone())
        {
            known.senders.remove(&oldest);
        }
        let sender = Sender { uid, last_call: known.calls, may_read_until: None };
        known.senders.insert(name.to_owned(), sender);
    }

    /// Whether polkit has just let this sender read.
    pub(super) fn may_read(&self, name: &str, now: Instant) -> bool {
        let known = self.known();
        known.senders.get(name).and_then(|it| it.may_read_until).is_some_and(|until| now < until)
    }

    /// To be kept until polkit has answered.
    pub(super) fn ask(&self, now: Instant) -> Asked {
        Asked { at: now, changes: self.known().changes }
    }

    /// Polkit lets this sender read, unless something has changed since it was asked.
    pub(super) fn let_read(&self, name: &str, asked: Asked) {
        let mut known = self.known();
        if known.changes == asked.changes
            && let Some(sender) = known.senders.get_mut(name)
        {
            sender.may_read_until = Some(asked.at + GOOD_FOR);
        }
    }

    /// What polkit has said so far is good no longer.
    pub(super) fn forget_permissions(&self) {
        let mut known = self.known();
        known.changes += 1;
        known.senders.values_mut().for_each(|it| it.may_read_until = None);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: &str = ":1.7";

    fn with_anna() -> (Callers, Instant) {
        let callers = Callers::default();
        callers.learn(ANNA, 1000);
        (callers, Instant::now())
    }

    #[test]
    fn a_permission_to_read_is_good_for_a_second_from_the_question() {
        let (callers, now) = with_anna();
        assert!(!callers.may_read(ANNA, now));
        callers.let_read(ANNA, callers.ask(now));
        assert!(callers.may_read(ANNA, now + Duration::from_millis(999)));
        assert!(!callers.may_read(ANNA, now + Duration::from_secs(1)));
        assert!(!callers.may_read(":1.8", now), "it is one connection's, not a user's");
    }

    #[test]
    fn a_change_ends_it_and_what_was_asked_before() {
        let (callers, now) = with_anna();
        let before = callers.ask(now);
        callers.let_read(ANNA, before);
        callers.forget_permissions();
        assert!(!callers.may_read(ANNA, now));
        callers.let_read(ANNA, before);
        assert!(!callers.may_read(ANNA, now), "polkit was asked before the change");
        callers.let_read(ANNA, callers.ask(now));
        assert!(callers.may_read(ANNA, now));
    }

    #[test]
    fn whoever_called_longest_ago_is_forgotten_for_a_new_one() {
        let (callers, _) = with_anna();
        for number in 0..1000 {
            callers.learn(&format!(":2.{number}"), 1001);
            assert_eq!(callers.uid(ANNA), Some(1000), "who goes on calling is remembered");
        }
        assert_eq!(callers.known().senders.len(), SENDERS);
        assert_eq!((callers.uid(":2.1"), callers.uid(":2.999")), (None, Some(1001)));
    }
}
