//! The ways that datagrams take to a peer, and the post office that knows them.

use std::{net::SocketAddr, time::Instant};

use ip_packet::Ecn;
use model::RelayId;
use rand::rngs::StdRng;
use wireguard::Identity;

use crate::{
    outbox::{Envelope, Outbox},
    relay::{Relays, channel_data},
};

/// A way to a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// From an address of ours to one of the peer's; whether the latter is on a relay makes no difference to us.
    Direct { local: SocketAddr, remote: SocketAddr },
    /// From an address that a relay lends us.
    Relayed { relay: RelayId, local: SocketAddr, remote: SocketAddr },
}

/// Everything that is needed to send.
#[derive(Debug)]
pub(crate) struct Post<'a> {
    pub(crate) relays: &'a mut Relays,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) rng: &'a mut StdRng,
    pub(crate) identity: &'a mut Identity,
}

impl Way {
    /// Our end and the peer's.
    pub(crate) fn ends(self) -> (SocketAddr, SocketAddr) {
        match self {
            Self::Direct { local, remote } | Self::Relayed { local, remote, .. } => (local, remote),
        }
    }
}

impl<'a> Post<'a> {
    /// Sends a message that is not about the content of the tunnel.
    pub(crate) fn send(&mut self, way: Way, message: &[u8], now: Instant) {
        self.write(way, Ecn::NotEct, now, |buffer| {
            buffer.extend_from_slice(message);
            true
        });
    }

    /// Sends what `write` appends to a buffer, unless it says that there is nothing, or the way is closed.
    pub(crate) fn write(&mut self, way: Way, ecn: Ecn, now: Instant, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        match way {
            Way::Direct { local, remote } => {
                let envelope = Envelope { source: Some(local.ip()), destination: remote, ecn };
                self.outbox.write(envelope, write)
            }
            Way::Relayed { relay, remote, .. } => {
                let channel = self.relays.channel_to(relay, remote, self.rng, now);
                self.forward_relay_requests();
                let Some((destination, number)) = channel else { return false };
                let envelope = Envelope { source: None, destination, ecn };
                self.outbox.write(envelope, |buffer| framed(number, buffer, write))
            }
        }
    }

    /// Makes sure that `relay` carries data to `peer`.
    pub(crate) fn bind_channel(&mut self, relay: RelayId, peer: SocketAddr, now: Instant) {
        self.relays.bind_channel(relay, peer, self.rng, now);
        self.forward_relay_requests();
    }

    /// What we ask of relays goes out before what depends on it.
    pub(crate) fn forward_relay_requests(&mut self) {
        while let Some(transmit) = self.relays.poll_transmit() {
            self.outbox.push(transmit);
        }
    }
}

/// Lets `write` append a message, and puts the header of a relay's channel in front of it.
fn framed(number: u16, buffer: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
    let start = buffer.len();
    buffer.extend([0; channel_data::HEADER]);
    let written = write(buffer);
    let length = buffer.len() - start - channel_data::HEADER;
    let header = channel_data::header(number, length).filter(|_| written);
    match (header, buffer.get_mut(start..start + channel_data::HEADER)) {
        (Some(header), Some(place)) => {
            place.copy_from_slice(&header);
            true
        }
        _ => false,
    }
}
