//! Names of other clients, in pools whose members are found by name.
//!
//! Only the portal knows who has which name. It is asked once per name, whatever number of programs wait for it, and what
//! it says is remembered until the pool goes away or changes its pattern.

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

/// How long a program waits for the portal. Then it is told that nobody could say.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long what we say may be kept by programs.
const TTL: u32 = 1;
/// How many names may be looked up at once; beyond that there is no answer (SERVFAIL).
const LOOKUPS: usize = 256;
/// How many programs may wait for one name; beyond that there is no answer (SERVFAIL).
const WAITING: usize = 128;
/// How many names are remembered; beyond that they are looked up each time.
const KNOWN: usize = 4096;

/// All pools of this kind, and what is known of their names. `Q` identifies a question for its asker.
#[derive(Debug)]
pub struct DeviceNames<Q> {
    patterns: BTreeMap<ResourceId, Pattern>,
    known: BTreeMap<Key, Device>,
    waiting: BTreeMap<Key, Waiting<Q>>,
}

/// A name in a pool.
type Key = (ResourceId, Domain);

/// What the portal said about one name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Device {
    /// Its IPv4 address in the tunnel.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address in the tunnel.
    pub ipv6: Option<Ipv6Addr>,
}

/// What the portal said instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoDevice {
    /// There is no such name.
    NotFound,
    /// It could not say.
    Unknown,
}

/// What becomes of a question.
#[derive(Clone, PartialEq, Debug)]
pub enum DeviceDecision {
    /// It is about no pool.
    NotOurs,
    /// It is answered at once.
    Decided(Decision),
    /// It waits; the portal was asked already.
    Wait,
    /// It waits, and the portal has to be asked for this name in this pool.
    Ask(ResourceId, Domain),
}

#[derive(Debug)]
struct Waiting<Q> {
    since: Instant,
    questions: Vec<(Q, Question)>,
}

impl<Q> Default for DeviceNames<Q> {
    fn default() -> Self {
        Self { patterns: BTreeMap::new(), known: BTreeMap::new(), waiting: BTreeMap::new() }
    }
}

impl<Q> DeviceNames<Q> {
    /// Serves a pool. To be [removed](Self::remove) first if it had another pattern.
    ///
    /// # Errors
    /// The pattern is none; no name will match.
    pub fn insert(&mut self, pool: ResourceId, pattern: &str) -> Result<(), InvalidPattern> {
        self.patterns.insert(pool, pattern.parse()?);
        Ok(())
    }

    /// Serves a pool no longer. What waited for it is decided now.
    pub fn remove(&mut self, pool: ResourceId) -> Vec<(Q, Decision)> {
        self.patterns.remove(&pool);
        self.known.retain(|(of, _), _| *of != pool);
        let gone: Vec<Key> = self.waiting.keys().filter(|(of, _)| *of == pool).cloned().collect();
        gone.iter().flat_map(|key| self.end(key, |_| Decision::ServFail)).collect()
    }

    /// Decides about a question, which is `id` for its asker. Of several pools the one with the smallest id counts.
    pub fn decide(&mut self, id: Q, question: &Question, now: Instant) -> DeviceDecision {
        let matching = self.pool_of(&question.name).filter(|_| question.standard);
        let Some((_, pool)) = matching else { return DeviceDecision::NotOurs };
        if !matches!(question.qtype, RecordType::A | RecordType::AAAA) {
            return DeviceDecision::Decided(Decision::Answer(Answer::empty()));
        }
        let key = (pool, question.name.clone());
        if let Some(device) = self.known.get(&key) {
            return DeviceDecision::Decided(Decision::Answer(device.answer(question)));
        }
        if let Some(waiting) = self.waiting.get_mut(&key) {
            if waiting.questions.len() >= WAITING {
                return DeviceDecision::Decided(Decision::ServFail);
            }
            waiting.questions.push((id, question.clone()));
            return DeviceDecision::Wait;
        }
        if self.waiting.len() >= LOOKUPS {
            return DeviceDecision::Decided(Decision::ServFail);
        }
        self.waiting.insert(key, Waiting { since: now, questions: vec![(id, question.clone())] });
        DeviceDecision::Ask(pool, question.name.clone())
    }

    /// The portal knows who has `name`. Nothing happens if nobody asked.
    pub fn handle_resolved(&mut self, pool: ResourceId, name: &Domain, device: Device) -> Vec<(Q, Decision)> {
        let key = (pool, name.clone());
        if self.waiting.contains_key(&key) && self.known.len() < KNOWN {
            self.known.insert(key.clone(), device);
        }
        self.end(&key, |question| Decision::Answer(device.answer(question)))
    }

    /// The portal does not know who has `name`. Nothing happens if nobody asked.
    pub fn handle_failed(&mut self, pool: ResourceId, name: &Domain, why: NoDevice) -> Vec<(Q, Decision)> {
        self.end(&(pool, name.clone()), |_| match why {
            NoDevice::NotFound => Decision::Answer(Answer::no_such_name()),
            NoDevice::Unknown => Decision::ServFail,
        })
    }

    /// The pool that `name` belongs to, with its pattern.
    #[must_use]
    pub fn pool_of(&self, name: &Domain) -> Option<(&Pattern, ResourceId)> {
        self.patterns.iter().find(|(_, pattern)| pattern.matches(name)).map(|(id, pattern)| (pattern, *id))
    }

    /// What the portal has said about `name`.
    #[must_use]
    pub fn known(&self, pool: ResourceId, name: &Domain) -> Option<Device> {
        self.known.get(&(pool, name.clone())).copied()
    }

    /// The names that the portal has been asked for without an answer so far.
    pub fn outstanding(&self) -> impl Iterator<Item = (ResourceId, &Domain)> {
        self.waiting.keys().map(|(pool, name)| (*pool, name))
    }

    /// Ends waits that lasted too long.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<(Q, Decision)> {
        let late = self.waiting.iter().filter(|(_, waiting)| waiting.since + PATIENCE <= now);
        let late: Vec<Key> = late.map(|(key, _)| key.clone()).collect();
        late.iter().flat_map(|key| self.end(key, |_| Decision::ServFail)).collect()
    }

    /// When a wait lasts too long.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.since + PATIENCE).min()
    }

    fn end(&mut self, key: &Key, decision: impl Fn(&Question) -> Decision) -> Vec<(Q, Decision)> {
        let questions = self.waiting.remove(key).map(|waiting| waiting.questions).unwrap_or_default();
        questions.into_iter().map(|(id, question)| (id, decision(&question))).collect()
    }
}

impl Device {
    /// Its addresses, IPv4 first.
    pub fn addresses(self) -> impl Iterator<Item = IpAddr> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6))
    }

    fn answer(self, question: &Question) -> Answer {
        let data = match question.qtype {
            RecordType::A => self.ipv4.map(|ip| RData::A(A(ip))),
            RecordType::AAAA => self.ipv6.map(|ip| RData::AAAA(AAAA(ip))),
            _ => None,
        };
        let record = |data| Record::from_rdata(question.asked.clone(), TTL, data);
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
    fn both_families_and_all_who_wait_share_one_look_up() {
        let (mut names, now) = (names(), start());
        let name = Domain::from("kim.laptops.example");
        let first = names.decide(1, &question("Kim.laptops.example", RecordType::A), now);
        assert_eq!(first, DeviceDecision::Ask(POOL, name.clone()));
        for (id, qtype) in [(2, RecordType::AAAA), (3, RecordType::A)] {
            assert_eq!(names.decide(id, &question("kim.laptops.example", qtype), now), DeviceDecision::Wait);
        }

        let decided = names.handle_resolved(POOL, &"KIM.laptops.example.".into(), device());

        let told: Vec<_> = decided.iter().map(|(id, decision)| (*id, addresses(decision))).collect();
        let (v4, v6) = (vec!["100.64.9.4".to_owned()], vec!["fd00:2021:1111::91".to_owned()]);
        assert_eq!(told, [(1, v4.clone()), (2, v6), (3, v4.clone())]);
        let DeviceDecision::Decided(again) = names.decide(4, &question("kim.laptops.example", RecordType::A), now)
        else {
            panic!("it was forgotten")
        };
        assert_eq!(addresses(&again), v4);
        assert_eq!(names.poll_timeout(), None);
    }

    #[test]
    fn other_records_are_empty_and_other_names_are_not_ours() {
        let (mut names, now) = (names(), start());
        let empty = DeviceDecision::Decided(Decision::Answer(Answer::empty()));
        for qtype in [RecordType::MX, RecordType::TXT, RecordType::HTTPS] {
            assert_eq!(names.decide(1, &question("kim.laptops.example", qtype), now), empty);
        }
        let other = names.decide(1, &question("kim.desktops.example", RecordType::A), now);
        assert_eq!(other, DeviceDecision::NotOurs);
    }

    #[test]
    fn silence_is_a_failure_after_five_seconds_and_a_late_answer_is_nobodys() {
        let (mut names, now) = (names(), start());
        names.decide(1, &question("kim.laptops.example", RecordType::A), now);
        assert_eq!(names.outstanding().count(), 1);

        let due = names.poll_timeout().unwrap();
        assert_eq!(due, now + PATIENCE);
        assert_eq!(names.handle_timeout(due - Duration::from_millis(1)), []);
        assert_eq!(names.handle_timeout(due), [(1, Decision::ServFail)]);

        assert_eq!(names.handle_resolved(POOL, &"kim.laptops.example".into(), device()), []);
        assert!(matches!(
            names.decide(2, &question("kim.laptops.example", RecordType::A), due),
            DeviceDecision::Ask(..)
        ));
    }

    #[test]
    fn a_name_that_is_not_found_does_not_exist_and_any_other_reason_is_a_failure() {
        let (mut names, now) = (names(), start());
        for (why, expected) in
            [(NoDevice::NotFound, Decision::Answer(Answer::no_such_name())), (NoDevice::Unknown, Decision::ServFail)]
        {
            names.decide(1, &question("kim.laptops.example", RecordType::A), now);
            assert_eq!(names.handle_failed(POOL, &"kim.laptops.example".into(), why), [(1, expected)]);
        }
    }

    #[test]
    fn a_family_that_the_device_does_not_have_is_empty() {
        let (mut names, now) = (names(), start());
        names.decide(1, &question("kim.laptops.example", RecordType::AAAA), now);
        let only_v4 = Device { ipv6: None, ..device() };
        let decided = names.handle_resolved(POOL, &"kim.laptops.example".into(), only_v4);
        assert_eq!(decided, [(1, Decision::Answer(Answer::empty()))]);
    }

    #[test]
    fn removing_a_pool_ends_what_waits_and_forgets_what_is_known() {
        let (mut names, now) = (names(), start());
        names.decide(1, &question("kim.laptops.example", RecordType::A), now);
        names.handle_resolved(POOL, &"kim.laptops.example".into(), device());
        names.decide(2, &question("lee.laptops.example", RecordType::A), now);

        assert_eq!(names.remove(POOL), [(2, Decision::ServFail)]);

        assert_eq!(names.decide(3, &question("kim.laptops.example", RecordType::A), now), DeviceDecision::NotOurs);
        names.insert(POOL, "*.laptops.example").unwrap();
        assert!(matches!(
            names.decide(3, &question("kim.laptops.example", RecordType::A), now),
            DeviceDecision::Ask(..)
        ));
    }

    #[test]
    fn of_two_pools_the_one_with_the_smaller_id_is_asked() {
        let (mut names, now) = (names(), start());
        names.insert(ResourceId::from_u128(0), "**.example").unwrap();
        let decision = names.decide(1, &question("kim.laptops.example", RecordType::A), now);
        assert_eq!(decision, DeviceDecision::Ask(ResourceId::from_u128(0), "kim.laptops.example".into()));
    }

    #[test]
    fn what_may_wait_is_bounded() {
        let (mut names, now) = (names(), start());
        for _ in 0..WAITING {
            names.decide(1, &question("kim.laptops.example", RecordType::A), now);
        }
        let failure = DeviceDecision::Decided(Decision::ServFail);
        assert_eq!(names.decide(1, &question("kim.laptops.example", RecordType::A), now), failure);
        for number in 1..LOOKUPS {
            names.decide(1, &question(&format!("kim{number}.laptops.example"), RecordType::A), now);
        }
        assert_eq!(names.decide(1, &question("late.laptops.example", RecordType::A), now), failure);
    }
}
