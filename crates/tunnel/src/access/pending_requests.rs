//! Requests for access that the portal has not answered, and the packets and queries that wait for them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

use dns::Domain;
use ip_packet::IpPacket;
use model::ResourceId;

use crate::{held_packets::HeldPackets, query::QueryId};

/// Minimum time between two requests for the same target.
const MIN_REPEAT_INTERVAL: Duration = Duration::from_secs(2);
/// A request without new packets or queries is dropped after this time: the portal answers within 15 s or never.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum number of held packets per target; the oldest is dropped first.
const MAX_PACKETS: usize = 128;
/// Maximum number of held DNS queries per target; the oldest fails first.
const MAX_QUERIES: usize = 128;
/// Maximum number of names in use per target. Further names are announced with the next packet to them.
const MAX_NAMES: usize = 128;

/// All unanswered requests.
///
/// No timer repeats a request: the next packet repeats a lost one, and without traffic it is not needed.
#[derive(Debug, Default)]
pub(crate) struct PendingRequests {
    targets: BTreeMap<Target, PendingRequest>,
    /// When each target was last requested. Entries outlive the answer, so that a refusal does not lead to one request
    /// per packet.
    requested_at: BTreeMap<Target, Instant>,
}

/// The target of a request for access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// A resource behind gateways.
    Resource(ResourceId),
    /// A member of a device pool.
    Device {
        /// The pool.
        pool: ResourceId,
        /// The member's address in the packet.
        address: IpAddr,
    },
}

/// The packets and queries that wait for access to one target.
#[derive(Debug)]
pub(crate) struct PendingRequest {
    /// Packets for the target.
    pub(crate) packets: HeldPackets,
    /// DNS queries for a gateway of the resource's site.
    pub(crate) queries: VecDeque<SiteQuery>,
    /// Names that were in use when their gateway was lost. They have to be announced to the next gateway before it can
    /// deliver packets from their servers.
    pub(crate) names: BTreeSet<Domain>,
    /// Whether access was granted while no relay was available to connect through.
    needs_relay: bool,
    /// When a packet, query or name was last added.
    last_added: Instant,
}

/// A DNS query that waits for a gateway, and the sentinel that received it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SiteQuery {
    /// The query.
    pub(crate) id: QueryId,
    /// The sentinel; the gateway is queried over the same address family.
    pub(crate) sentinel: IpAddr,
}

/// Whether a request has to be sent to the portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum RequestDecision {
    /// The request is due.
    SendNow,
    /// The last request for the target was sent too recently.
    RateLimited,
}

impl PendingRequests {
    /// Holds `packet` until access to `target` is granted.
    pub(crate) fn hold(&mut self, target: Target, packet: IpPacket, now: Instant) -> RequestDecision {
        self.request(target, now).packets.push(packet);
        self.decide_request(target, now)
    }

    /// Holds `query` until a gateway of `resource` can answer it. If too many wait, the oldest is returned.
    pub(crate) fn hold_query(
        &mut self,
        resource: ResourceId,
        query: SiteQuery,
        now: Instant,
    ) -> (RequestDecision, Option<SiteQuery>) {
        let target = Target::Resource(resource);
        let queries = &mut self.request(target, now).queries;
        let oldest = if queries.len() == MAX_QUERIES { queries.pop_front() } else { None };
        queries.push_back(query);
        (self.decide_request(target, now), oldest)
    }

    /// Requests access again to a granted `resource`, of which `names` are in use.
    pub(crate) fn renew(&mut self, resource: ResourceId, names: BTreeSet<Domain>, now: Instant) -> RequestDecision {
        let request = self.request(Target::Resource(resource), now);
        request.names.extend(names.into_iter().take(MAX_NAMES - request.names.len().min(MAX_NAMES)));
        self.decide_request(Target::Resource(resource), now)
    }

    /// Whether a request for `target` is pending.
    pub(crate) fn is_pending(&self, target: Target) -> bool {
        self.targets.contains_key(&target)
    }

    /// Removes the request for `target`.
    pub(crate) fn take(&mut self, target: Target) -> Option<PendingRequest> {
        self.targets.remove(&target)
    }

    /// The requested devices whose pool and address satisfy `predicate`.
    pub(crate) fn devices(&self, predicate: impl Fn(ResourceId, IpAddr) -> bool) -> Vec<Target> {
        let matches = |target: &&Target| match target {
            Target::Device { pool, address } => predicate(*pool, *address),
            Target::Resource(_) => false,
        };
        self.targets.keys().filter(matches).copied().collect()
    }

    /// Takes only the queries of a request; its packets keep waiting.
    pub(crate) fn take_queries(&mut self, resource: ResourceId) -> VecDeque<SiteQuery> {
        let request = self.targets.get_mut(&Target::Resource(resource));
        request.map(|request| std::mem::take(&mut request.queries)).unwrap_or_default()
    }

    /// Access was granted without a relay available: the request keeps waiting for one.
    pub(crate) fn wait_for_relay(&mut self, target: Target) {
        if let Some(request) = self.targets.get_mut(&target) {
            request.needs_relay = true;
        }
    }

    /// A relay is available: returns the targets to request again immediately.
    pub(crate) fn handle_relay_available(&mut self, now: Instant) -> Vec<Target> {
        let mut again = Vec::new();
        for (target, request) in &mut self.targets {
            if std::mem::take(&mut request.needs_relay) {
                self.requested_at.insert(*target, now);
                again.push(*target);
            }
        }
        again
    }

    /// The portal connection is new, so earlier requests will not be answered: returns the targets to request again.
    pub(crate) fn handle_reconnect(&mut self, now: Instant) -> Vec<Target> {
        self.requested_at.clear();
        let all: Vec<Target> = self.targets.keys().copied().collect();
        self.requested_at.extend(all.iter().map(|target| (*target, now)));
        all
    }

    /// Removes and returns the requests that timed out.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<PendingRequest> {
        let expired = self.targets.iter().filter(|(_, request)| request.last_added + REQUEST_TIMEOUT <= now);
        let expired: Vec<Target> = expired.map(|(target, _)| *target).collect();
        expired.into_iter().filter_map(|target| self.take(target)).collect()
    }

    /// When the next request times out.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.targets.values().map(|request| request.last_added + REQUEST_TIMEOUT).min()
    }

    /// Lets the next packet for `target` request access immediately.
    pub(crate) fn forget_request(&mut self, target: Target) {
        self.requested_at.remove(&target);
    }

    /// Lets the next packet to any of these addresses of devices request access immediately.
    pub(crate) fn forget_requests_to(&mut self, addresses: &[IpAddr]) {
        let matches = |target: &Target| matches!(target, Target::Device { address, .. } if addresses.contains(address));
        self.requested_at.retain(|target, _| !matches(target));
    }

    /// Lets the next packet for any member of `pool` request access immediately.
    pub(crate) fn forget_requests_of_pool(&mut self, pool: ResourceId) {
        self.requested_at.retain(|target, _| !matches!(target, Target::Device { pool: of, .. } if *of == pool));
    }

    fn request(&mut self, target: Target, now: Instant) -> &mut PendingRequest {
        let request = self.targets.entry(target).or_insert_with(|| PendingRequest {
            packets: HeldPackets::new(MAX_PACKETS),
            queries: VecDeque::new(),
            names: BTreeSet::new(),
            needs_relay: false,
            last_added: now,
        });
        request.last_added = now;
        request
    }

    fn decide_request(&mut self, target: Target, now: Instant) -> RequestDecision {
        match self.requested_at.get(&target) {
            Some(at) if now < *at + MIN_REPEAT_INTERVAL => RequestDecision::RateLimited,
            Some(_) | None => {
                self.requested_at.insert(target, now);
                RequestDecision::SendNow
            }
        }
    }
}
