//! Binding channels on the allocation, at once or as soon as there is a lease.

use std::{net::SocketAddr, time::Instant};

use rand::rngs::StdRng;

use super::Allocation;
use crate::{
    limits::{MAX_PENDING_BINDS, push_bounded},
    relay::{channels::Exhausted, stun::Request, transaction::Transaction},
};

impl Allocation {
    /// Ensures that the allocation has, or soon gets, a channel to `peer`.
    pub(crate) fn bind_channel(&mut self, peer: SocketAddr, rng: &mut StdRng, now: Instant) {
        let (Some(lease), Some(active)) = (self.lease, self.active) else {
            if !self.is_dormant() && !self.pending_binds.contains(&peer) {
                push_bounded(&mut self.pending_binds, peer, MAX_PENDING_BINDS);
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
            Err(Exhausted) => tracing::debug!("All channel numbers of a relay are in use"),
        }
    }

    /// The relay address and the channel number for data to `peer`.
    pub(crate) fn channel_to(&self, peer: SocketAddr, now: Instant) -> Option<(SocketAddr, u16)> {
        Some((self.active?.relay, self.channels.number_for(peer, now)?))
    }

    /// The peer of this channel, and the allocated address that it sends to.
    pub(crate) fn note_received(&mut self, number: u16, now: Instant) -> Option<(SocketAddr, SocketAddr)> {
        let peer = self.channels.note_received(number, now)?;
        let relayed = self.lease?.address_of_family(peer.ip())?;
        Some((peer, relayed))
    }
}
