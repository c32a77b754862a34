//! The stub resolver: decides each question.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use hickory_proto::rr::{
    Name, RData, Record, RecordType,
    rdata::{A, AAAA, PTR},
};
use model::{DnsResource, IpStack, ResourceId};
use rustc_hash::FxHashMap;

use crate::{
    Answer, AnswerSource, Assignment, Assignments, CacheGeneration, Cacheable, Coverage, Decision, Domain, Explanation,
    InvalidPattern, Origin, Pattern, Question, Resolvers, Sentinels, Server, Upstream, Via, cache::Cache,
};

/// TTL of local answers, in seconds. It is short because each query makes the gateway look up the name again.
const TTL: u32 = 1;
/// The port on which gateways resolve names of their site.
const SITE_DNS_PORT: u16 = 53535;
/// Browsers query this name to find out whether they may use their own DNS over HTTPS; NXDOMAIN forbids it.
const DOH_CANARY_DOMAIN: &str = "use-application-dns.net";

/// Decides how questions are answered.
///
/// Feed it with [`upsert`](Self::upsert), [`remove`](Self::remove) and [`set_resolvers`](Self::set_resolvers), ask
/// with [`decide`](Self::decide), and pass answers of upstream resolvers to [`cache_response`](Self::cache_response).
#[derive(Debug, Default)]
pub struct Stub {
    /// The keys of both maps come from the portal, so no attacker can choose keys that make the cheap hash collide.
    /// A look-up costs the same for ten resources and for ten thousand.
    resources: FxHashMap<ResourceId, ServedResource>,
    /// Resources by the literal tail of their pattern, so that only few patterns are tried for a name.
    by_tail: FxHashMap<String, BTreeSet<ResourceId>>,
    names: Assignments,
    resolvers: Resolvers,
    sentinels: Sentinels,
    cache: Cache,
    generation: CacheGeneration,
}

/// The decision about a question.
#[derive(Clone, PartialEq, Debug)]
pub enum StubDecision {
    /// The name belongs to a resource and is answered locally.
    Local {
        /// The answer.
        answer: Answer,
        /// The name that its gateway should look up again.
        renew: Option<Domain>,
    },
    /// A gateway of this resource answers; [`Stub::forward_to_gateway`] makes the decision once the gateway is known.
    Site {
        /// The resource.
        resource: ResourceId,
    },
    /// All other questions.
    Decided(Decision),
}

/// The properties of a DNS resource that decisions depend on.
#[derive(Debug)]
struct ServedResource {
    pattern: Pattern,
    stack: IpStack,
}

impl Stub {
    /// A stub resolver with the names that were assigned in earlier sessions.
    #[must_use]
    pub fn new(names: Assignments) -> Self {
        Self { names, ..Self::default() }
    }

    /// The assigned names, for the next session.
    #[must_use]
    pub fn into_names(self) -> Assignments {
        self.names
    }

    /// The assigned names.
    #[must_use]
    pub fn names(&self) -> &Assignments {
        &self.names
    }

    /// The addresses and matches of `name`, if it has any.
    #[must_use]
    pub fn assignment(&self, name: &Domain) -> Option<&Assignment> {
        self.names.assignment(name)
    }

    /// The sentinels and their resolvers, in order.
    #[must_use]
    pub fn sentinels(&self) -> &Sentinels {
        &self.sentinels
    }

    /// Adds `resource`, or replaces the one with its id. Names that matched the same pattern earlier are attached
    /// again, with their addresses.
    ///
    /// # Errors
    /// The pattern is invalid; no name will match.
    pub fn upsert(&mut self, resource: &DnsResource) -> Result<(), InvalidPattern> {
        self.remove(resource.id);
        let pattern: Pattern = resource.address.parse()?;
        self.names.set_pattern(resource.id, &pattern);
        self.by_tail.entry(pattern.literal_tail().to_owned()).or_default().insert(resource.id);
        self.resources.insert(resource.id, ServedResource { pattern, stack: resource.ip_stack });
        Ok(())
    }

    /// Removes a resource. Its names keep their addresses.
    pub fn remove(&mut self, resource: ResourceId) {
        self.flush();
        let Some(served) = self.resources.remove(&resource) else { return };
        let tail = served.pattern.literal_tail();
        if let Some(resources) = self.by_tail.get_mut(tail) {
            resources.remove(&resource);
            if resources.is_empty() {
                self.by_tail.remove(tail);
            }
        }
    }

    /// Sets the resolvers.
    pub fn set_resolvers(&mut self, resolvers: Resolvers) {
        let has_changed = self.sentinels.map(resolvers.as_slice());
        self.resolvers = resolvers;
        if has_changed {
            self.flush();
        }
    }

    /// Flushes the cache. Must be called whenever any resource changes; [`upsert`](Self::upsert) and
    /// [`remove`](Self::remove) do it themselves.
    pub fn flush(&mut self) {
        self.cache.flush();
        self.generation.advance();
    }

    /// Caches the answer of an upstream resolver, unless the question is of an earlier `generation`.
    pub fn cache_response(&mut self, generation: CacheGeneration, cacheable: Cacheable, now: Instant) {
        if generation == self.generation {
            self.cache.store(cacheable, now);
        }
    }

    /// Decides a question that arrived at `sentinel`. `coverage` returns which resources cover a resolver's address.
    pub fn decide(
        &mut self,
        question: &Question,
        sentinel: IpAddr,
        coverage: impl FnOnce(IpAddr) -> Coverage,
        now: Instant,
    ) -> StubDecision {
        let Some(upstream) = self.sentinels.upstream(sentinel).cloned() else {
            return StubDecision::Decided(Decision::ServFail);
        };
        if question.is_standard {
            if question.name.as_str() == DOH_CANARY_DOMAIN {
                return StubDecision::Decided(Decision::Answer(Answer::no_such_name()));
            }
            if let Some(local) = self.answer_locally(question) {
                return local;
            }
            if let Some(answer) = self.cache.answer(question, now) {
                return StubDecision::Decided(Decision::Answer(answer));
            }
            if matches!(question.qtype, RecordType::SRV | RecordType::TXT)
                && let Some((_, resource)) = self.matches(&question.name).pop_last()
            {
                return StubDecision::Site { resource };
            }
        }
        let via = self.resolvers.via(&upstream, coverage);
        StubDecision::Decided(Decision::Forward { to: upstream, via, generation: self.generation })
    }

    /// Forwards a question to a gateway, at its address in the tunnel.
    #[must_use]
    pub fn forward_to_gateway(&self, gateway: IpAddr) -> Decision {
        let to = Upstream::Do53(SocketAddr::new(gateway, SITE_DNS_PORT));
        Decision::Forward { to, via: Via::Tunnel, generation: self.generation }
    }

    /// The resolvers in use and how each is reached; `coverage` returns which resources cover an address.
    pub fn servers(&self, coverage: impl Fn(IpAddr) -> Coverage) -> Vec<Server> {
        let server = |(sentinel, upstream): &(IpAddr, Upstream)| Server {
            sentinel: *sentinel,
            upstream: upstream.clone(),
            via: self.resolvers.via(upstream, &coverage),
        };
        self.sentinels.servers().iter().map(server).collect()
    }

    /// Where the resolvers come from.
    #[must_use]
    pub fn resolver_origin(&self) -> Origin {
        self.resolvers.origin()
    }

    /// Explains how questions about `name` are answered, without side effects: no addresses are assigned.
    #[must_use]
    pub fn explain(&self, name: &Domain, now: Instant) -> Explanation {
        let matches: Vec<_> = self.matches(name).into_iter().rev().collect();
        let reverse = || name.to_name().and_then(|asked| self.reversed(name, &asked)).cloned();
        let source = if name.as_str() == DOH_CANARY_DOMAIN {
            AnswerSource::Blocked
        } else if !matches.is_empty() {
            AnswerSource::Resource
        } else {
            reverse().map_or(AnswerSource::Forwarded, AnswerSource::Reverse)
        };
        let stacks: Vec<_> = matches.iter().filter_map(|(_, id)| Some(self.resources.get(id)?.stack)).collect();
        let is_shown =
            |ip: &IpAddr| stacks.iter().any(|stack| if ip.is_ipv4() { stack.has_ipv4() } else { stack.has_ipv6() });
        let assigned = self.names.assignment(name).into_iter().flat_map(|assigned| assigned.addresses(IpStack::Dual));
        Explanation {
            name: name.clone(),
            addresses: if source == AnswerSource::Resource { assigned.filter(is_shown).collect() } else { Vec::new() },
            source,
            matches,
            is_cached: self.cache.contains_name(name, now),
        }
    }

    /// The DNS resources that match `name`, with their patterns; the most specific last, and between equal patterns the
    /// greater id last.
    #[must_use]
    pub fn matches(&self, name: &Domain) -> BTreeSet<(Pattern, ResourceId)> {
        name.suffixes()
            .filter_map(|tail| self.by_tail.get(tail))
            .flatten()
            .filter_map(|id| Some((self.resources.get(id)?.pattern.clone(), *id)))
            .filter(|(pattern, _)| pattern.matches(name))
            .collect()
    }

    fn answer_locally(&mut self, question: &Question) -> Option<StubDecision> {
        match question.qtype {
            RecordType::A | RecordType::AAAA => self.answer_address(question),
            // Address hints in these records would let browsers bypass the tunnel.
            RecordType::HTTPS if !self.matches(&question.name).is_empty() => {
                let renew = self.names.assignment(&question.name).map(|_| question.name.clone());
                Some(StubDecision::Local { answer: Answer::empty(), renew })
            }
            RecordType::PTR => self.answer_reverse(question),
            _ => None,
        }
    }

    /// A name gets addresses of both families with its first question of either; which of them are returned depends on
    /// the address families of the current resources.
    fn answer_address(&mut self, question: &Question) -> Option<StubDecision> {
        let matches = self.matches(&question.name);
        if matches.is_empty() {
            return None;
        }
        if self.names.assign(&question.name, &matches).is_err() {
            tracing::warn!("all proxy addresses are in use; restart the service to free them");
            return Some(StubDecision::Decided(Decision::ServFail));
        }
        let assigned = self.names.assignment(&question.name)?;
        let mut stacks = matches.iter().filter_map(|(_, id)| self.resources.get(id)).map(|served| served.stack);
        let records: Vec<_> = if question.qtype == RecordType::A {
            let shown = stacks.any(IpStack::has_ipv4).then_some(assigned.v4).into_iter().flatten();
            shown.map(|ip| record(&question.original_name, RData::A(A(ip)))).collect()
        } else {
            let shown = stacks.any(IpStack::has_ipv6).then_some(assigned.v6).into_iter().flatten();
            shown.map(|ip| record(&question.original_name, RData::AAAA(AAAA(ip)))).collect()
        };
        let answer = Answer::records(records);
        Some(StubDecision::Local { answer, renew: Some(question.name.clone()) })
    }

    /// The name of a proxy address, also when its resource was removed.
    fn answer_reverse(&self, question: &Question) -> Option<StubDecision> {
        let owner = self.reversed(&question.name, &question.original_name)?.to_name()?;
        let answer = Answer::records(vec![record(&question.original_name, RData::PTR(PTR(owner)))]);
        Some(StubDecision::Local { answer, renew: None })
    }

    fn reversed(&self, name: &Domain, asked: &Name) -> Option<&Domain> {
        let ip = asked.parse_arpa_name().ok()?.addr();
        // The parser also accepts partial addresses and unusual spellings; only the canonical reverse name is answered.
        if Domain::from(&Name::from(ip)) != *name { None } else { self.names.owner(ip) }
    }
}

fn record(owner: &Name, data: RData) -> Record {
    Record::from_rdata(owner.clone(), TTL, data)
}

#[cfg(test)]
mod tests;
