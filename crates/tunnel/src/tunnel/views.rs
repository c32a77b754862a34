//! The state of a tunnel as its owner sees it.

use std::net::IpAddr;

use connection::PathInfo;
use dns::{AnswerSource, Domain, Origin, Server};
use model::{ClientId, DeviceView, GatewayId, ResourceId, SiteId};

use crate::{
    peers::{Client, Peer, PeerTable},
    pools::Pools,
};

/// How a gateway is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathView {
    /// The gateway.
    pub gateway: GatewayId,
    /// Its site.
    pub site: Option<SiteId>,
    /// Its path; `None` until the connection is established.
    pub path: Option<PathInfo>,
}

/// The state of name resolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsView {
    /// Where the resolvers come from.
    pub origin: Origin,
    /// The resolvers, in order of preference.
    pub servers: Vec<Server>,
    /// The search domain of single-label names.
    pub search_domain: Option<String>,
    /// Number of names with proxy addresses.
    pub assigned: usize,
}

/// How a name is resolved, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameExplanation {
    /// The name in its normalized form.
    pub name: Domain,
    /// The source of the answer.
    pub answer: NameAnswer,
    /// The resources that match the name, in order of precedence.
    pub resources: Vec<MatchView>,
    /// Its addresses, if any are assigned.
    pub addresses: Vec<IpAddr>,
    /// Whether an upstream answer about it is cached.
    pub is_cached: bool,
    /// The resolvers for other names, one per sentinel.
    pub servers: Vec<Server>,
}

/// The source of the answer to a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameAnswer {
    /// The portal: the name belongs to a device pool.
    DevicePool,
    /// The stub resolver's source.
    Stub(AnswerSource),
}

/// A resource that matches a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchView {
    /// The resource.
    pub resource: ResourceId,
    /// Its display name.
    pub name: String,
    /// Its pattern.
    pub pattern: String,
    /// The names of its sites, whose gateways answer SRV and TXT queries.
    pub sites: Vec<String>,
}

/// The connected clients that are members of a pool.
pub(super) fn devices(peers: &PeerTable, pools: &Pools) -> Vec<DeviceView> {
    let view = |(id, peer, client): (ClientId, &Peer, &Client)| {
        let pools: Vec<String> = pools.pool_names_of(id).into_iter().map(str::to_owned).collect();
        let [IpAddr::V4(ipv4), IpAddr::V6(ipv6)] = peer.addresses() else { return None };
        (!pools.is_empty()).then(|| DeviceView { id, name: client.name().map(str::to_owned), ipv4, ipv6, pools })
    };
    peers.connected_clients().filter_map(view).collect()
}
