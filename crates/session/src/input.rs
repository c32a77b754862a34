//! Inputs of the session, grouped by their source.

use dbus_api::Warning;
use model::{DeviceView, FromPortal, PublicKey, Resolver, ResourceId, ResourceView, ToPortal};
use portal::Rejection;
use tunnel::InterfaceConfig;

use crate::{Account, HostConfig, Reason, Request, RequestId};

/// Something that the session has to react to.
#[derive(Debug)]
pub enum Input {
    /// From the daemon's own process.
    Daemon(DaemonEvent),
    /// From a user.
    Request(RequestId, Request),
    /// From the packet thread.
    Tunnel(TunnelEvent),
    /// From the connection to the portal.
    Portal(PortalEvent),
    /// From the host.
    Host(HostEvent),
    /// The deadline of [`Session::poll_timeout`](crate::Session::poll_timeout) has passed.
    Timeout,
}

/// An event of the daemon's own process.
#[derive(Debug)]
pub enum DaemonEvent {
    /// The daemon has an account without a request from a user: a service token, or the account that an earlier process
    /// used. A session with another token is replaced.
    Start(Account),
    /// The administrator wants all connections rebuilt.
    Reset,
    /// The daemon must stop.
    Stop,
}

/// An event of the packet thread.
#[derive(Debug)]
pub enum TunnelEvent {
    /// The interface and the packet thread exist. The tunnel has this key.
    Opened(PublicKey),
    /// They cannot be created.
    OpenFailed(Reason),
    /// The packet thread has closed all connections and ended, as requested.
    Closed,
    /// The packet thread ended without a request.
    Died,
    /// A gateway stays unreachable. The remaining remedy is a new key with new sockets.
    NewKeyNeeded,
    /// The tunnel has a new key, which the portal must learn.
    NewPublicKey(PublicKey),
    /// The local end of the tunnel changed.
    InterfaceChanged(InterfaceConfig),
    /// The resources changed.
    ResourcesChanged(Vec<ResourceView>),
    /// The directly connected clients changed.
    DevicesChanged(Vec<DeviceView>),
    /// No gateway serves this resource.
    GatewaysOffline(ResourceId),
    /// The gateways of this resource have an incompatible version.
    GatewayVersionMismatch(ResourceId),
    /// A message for the portal.
    ToPortal(ToPortal),
}

/// An event of the connection to the portal.
#[derive(Debug)]
pub enum PortalEvent {
    /// The portal has accepted the client.
    Joined,
    /// The connection failed. The link retries by itself.
    Lost(Reason),
    /// The portal, or a proxy before it, rejected the connection. The link retries by itself.
    Rejected(Rejection),
    /// A message for the tunnel.
    Message(FromPortal),
    /// The link has given up.
    Ended(Reason),
}

/// An event of the host.
#[derive(Debug)]
pub enum HostEvent {
    /// The host was brought in line with this configuration.
    Applied {
        /// The configuration.
        config: HostConfig,
        /// What could not be applied.
        warnings: Vec<Warning>,
    },
    /// The machine has another network, or woke up.
    NetworkChanged,
    /// The machine has no uplink any more. `NetworkChanged` follows once it has one.
    NetworkLost,
    /// Whether the network requires a sign-in with a browser first.
    CaptivePortal(bool),
    /// Whether the machine sleeps. `NetworkChanged` or `NetworkLost` follows after it woke up.
    Sleeping(bool),
    /// The host's own resolvers changed.
    ResolversChanged(Vec<Resolver>),
}

impl From<DaemonEvent> for Input {
    fn from(event: DaemonEvent) -> Self {
        Self::Daemon(event)
    }
}

impl From<TunnelEvent> for Input {
    fn from(event: TunnelEvent) -> Self {
        Self::Tunnel(event)
    }
}

impl From<PortalEvent> for Input {
    fn from(event: PortalEvent) -> Self {
        Self::Portal(event)
    }
}

impl From<HostEvent> for Input {
    fn from(event: HostEvent) -> Self {
        Self::Host(event)
    }
}
