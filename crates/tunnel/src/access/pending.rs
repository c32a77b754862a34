//! Requests that the portal has not answered, and what waits for them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

use dns::Domain;
use ip_packet::IpPacket;
use model::ResourceId;

use super::held_packets::HeldPackets;
use crate::tunnel::QueryId;

/// A request for the same target is not repeated sooner.
const REPEAT_AFTER: Duration = Duration::from_secs(2);
/// What has waited for so long, with nothing new coming, is given up: the portal answers within 15 s or never.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);
/// How many packets wait per target; the oldest make room.
const PACKETS: usize = 128;
/// How many DNS queries wait per target; the oldest are given up.
const QUERIES: usize = 128;
/// How many names in use are remembered per target. The others are announced when a packet of ours comes.
const NAMES: usize = 128;

/// All unanswered requests.
///
/// No timer repeats a request: a lost one is repeated when the next packet comes, because without traffic nobody misses
/// it.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    targets: BTreeMap<Target, Waiting>,
    /// When each target was last asked for. Outlives the answer, so that a refusal does not lead to one request per
    /// packet.
    asked_at: BTreeMap<Target, Instant>,
}

/// What the portal is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// A resource behind gateways.
    Resource(ResourceId),
    /// A member of a device pool.
    Device {
        /// The pool.
        pool: ResourceId,
        /// The member's address, as the packet has it.
        address: IpAddr,
    },
}

/// What waits for the permission to use one target.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// Packets for the target.
    pub(crate) packets: HeldPackets,
    /// DNS queries that a gateway of the resource's site has to answer.
    pub(crate) queries: VecDeque<SiteQuery>,
    /// Names that were in use when their gateway was lost. The next one has to hear of them before it can deliver what
    /// their servers send.
    pub(crate) names: BTreeSet<Domain>,
    /// Whether the answer came while we had no relay to connect through.
    lacks_relay: bool,
    /// When something was last added.
    since: Instant,
}

/// A DNS query that waits, and the address that it was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SiteQuery {
    /// Which query.
    pub(crate) id: QueryId,
    /// Where it arrived; the gateway is asked in the same address family.
    pub(crate) sentinel: IpAddr,
}

/// Whether the portal has to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Ask {
    /// Now.
    Now,
    /// It was asked a moment ago.
    NotYet,
}

impl Pending {
    /// Keeps `packet` until we may use `target`.
    pub(crate) fn hold(&mut self, target: Target, packet: IpPacket, now: Instant) -> Ask {
        self.waiting(target, now).packets.push(packet);
        self.ask(target, now)
    }

    /// Keeps `query` until a gateway of `resource` can answer it. If there are too many, the oldest comes back.
    pub(crate) fn hold_query(
        &mut self,
        resource: ResourceId,
        query: SiteQuery,
        now: Instant,
    ) -> (Ask, Option<SiteQuery>) {
        let target = Target::Resource(resource);
        let queries = &mut self.waiting(target, now).queries;
        let oldest = if queries.len() == QUERIES { queries.pop_front() } else { None };
        queries.push_back(query);
        (self.ask(target, now), oldest)
    }

    /// Asks again for a resource that we believed to have, and of which these names are in use.
    pub(crate) fn renew(&mut self, resource: ResourceId, names: BTreeSet<Domain>, now: Instant) -> Ask {
        let waiting = self.waiting(Target::Resource(resource), now);
        waiting.names.extend(names.into_iter().take(NAMES - waiting.names.len().min(NAMES)));
        self.ask(Target::Resource(resource), now)
    }

    /// Whether an answer for `target` is awaited.
    pub(crate) fn is_pending(&self, target: Target) -> bool {
        self.targets.contains_key(&target)
    }

    /// Ends the wait, with what waited.
    pub(crate) fn take(&mut self, target: Target) -> Option<Waiting> {
        self.targets.remove(&target)
    }

    /// The devices that were asked for, at addresses and in pools that satisfy `is_meant`.
    pub(crate) fn devices(&self, is_meant: impl Fn(ResourceId, IpAddr) -> bool) -> Vec<Target> {
        let is_meant = |target: &&Target| match target {
            Target::Device { pool, address } => is_meant(*pool, *address),
            Target::Resource(_) => false,
        };
        self.targets.keys().filter(is_meant).copied().collect()
    }

    /// Takes only the queries; packets go on waiting.
    pub(crate) fn take_queries(&mut self, resource: ResourceId) -> VecDeque<SiteQuery> {
        let waiting = self.targets.get_mut(&Target::Resource(resource));
        waiting.map(|waiting| std::mem::take(&mut waiting.queries)).unwrap_or_default()
    }

    /// The portal agreed but there was no relay: everything goes on waiting.
    pub(crate) fn await_relay(&mut self, target: Target) {
        if let Some(waiting) = self.targets.get_mut(&target) {
            waiting.lacks_relay = true;
        }
    }

    /// A relay came: what has to be asked for again, at once.
    pub(crate) fn handle_relay(&mut self, now: Instant) -> Vec<Target> {
        let mut again = Vec::new();
        for (target, waiting) in &mut self.targets {
            if std::mem::take(&mut waiting.lacks_relay) {
                self.asked_at.insert(*target, now);
                again.push(*target);
            }
        }
        again
    }

    /// The portal starts anew and will not answer what it was asked before: what has to be asked again, at once.
    pub(crate) fn handle_portal(&mut self, now: Instant) -> Vec<Target> {
        self.asked_at.clear();
        let all: Vec<Target> = self.targets.keys().copied().collect();
        self.asked_at.extend(all.iter().map(|target| (*target, now)));
        all
    }

    /// Ends waits that lasted too long, with what waited.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<Waiting> {
        let late = self.targets.iter().filter(|(_, waiting)| waiting.since + GIVE_UP_AFTER <= now);
        let late: Vec<Target> = late.map(|(target, _)| *target).collect();
        late.into_iter().filter_map(|target| self.take(target)).collect()
    }

    /// When a wait lasts too long.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.targets.values().map(|waiting| waiting.since + GIVE_UP_AFTER).min()
    }

    /// Lets the next packet for `target` ask at once.
    pub(crate) fn forget_request(&mut self, target: Target) {
        self.asked_at.remove(&target);
    }

    /// Lets the next packet to any of these addresses of devices ask at once.
    pub(crate) fn forget_requests_to(&mut self, addresses: &[IpAddr]) {
        let is_meant =
            |target: &Target| matches!(target, Target::Device { address, .. } if addresses.contains(address));
        self.asked_at.retain(|target, _| !is_meant(target));
    }

    /// Lets the next packet for any member of `pool` ask at once.
    pub(crate) fn forget_requests_of_pool(&mut self, pool: ResourceId) {
        self.asked_at.retain(|target, _| !matches!(target, Target::Device { pool: of, .. } if *of == pool));
    }

    fn waiting(&mut self, target: Target, now: Instant) -> &mut Waiting {
        let waiting = self.targets.entry(target).or_insert_with(|| Waiting {
            packets: HeldPackets::new(PACKETS),
            queries: VecDeque::new(),
            names: BTreeSet::new(),
            lacks_relay: false,
            since: now,
        });
        waiting.since = now;
        waiting
    }

    fn ask(&mut self, target: Target, now: Instant) -> Ask {
        match self.asked_at.get(&target) {
            Some(at) if now < *at + REPEAT_AFTER => Ask::NotYet,
            Some(_) | None => {
                self.asked_at.insert(target, now);
                Ask::Now
            }
        }
    }
}
