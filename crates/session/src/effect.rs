//! What a session wants done.

use model::{FromPortal, PublicKey, Resolver, Secret, ToPortal};

use super::Account;
use super::NamesRequest;
use crate::{host_config::HostConfig, snapshot::Snapshot};

/// Something to be done. Effects are carried out in order.
#[derive(Debug)]
pub enum Effect {
    /// Make the network interface and start the packet thread for this account. Comes back as `TunnelOpened` or
    /// `TunnelFailed`.
    OpenTunnel(Account),
    /// Say goodbye to the gateways and end the packet thread. Comes back as `TunnelClosed`.
    CloseTunnel,
    /// Drop all connections and sockets, and make them anew. Comes back as `NewPublicKey`.
    ResetTunnel,
    /// The tunnel must hear this.
    ToTunnel(FromPortal),
    /// The tunnel may forward questions to these.
    TunnelResolvers(Vec<Resolver>),
    /// The tunnel may use the Internet resource, or not.
    TunnelInternetResource(bool),
    /// Somebody wants something about names.
    Names(NamesRequest),

    /// Connect to the portal, and stay connected.
    OpenLink {
        /// Who we are.
        token: Secret,
        /// The tunnel's key.
        public_key: PublicKey,
        /// Who knows the portal's address.
        resolvers: Vec<Resolver>,
    },
    /// Leave the portal.
    CloseLink,
    /// Connect anew, at once.
    Reconnect(PublicKey),
    /// These know the portal's address now.
    LinkResolvers(Vec<Resolver>),
    /// The portal must hear this.
    ToPortal(ToPortal),

    /// The host shall look like this, and the stub resolver listen where it says. Comes back as `HostApplied`; a newer
    /// wish may overtake an older one.
    Host(HostConfig),

    /// The world may know this.
    Publish(Box<Snapshot>),
}
