//! Effects of the session, grouped by their destination.

use model::{FromPortal, PublicKey, Resolver, Secret, ToPortal};

use crate::{Account, HostConfig, Refused, RequestId, Snapshot};

/// Something that the daemon has to do. Effects are executed in order.
#[derive(Debug)]
pub enum Effect {
    /// For the packet thread.
    Tunnel(TunnelCommand),
    /// For the connection to the portal.
    Portal(PortalCommand),
    /// The configuration that the host should have, including the addresses of the stub resolver. Results in
    /// [`HostEvent::Applied`](crate::HostEvent::Applied); a newer configuration may supersede an older one.
    Host(HostConfig),
    /// The answer to a request.
    Reply(RequestId, Result<(), Refused>),
    /// The state that is published from now on.
    Publish(Box<Snapshot>),
}

/// A command for the packet thread.
#[derive(Debug)]
pub enum TunnelCommand {
    /// Create the network interface and start the packet thread for this account. Results in `Opened` or `OpenFailed`.
    Open(Account),
    /// Close the connections to the gateways and end the packet thread. Results in `Closed`.
    Close,
    /// Replace all connections, sockets and the key. Results in `NewPublicKey`.
    Reset,
    /// Pass a message of the portal on.
    Portal(FromPortal),
    /// Forward queries to these resolvers of the host.
    SetResolvers(Vec<Resolver>),
    /// Switch the Internet resource on or off.
    SetInternetResource(bool),
}

/// A command for the connection to the portal.
#[derive(Debug)]
pub enum PortalCommand {
    /// Connect, and stay connected.
    Open {
        /// The token of the account.
        token: Secret,
        /// The tunnel's key.
        public_key: PublicKey,
        /// The host's resolvers, which resolve the portal's name.
        resolvers: Vec<Resolver>,
    },
    /// Close the connection.
    Close,
    /// Reconnect at once, with this key.
    Reconnect(PublicKey),
    /// Resolve the portal's name by these resolvers.
    SetResolvers(Vec<Resolver>),
    /// Send a message.
    Send(ToPortal),
}
