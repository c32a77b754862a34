//! What happens to a packet that wants to leave.

use std::net::IpAddr;

use dns::Assignments;
use ip_packet::IpPacket;
use model::{GatewayId, Interface, ResourceId, address_plan};

use crate::{
    access::Access,
    counters::Reason,
    nat,
    peers::Peers,
    resources::Resources,
    routing::{self, Routing},
};

/// Everything that the decision depends on.
#[derive(Debug)]
pub(crate) struct Outbound<'a> {
    pub(crate) interface: Option<&'a Interface>,
    pub(crate) resources: &'a Resources,
    pub(crate) routing: &'a Routing,
    pub(crate) names: &'a Assignments,
    pub(crate) access: &'a Access,
    pub(crate) peers: &'a Peers,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes to this gateway.
    Send(GatewayId),
    /// It goes to the gateway in the key as soon as that knows the name.
    SendToName(nat::Key),
    /// It waits until we may use this resource.
    Ask(ResourceId),
    /// The sender is told that it is forbidden.
    Refuse,
    /// It goes nowhere.
    Drop(Reason),
}

impl Outbound<'_> {
    /// Decides; the first rule that applies wins.
    pub(crate) fn decide(&self, packet: &IpPacket) -> Verdict {
        let destination = packet.destination();
        if destination.is_multicast() {
            return Verdict::Drop(Reason::Multicast);
        }
        let Some(interface) = self.interface else {
            return Verdict::Drop(Reason::NoInterface);
        };
        if !is_ours(interface, packet.source()) {
            return Verdict::Drop(Reason::ForeignSource);
        }
        if is_ours(interface, destination) {
            return Verdict::Drop(Reason::OwnAddress);
        }
        // The sentinels that are in use are addresses of the host, so what comes here missed them.
        if address_plan::is_sentinel(destination) {
            return Verdict::Drop(Reason::Resolver);
        }
        let Some(protocol) = routing::protocol(packet.transport()) else {
            return Verdict::Drop(Reason::Protocol);
        };
        if let Some(gateway) = self.peers.with_address(destination) {
            return Verdict::Send(gateway);
        }
        let Some(route) = self.routing.route(self.resources, self.names, destination, protocol) else {
            return Verdict::Drop(Reason::NoResource);
        };
        if !route.is_permitted {
            return Verdict::Refuse;
        }
        match (self.access.gateway(route.resource), route.name) {
            (None, _) => Verdict::Ask(route.resource),
            (Some(gateway), None) => Verdict::Send(gateway),
            (Some(gateway), Some(name)) => Verdict::SendToName(nat::Key { name, gateway, resource: route.resource }),
        }
    }
}

/// Whether `ip` is our own address in the tunnel.
pub(crate) fn is_ours(interface: &Interface, ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip == interface.ipv4,
        IpAddr::V6(ip) => ip == interface.ipv6,
    }
}
