//! Cached answers of upstream resolvers.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::ResponseCode,
    rr::{Record, RecordType},
};

use crate::{Answer, Domain, Question, Response};

/// Answers with a shorter TTL are not cached, in seconds.
const MIN_TTL: u32 = 5;
/// Maximum number of cached answers. Beyond that, the answer that expires first is evicted.
const MAX_ENTRIES: usize = 4096;

/// An answer that may be cached.
#[derive(Clone, PartialEq, Debug)]
pub struct Cacheable {
    name: Domain,
    qtype: RecordType,
    answers: Vec<Record>,
    lifetime: Duration,
}

/// The cache, shared by all resolvers and transports.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: BTreeMap<(Domain, u16), Entry>,
}

#[derive(Debug)]
struct Entry {
    answers: Vec<Record>,
    stored: Instant,
    expires: Instant,
}

impl Cacheable {
    /// The part of `response` to `question` that may be cached: a complete, positive answer with records of the
    /// queried type. It expires with the shortest TTL of these records.
    #[must_use]
    pub fn new(question: &Question, response: &Response) -> Option<Self> {
        let metadata = &response.metadata;
        if !question.is_standard || metadata.response_code != ResponseCode::NoError || metadata.truncation {
            return None;
        }
        let of_queried_type = response.answers.iter().filter(|record| record.record_type() == question.qtype);
        let ttl = of_queried_type.map(|record| record.ttl).min()?;
        (ttl >= MIN_TTL).then(|| Self {
            name: question.name.clone(),
            qtype: question.qtype,
            answers: response.answers.clone(),
            lifetime: Duration::from_secs(ttl.into()),
        })
    }
}

impl Cache {
    pub(crate) fn store(&mut self, cacheable: Cacheable, now: Instant) {
        let Some(expires) = now.checked_add(cacheable.lifetime) else { return };
        let key = (cacheable.name, cacheable.qtype.into());
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(&key) {
            self.make_room(now);
        }
        self.entries.insert(key, Entry { answers: cacheable.answers, stored: now, expires });
    }

    pub(crate) fn answer(&mut self, question: &Question, now: Instant) -> Option<Answer> {
        if !question.is_standard || question.wants_dnssec {
            return None;
        }
        let key = (question.name.clone(), question.qtype.into());
        let entry = self.entries.get(&key)?;
        if entry.expires <= now {
            self.entries.remove(&key);
            return None;
        }
        let elapsed = now.saturating_duration_since(entry.stored).as_secs();
        let elapsed = u32::try_from(elapsed).unwrap_or(u32::MAX);
        let records = entry.answers.iter().cloned().map(|mut record| {
            record.ttl = record.ttl.saturating_sub(elapsed);
            if Domain::from(&record.name) == question.name {
                record.name = question.original_name.clone();
            }
            record
        });
        Some(Answer::records(records.collect()))
    }

    /// Whether any unexpired answer about `name` is cached.
    pub(crate) fn contains_name(&self, name: &Domain, now: Instant) -> bool {
        let all_types = (name.clone(), u16::MIN)..=(name.clone(), u16::MAX);
        self.entries.range(all_types).any(|(_, entry)| entry.expires > now)
    }

    pub(crate) fn flush(&mut self) {
        self.entries.clear();
    }

    fn make_room(&mut self, now: Instant) {
        self.entries.retain(|_, entry| entry.expires > now);
        if self.entries.len() < MAX_ENTRIES {
            return;
        }
        let first = self.entries.iter().min_by_key(|(_, entry)| entry.expires).map(|(key, _)| key.clone());
        if let Some(first) = first {
            self.entries.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::{MessageType, Metadata, OpCode, Query},
        rr::{
            Name, RData,
            rdata::{A, CNAME},
        },
    };

    use super::*;

    fn question(name: &str) -> Question {
        Question::plain(name, RecordType::A).expect("a question")
    }

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    fn a(owner: &str, ttl: u32) -> Record {
        Record::from_rdata(name(owner), ttl, RData::A(A::new(192, 0, 2, 1)))
    }

    fn cname(owner: &str, ttl: u32) -> Record {
        Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name("b.example."))))
    }

    fn response(answers: Vec<Record>) -> Response {
        let question = Query::query(name("a.example."), RecordType::A);
        Response { metadata: Metadata::new(7, MessageType::Response, OpCode::Query), question, answers }
    }

    fn ttls(answer: &Answer) -> Vec<u32> {
        answer.records.iter().map(|record| record.ttl).collect()
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[expect(clippy::disallowed_methods, reason = "each test has to begin somewhere")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn cached_ttls_count_down_until_the_shortest_ttl_of_the_queried_type_expires() {
        let start = start();
        let answers = vec![cname("a.example.", 50), a("b.example.", 3600), a("b.example.", 7200)];
        let mut cache = Cache::default();
        cache.store(Cacheable::new(&question("a.example"), &response(answers)).expect("cacheable"), start);

        let hit = cache.answer(&question("A.example"), after(start, 100)).expect("a hit");
        assert_eq!(ttls(&hit), [0, 3500, 7100]);
        assert!(cache.answer(&question("a.example"), after(start, 3599)).is_some());
        assert!(cache.answer(&question("a.example"), after(start, 3600)).is_none());
        assert!(cache.entries.is_empty());
    }

    #[test]
    fn response_keeps_the_case_of_the_question() {
        let mut cache = Cache::default();
        let start = start();
        cache.store(Cacheable::new(&question("a.example"), &response(vec![a("a.example.", 60)])).expect("ok"), start);
        let mut unusual = question("a.example");
        unusual.original_name = name("a.ExAmPlE.");
        let hit = cache.answer(&unusual, start).expect("a hit");
        assert_eq!(hit.records[0].name.to_string(), "a.ExAmPlE.");
    }

    #[test]
    fn only_complete_positive_answers_of_the_queried_type_with_sufficient_ttl_are_cached() {
        let asked = question("a.example");
        let fine = response(vec![a("a.example.", 5)]);
        assert!(Cacheable::new(&asked, &fine).is_some());

        let mut truncated = fine.clone();
        truncated.metadata.truncation = true;
        let mut missing = fine.clone();
        missing.metadata.response_code = ResponseCode::NXDomain;
        let short = response(vec![a("a.example.", 4), a("a.example.", 60)]);
        let alias_only = response(vec![cname("a.example.", 60)]);
        for refused in [truncated, missing, short, alias_only, response(vec![])] {
            assert_eq!(Cacheable::new(&asked, &refused), None);
        }
        let unusual = Question { is_standard: false, ..asked };
        assert_eq!(Cacheable::new(&unusual, &fine), None);
    }

    #[test]
    fn dnssec_queries_bypass_the_cache() {
        let start = start();
        let mut cache = Cache::default();
        cache.store(Cacheable::new(&question("a.example"), &response(vec![a("a.example.", 60)])).expect("ok"), start);
        let wants_dnssec = Question { wants_dnssec: true, ..question("a.example") };
        assert_eq!(cache.answer(&wants_dnssec, start), None);
    }

    #[test]
    fn cache_is_bounded_and_evicts_the_earliest_expiry() {
        let start = start();
        let mut cache = Cache::default();
        for i in 0..=MAX_ENTRIES {
            let ttl = if i == 17 { 10 } else { 60 };
            let asked = question(&format!("n{i}.example"));
            cache.store(Cacheable::new(&asked, &response(vec![a("a.example.", ttl)])).expect("cacheable"), start);
        }
        assert_eq!(cache.entries.len(), MAX_ENTRIES);
        assert_eq!(cache.answer(&question("n17.example"), start), None);
        assert!(cache.answer(&question("n0.example"), start).is_some());
    }
}
