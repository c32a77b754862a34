//! Requesting, renewing and releasing the addresses allocated on a relay.

use std::{net::SocketAddr, time::Instant};

use rand::rngs::StdRng;

use super::{Allocation, Event, lease::Lease};
use crate::{
    ice::LocalCandidate,
    relay::{
        stun::{Refresh, RefreshForm, Request, Response},
        transaction::Transaction,
    },
};

impl Allocation {
    /// Whether `address` is allocated for us on this relay.
    pub(crate) fn owns_relayed_address(&self, address: SocketAddr) -> bool {
        self.lease.is_some_and(|lease| lease.v4 == Some(address) || lease.v6 == Some(address))
    }

    /// Candidates for connections that use this relay: the allocated addresses.
    pub(crate) fn relay_candidates(&self) -> Vec<LocalCandidate> {
        self.lease.map(|lease| lease.candidates()).unwrap_or_default()
    }

    pub(super) fn allocate(&mut self, rng: &mut StdRng, now: Instant) {
        let Some(active) = self.active else { return };
        if !self.is_in_flight(|request| request == Request::Allocate) {
            self.send(Transaction::new(Request::Allocate, active.relay, now), rng);
        }
    }

    pub(super) fn handle_allocated(&mut self, response: &Response, rng: &mut StdRng, now: Instant) {
        let (Some(lifetime), Some(active)) = (response.lifetime(), self.active) else { return };
        let usable = |address: &SocketAddr| LocalCandidate::is_usable(address.ip());
        let v4 = response.relayed().filter(usable).find(SocketAddr::is_ipv4);
        let v6 = response.relayed().filter(usable).find(SocketAddr::is_ipv6);
        if v4.is_none() && v6.is_none() || lifetime.is_zero() {
            return;
        }
        let lease = Lease { v4, v6, local: active.local, since: now, lifetime, renewal_tried: false };
        tracing::debug!(relay = %active.relay, ?v4, ?v6, ?lifetime, "Addresses were allocated on a relay");
        self.lease = Some(lease);
        self.postpone_keep_alive(now);
        self.events.extend(lease.candidates().into_iter().map(Event::CandidateFound));
        for peer in std::mem::take(&mut self.pending_binds) {
            self.bind_channel(peer, rng, now);
        }
    }

    pub(super) fn handle_refreshed(&mut self, response: &Response, rng: &mut StdRng, now: Instant) {
        let Some(lifetime) = response.lifetime() else { return };
        if lifetime.is_zero() {
            self.allocate(rng, now);
            return;
        }
        if let Some(lease) = &mut self.lease {
            (lease.since, lease.lifetime, lease.renewal_tried) = (now, lifetime, false);
        }
    }

    pub(super) fn renew_lease(&mut self, rng: &mut StdRng, now: Instant) {
        let (Some(lease), Some(active)) = (&mut self.lease, self.active) else { return };
        if lease.renewal_tried || now < lease.half_life() {
            return;
        }
        lease.renewal_tried = true;
        if !self.is_in_flight(|request| matches!(request, Request::Refresh(_))) {
            self.send(Transaction::new(Request::Refresh(Refresh::Renew), active.relay, now), rng);
        }
    }

    /// Requests a new lease if the present one has expired, for example during suspend.
    pub(super) fn expire_lease(&mut self, rng: &mut StdRng, now: Instant) {
        if self.lease.is_some_and(|lease| lease.expiry() <= now) {
            self.invalidate();
            self.allocate(rng, now);
        }
    }

    /// Deletes the allocation on the relay. The response is not awaited: if the request gets lost, the allocation expires some
    /// minutes later.
    ///
    /// The relay may not have been asked for a renewal yet, so which form of a refresh it accepts is unknown, and the request
    /// is sent in both forms. The relay rejects one of them without effect.
    pub(crate) fn release(&mut self, rng: &mut StdRng, now: Instant) {
        let (Some(_), Some(active)) = (self.lease, self.active) else { return };
        self.invalidate();
        let usual = self.quirks.refresh;
        let forms = [Some(usual), (usual != RefreshForm::Minimal).then_some(RefreshForm::Minimal)];
        for form in forms.into_iter().flatten() {
            self.quirks.refresh = form;
            self.transmit(&mut Transaction::new(Request::Refresh(Refresh::Delete), active.relay, now), rng);
        }
        self.quirks.refresh = usual;
    }

    /// Forgets the lease with its channels and requests. The observed addresses stay valid.
    pub(super) fn invalidate(&mut self) {
        self.transactions.clear();
        self.channels.clear();
        if let Some(lease) = self.lease.take() {
            self.events.extend(lease.candidates().into_iter().map(Event::CandidateLost));
        }
    }
}
