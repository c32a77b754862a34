//! The decision about each question.

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
    Answer, Assigned, Assignments, Cacheable, Decision, Domain, Epoch, Explanation, InvalidPattern, Origin, Pattern,
    Question, Reach, Resolvers, Sentinels, Server, Upstream, Verdict, Via, cache::Cache,
};

/// How long what we say ourselves may be kept: programs should ask again soon, because each question makes the gateway
/// look up the name again.
const TTL: u32 = 1;
/// Where gateways answer questions about the names of their site.
const SITE_PORT: u16 = 53535;
/// Browsers ask for this name to find out whether they may pass by the resolver of the system. They may not.
const CANARY: &str = "use-application-dns.net";

/// Decides what happens to questions.
///
/// Feed it with [`upsert`](Self::upsert), [`remove`](Self::remove) and [`set_resolvers`](Self::set_resolvers), ask
/// with [`decide`](Self::decide), and hand it what other resolvers said with [`learn`](Self::learn).
#[derive(Debug, Default)]
pub struct Stub {
    /// Both of these hold what the portal said, so nobody can choose keys that make the cheap hash collide. A look-up costs
    /// the same for ten resources and for ten thousand.
    resources: FxHashMap<ResourceId, Served>,
    /// Resources by what all their names end with, so that few patterns have to be looked at for one name.
    by_tail: FxHashMap<String, BTreeSet<ResourceId>>,
    names: Assignments,
    resolvers: Resolvers,
    sentinels: Sentinels,
    cache: Cache,
    epoch: Epoch,
}

/// What happens to a question.
#[derive(Clone, PartialEq, Debug)]
pub enum StubDecision {
    /// It is about a resource, and answered here. Before the answer leaves, the assigned addresses have to lead
    /// somewhere; and gateways should hear of all assigned names again, of `renew` in any case.
    Local {
        /// What the asker gets.
        answer: Answer,
        /// The name whose gateway should look it up again.
        renew: Option<Domain>,
    },
    /// The gateway of this resource knows; [`Stub::at_site`] makes the decision once it is known who that is.
    Site {
        /// Which resource.
        resource: ResourceId,
    },
    /// Anything else.
    Decided(Decision),
}

/// What of a DNS resource matters here.
#[derive(Debug)]
struct Served {
    pattern: Pattern,
    stack: IpStack,
}

impl Stub {
    /// A stub that knows the names that were assigned before.
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

    /// What `name` got, if anything.
    #[must_use]
    pub fn assigned(&self, name: &Domain) -> Option<&Assigned> {
        self.names.assigned(name)
    }

    /// The sentinels and whom they stand for, in order.
    #[must_use]
    pub fn sentinels(&self) -> &Sentinels {
        &self.sentinels
    }

    /// Serves `resource`, instead of what was served under its id. Names that matched it with the same pattern in the
    /// past are its names again: see [`Assignments::names_of`].
    ///
    /// # Errors
    /// The pattern is none; no name will match.
    pub fn upsert(&mut self, resource: &DnsResource) -> Result<(), InvalidPattern> {
        self.remove(resource.id);
        let pattern: Pattern = resource.address.parse()?;
        self.names.repattern(resource.id, &pattern);
        self.by_tail.entry(pattern.literal_tail().to_owned()).or_default().insert(resource.id);
        self.resources.insert(resource.id, Served { pattern, stack: resource.ip_stack });
        Ok(())
    }

    /// Serves a resource no longer. Its names keep their addresses.
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

    /// Other resolvers are to be used. Returns whether the sentinels changed.
    pub fn set_resolvers(&mut self, resolvers: Resolvers) -> bool {
        let changed = self.sentinels.map(resolvers.as_slice());
        self.resolvers = resolvers;
        if changed {
            self.flush();
        }
        changed
    }

    /// Forgets what other resolvers said. To be called whenever any resource changes; [`upsert`](Self::upsert) and
    /// [`remove`](Self::remove) do it themselves.
    pub fn flush(&mut self) {
        self.cache.flush();
        self.epoch.advance();
    }

    /// Remembers what another resolver said, if it was asked in the present `epoch`.
    pub fn learn(&mut self, epoch: Epoch, cacheable: Cacheable, now: Instant) {
        if epoch == self.epoch {
            self.cache.store(cacheable, now);
        }
    }

    /// Decides about a question that came to `sentinel`. `reach` says what covers the address of a resolver.
    pub fn decide(
        &mut self,
        question: &Question,
        sentinel: IpAddr,
        reach: impl FnOnce(IpAddr) -> Reach,
        now: Instant,
    ) -> StubDecision {
        let Some(upstream) = self.sentinels.upstream(sentinel).cloned() else {
            return StubDecision::Decided(Decision::ServFail);
        };
        if question.standard {
            if question.name.as_str() == CANARY {
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
        let via = self.resolvers.via(&upstream, reach);
        StubDecision::Decided(Decision::Forward { to: upstream, via, epoch: self.epoch })
    }

    /// Asks a gateway at its address in the tunnel.
    #[must_use]
    pub fn at_site(&self, gateway: IpAddr) -> Decision {
        let to = Upstream::Do53(SocketAddr::new(gateway, SITE_PORT));
        Decision::Forward { to, via: Via::Tunnel, epoch: self.epoch }
    }

    /// Whom we stand for, and how each is reached; `reach` says what covers an address.
    pub fn servers(&self, reach: impl Fn(IpAddr) -> Reach) -> Vec<Server> {
        let server = |(sentinel, upstream): &(IpAddr, Upstream)| Server {
            sentinel: *sentinel,
            upstream: upstream.clone(),
            via: self.resolvers.via(upstream, &reach),
        };
        self.sentinels.servers().iter().map(server).collect()
    }

    /// Who chose the resolvers.
    #[must_use]
    pub fn resolvers_are_of(&self) -> Origin {
        self.resolvers.origin()
    }

    /// What happens to questions about `name`. Nothing changes by asking this: a name gets no addresses.
    #[must_use]
    pub fn explain(&self, name: &Domain, now: Instant) -> Explanation {
        let matches: Vec<_> = self.matches(name).into_iter().rev().collect();
        let reverse = || name.to_name().and_then(|asked| self.reversed(name, &asked)).cloned();
        let verdict = if name.as_str() == CANARY {
            Verdict::Blocked
        } else if !matches.is_empty() {
            Verdict::Resource
        } else {
            reverse().map_or(Verdict::Forwarded, Verdict::Reverse)
        };
        let stacks: Vec<_> = matches.iter().filter_map(|(_, id)| Some(self.resources.get(id)?.stack)).collect();
        let is_shown =
            |ip: &IpAddr| stacks.iter().any(|stack| if ip.is_ipv4() { stack.has_ipv4() } else { stack.has_ipv6() });
        let assigned = self.names.assigned(name).into_iter().flat_map(|assigned| assigned.addresses(IpStack::Dual));
        Explanation {
            name: name.clone(),
            addresses: if verdict == Verdict::Resource { assigned.filter(is_shown).collect() } else { Vec::new() },
            verdict,
            matches,
            is_cached: self.cache.knows(name, now),
        }
    }

    /// The DNS resources that `name` belongs to, with their patterns; the most specific last, and of equals the one
    /// with the greater id.
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
            // Hints in these records would lead browsers past the tunnel.
            RecordType::HTTPS if !self.matches(&question.name).is_empty() => {
                let renew = self.names.assigned(&question.name).map(|_| question.name.clone());
                Some(StubDecision::Local { answer: Answer::empty(), renew })
            }
            RecordType::PTR => self.answer_reverse(question),
            _ => None,
        }
    }

    /// Each name gets addresses of both families at the first question of either; which of them are shown depends on
    /// what the resources are like now.
    fn answer_address(&mut self, question: &Question) -> Option<StubDecision> {
        let matches = self.matches(&question.name);
        if matches.is_empty() {
            return None;
        }
        if self.names.assign(&question.name, &matches).is_err() {
            tracing::warn!("no addresses are left for more names of DNS resources; restart to get new ones");
            return Some(StubDecision::Decided(Decision::ServFail));
        }
        let assigned = self.names.assigned(&question.name)?;
        let mut stacks = matches.iter().filter_map(|(_, id)| self.resources.get(id)).map(|served| served.stack);
        let records: Vec<_> = if question.qtype == RecordType::A {
            let shown = stacks.any(IpStack::has_ipv4).then_some(assigned.v4).into_iter().flatten();
            shown.map(|ip| record(&question.asked, RData::A(A(ip)))).collect()
        } else {
            let shown = stacks.any(IpStack::has_ipv6).then_some(assigned.v6).into_iter().flatten();
            shown.map(|ip| record(&question.asked, RData::AAAA(AAAA(ip)))).collect()
        };
        let answer = Answer::records(records);
        Some(StubDecision::Local { answer, renew: Some(question.name.clone()) })
    }

    /// The name of one of our addresses, also when its resource is gone.
    fn answer_reverse(&self, question: &Question) -> Option<StubDecision> {
        let owner = self.reversed(&question.name, &question.asked)?.to_name()?;
        let answer = Answer::records(vec![record(&question.asked, RData::PTR(PTR(owner)))]);
        Some(StubDecision::Local { answer, renew: None })
    }

    fn reversed(&self, name: &Domain, asked: &Name) -> Option<&Domain> {
        let ip = asked.parse_arpa_name().ok()?.addr();
        // The parser also takes parts of addresses and odd spellings; only the proper name counts.
        if Domain::from(&Name::from(ip)) != *name { None } else { self.names.owner(ip) }
    }
}

fn record(owner: &Name, data: RData) -> Record {
    Record::from_rdata(owner.clone(), TTL, data)
}

#[cfg(test)]
mod tests;
