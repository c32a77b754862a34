//! The identity of a peer.

use std::net::IpAddr;

use model::{
    IceCredentials, PresharedKey, PublicKey,
    message::{AuthorizationCreated, DeviceAccess},
};

/// Everything that identifies a peer. All of it derives from both key pairs, so any difference means that one side was
/// restarted and the peer has lost its state about this client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    addresses: [IpAddr; 2],
    public_key: PublicKey,
    preshared_key: PresharedKey,
    /// Local and remote.
    ice: [IceCredentials; 2],
}

impl Identity {
    /// The identity of the gateway in `authorization`.
    pub(crate) fn of_gateway(authorization: &AuthorizationCreated) -> Self {
        Self {
            addresses: [authorization.gateway_ipv4.into(), authorization.gateway_ipv6.into()],
            public_key: authorization.gateway_public_key,
            preshared_key: authorization.preshared_key.clone(),
            ice: [authorization.client_ice_credentials.clone(), authorization.gateway_ice_credentials.clone()],
        }
    }

    /// The identity of the client in `access`.
    pub(crate) fn of_client(access: &DeviceAccess) -> Self {
        Self {
            addresses: [access.client_ipv4.into(), access.client_ipv6.into()],
            public_key: access.client_public_key,
            preshared_key: access.preshared_key.clone(),
            ice: [access.local_ice_credentials.clone(), access.remote_ice_credentials.clone()],
        }
    }

    /// The peer's addresses in the tunnel: IPv4, IPv6.
    pub(crate) fn addresses(&self) -> [IpAddr; 2] {
        self.addresses
    }

    /// Whether `address` is one of the peer's addresses in the tunnel.
    pub(crate) fn has_address(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }
}
