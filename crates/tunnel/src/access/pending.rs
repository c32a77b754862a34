//! Requests that the portal has not answered, and what waits for them.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

use ip_packet::IpPacket;
use model::ResourceId;

use super::held_packets::HeldPackets;
use crate::tunnel::QueryId;

/// A request for the same resource is not repeated sooner.
const REPEAT_AFTER: Duration = Duration::from_secs(2);
/// What has waited for so long, with nothing new coming, is given up: the portal answers within 15 s or never.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);
/// How many packets wait per resource; the oldest make room.
const PACKETS: usize = 128;
/// How many DNS queries wait per resource; the oldest are given up.
const QUERIES: usize = 128;

/// All unanswered requests.
///
/// No timer repeats a request: a lost one is repeated when the next packet comes, because without traffic nobody misses
/// it.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    targets: BTreeMap<ResourceId, Waiting>,
    /// When each resource was last asked for. Outlives the answer, so that a refusal does not lead to one request per
    /// packet.
    asked_at: BTreeMap<ResourceId, Instant>,
}

/// What waits for the permission to use one resource.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// Packets for the resource.
    pub(crate) packets: HeldPackets,
    /// DNS queries that a gateway of the resource's site has to answer.
    pub(crate) queries: VecDeque<SiteQuery>,
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
    /// Keeps `packet` until we may use `resource`.
    pub(crate) fn hold(&mut self, resource: ResourceId, packet: IpPacket, now: Instant) -> Ask {
        self.waiting(resource, now).packets.push(packet);
        self.ask(resource, now)
    }

    /// Keeps `query` until a gateway of `resource` can answer it. If there are too many, the oldest comes back.
    pub(crate) fn hold_query(
        &mut self,
        resource: ResourceId,
        query: SiteQuery,
        now: Instant,
    ) -> (Ask, Option<SiteQuery>) {
        let queries = &mut self.waiting(resource, now).queries;
        let oldest = if queries.len() == QUERIES { queries.pop_front() } else { None };
        queries.push_back(query);
        (self.ask(resource, now), oldest)
    }

    /// Asks again for a resource that we believed to have.
    pub(crate) fn renew(&mut self, resource: ResourceId, now: Instant) -> Ask {
        self.waiting(resource, now);
        self.ask(resource, now)
    }

    /// Whether an answer for `resource` is awaited.
    pub(crate) fn is_pending(&self, resource: ResourceId) -> bool {
        self.targets.contains_key(&resource)
    }

    /// Ends the wait, with what waited.
    pub(crate) fn take(&mut self, resource: ResourceId) -> Option<Waiting> {
        self.targets.remove(&resource)
    }

    /// Takes only the queries; packets go on waiting.
    pub(crate) fn take_queries(&mut self, resource: ResourceId) -> VecDeque<SiteQuery> {
        self.targets.get_mut(&resource).map(|waiting| std::mem::take(&mut waiting.queries)).unwrap_or_default()
    }

    /// The portal agreed but there was no relay: everything goes on waiting.
    pub(crate) fn await_relay(&mut self, resource: ResourceId) {
        if let Some(waiting) = self.targets.get_mut(&resource) {
            waiting.lacks_relay = true;
        }
    }

    /// A relay came: the resources that have to be asked for again, at once.
    pub(crate) fn handle_relay(&mut self, now: Instant) -> Vec<ResourceId> {
        let mut again = Vec::new();
        for (resource, waiting) in &mut self.targets {
            if std::mem::take(&mut waiting.lacks_relay) {
                self.asked_at.insert(*resource, now);
                again.push(*resource);
            }
        }
        again
    }

    /// The portal starts anew and will not answer what it was asked before: what has to be asked again, at once.
    pub(crate) fn handle_portal(&mut self, now: Instant) -> Vec<ResourceId> {
        self.asked_at.clear();
        let all: Vec<ResourceId> = self.targets.keys().copied().collect();
        self.asked_at.extend(all.iter().map(|resource| (*resource, now)));
        all
    }

    /// Ends waits that lasted too long, with what waited.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<Waiting> {
        let late = self.targets.iter().filter(|(_, waiting)| waiting.since + GIVE_UP_AFTER <= now);
        let late: Vec<ResourceId> = late.map(|(resource, _)| *resource).collect();
        late.into_iter().filter_map(|resource| self.take(resource)).collect()
    }

    /// When a wait lasts too long.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.targets.values().map(|waiting| waiting.since + GIVE_UP_AFTER).min()
    }

    /// Lets the next packet for `resource` ask at once.
    pub(crate) fn forget_request(&mut self, resource: ResourceId) {
        self.asked_at.remove(&resource);
    }

    fn waiting(&mut self, resource: ResourceId, now: Instant) -> &mut Waiting {
        let waiting = self.targets.entry(resource).or_insert_with(|| Waiting {
            packets: HeldPackets::new(PACKETS),
            queries: VecDeque::new(),
            lacks_relay: false,
            since: now,
        });
        waiting.since = now;
        waiting
    }

    fn ask(&mut self, resource: ResourceId, now: Instant) -> Ask {
        match self.asked_at.get(&resource) {
            Some(at) if now < *at + REPEAT_AFTER => Ask::NotYet,
            Some(_) | None => {
                self.asked_at.insert(resource, now);
                Ask::Now
            }
        }
    }
}
