//! The addresses that the relay lends us: asked for, renewed at half of their life, lost, given back.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use rand::rngs::StdRng;

use super::{Allocation, Event};
use crate::{
    ice::LocalCandidate,
    relay::{
        stun::{Answer, Refresh, RefreshManner, Request},
        transaction::Transaction,
    },
};

/// The addresses that the relay lends us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    pub(super) v4: Option<SocketAddr>,
    pub(super) v6: Option<SocketAddr>,
    pub(super) local: SocketAddr,
    pub(super) since: Instant,
    pub(super) lifetime: Duration,
    /// Whether it was renewed, or that was tried, in the second half of its life.
    pub(super) renewal_tried: bool,
}

impl Allocation {
    /// Whether `address` is one that the relay lends us.
    pub(crate) fn lends(&self, address: SocketAddr) -> bool {
        self.lease.is_some_and(|lease| lease.v4 == Some(address) || lease.v6 == Some(address))
    }

    /// What only connections that use this relay can use: the addresses that it lends.
    pub(crate) fn relay_candidates(&self) -> Vec<LocalCandidate> {
        self.lease.map(|lease| lease.candidates()).unwrap_or_default()
    }

    pub(super) fn allocate(&mut self, rng: &mut StdRng, now: Instant) {
        let Some(active) = self.active else { return };
        if !self.is_in_flight(|request| request == Request::Allocate) {
            self.send(Transaction::new(Request::Allocate, active.relay, now), rng);
        }
    }

    pub(super) fn handle_allocated(&mut self, answer: &Answer, rng: &mut StdRng, now: Instant) {
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

    pub(super) fn handle_refreshed(&mut self, answer: &Answer, rng: &mut StdRng, now: Instant) {
        let Some(lifetime) = answer.lifetime() else { return };
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

    /// Asks for a new lease when one ended without our noticing in time, as after a long sleep.
    pub(super) fn expire_lease(&mut self, rng: &mut StdRng, now: Instant) {
        if self.lease.is_some_and(|lease| lease.expiry() <= now) {
            self.invalidate();
            self.allocate(rng, now);
        }
    }

    /// Tells the relay that we are leaving, so that others can have what it lends us. Nobody waits for the answer: if
    /// this gets lost, the allocation ends by itself some minutes later.
    ///
    /// A relay that was never asked for a renewal has not yet said in which manner it wants to be asked, so it is told
    /// in both. It refuses one of them, which does no harm.
    pub(crate) fn give_back(&mut self, rng: &mut StdRng, now: Instant) {
        let (Some(_), Some(active)) = (self.lease, self.active) else { return };
        self.invalidate();
        let usual = self.manner.refresh;
        let manners = [Some(usual), (usual != RefreshManner::Plain).then_some(RefreshManner::Plain)];
        for manner in manners.into_iter().flatten() {
            self.manner.refresh = manner;
            self.transmit(&mut Transaction::new(Request::Refresh(Refresh::Delete), active.relay, now), rng);
        }
        self.manner.refresh = usual;
    }

    /// The relay lends us nothing any more. What it told us about our own addresses stays true.
    pub(super) fn invalidate(&mut self) {
        self.transactions.clear();
        self.channels.clear();
        if let Some(lease) = self.lease.take() {
            self.events.extend(lease.candidates().into_iter().map(Event::Lost));
        }
    }
}

impl Lease {
    pub(super) fn candidates(self) -> Vec<LocalCandidate> {
        let local = self.local;
        [self.v4, self.v6].into_iter().flatten().map(|address| LocalCandidate::Relayed { address, local }).collect()
    }

    pub(super) fn address_of_family(self, ip: IpAddr) -> Option<SocketAddr> {
        if ip.is_ipv4() { self.v4 } else { self.v6 }
    }

    pub(super) fn half_life(self) -> Instant {
        self.since + self.lifetime / 2
    }

    pub(super) fn expiry(self) -> Instant {
        self.since + self.lifetime
    }
}
