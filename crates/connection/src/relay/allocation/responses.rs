//! Responses of a relay: authentication, and the results of successful requests.

use std::{net::SocketAddr, time::Instant};

use rand::rngs::StdRng;

use super::{Active, Allocation, Event, KEEPALIVE_INTERVAL, observed::ObservedAddresses};
use crate::relay::{
    selection,
    stun::{Refresh, Request, Response},
    transaction::Transaction,
};

impl Allocation {
    /// Handles a response from `from`, an address of this relay, that arrived at `local`.
    pub(crate) fn handle_response(
        &mut self,
        local: SocketAddr,
        from: SocketAddr,
        response: &Response,
        rng: &mut StdRng,
        now: Instant,
    ) {
        let Some(index) = self.transactions.iter().position(|transaction| transaction.has_id(response.id())) else {
            tracing::trace!(%from, "Unsolicited response");
            return;
        };
        let Some(transaction) = self.transactions.get(index).cloned() else { return };
        if !response.is_for(transaction.request) {
            return;
        }
        let authentic = transaction.request == Request::Binding || response.is_authentic(&self.credentials);
        if !authentic && !self.is_acceptable_unsigned(response, &transaction) {
            tracing::debug!(%from, request = ?transaction.request, "Ignored an unauthenticated response");
            return;
        }
        self.transactions.remove(index);
        self.round_trip = Some(selection::smooth(self.round_trip, now.duration_since(transaction.started)));
        match response.error() {
            None => self.handle_success(local, from, response, &transaction, rng, now),
            Some(code) => self.handle_error(code, response, &transaction, rng, now),
        }
    }

    fn handle_success(
        &mut self,
        local: SocketAddr,
        from: SocketAddr,
        response: &Response,
        transaction: &Transaction,
        rng: &mut StdRng,
        now: Instant,
    ) {
        match transaction.request {
            Request::Binding => self.handle_binding(local, from, response, rng, now),
            Request::Allocate => self.handle_allocated(response, rng, now),
            Request::Refresh(_) => self.handle_refreshed(response, rng, now),
            Request::ChannelBind { number, .. } => self.channels.confirm(number, now),
        }
    }

    fn handle_binding(
        &mut self,
        local: SocketAddr,
        from: SocketAddr,
        response: &Response,
        rng: &mut StdRng,
        now: Instant,
    ) {
        let has_moved = self.record_observed(local, response.mapped());
        if let Some(active) = self.active {
            // A NAT has changed the mapping, so the allocation belongs to another address.
            if has_moved && active.relay == from {
                self.probe(rng, now);
            }
            return;
        }
        self.active = Some(Active { relay: from, local, keep_alive: now + KEEPALIVE_INTERVAL });
        let request = if self.lease.is_some() { Request::Refresh(Refresh::Renew) } else { Request::Allocate };
        self.send(Transaction::new(request, from, now), rng);
    }

    /// Records the addresses that a relay observed. Returns whether they replaced other ones.
    fn record_observed(&mut self, host: SocketAddr, mapped: Option<SocketAddr>) -> bool {
        let mapped = mapped.filter(|mapped| mapped.is_ipv4() == host.is_ipv4());
        let observed = ObservedAddresses { host, mapped };
        let Some(known) = self.observed.get_mut(usize::from(host.is_ipv6())) else { return false };
        if *known == Some(observed) {
            return false;
        }
        let before = known.replace(observed);
        self.events.extend(observed.candidates().map(Event::CandidateFound));
        before.is_some()
    }
}
