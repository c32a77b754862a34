//! A STUN/TURN relay as the portal announces it (`portal.md` 5.2).

use std::net::{SocketAddrV4, SocketAddrV6};

use crate::{RelayId, Secret};

/// One relay, with the entries of both address families merged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relay {
    /// Changes whenever the relay restarts.
    pub id: RelayId,
    /// Where it listens on IPv4.
    pub v4: Option<SocketAddrV4>,
    /// Where it listens on IPv6.
    pub v6: Option<SocketAddrV6>,
    /// TURN user name. Opaque; contains a colon.
    pub username: String,
    /// TURN password. Opaque.
    pub password: Secret,
}
