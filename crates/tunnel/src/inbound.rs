//! The decision about a packet from a peer.

use std::{net::IpAddr, time::Instant};

use ip_packet::{IpPacket, Transport, control};
use model::{Interface, filter::Protocol};

use crate::{
    control::{self as messages, Message},
    counters::DropReason,
    outbound::is_own_address,
    peers::{Client, Flow, Peer, PeerKind},
    routing,
};

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Handle it as a control message.
    Message(Message),
    /// Deliver it to the host.
    Deliver,
    /// Deliver it to the host as part of this flow that the sender initiated.
    DeliverInFlow(Flow),
    /// Reject it with an ICMP error.
    Reject,
    /// Drop it.
    Drop(DropReason),
}

/// Decides about a packet from a peer; `None` if the peer is unknown.
pub(crate) fn decide(interface: Option<&Interface>, peer: Option<&Peer>, packet: &IpPacket, now: Instant) -> Verdict {
    let Some(peer) = peer else {
        return Verdict::Drop(DropReason::UnknownPeer);
    };
    if let Some(message) = control::parse(packet) {
        return Verdict::Message(messages::parse(message));
    }
    if !peer.may_send_from(packet.source()) {
        return Verdict::Drop(DropReason::SpoofedSource);
    }
    let Some(interface) = interface.filter(|interface| is_own_address(interface, packet.destination())) else {
        return Verdict::Drop(DropReason::ForeignDestination);
    };
    match &peer.kind {
        PeerKind::Gateway(_) => Verdict::Deliver,
        PeerKind::Client(client) => decide_for_client(interface, client, packet, now),
    }
}

/// Decides about a packet from another client. It may reply in flows of this host, and initiate flows that its grants
/// permit.
fn decide_for_client(interface: &Interface, client: &Client, packet: &IpPacket, now: Instant) -> Verdict {
    if let Transport::IcmpError(quoted) = packet.transport() {
        let is_expected =
            is_own_address(interface, quoted.source) && client.flows.is_known(&Flow::of_quoted_outgoing(&quoted), now);
        return if is_expected { Verdict::Deliver } else { Verdict::Drop(DropReason::Protocol) };
    }
    let Some((flow, protocol)) = Flow::of_incoming(packet).zip(routing::protocol(packet.transport())) else {
        return Verdict::Drop(DropReason::Protocol);
    };
    if client.flows.is_ours(&flow, now) {
        return Verdict::Deliver;
    }
    if client.grants.permit(protocol, now) { Verdict::DeliverInFlow(flow) } else { Verdict::Reject }
}

/// The original destination, if `packet` is an ICMP error for it: network unreachable over IPv4, address unreachable over
/// IPv6 (RFC 792, RFC 4443 3.1).
pub(crate) fn unreachable_destination(packet: &IpPacket) -> Option<IpAddr> {
    let Transport::IcmpError(quoted) = packet.transport() else { return None };
    let expected = if quoted.destination.is_ipv4() { (3, 0) } else { (1, 3) };
    ((quoted.icmp_type, quoted.icmp_code) == expected).then_some(quoted.destination)
}

/// The original destination and protocol, if `packet` is an ICMP error "administratively prohibited".
pub(crate) fn prohibited_flow(packet: &IpPacket) -> Option<(IpAddr, Protocol)> {
    match packet.transport() {
        Transport::IcmpError(quoted) if quoted.is_prohibited() => {
            Some((quoted.destination, routing::quoted_protocol(quoted.transport)))
        }
        Transport::IcmpError(_)
        | Transport::Tcp { .. }
        | Transport::Udp { .. }
        | Transport::Echo { .. }
        | Transport::OtherIcmp
        | Transport::Other(_) => None,
    }
}
