//! Who is at the other end: gateways and other clients, their addresses, and what they may send us.

mod clients;
mod flows;
mod gateways;
mod grants;
mod queue;

use std::net::IpAddr;

use model::{
    IceCredentials, PresharedKey, PublicKey,
    message::{AuthorizationCreated, DeviceAccess},
};

pub(crate) use clients::{Client, Clients};
pub(crate) use flows::Flow;
pub(crate) use gateways::{Gateway, Peers};
pub(crate) use queue::Queue;

/// What makes a peer the same as before. All of it is a function of both key pairs, so if any of it changes then the
/// peer, or we, started anew and it remembers nothing of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    addresses: [IpAddr; 2],
    public_key: PublicKey,
    preshared_key: PresharedKey,
    /// Ours and theirs.
    ice: [IceCredentials; 2],
}

impl Identity {
    /// The identity of the gateway that `authorization` is about.
    pub(crate) fn of(authorization: &AuthorizationCreated) -> Self {
        Self {
            addresses: [authorization.gateway_ipv4.into(), authorization.gateway_ipv6.into()],
            public_key: authorization.gateway_public_key,
            preshared_key: authorization.preshared_key.clone(),
            ice: [authorization.client_ice_credentials.clone(), authorization.gateway_ice_credentials.clone()],
        }
    }

    /// The identity of the client that `access` is about.
    pub(crate) fn of_client(access: &DeviceAccess) -> Self {
        Self {
            addresses: [access.client_ipv4.into(), access.client_ipv6.into()],
            public_key: access.client_public_key,
            preshared_key: access.preshared_key.clone(),
            ice: [access.local_ice_credentials.clone(), access.remote_ice_credentials.clone()],
        }
    }

    /// Whether this is one of the peer's addresses in the tunnel.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }
}
