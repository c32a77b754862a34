//! One node: the relays, the peers, and one deadline for all of them.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use ip_packet::{Ecn, IpPacket};
use model::{IceCredentials, PeerId, PresharedKey, PublicKey, Relay, RelayId, message::IceRole};

use crate::{Due, Event, Path, Transmit};

/// Everything that one process needs to talk to its peers over one pair of UDP sockets.
#[derive(Debug)]
pub struct Node {
    public_key: PublicKey,
}

/// What the portal says about a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Params {
    /// The peer's WireGuard key.
    pub public_key: PublicKey,
    /// Mixed into the WireGuard handshake.
    pub preshared_key: PresharedKey,
    /// Our ICE credentials.
    pub local_ice: IceCredentials,
    /// The peer's ICE credentials.
    pub remote_ice: IceCredentials,
    /// Which side we are.
    pub role: IceRole,
}

/// A connection cannot be made because no relay has answered yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no relay has answered")]
pub struct NoRelays;

/// What became of a packet.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sealed {
    /// It is on its way.
    Sent,
    /// There is no path or no session yet. The caller keeps the packet until [`Event::SessionReady`].
    NotYet,
    /// There is no connection to this peer.
    Unknown,
}

impl Node {
    /// A node with a fresh key. `unix_now` is the time since the Unix epoch at `now`.
    #[must_use]
    pub fn new(_now: Instant, _unix_now: Duration, _seed: [u8; 32]) -> Self {
        Self { public_key: PublicKey([0; 32]) }
    }

    /// Uses the patience of a gateway in connectivity checks.
    #[must_use]
    pub fn with_gateway_timing(self) -> Self {
        self
    }

    /// Our WireGuard key. It changes with [`reset`](Self::reset).
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.public_key
    }

    /// Takes over what the portal says about relays: `remove` are gone, `add` are new, changed or simply still there.
    pub fn update_relays(&mut self, _remove: &[RelayId], _add: &[Relay], _now: Instant) {}

    /// Creates a connection to `peer`, or refreshes the one that exists with the same parameters.
    ///
    /// # Errors
    ///
    /// When no relay has answered yet; then nothing has changed.
    pub fn upsert(&mut self, _peer: PeerId, _params: Params, _now: Instant) -> Result<(), NoRelays> {
        Err(NoRelays)
    }

    /// The peer can be reached at these candidates. Those of an unknown peer are kept for a few seconds.
    pub fn add_remote_candidates(&mut self, _peer: PeerId, _candidates: &[String], _now: Instant) {}

    /// The peer can no longer be reached at these candidates.
    pub fn remove_remote_candidates(&mut self, _peer: PeerId, _candidates: &[String], _now: Instant) {}

    /// Encrypts `packet` and queues it for sending.
    pub fn seal(&mut self, _peer: PeerId, _packet: &IpPacket, _now: Instant) -> Sealed {
        Sealed::Unknown
    }

    /// Takes one received datagram. Returns the IP packet inside, if there is one.
    ///
    /// `local` is the address at which it arrived. `payload` is used as working space.
    pub fn open(
        &mut self,
        _local: SocketAddr,
        _from: SocketAddr,
        _ecn: Ecn,
        _payload: &mut [u8],
        _now: Instant,
    ) -> Option<(PeerId, IpPacket)> {
        None
    }

    /// Says `goodbye` through the tunnel if there is one, and drops the connection.
    pub fn close(&mut self, _peer: PeerId, _goodbye: &IpPacket, _now: Instant) {}

    /// Drops the connection without a word.
    pub fn remove(&mut self, _peer: PeerId, _now: Instant) {}

    /// We are in a new network: drops all connections without a word, takes a new key, and starts all relays anew.
    pub fn reset(&mut self, _now: Instant) {}

    /// How `peer` is reached at present.
    #[must_use]
    pub fn path(&self, _peer: PeerId) -> Option<Path> {
        None
    }

    /// Does what is due. Calling early is harmless.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When [`handle_timeout`](Self::handle_timeout) has to be called, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Due> {
        None
    }

    /// The next datagram to send. Drain after each call of another method.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        None
    }

    /// The next thing to know. Drain after each call of another method.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }
}
