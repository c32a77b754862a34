//! One TURN allocation on one relay (RFC 8656), from the first binding request to its expiry.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use rand::rngs::StdRng;

use super::{
    channels::{Channels, Exhausted},
    choice,
    credentials::{Credentials, REALM},
    stun::{Answer, Families, Manner, Refresh, RefreshManner, Request, SOFTWARE},
    transaction::{Expiry, Transaction, random_id},
};
use crate::{
    Due, Transmit,
    ice::LocalCandidate,
    limits::{BUFFERED_BINDS, push_bounded},
};

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

/// What binding answers of one address family told us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    host: SocketAddr,
    mapped: Option<SocketAddr>,
}

/// The addresses that the relay lends us.
#[derive(Clone, Copy, Debug)]
struct Lease {
    v4: Option<SocketAddr>,
    v6: Option<SocketAddr>,
    local: SocketAddr,
    since: Instant,
    lifetime: Duration,
    /// Whether it was renewed, or that was tried, in the second half of its life.
    renewal_tried: bool,
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

    /// Handles an answer that came from `from`, an address of this relay. `local` is where it arrived.
    pub(crate) fn handle_answer(
        &mut self,
        local: SocketAddr,
        from: SocketAddr,
        answer: &Answer,
        rng: &mut StdRng,
        now: Instant,
    ) {
        let Some(index) = self.transactions.iter().position(|transaction| transaction.is(answer.id())) else {
            tracing::trace!(%from, "Answer to nothing that we asked");
            return;
        };
        let Some(transaction) = self.transactions.get(index).cloned() else { return };
        if !answer.answers(transaction.request) {
            return;
        }
        let authentic = transaction.request == Request::Binding || answer.is_authentic(&self.credentials);
        if !authentic && !self.is_invitation(answer, &transaction) {
            tracing::debug!(%from, request = ?transaction.request, "Ignored an answer that is not authentic");
            return;
        }
        self.transactions.remove(index);
        self.round_trip = Some(choice::smooth(self.round_trip, now.duration_since(transaction.started)));
        match answer.error() {
            None => self.handle_success(local, from, answer, &transaction, rng, now),
            Some(code) => self.handle_error(code, answer, &transaction, rng, now),
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

    pub(crate) fn poll_timeout(&self) -> Option<Due> {
        let at = |why| move |at| Due { at, why };
        let request = self.transactions.iter().map(Transaction::due).min().map(at("relay request"));
        let Some(lease) = self.lease else { return request };
        let lease_due = if lease.renewal_tried { lease.expiry() } else { lease.half_life() };
        [
            request,
            Some(Due { at: lease_due, why: "relay allocation" }),
            self.channels.due().map(at("relay channel")),
            self.active.map(|active| active.keep_alive).map(at("relay keep-alive")),
        ]
        .into_iter()
        .fold(None, Due::earlier)
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Makes sure that data can be sent to `peer`, soon at the latest.
    pub(crate) fn bind_channel(&mut self, peer: SocketAddr, rng: &mut StdRng, now: Instant) {
        let (Some(lease), Some(active)) = (self.lease, self.active) else {
            if !self.is_suspended() && !self.waiting_binds.contains(&peer) {
                push_bounded(&mut self.waiting_binds, peer, BUFFERED_BINDS);
            }
            return;
        };
        if lease.address_of_family(peer.ip()).is_none() {
            return;
        }
        match self.channels.request(peer, now) {
            Ok(Some(number)) => {
                self.send(Transaction::new(Request::ChannelBind { number, peer }, active.relay, now), rng);
            }
            Ok(None) => {}
            Err(Exhausted) => tracing::debug!("All channels of a relay are taken"),
        }
    }

    /// Where and with which channel number data for `peer` is sent.
    pub(crate) fn channel_to(&self, peer: SocketAddr, now: Instant) -> Option<(SocketAddr, u16)> {
        Some((self.active?.relay, self.channels.to(peer, now)?))
    }

    /// Data goes to the relay, which keeps the way open as well as a keep-alive does.
    pub(crate) fn postpone_keep_alive(&mut self, now: Instant) {
        if let Some(active) = &mut self.active {
            active.keep_alive = now + KEEP_ALIVE;
        }
    }

    /// Who sent on this channel, and to which of our addresses.
    pub(crate) fn heard_on(&mut self, number: u16, now: Instant) -> Option<(SocketAddr, SocketAddr)> {
        let peer = self.channels.heard_on(number, now)?;
        let relayed = self.lease?.address_of_family(peer.ip())?;
        Some((peer, relayed))
    }

    /// Whether `address` is one that the relay lends us.
    pub(crate) fn lends(&self, address: SocketAddr) -> bool {
        self.lease.is_some_and(|lease| lease.v4 == Some(address) || lease.v6 == Some(address))
    }

    /// What every connection can use: our addresses as seen by the relay.
    pub(crate) fn own_candidates(&self) -> impl Iterator<Item = LocalCandidate> + '_ {
        self.seen.iter().flatten().flat_map(|seen| seen.candidates())
    }

    /// What only connections that use this relay can use: the addresses that it lends.
    pub(crate) fn relay_candidates(&self) -> Vec<LocalCandidate> {
        self.lease.map(|lease| lease.candidates()).unwrap_or_default()
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

    /// Whether an answer that nobody signed may be believed: only that we should ask again, in another manner.
    fn is_invitation(&self, answer: &Answer, transaction: &Transaction) -> bool {
        let had_nonce = transaction.had_nonce(answer.id());
        match answer.error() {
            Some(401) => !had_nonce && answer.nonce().is_some(),
            Some(438) => answer.nonce().is_some_and(|nonce| self.credentials.nonce() != Some(nonce)),
            // RFC 8489 section 9.2.4 demands this answer to a request that has an integrity, but no nonce.
            Some(400) => !had_nonce && self.credentials.name_us() && self.credentials.nonce().is_none(),
            // Some relays look for what they lend to our address before they look at who asks.
            Some(437) => !had_nonce && self.lease.is_none() && transaction.request == Request::Allocate,
            Some(_) | None => false,
        }
    }

    fn handle_success(
        &mut self,
        local: SocketAddr,
        from: SocketAddr,
        answer: &Answer,
        transaction: &Transaction,
        rng: &mut StdRng,
        now: Instant,
    ) {
        match transaction.request {
            Request::Binding => self.handle_binding(local, from, answer, rng, now),
            Request::Allocate => self.handle_allocated(answer, rng, now),
            Request::Refresh(_) => self.handle_refreshed(answer, rng, now),
            Request::ChannelBind { number, .. } => self.channels.confirm(number, now),
        }
    }

    fn handle_binding(&mut self, local: SocketAddr, from: SocketAddr, answer: &Answer, rng: &mut StdRng, now: Instant) {
        let was_moved = self.note_seen(local, answer.mapped());
        if let Some(active) = self.active {
            // A router has forgotten us. To the relay we are somebody else now, to whom it lends nothing.
            if was_moved && active.relay == from {
                self.probe(rng, now);
            }
            return;
        }
        self.active = Some(Active { relay: from, local, keep_alive: now + KEEP_ALIVE });
        let request = if self.lease.is_some() { Request::Refresh(Refresh::Renew) } else { Request::Allocate };
        self.send(Transaction::new(request, from, now), rng);
    }

    /// Notes how a relay sees us. Returns whether it saw us elsewhere before.
    fn note_seen(&mut self, host: SocketAddr, mapped: Option<SocketAddr>) -> bool {
        let mapped = mapped.filter(|mapped| mapped.is_ipv4() == host.is_ipv4());
        let seen = Seen { host, mapped };
        let Some(known) = self.seen.get_mut(usize::from(host.is_ipv6())) else { return false };
        if *known == Some(seen) {
            return false;
        }
        let before = known.replace(seen);
        self.events.extend(seen.candidates().map(Event::Found));
        before.is_some()
    }

    fn handle_allocated(&mut self, answer: &Answer, rng: &mut StdRng, now: Instant) {
        let (Some(lifetime), Some(active)) = (answer.lifetime(), self.active) else { return };
        let usable = |address: &SocketAddr| LocalCandidate::is_usable(address.ip());
        let v4 = answer.relayed().filter(usable).find(SocketAddr::is_ipv4);
        let v6 = answer.relayed().filter(usable).find(SocketAddr::is_ipv6);
        if v4.is_none() && v6.is_none() || lifetime.is_zero() {
            return;
        }
        let lease = Lease { v4, v6, local: active.local, since: now, lifetime, renewal_tried: false };
        tracing::debug!(relay = %active.relay, ?v4, ?v6, ?lifetime, "A relay lends us an address");
        self.lease = Some(lease);
        self.postpone_keep_alive(now);
        self.events.extend(lease.candidates().into_iter().map(Event::Found));
        for peer in std::mem::take(&mut self.waiting_binds) {
            self.bind_channel(peer, rng, now);
        }
    }

    fn handle_refreshed(&mut self, answer: &Answer, rng: &mut StdRng, now: Instant) {
        let Some(lifetime) = answer.lifetime() else { return };
        if lifetime.is_zero() {
            self.allocate(rng, now);
            return;
        }
        if let Some(lease) = &mut self.lease {
            (lease.since, lease.lifetime, lease.renewal_tried) = (now, lifetime, false);
        }
    }

    fn handle_error(&mut self, code: u16, answer: &Answer, transaction: &Transaction, rng: &mut StdRng, now: Instant) {
        let request = transaction.request;
        tracing::debug!(relay = %transaction.relay, ?request, code, "A relay refuses a request");
        let had_nonce = transaction.had_nonce(answer.id());
        match (code, request) {
            (400, _) if !had_nonce && self.credentials.nonce().is_none() && self.credentials.open_anonymously() => {
                self.send(Transaction::new(request, transaction.relay, now), rng);
            }
            (401, _) if !had_nonce => self.authenticate(answer, transaction, rng, now),
            (438, _) => self.authenticate(answer, transaction, rng, now),
            (401, _) => {
                self.credentials.refuse();
                self.invalidate();
            }
            (420, Request::Refresh(_)) if self.manner.refresh == RefreshManner::Full => {
                self.manner.refresh = RefreshManner::Plain;
                self.send(Transaction::new(request, transaction.relay, now), rng);
            }
            (440, Request::Allocate) if self.manner.families == Families::Both => {
                self.manner.families = Families::OnlyV6;
                self.send(Transaction::new(request, transaction.relay, now), rng);
            }
            (420, _) => self.unusable = true,
            (437, Request::Allocate) => {
                self.invalidate();
                self.send(Transaction::new(Request::Refresh(Refresh::Delete), transaction.relay, now), rng);
            }
            (437, Request::ChannelBind { peer, .. }) => {
                self.invalidate();
                push_bounded(&mut self.waiting_binds, peer, BUFFERED_BINDS);
                self.allocate(rng, now);
            }
            (437, Request::Refresh(_)) => {
                self.invalidate();
                self.allocate(rng, now);
            }
            (_, Request::Allocate) => self.waiting_binds.clear(),
            (_, Request::ChannelBind { number, .. }) => self.channels.free(number),
            (_, Request::Binding | Request::Refresh(_)) => {}
        }
    }

    /// Asks again with the nonce that the relay gave us.
    fn authenticate(&mut self, answer: &Answer, transaction: &Transaction, rng: &mut StdRng, now: Instant) {
        let Some(nonce) = answer.nonce() else { return };
        if answer.realm().is_some_and(|realm| realm != REALM) {
            tracing::warn!("A relay belongs to another realm and is not used");
            self.credentials.refuse();
            return;
        }
        self.credentials.set_nonce(nonce.to_owned());
        self.send(Transaction::new(transaction.request, transaction.relay, now), rng);
    }

    fn allocate(&mut self, rng: &mut StdRng, now: Instant) {
        let Some(active) = self.active else { return };
        if !self.is_in_flight(|request| request == Request::Allocate) {
            self.send(Transaction::new(Request::Allocate, active.relay, now), rng);
        }
    }

    /// The relay lends us nothing any more. What it told us about our own addresses stays true.
    fn invalidate(&mut self) {
        self.transactions.clear();
        self.channels.clear();
        if let Some(lease) = self.lease.take() {
            self.events.extend(lease.candidates().into_iter().map(Event::Lost));
        }
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

    /// Asks for a new lease when one ended without our noticing in time, as after a long sleep.
    fn expire_lease(&mut self, rng: &mut StdRng, now: Instant) {
        if self.lease.is_some_and(|lease| lease.expiry() <= now) {
            self.invalidate();
            self.allocate(rng, now);
        }
    }

    fn renew_lease(&mut self, rng: &mut StdRng, now: Instant) {
        let (Some(lease), Some(active)) = (&mut self.lease, self.active) else { return };
        if lease.renewal_tried || now < lease.half_life() {
            return;
        }
        lease.renewal_tried = true;
        if !self.is_in_flight(|request| matches!(request, Request::Refresh(_))) {
            self.send(Transaction::new(Request::Refresh(Refresh::Renew), active.relay, now), rng);
        }
    }

    fn is_in_flight(&self, which: impl Fn(Request) -> bool) -> bool {
        self.transactions.iter().any(|transaction| which(transaction.request))
    }

    /// Whether nothing will happen by itself any more.
    fn is_suspended(&self) -> bool {
        self.lease.is_none() && self.transactions.is_empty() && self.transmits.is_empty()
    }
}

impl Seen {
    fn candidates(self) -> impl Iterator<Item = LocalCandidate> {
        let base = self.host;
        let mapped = self.mapped.map(|address| LocalCandidate::ServerReflexive { address, base });
        [Some(LocalCandidate::Host(self.host)), mapped].into_iter().flatten().filter(|it| it.to_candidate().is_some())
    }
}

impl Lease {
    fn candidates(self) -> Vec<LocalCandidate> {
        let local = self.local;
        [self.v4, self.v6].into_iter().flatten().map(|address| LocalCandidate::Relayed { address, local }).collect()
    }

    fn address_of_family(self, ip: IpAddr) -> Option<SocketAddr> {
        if ip.is_ipv4() { self.v4 } else { self.v6 }
    }

    fn half_life(self) -> Instant {
        self.since + self.lifetime / 2
    }

    fn expiry(self) -> Instant {
        self.since + self.lifetime
    }
}

#[cfg(test)]
mod tests;
