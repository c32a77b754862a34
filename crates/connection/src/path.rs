//! The path of datagrams to a peer, and sending on it.

use std::{net::SocketAddr, time::Instant};

use ip_packet::Ecn;
use model::RelayId;
use rand::rngs::StdRng;
use wireguard::Identity;

use crate::{
    outbox::{DatagramHeader, Outbox},
    relay::{Relays, channel_data},
};

/// A path to a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Path {
    /// From an address of this host to one of the peer, which may be on a relay of the peer.
    Direct { local: SocketAddr, remote: SocketAddr },
    /// From an address allocated on a relay of ours.
    Relayed { relay: RelayId, local: SocketAddr, remote: SocketAddr },
}

/// The parts of a node that sending needs.
#[derive(Debug)]
pub(crate) struct SendContext<'a> {
    pub(crate) relays: &'a mut Relays,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) rng: &'a mut StdRng,
    pub(crate) identity: &'a mut Identity,
}

impl Path {
    /// Our address and the peer's.
    pub(crate) fn ends(self) -> (SocketAddr, SocketAddr) {
        match self {
            Self::Direct { local, remote } | Self::Relayed { local, remote, .. } => (local, remote),
        }
    }
}

impl<'a> SendContext<'a> {
    /// Sends a message that carries no IP packet.
    pub(crate) fn send(&mut self, path: Path, message: &[u8], now: Instant) {
        self.write(path, Ecn::NotEct, now, |buffer| {
            buffer.extend_from_slice(message);
            true
        });
    }

    /// Sends what `write` appends to a buffer. Sends nothing if `write` returns `false` or the relay has no channel.
    pub(crate) fn write(
        &mut self,
        path: Path,
        ecn: Ecn,
        now: Instant,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> bool {
        match path {
            Path::Direct { local, remote } => {
                let header = DatagramHeader { source: Some(local.ip()), destination: remote, ecn };
                self.outbox.write(header, write)
            }
            Path::Relayed { relay, remote, .. } => {
                let channel = self.relays.channel_to(relay, remote, self.rng, now);
                self.queue_relay_requests();
                let Some((destination, number)) = channel else { return false };
                let header = DatagramHeader { source: None, destination, ecn };
                self.outbox.write(header, |buffer| write_framed(number, buffer, write))
            }
        }
    }

    /// Ensures that `relay` has a channel to `peer`.
    pub(crate) fn bind_channel(&mut self, relay: RelayId, peer: SocketAddr, now: Instant) {
        self.relays.bind_channel(relay, peer, self.rng, now);
        self.queue_relay_requests();
    }

    /// Queues requests to relays before the messages that depend on them.
    pub(crate) fn queue_relay_requests(&mut self) {
        while let Some(transmit) = self.relays.poll_transmit() {
            self.outbox.push(transmit);
        }
    }
}

/// Lets `write` append a message, and writes the channel header in front of it.
fn write_framed(number: u16, buffer: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
    let start = buffer.len();
    buffer.extend([0; channel_data::HEADER]);
    let written = write(buffer);
    let length = buffer.len() - start - channel_data::HEADER;
    let header = channel_data::header(number, length).filter(|_| written);
    match (header, buffer.get_mut(start..start + channel_data::HEADER)) {
        (Some(header), Some(field)) => {
            field.copy_from_slice(&header);
            true
        }
        _ => false,
    }
}
