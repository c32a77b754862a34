//! Error responses of a relay: the reaction to each code, and which of them may be unsigned.

use std::time::Instant;

use rand::rngs::StdRng;

use super::Allocation;
use crate::{
    limits::{MAX_PENDING_BINDS, push_bounded},
    relay::{
        credentials::REALM,
        stun::{Families, Refresh, RefreshForm, Request, Response},
        transaction::Transaction,
    },
};

impl Allocation {
    /// Whether an unsigned response is acted upon: only if it makes us repeat the request in another form.
    pub(super) fn is_acceptable_unsigned(&self, response: &Response, transaction: &Transaction) -> bool {
        let had_nonce = transaction.had_nonce(response.id());
        match response.error() {
            Some(401) => !had_nonce && response.nonce().is_some(),
            Some(438) => response.nonce().is_some_and(|nonce| self.credentials.nonce() != Some(nonce)),
            // RFC 8489 section 9.2.4 requires this response to a request with integrity, but without nonce.
            Some(400) => !had_nonce && self.credentials.should_authenticate() && self.credentials.nonce().is_none(),
            // Some relays look up the allocation of our address before they authenticate the request.
            Some(437) => !had_nonce && self.lease.is_none() && transaction.request == Request::Allocate,
            Some(_) | None => false,
        }
    }

    pub(super) fn handle_error(
        &mut self,
        code: u16,
        response: &Response,
        transaction: &Transaction,
        rng: &mut StdRng,
        now: Instant,
    ) {
        let request = transaction.request;
        tracing::debug!(relay = %transaction.relay, ?request, code, "A relay rejected a request");
        let had_nonce = transaction.had_nonce(response.id());
        match (code, request) {
            (400, _) if !had_nonce && self.credentials.nonce().is_none() && self.credentials.start_anonymously() => {
                self.send(Transaction::new(request, transaction.relay, now), rng);
            }
            (401, _) if !had_nonce => self.authenticate(response, transaction, rng, now),
            (438, _) => self.authenticate(response, transaction, rng, now),
            (401, _) => {
                self.credentials.reject();
                self.invalidate();
            }
            (420, Request::Refresh(_)) if self.quirks.refresh == RefreshForm::Full => {
                self.quirks.refresh = RefreshForm::Minimal;
                self.send(Transaction::new(request, transaction.relay, now), rng);
            }
            (440, Request::Allocate) if self.quirks.families == Families::Both => {
                self.quirks.families = Families::OnlyV6;
                self.send(Transaction::new(request, transaction.relay, now), rng);
            }
            (420, _) => self.unusable = true,
            (437, Request::Allocate) => {
                self.invalidate();
                self.send(Transaction::new(Request::Refresh(Refresh::Delete), transaction.relay, now), rng);
            }
            (437, Request::ChannelBind { peer, .. }) => {
                self.invalidate();
                push_bounded(&mut self.pending_binds, peer, MAX_PENDING_BINDS);
                self.allocate(rng, now);
            }
            (437, Request::Refresh(_)) => {
                self.invalidate();
                self.allocate(rng, now);
            }
            (_, Request::Allocate) => self.pending_binds.clear(),
            (_, Request::ChannelBind { number, .. }) => self.channels.free(number),
            (_, Request::Binding | Request::Refresh(_)) => {}
        }
    }

    /// Repeats the request with the nonce of the relay.
    fn authenticate(&mut self, response: &Response, transaction: &Transaction, rng: &mut StdRng, now: Instant) {
        let Some(nonce) = response.nonce() else { return };
        if response.realm().is_some_and(|realm| realm != REALM) {
            tracing::warn!("A relay belongs to another realm and is not used");
            self.credentials.reject();
            return;
        }
        self.credentials.set_nonce(nonce.to_owned());
        self.send(Transaction::new(transaction.request, transaction.relay, now), rng);
    }
}
