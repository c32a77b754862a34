//! What a refusal of the relay means: the table of error codes, and which of them nobody has to sign.

use std::time::Instant;

use rand::rngs::StdRng;

use super::Allocation;
use crate::{
    limits::{BUFFERED_BINDS, push_bounded},
    relay::{
        credentials::REALM,
        stun::{Answer, Families, Refresh, RefreshManner, Request},
        transaction::Transaction,
    },
};

impl Allocation {
    /// Whether an answer that nobody signed may be believed: only that we should ask again, in another manner.
    pub(super) fn is_invitation(&self, answer: &Answer, transaction: &Transaction) -> bool {
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

    pub(super) fn handle_error(
        &mut self,
        code: u16,
        answer: &Answer,
        transaction: &Transaction,
        rng: &mut StdRng,
        now: Instant,
    ) {
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
}
