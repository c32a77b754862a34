//! Answers of the relay: which are believed, and what a binding answer says about our own addresses.

use std::{net::SocketAddr, time::Instant};

use rand::rngs::StdRng;

use super::{Active, Allocation, Event, KEEP_ALIVE};
use crate::{
    ice::LocalCandidate,
    relay::{
        choice,
        stun::{Answer, Refresh, Request},
        transaction::Transaction,
    },
};

/// What binding answers of one address family told us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    pub(super) host: SocketAddr,
    mapped: Option<SocketAddr>,
}

impl Allocation {
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
}

impl Seen {
    pub(super) fn candidates(self) -> impl Iterator<Item = LocalCandidate> {
        let base = self.host;
        let mapped = self.mapped.map(|address| LocalCandidate::ServerReflexive { address, base });
        [Some(LocalCandidate::Host(self.host)), mapped].into_iter().flatten().filter(|it| it.to_candidate().is_some())
    }
}
