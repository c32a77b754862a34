//! One TURN allocation on one relay (RFC 8656), from the first binding request to its expiry.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use model::Deadline;
use rand::rngs::StdRng;

mod channel_binding;
mod errors;
mod lease;
mod lease_requests;
mod observed;
mod responses;

use self::{lease::Lease, observed::ObservedAddresses};
use super::{
    channels::Channels,
    credentials::Credentials,
    stun::{Refresh, RelayQuirks, Request, SOFTWARE},
    transaction::{Expiry, Transaction, random_id},
};
use crate::{ice::LocalCandidate, limits::MAX_PENDING_BINDS, transmit::Transmit};

/// Interval of keep-alives, shorter than the 30 seconds for which NATs keep an unused mapping.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(25);

/// Our relationship with one relay.
///
/// Pass every response of the relay to [`handle_response`](Self::handle_response), and call
/// [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) is due. After either, drain
/// [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event).
///
/// Binding requests are sent to all addresses of the relay at once. The first that responds becomes the active one, and
/// receives all further requests.
#[derive(Debug)]
pub(crate) struct Allocation {
    addresses: Vec<SocketAddr>,
    credentials: Credentials,
    quirks: RelayQuirks,
    active: Option<Active>,
    observed: [Option<ObservedAddresses>; 2],
    lease: Option<Lease>,
    transactions: Vec<Transaction>,
    channels: Channels,
    /// Peers to bind channels to as soon as there is a lease. Full: the oldest is dropped.
    pending_binds: VecDeque<SocketAddr>,
    round_trip: Option<Duration>,
    unusable: bool,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

/// A change that connections have to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// A new candidate of ours.
    CandidateFound(LocalCandidate),
    /// A candidate of ours that is no longer valid.
    CandidateLost(LocalCandidate),
}

/// The address of the relay that responded first, and ours.
#[derive(Clone, Copy, Debug)]
struct Active {
    relay: SocketAddr,
    local: SocketAddr,
    keep_alive: Instant,
}

impl Allocation {
    /// Sends binding requests to all `addresses` of a relay.
    pub(crate) fn new(addresses: Vec<SocketAddr>, credentials: Credentials, rng: &mut StdRng, now: Instant) -> Self {
        let mut this = Self {
            addresses,
            credentials,
            quirks: RelayQuirks::DEFAULT,
            active: None,
            observed: [None; 2],
            lease: None,
            transactions: Vec::new(),
            channels: Channels::default(),
            pending_binds: VecDeque::new(),
            round_trip: None,
            unusable: false,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        };
        this.start(rng, now);
        this
    }

    /// Starts over in a new network, keeping only the relay's addresses and credentials.
    pub(crate) fn restart(&mut self, rng: &mut StdRng, now: Instant) {
        self.active = None;
        self.observed = [None; 2];
        self.lease = None;
        self.transactions.clear();
        self.channels.clear();
        self.pending_binds.clear();
        self.credentials.forget_nonce();
        self.quirks = RelayQuirks::DEFAULT;
        self.transmits.clear();
        self.events.clear();
        self.start(rng, now);
    }

    /// Starts over if there is no lease and no pending request.
    pub(crate) fn revive(&mut self, rng: &mut StdRng, now: Instant) {
        if self.is_dormant() {
            self.active = None;
            self.start(rng, now);
        }
    }

    /// Checks whether the relay still keeps our allocation. The portal did not mention it.
    pub(crate) fn probe(&mut self, rng: &mut StdRng, now: Instant) {
        self.revive(rng, now);
        let (Some(_), Some(active)) = (self.lease, self.active) else { return };
        if !self.is_in_flight(|request| matches!(request, Request::Refresh(_))) {
            self.send(Transaction::probe(Request::Refresh(Refresh::Renew), active.relay, now), rng);
        }
    }

    pub(crate) fn handle_timeout(&mut self, rng: &mut StdRng, now: Instant) {
        self.retransmit_requests(rng, now);
        self.expire_lease(rng, now);
        self.renew_lease(rng, now);
        for peer in self.channels.peers_to_refresh(now) {
            self.bind_channel(peer, rng, now);
        }
        if let Some(active) = self.active
            && self.lease.is_some()
            && active.keep_alive <= now
        {
            self.postpone_keep_alive(now);
            self.send(Transaction::new(Request::Binding, active.relay, now), rng);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        let at = |reason| move |at| Deadline { at, reason };
        let request = self.transactions.iter().map(Transaction::due).min().map(at("relay request"));
        let Some(lease) = self.lease else { return request };
        let lease_due = if lease.renewal_tried { lease.expiry() } else { lease.half_life() };
        [
            request,
            Some(Deadline { at: lease_due, reason: "relay allocation" }),
            self.channels.due().map(at("relay channel")),
            self.active.map(|active| active.keep_alive).map(at("relay keep-alive")),
        ]
        .into_iter()
        .fold(None, Deadline::earliest)
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Data was sent to the relay, which replaces a keep-alive.
    pub(crate) fn postpone_keep_alive(&mut self, now: Instant) {
        if let Some(active) = &mut self.active {
            active.keep_alive = now + KEEPALIVE_INTERVAL;
        }
    }

    /// Candidates for all connections: the addresses that the relay observed.
    pub(crate) fn own_candidates(&self) -> impl Iterator<Item = LocalCandidate> + '_ {
        self.observed.iter().flatten().flat_map(|observed| observed.candidates())
    }

    /// The smoothed round-trip time; `None` before the first response.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Whether the relay cannot be used and no request is pending.
    pub(crate) fn is_unusable(&self) -> bool {
        let quiet = self.transactions.is_empty() && self.transmits.is_empty() && self.events.is_empty();
        self.unusable || quiet && (self.active.is_none() || self.credentials.are_rejected())
    }

    /// The first broken invariant.
    pub(crate) fn broken_invariant(&self) -> Option<&'static str> {
        let one_of = |wanted: fn(&Request) -> bool| {
            self.transactions.iter().filter(|transaction| wanted(&transaction.request)).count() <= 1
        };
        if self.pending_binds.len() > MAX_PENDING_BINDS {
            return Some("too many pending channel bindings");
        }
        if !one_of(|request| matches!(request, Request::Refresh(_))) || !one_of(|it| *it == Request::Allocate) {
            return Some("two pending requests of the same kind");
        }
        if self.lease.is_none() && !self.channels.is_empty() {
            return Some("channels without an allocation");
        }
        self.channels.broken_invariant()
    }

    fn start(&mut self, rng: &mut StdRng, now: Instant) {
        for relay in self.addresses.clone() {
            self.send(Transaction::new(Request::Binding, relay, now), rng);
        }
    }

    /// Sends `transaction` and keeps it until its response.
    fn send(&mut self, mut transaction: Transaction, rng: &mut StdRng) {
        if self.transmit(&mut transaction, rng) {
            self.transactions.push(transaction);
        }
    }

    fn transmit(&mut self, transaction: &mut Transaction, rng: &mut StdRng) -> bool {
        let request = transaction.request;
        if request != Request::Binding && self.credentials.are_rejected() {
            return false;
        }
        let repeated = transaction.first_id().filter(|_| request == Request::Binding);
        let id = repeated.unwrap_or_else(|| random_id(rng));
        let Some(bytes) = request.encode(id, SOFTWARE, self.quirks, &self.credentials) else {
            tracing::warn!("A relay cannot be used because its credentials do not fit into a message");
            self.unusable = true;
            return false;
        };
        if repeated.is_none() {
            transaction.note_transmission(id, self.credentials.nonce().is_some());
        }
        self.transmits.push_back(Transmit::control(None, transaction.relay, bytes));
        true
    }

    fn retransmit_requests(&mut self, rng: &mut StdRng, now: Instant) {
        let mut timed_out = None;
        for mut transaction in std::mem::take(&mut self.transactions) {
            match transaction.handle_timeout(now) {
                None => self.transactions.push(transaction),
                Some(Expiry::Retransmit) => self.send(transaction, rng),
                Some(Expiry::TimedOut) if self.is_on_active_path(&transaction) => timed_out = Some(transaction),
                Some(Expiry::TimedOut) => {
                    tracing::debug!(relay = %transaction.relay, "An address of a relay does not respond")
                }
            }
        }
        if let Some(transaction) = timed_out {
            tracing::debug!(relay = %transaction.relay, request = ?transaction.request, "A relay does not respond");
            self.active = None;
            self.pending_binds.clear();
            self.invalidate();
        }
    }

    fn is_on_active_path(&self, transaction: &Transaction) -> bool {
        self.active.is_some_and(|active| active.relay.is_ipv4() == transaction.relay.is_ipv4())
    }

    fn is_in_flight(&self, which: impl Fn(Request) -> bool) -> bool {
        self.transactions.iter().any(|transaction| which(transaction.request))
    }

    /// Whether there is no lease, and no request that could lead to one.
    fn is_dormant(&self) -> bool {
        self.lease.is_none() && self.transactions.is_empty() && self.transmits.is_empty()
    }
}

#[cfg(test)]
mod tests;
