//! The messages between portal and tunnel, as values.
//!
//! Frames, event names, and messages about the connection itself (join, heartbeat, `disconnect`) belong to the crate
//! `portal`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    ClientId, Filters, GatewayId, IceCredentials, Interface, PeerId, PresharedKey, PublicKey, Relay, RelayId, Resource,
    ResourceId, SiteId,
};

/// A message from the portal to the tunnel.
#[derive(Clone, PartialEq, Debug)]
pub enum FromPortal {
    /// The complete state, after each join and whenever our addresses change.
    Init(Box<Init>),
    /// The configuration of the tunnel interface changed.
    ConfigChanged(Interface),
    /// A resource was created or updated.
    ResourceCreatedOrUpdated(Resource),
    /// A resource was deleted.
    ResourceDeleted(ResourceId),
    /// Access to a resource through a gateway is granted.
    AuthorizationCreated(Box<AuthorizationCreated>),
    /// Access to a resource is denied.
    AuthorizationCreationFailed(AuthorizationCreationFailed),
    /// Relays went offline or came online.
    RelaysPresence { disconnected: Vec<RelayId>, connected: Vec<Relay> },
    /// New ICE candidates of a peer.
    IceCandidates { peer: PeerId, candidates: Vec<String> },
    /// ICE candidates of a peer that are no longer valid.
    InvalidateIceCandidates { peer: PeerId, candidates: Vec<String> },
    /// Access between this client and another one is granted.
    ClientDeviceAccessAuthorized(Box<DeviceAccess>),
    /// Access to another client is denied or revoked.
    ClientDeviceAccessDenied { ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>, reason: FailureReason },
    /// The invalidation of candidates could not be delivered to another client.
    ClientIceCandidateError { client: ClientId, reason: FailureReason },
    /// The result of [`ToPortal::ResolveDevicePoolDomain`].
    DevicePoolDomainResolved { resource: ResourceId, domain: String, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr> },
    /// The failure of [`ToPortal::ResolveDevicePoolDomain`].
    DevicePoolDomainResolutionFailed { resource: ResourceId, domain: String, reason: FailureReason },
    /// The filters of a device pool that grants other clients access to this one changed.
    ResourceFiltersUpdated { resource: ResourceId, filters: Filters },
    /// The access of another client to this one ended.
    RejectAccess { client: ClientId, resource: ResourceId },
}

/// The complete state after each join.
#[derive(Clone, PartialEq, Debug)]
pub struct Init {
    /// The configuration of the tunnel interface.
    pub interface: Interface,
    /// All resources; others no longer exist.
    pub resources: Vec<Resource>,
    /// Relays to use, in addition to the known ones.
    pub relays: Vec<Relay>,
    /// All valid grants to other clients; others have ended.
    pub authorizations: Vec<InboundGrant>,
}

/// Access of another client to this one, through a device pool, until a deadline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InboundGrant {
    /// The other client.
    pub client: ClientId,
    /// The device pool.
    pub resource: ResourceId,
    /// The end of the access in Unix seconds.
    pub expires_at: u64,
}

/// The parameters of a connection to a gateway for a resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthorizationCreated {
    /// The resource.
    pub resource_id: ResourceId,
    /// The gateway. Not necessarily one of the requested gateways.
    pub gateway_id: GatewayId,
    /// The WireGuard key of the gateway.
    pub gateway_public_key: PublicKey,
    /// The IPv4 address of the gateway in the tunnel.
    pub gateway_ipv4: Ipv4Addr,
    /// The IPv6 address of the gateway in the tunnel.
    pub gateway_ipv6: Ipv6Addr,
    /// The site of the gateway.
    pub site_id: SiteId,
    /// The pre-shared key of the WireGuard handshake.
    pub preshared_key: PresharedKey,
    /// The ICE credentials of this client.
    pub client_ice_credentials: IceCredentials,
    /// The ICE credentials of the gateway.
    pub gateway_ice_credentials: IceCredentials,
    /// Whether the connection must not use ICE. This client never advertises that capability, so `true` is an error.
    pub use_iceless: bool,
}

/// The denial of access to a resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthorizationCreationFailed {
    /// The resource.
    pub resource_id: ResourceId,
    /// The reason.
    pub reason: FailureReason,
    /// The violated policy conditions, as named by the portal; only with [`FailureReason::Forbidden`].
    pub violated_properties: Vec<String>,
}

/// Why the portal denied a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureReason {
    /// No gateway is online, or the other client is offline.
    Offline,
    /// The versions of the two sides are incompatible.
    VersionMismatch,
    /// The object does not exist, or not for this client.
    NotFound,
    /// No policy permits the access.
    Forbidden,
    /// Any other reason.
    Other,
}

/// The role of this client in an ICE connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IceRole {
    /// Selects the path and initiates the WireGuard handshake.
    Controlling,
    /// Leaves both to the peer.
    Controlled,
}

/// The parameters of a connection to another client.
#[derive(Clone, PartialEq, Debug)]
pub struct DeviceAccess {
    /// The other client.
    pub client_id: ClientId,
    /// The display name of the other client.
    pub client_name: Option<String>,
    /// The WireGuard key of the other client.
    pub client_public_key: PublicKey,
    /// The IPv4 address of the other client in the tunnel.
    pub client_ipv4: Ipv4Addr,
    /// The IPv6 address of the other client in the tunnel.
    pub client_ipv6: Ipv6Addr,
    /// The pre-shared key of the WireGuard handshake.
    pub preshared_key: PresharedKey,
    /// The ICE credentials of this client.
    pub local_ice_credentials: IceCredentials,
    /// The ICE credentials of the other client.
    pub remote_ice_credentials: IceCredentials,
    /// The role of this client in the ICE connection.
    pub ice_role: IceRole,
    /// See [`AuthorizationCreated::use_iceless`].
    pub use_iceless: bool,
    /// The access that this client grants; only if it is the target.
    pub grant: Option<DeviceGrant>,
}

/// The access of another client to this one.
#[derive(Clone, PartialEq, Debug)]
pub struct DeviceGrant {
    /// The device pool.
    pub resource: ResourceId,
    /// The permitted traffic.
    pub filters: Filters,
    /// The end of the access in Unix seconds; `None` means unlimited.
    pub expires_at: Option<u64>,
}

/// A message from the tunnel to the portal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ToPortal {
    /// Requests access to a resource.
    RequestAuthorization {
        resource: ResourceId,
        /// The preferred gateways, best first.
        connected_gateways: Vec<GatewayId>,
        /// The requested member; only for device pools.
        device: Option<IpAddr>,
    },
    /// New ICE candidates of this client.
    NewIceCandidates { peer: PeerId, candidates: Vec<String> },
    /// ICE candidates of this client that are no longer valid.
    InvalidateIceCandidates { peer: PeerId, candidates: Vec<String> },
    /// Requests relays, because this client has none.
    NoRelays,
    /// Resolves a name in a dynamic device pool.
    ResolveDevicePoolDomain { resource: ResourceId, domain: String },
}
