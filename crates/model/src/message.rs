//! The messages between portal and client, as values.
//!
//! The envelope, the event names and everything about the conversation itself (joining, heartbeats, `disconnect`)
//! belong to the crate `portal`; what is here concerns the tunnel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    ClientId, Filters, GatewayId, IceCredentials, Interface, PeerId, PresharedKey, PublicKey, Relay, RelayId, Resource,
    ResourceId, SiteId,
};

/// Something that the portal tells the tunnel.
#[derive(Clone, PartialEq, Debug)]
pub enum FromPortal {
    /// The whole truth, after each join and whenever our addresses change.
    Init(Box<Init>),
    /// Our own end changed.
    ConfigChanged(Interface),
    /// A resource is new or different.
    ResourceCreatedOrUpdated(Resource),
    /// A resource is gone.
    ResourceDeleted(ResourceId),
    /// We may use a resource through a gateway.
    AuthorizationCreated(Box<AuthorizationCreated>),
    /// We may not, or not now.
    AuthorizationCreationFailed(AuthorizationCreationFailed),
    /// Relays came and went.
    RelaysPresence { disconnected: Vec<RelayId>, connected: Vec<Relay> },
    /// A peer can be reached at these candidates.
    IceCandidates { peer: PeerId, candidates: Vec<String> },
    /// A peer can no longer be reached at these candidates.
    InvalidateIceCandidates { peer: PeerId, candidates: Vec<String> },
    /// We and another client may talk.
    ClientDeviceAccessAuthorized(Box<DeviceAccess>),
    /// We may not talk to another client, or not any more.
    ClientDeviceAccessDenied { ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>, reason: FailReason },
    /// An invalidation for another client could not be delivered.
    ClientIceCandidateError { client: ClientId, reason: FailReason },
    /// The answer to [`ToPortal::ResolveDevicePoolDomain`].
    DevicePoolDomainResolved { resource: ResourceId, domain: String, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr> },
    /// The other answer to [`ToPortal::ResolveDevicePoolDomain`].
    DevicePoolDomainResolutionFailed { resource: ResourceId, domain: String, reason: FailReason },
    /// What a grant of ours to other clients lets through changed.
    ResourceFiltersUpdated { resource: ResourceId, filters: Filters },
    /// A grant of ours to another client is over.
    RejectAccess { client: ClientId, resource: ResourceId },
}

/// The snapshot after each join.
#[derive(Clone, PartialEq, Debug)]
pub struct Init {
    /// Our own end.
    pub interface: Interface,
    /// All resources; those not listed are gone.
    pub resources: Vec<Resource>,
    /// Relays to use; additive.
    pub relays: Vec<Relay>,
    /// Grants of ours to other clients that are valid now; all others are over.
    pub authorizations: Vec<InboundGrant>,
}

/// Another client may use one of our pools until a deadline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InboundGrant {
    /// Who may.
    pub client: ClientId,
    /// Through which pool.
    pub resource: ResourceId,
    /// Until when, in Unix seconds.
    pub expires_at: u64,
}

/// Everything that is needed to use a resource through a gateway.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthorizationCreated {
    /// Which resource.
    pub resource_id: ResourceId,
    /// Through which gateway. Not necessarily one that we asked for.
    pub gateway_id: GatewayId,
    /// Its WireGuard key.
    pub gateway_public_key: PublicKey,
    /// Its addresses in the tunnel.
    pub gateway_ipv4: Ipv4Addr,
    /// Its addresses in the tunnel.
    pub gateway_ipv6: Ipv6Addr,
    /// Where it is.
    pub site_id: SiteId,
    /// Mixed into the WireGuard handshake.
    pub preshared_key: PresharedKey,
    /// Our ICE credentials.
    pub client_ice_credentials: IceCredentials,
    /// The gateway's.
    pub gateway_ice_credentials: IceCredentials,
    /// Whether the connection must be made without ICE. We never advertise that, so `true` is an error.
    pub use_iceless: bool,
}

/// Why a resource cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthorizationCreationFailed {
    /// Which resource.
    pub resource_id: ResourceId,
    /// Why.
    pub reason: FailReason,
    /// Which conditions of the policies did not hold; only with [`FailReason::Forbidden`]. The portal's words.
    pub violated_properties: Vec<String>,
}

/// Why the portal refuses something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailReason {
    /// No gateway, or not the other client.
    Offline,
    /// Both are there, but of versions that do not work together.
    VersionMismatch,
    /// There is no such thing for us.
    NotFound,
    /// The conditions of every policy are violated.
    Forbidden,
    /// Any other reason.
    Other,
}

/// Which side of the ICE connection we are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IceRole {
    /// We choose the path and start the WireGuard handshake.
    Controlling,
    /// The peer does.
    Controlled,
}

/// Everything that is needed to talk to another client.
#[derive(Clone, PartialEq, Debug)]
pub struct DeviceAccess {
    /// The other client.
    pub client_id: ClientId,
    /// Its name, for people.
    pub client_name: Option<String>,
    /// Its WireGuard key.
    pub client_public_key: PublicKey,
    /// Its address in the tunnel.
    pub client_ipv4: Ipv4Addr,
    /// Its address in the tunnel.
    pub client_ipv6: Ipv6Addr,
    /// Mixed into the WireGuard handshake.
    pub preshared_key: PresharedKey,
    /// Our ICE credentials.
    pub local_ice_credentials: IceCredentials,
    /// Theirs.
    pub remote_ice_credentials: IceCredentials,
    /// Which side of the ICE connection we are.
    pub ice_role: IceRole,
    /// As in [`AuthorizationCreated::use_iceless`].
    pub use_iceless: bool,
    /// What we grant to them; only where we are the target.
    pub grant: Option<DeviceGrant>,
}

/// What another client may send us.
#[derive(Clone, PartialEq, Debug)]
pub struct DeviceGrant {
    /// Through which pool.
    pub resource: ResourceId,
    /// What is let through.
    pub filters: Filters,
    /// Until when, in Unix seconds; for ever if absent.
    pub expires_at: Option<u64>,
}

/// Something that the tunnel tells the portal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ToPortal {
    /// We want to use a resource.
    RequestAuthorization {
        resource: ResourceId,
        /// Gateways that we would like, best first.
        connected_gateways: Vec<GatewayId>,
        /// Only for device pools: which member.
        device: Option<IpAddr>,
    },
    /// We can be reached at these candidates.
    NewIceCandidates { peer: PeerId, candidates: Vec<String> },
    /// We can no longer be reached at these candidates.
    InvalidateIceCandidates { peer: PeerId, candidates: Vec<String> },
    /// We have no relay.
    NoRelays,
    /// Who is this name in a dynamic device pool?
    ResolveDevicePoolDomain { resource: ResourceId, domain: String },
}
