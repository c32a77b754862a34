//! Names of other clients, in device pools whose members are found by name.
//!
//! Only the portal can resolve these names. Concurrent queries for a name share one lookup, and the result is kept until
//! the pool is removed or changes its pattern.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use hickory_proto::rr::{
    RData, Record, RecordType,
    rdata::{A, AAAA},
};
use model::ResourceId;

use crate::{Answer, Decision, Domain, InvalidPattern, Pattern, Question};

/// How long a query waits for the portal before it fails with SERVFAIL.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// TTL of the records in answers, in seconds.
const TTL: u32 = 1;
/// Maximum number of concurrent lookups; further queries fail with SERVFAIL.
const MAX_LOOKUPS: usize = 256;
/// Maximum number of queries that wait for one lookup; further queries fail with SERVFAIL.
const MAX_QUERIES_PER_LOOKUP: usize = 128;
/// Maximum number of resolved names that are kept; further names are looked up each time.
const MAX_RESOLVED_NAMES: usize = 4096;

/// All device pools with a name pattern, and their resolved names. `Q` is the caller's id of a question.
#[derive(Debug)]
pub struct DeviceNames<Q> {
    patterns: BTreeMap<ResourceId, Pattern>,
    resolved: BTreeMap<Key, Device>,
    pending: BTreeMap<Key, PendingLookup<Q>>,
}

/// A name in a pool.
type Key = (ResourceId, Domain);

/// The addresses of a resolved name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Device {
    /// Its IPv4 address in the tunnel.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address in the tunnel.
    pub ipv6: Option<Ipv6Addr>,
}

/// Why the portal did not resolve a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LookupError {
    /// The name does not exist.
    NotFound,
    /// Any other reason.
    Unavailable,
}

/// The decision about a question.
#[derive(Clone, PartialEq, Debug)]
pub enum DeviceDecision {
    /// The name belongs to no pool.
    NoMatch,
    /// The question is decided immediately.
    Decided(Decision),
    /// The question waits for a lookup that is already pending.
    Pending,
    /// The question waits, and the caller has to ask the portal for this name in this pool.
    AskPortal(ResourceId, Domain),
}

#[derive(Debug)]
struct PendingLookup<Q> {
    since: Instant,
    questions: Vec<(Q, Question)>,
}

impl<Q> Default for DeviceNames<Q> {
    fn default() -> Self {
        Self { patterns: BTreeMap::new(), resolved: BTreeMap::new(), pending: BTreeMap::new() }
    }
}

impl<Q> DeviceNames<Q> {
    /// Adds a pool. A pool whose pattern changed has to be [removed](Self::remove) first.
    ///
    /// # Errors
    /// The pattern is invalid; no name will match.
    pub fn insert(&mut self, pool: ResourceId, pattern: &str) -> Result<(), InvalidPattern> {
        self.patterns.insert(pool, pattern.parse()?);
        Ok(())
    }

    /// Removes a pool. Returns the questions that waited for it with their decision.
    pub fn remove(&mut self, pool: ResourceId) -> Vec<(Q, Decision)> {
        self.patterns.remove(&pool);
        self.resolved.retain(|(of, _), _| *of != pool);
        let gone: Vec<Key> = self.pending.keys().filter(|(of, _)| *of == pool).cloned().collect();
        gone.iter().flat_map(|key| self.finish(key, |_| Decision::ServFail)).collect()
    }

    /// Decides the question with the caller's `id`. If several pools match, the one with the smallest id is used.
    pub fn decide(&mut self, id: Q, question: &Question, now: Instant) -> DeviceDecision {
        let matching = self.pool_of(&question.name).filter(|_| question.is_standard);
        let Some((_, pool)) = matching else { return DeviceDecision::NoMatch };
        if !matches!(question.qtype, RecordType::A | RecordType::AAAA) {
            return DeviceDecision::Decided(Decision::Answer(Answer::empty()));
        }
        let key = (pool, question.name.clone());
        if let Some(device) = self.resolved.get(&key) {
            return DeviceDecision::Decided(Decision::Answer(device.answer(question)));
        }
        if let Some(lookup) = self.pending.get_mut(&key) {
            if lookup.questions.len() >= MAX_QUERIES_PER_LOOKUP {
                return DeviceDecision::Decided(Decision::ServFail);
            }
            lookup.questions.push((id, question.clone()));
            return DeviceDecision::Pending;
        }
        if self.pending.len() >= MAX_LOOKUPS {
            return DeviceDecision::Decided(Decision::ServFail);
        }
        self.pending.insert(key, PendingLookup { since: now, questions: vec![(id, question.clone())] });
        DeviceDecision::AskPortal(pool, question.name.clone())
    }

    /// The portal resolved `name`. Ignored unless a lookup is pending.
    pub fn handle_resolved(&mut self, pool: ResourceId, name: &Domain, device: Device) -> Vec<(Q, Decision)> {
        let key = (pool, name.clone());
        if self.pending.contains_key(&key) && self.resolved.len() < MAX_RESOLVED_NAMES {
            self.resolved.insert(key.clone(), device);
        }
        self.finish(&key, |question| Decision::Answer(device.answer(question)))
    }

    /// The portal could not resolve `name`. Ignored unless a lookup is pending.
    pub fn handle_failed(&mut self, pool: ResourceId, name: &Domain, why: LookupError) -> Vec<(Q, Decision)> {
        self.finish(&(pool, name.clone()), |_| match why {
            LookupError::NotFound => Decision::Answer(Answer::no_such_name()),
            LookupError::Unavailable => Decision::ServFail,
        })
    }

    /// The pool that `name` belongs to, with its pattern.
    #[must_use]
    pub fn pool_of(&self, name: &Domain) -> Option<(&Pattern, ResourceId)> {
        self.patterns.iter().find(|(_, pattern)| pattern.matches(name)).map(|(id, pattern)| (pattern, *id))
    }

    /// The addresses of `name`, if the portal has resolved it.
    #[must_use]
    pub fn resolved(&self, pool: ResourceId, name: &Domain) -> Option<Device> {
        self.resolved.get(&(pool, name.clone())).copied()
    }

    /// The names whose lookup is pending.
    pub fn pending(&self) -> impl Iterator<Item = (ResourceId, &Domain)> {
        self.pending.keys().map(|(pool, name)| (*pool, name))
    }

    /// Fails the lookups that timed out.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<(Q, Decision)> {
        let expired = self.pending.iter().filter(|(_, lookup)| lookup.since + LOOKUP_TIMEOUT <= now);
        let expired: Vec<Key> = expired.map(|(key, _)| key.clone()).collect();
        expired.iter().flat_map(|key| self.finish(key, |_| Decision::ServFail)).collect()
    }

    /// When the next lookup times out.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.pending.values().map(|lookup| lookup.since + LOOKUP_TIMEOUT).min()
    }

    fn finish(&mut self, key: &Key, decision: impl Fn(&Question) -> Decision) -> Vec<(Q, Decision)> {
        let questions = self.pending.remove(key).map(|lookup| lookup.questions).unwrap_or_default();
        questions.into_iter().map(|(id, question)| (id, decision(&question))).collect()
    }
}

impl Device {
    /// The device's addresses, IPv4 first.
    pub fn addresses(self) -> impl Iterator<Item = IpAddr> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6))
    }

    fn answer(self, question: &Question) -> Answer {
        let data = match question.qtype {
            RecordType::A => self.ipv4.map(|ip| RData::A(A(ip))),
            RecordType::AAAA => self.ipv6.map(|ip| RData::AAAA(AAAA(ip))),
            _ => None,
        };
        let record = |data| Record::from_rdata(question.original_name.clone(), TTL, data);
        Answer::records(data.map(record).into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: ResourceId = ResourceId::from_u128(1);

    #[allow(clippy::disallowed_methods, reason = "an Instant can only be made from the clock; tests count from there")]
    fn start() -> Instant {
        Instant::now()
    }

    fn question(name: &str, qtype: RecordType) -> Question {
        Question::plain(name, qtype).unwrap()
    }

    fn names() -> DeviceNames<u8> {
        let mut names = DeviceNames::default();
        names.insert(POOL, "*.laptops.example").unwrap();
        names
    }

    fn device() -> Device {
        Device { ipv4: Some("100.64.9.4".parse().unwrap()), ipv6: Some("fd00:2021:1111::91".parse().unwrap()) }
    }

    fn addresses(decision: &Decision) -> Vec<String> {
        let Decision::Answer(answer) = decision else { panic!("{decision:?}") };
        answer.records.iter().map(|record| record.data.ip_addr().unwrap().to_string()).collect()
    }

    #[test]
    fn concurrent_queries_for_a_device_share_one_lookup() {
        let (mut names, now) = (names(), start());
        let name = Domain::from("kim.laptops.example");
        let first = names.decide(1, &question("Kim.laptops.example", RecordType::A), now);
        assert_eq!(first, DeviceDecision::AskPortal(POOL, name.clone()));
        for (id, qtype) in [(2, RecordType::AAAA), (3, RecordType::A)] {
            assert_eq!(names.decide(id, &question("kim.laptops.example", qtype), now), DeviceDecision::Pending);
        }

        let decided = names.handle_resolved(POOL, &"KIM.laptops.example.".into(), device());

        let answers: Vec<_> = decided.iter().map(|(id, decision)| (*id, addresses(decision))).collect();
        let (v4, v6) = (vec!["100.64.9.4".to_owned()], vec!["fd00:2021:1111::91".to_owned()]);
        assert_eq!(answers, [(1, v4.clone()), (2, v6), (3, v4.clone())]);
        let DeviceDecision::Decided(again) = names.decide(4, &question("kim.laptops.example", RecordType::A), now)
        else {
            panic!("it was forgotten")
        };
        assert_eq!(addresses(&again), v4);
        assert_eq!(names.poll_timeout(), None);
    }

    #[test]
    fn other_record_types_are_empty_and_other_names_do_not_match() {
        let (mut names, now) = (names(), start());
        let empty = DeviceDecision::Decided(Decision::Answer(Answer::empty()));
        for qtype in [RecordType::MX, RecordType::TXT, RecordType::HTTPS] {
            assert_eq!(names.decide(1, &question("kim.laptops.example", qtype), now), empty);
        }
        let other = names.decide(1, &question("kim.desktops.example", RecordType::A), now);
        assert_eq!(other, DeviceDecision::NoMatch);
    }

    #[test]
    fn lookup_times_out_after_five_seconds_and_late_answer_is_ignored() {
        let (mut names, now) = (names(), start());
        names.decide(1, &question("kim.laptops.example", RecordType::A), now);
        assert_eq!(names.pending().count(), 1);

        let due = names.poll_timeout().unwrap();
        assert_eq!(due, now + LOOKUP_TIMEOUT);
        assert_eq!(names.handle_timeout(due - Duration::from_millis(1)), []);
        assert_eq!(names.handle_timeout(due), [(1, Decision::ServFail)]);

        assert_eq!(names.handle_resolved(POOL, &"kim.laptops.example".into(), device()), []);
        assert!(matches!(
            names.decide(2, &question("kim.laptops.example", RecordType::A), due),
            DeviceDecision::AskPortal(..)
        ));
    }

    #[test]
    fn not_found_is_nxdomain_and_any_other_reason_is_servfail() {
        let (mut names, now) = (names(), start());
        for (why, expected) in [
            (LookupError::NotFound, Decision::Answer(Answer::no_such_name())),
            (LookupError::Unavailable, Decision::ServFail),
        ] {
            names.decide(1, &question("kim.laptops.example", RecordType::A), now);
            assert_eq!(names.handle_failed(POOL, &"kim.laptops.example".into(), why), [(1, expected)]);
        }
    }

    #[test]
    fn missing_address_family_of_a_device_is_empty() {
        let (mut names, now) = (names(), start());
        names.decide(1, &question("kim.laptops.example", RecordType::AAAA), now);
        let only_v4 = Device { ipv6: None, ..device() };
        let decided = names.handle_resolved(POOL, &"kim.laptops.example".into(), only_v4);
        assert_eq!(decided, [(1, Decision::Answer(Answer::empty()))]);
    }

    #[test]
    fn removing_a_pool_fails_pending_queries_and_forgets_devices() {
        let (mut names, now) = (names(), start());
        names.decide(1, &question("kim.laptops.example", RecordType::A), now);
        names.handle_resolved(POOL, &"kim.laptops.example".into(), device());
        names.decide(2, &question("lee.laptops.example", RecordType::A), now);

        assert_eq!(names.remove(POOL), [(2, Decision::ServFail)]);

        assert_eq!(names.decide(3, &question("kim.laptops.example", RecordType::A), now), DeviceDecision::NoMatch);
        names.insert(POOL, "*.laptops.example").unwrap();
        assert!(matches!(
            names.decide(3, &question("kim.laptops.example", RecordType::A), now),
            DeviceDecision::AskPortal(..)
        ));
    }

    #[test]
    fn pool_with_the_smaller_id_wins() {
        let (mut names, now) = (names(), start());
        names.insert(ResourceId::from_u128(0), "**.example").unwrap();
        let decision = names.decide(1, &question("kim.laptops.example", RecordType::A), now);
        assert_eq!(decision, DeviceDecision::AskPortal(ResourceId::from_u128(0), "kim.laptops.example".into()));
    }

    #[test]
    fn pending_lookups_and_queries_are_bounded() {
        let (mut names, now) = (names(), start());
        for _ in 0..MAX_QUERIES_PER_LOOKUP {
            names.decide(1, &question("kim.laptops.example", RecordType::A), now);
        }
        let failure = DeviceDecision::Decided(Decision::ServFail);
        assert_eq!(names.decide(1, &question("kim.laptops.example", RecordType::A), now), failure);
        for number in 1..MAX_LOOKUPS {
            names.decide(1, &question(&format!("kim{number}.laptops.example"), RecordType::A), now);
        }
        assert_eq!(names.decide(1, &question("late.laptops.example", RecordType::A), now), failure);
    }
}
