//! Channels on the allocation: which peers have one, and which get one as soon as there is something to bind it to.

use std::{net::SocketAddr, time::Instant};

use rand::rngs::StdRng;

use super::Allocation;
use crate::{
    limits::{BUFFERED_BINDS, push_bounded},
    relay::{channels::Exhausted, stun::Request, transaction::Transaction},
};

impl Allocation {
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

    /// Who sent on this channel, and to which of our addresses.
    pub(crate) fn heard_on(&mut self, number: u16, now: Instant) -> Option<(SocketAddr, SocketAddr)> {
        let peer = self.channels.heard_on(number, now)?;
        let relayed = self.lease?.address_of_family(peer.ip())?;
        Some((peer, relayed))
    }
}
