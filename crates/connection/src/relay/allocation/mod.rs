//! One TURN allocation on one relay (RFC 8656), from the first binding request to its expiry.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use model::Deadline;
use rand::rngs::StdRng;

mod answers;
mod binds;
mod errors;
mod lease;

use self::{answers::Seen, lease::Lease};
use super::{
    channels::Channels,
    credentials::Credentials,
    stun::{Manner, Refresh, Request, SOFTWARE},
    transaction::{Expiry, Transaction, random_id},
};
use crate::{Transmit, ice::LocalCandidate, limits::BUFFERED_BINDS};

/// An unused NAT mapping lives for about 30 seconds, so we show ourselves more often than that.
const KEEP_ALIVE: Duration = Duration::from_secs(25);

/// One relay and what it does for us.
///
/// Driving it: feed every answer from the relay to [`handle_answer`](Self::handle_answer) and call
/// [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) is due. After either, drain
/// [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event).
///
/// Binding requests go to all addresses of the relay at once. The first that answers becomes the active one, and
/// everything else is between it and us.
#[derive(Debug)]
pub(crate) struct Allocation {
    addresses: Vec<SocketAddr>,
    credentials: Credentials,
    manner: Manner,
    active: Option<Active>,
    seen: [Option<Seen>; 2],
    lease: Option<Lease>,
    transactions: Vec<Transaction>,
    channels: Channels,
    /// Peers to bind channels to as soon as there is a lease. Full: the oldest is dropped.
    waiting_binds: VecDeque<SocketAddr>,
    round_trip: Option<Duration>,
    unusable: bool,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

/// What the owner of an allocation has to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// We can be reached at this candidate.
    Found(LocalCandidate),
    /// We cannot be reached there any more.
    Lost(LocalCandidate),
}

/// The way on which the relay answered first.
#[derive(Clone, Copy, Debug)]
struct Active {
    relay: SocketAddr,
    local: SocketAddr,
    keep_alive: Instant,
}

impl Allocation {
    /// Asks all `addresses` of a relay who we are.
    pub(crate) fn new(addresses: Vec<SocketAddr>, credentials: Credentials, rng: &mut StdRng, now: Instant) -> Self {
        let mut this = Self {
            addresses,
            credentials,
            manner: Manner::USUAL,
            active: None,
            seen: [None; 2],
            lease: None,
            transactions: Vec::new(),
            channels: Channels::default(),
            waiting_binds: VecDeque::new(),
            round_trip: None,
            unusable: false,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        };
        this.start(rng, now);
        this
    }

    /// Starts over in a new network: same relay, same credentials, nothing else remembered.
    pub(crate) fn restart(&mut self, rng: &mut StdRng, now: Instant) {
        self.active = None;
        self.seen = [None; 2];
        self.lease = None;
        self.transactions.clear();
        self.channels.clear();
        self.waiting_binds.clear();
        self.credentials.forget_nonce();
        self.manner = Manner::USUAL;
        self.transmits.clear();
        self.events.clear();
        self.start(rng, now);
    }

    /// Tries once more with a relay that lends us nothing and will not do so by itself.
    pub(crate) fn revive(&mut self, rng: &mut StdRng, now: Instant) {
        if self.is_suspended() {
            self.active = None;
            self.start(rng, now);
        }
    }

    /// Finds out whether the relay still knows us, because the portal did not mention it.
    pub(crate) fn probe(&mut self, rng: &mut StdRng, now: Instant) {
        self.revive(rng, now);
        let (Some(_), Some(active)) = (self.lease, self.active) else { return };
        if !self.is_in_flight(|request| matches!(request, Request::Refresh(_))) {
            self.send(Transaction::probe(Request::Refresh(Refresh::Renew), active.relay, now), rng);
        }
    }

    pub(crate) fn handle_timeout(&mut self, rng: &mut StdRng, now: Instant) {
        self.repeat_requests(rng, now);
        self.expire_lease(rng, now);
        self.renew_lease(rng, now);
        for peer in self.channels.to_refresh(now) {
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

    /// Data goes to the relay, which keeps the way open as well as a keep-alive does.
    pub(crate) fn postpone_keep_alive(&mut self, now: Instant) {
        if let Some(active) = &mut self.active {
            active.keep_alive = now + KEEP_ALIVE;
        }
    }

    /// What every connection can use: our addresses as seen by the relay.
    pub(crate) fn own_candidates(&self) -> impl Iterator<Item = LocalCandidate> + '_ {
        self.seen.iter().flatten().flat_map(|seen| seen.candidates())
    }

    /// The smoothed round-trip time, once the relay has answered anything.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Whether nothing good can come from this relay any more, and nothing is under way.
    pub(crate) fn is_useless(&self) -> bool {
        let quiet = self.transactions.is_empty() && self.transmits.is_empty() && self.events.is_empty();
        self.unusable || quiet && (self.active.is_none() || self.credentials.are_refused())
    }

    /// What must never be the case, if it is.
    pub(crate) fn broken_invariant(&self) -> Option<&'static str> {
        let one_of = |wanted: fn(&Request) -> bool| {
            self.transactions.iter().filter(|transaction| wanted(&transaction.request)).count() <= 1
        };
        if self.waiting_binds.len() > BUFFERED_BINDS {
            return Some("too many peers wait for a channel");
        }
        if !one_of(|request| matches!(request, Request::Refresh(_))) || !one_of(|it| *it == Request::Allocate) {
            return Some("a relay was asked twice at once for the same");
        }
        if self.lease.is_none() && !self.channels.are_none() {
            return Some("channels without an allocation");
        }
        self.channels.broken_invariant()
    }

    fn start(&mut self, rng: &mut StdRng, now: Instant) {
        for relay in self.addresses.clone() {
            self.send(Transaction::new(Request::Binding, relay, now), rng);
        }
    }

    /// Transmits `transaction` and waits for its answer.
    fn send(&mut self, mut transaction: Transaction, rng: &mut StdRng) {
        if self.transmit(&mut transaction, rng) {
            self.transactions.push(transaction);
        }
    }

    fn transmit(&mut self, transaction: &mut Transaction, rng: &mut StdRng) -> bool {
        let request = transaction.request;
        if request != Request::Binding && self.credentials.are_refused() {
            return false;
        }
        let repeated = transaction.first_id().filter(|_| request == Request::Binding);
        let id = repeated.unwrap_or_else(|| random_id(rng));
        let Some(bytes) = request.encode(id, SOFTWARE, self.manner, &self.credentials) else {
            tracing::warn!("A relay cannot be used because its credentials do not fit into a message");
            self.unusable = true;
            return false;
        };
        if repeated.is_none() {
            transaction.transmitted(id, self.credentials.nonce().is_some());
        }
        self.transmits.push_back(Transmit::control(None, transaction.relay, bytes));
        true
    }

    fn repeat_requests(&mut self, rng: &mut StdRng, now: Instant) {
        let mut dead = None;
        for mut transaction in std::mem::take(&mut self.transactions) {
            match transaction.handle_timeout(now) {
                None => self.transactions.push(transaction),
                Some(Expiry::Repeat) => self.send(transaction, rng),
                Some(Expiry::Dead) if self.is_on_active_way(&transaction) => dead = Some(transaction),
                Some(Expiry::Dead) => tracing::debug!(relay = %transaction.relay, "A relay does not answer here"),
            }
        }
        if let Some(transaction) = dead {
            tracing::debug!(relay = %transaction.relay, request = ?transaction.request, "A relay does not answer");
            self.active = None;
            self.waiting_binds.clear();
            self.invalidate();
        }
    }

    fn is_on_active_way(&self, transaction: &Transaction) -> bool {
        self.active.is_some_and(|active| active.relay.is_ipv4() == transaction.relay.is_ipv4())
    }

    fn is_in_flight(&self, which: impl Fn(Request) -> bool) -> bool {
        self.transactions.iter().any(|transaction| which(transaction.request))
    }

    /// Whether nothing will happen by itself any more.
    fn is_suspended(&self) -> bool {
        self.lease.is_none() && self.transactions.is_empty() && self.transmits.is_empty()
    }
}

#[cfg(test)]
mod tests;
