//! Arguments and results of the methods of a node.

use model::{IceCredentials, PresharedKey, PublicKey, message::IceRole};

/// The portal's description of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Params {
    /// The peer's WireGuard key.
    pub public_key: PublicKey,
    /// The pre-shared key of the WireGuard handshake.
    pub preshared_key: PresharedKey,
    /// Our ICE credentials.
    pub local_ice: IceCredentials,
    /// The peer's ICE credentials.
    pub remote_ice: IceCredentials,
    /// Our ICE role.
    pub role: IceRole,
}

/// A connection cannot be created because no relay has answered yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no relay has answered")]
pub struct NoRelays;

/// The outcome of sealing a packet.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sealed {
    /// The packet is encrypted and queued.
    Sent,
    /// There is no path or no session yet. The caller keeps the packet until
    /// [`Event::SessionReady`](crate::event::Event::SessionReady).
    NotYet,
    /// There is no connection to this peer.
    Unknown,
}
