//! What happens to a packet that a peer sent.

use std::{net::IpAddr, time::Instant};

use ip_packet::{IpPacket, Transport, control};
use model::{Interface, filter::Protocol};

use crate::{
    control::{self as messages, Message},
    counters::Reason,
    outbound::is_ours,
    peers::{Client, Flow, Gateway},
    routing,
};

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is for us, not for a program on this host.
    Message(Message),
    /// A program gets it.
    Deliver,
    /// A program gets it, and it begins or continues this conversation of the sender.
    Admit(Flow),
    /// The sender is told that it is forbidden.
    Refuse,
    /// It goes nowhere.
    Drop(Reason),
}

/// Decides about a packet from `gateway`, which is `None` if it is not one of ours (any more).
pub(crate) fn decide(interface: Option<&Interface>, gateway: Option<&Gateway>, packet: &IpPacket) -> Verdict {
    let Some(gateway) = gateway else {
        return Verdict::Drop(Reason::UnknownPeer);
    };
    if let Some(message) = control::parse(packet) {
        return Verdict::Message(messages::read(message));
    }
    if !gateway.may_send_from(packet.source()) {
        return Verdict::Drop(Reason::SpoofedSource);
    }
    if !interface.is_some_and(|interface| is_ours(interface, packet.destination())) {
        return Verdict::Drop(Reason::ForeignDestination);
    }
    Verdict::Deliver
}

/// Decides about a packet from `client`, which is `None` if it is not one of ours (any more). A client may speak for itself
/// alone; it may answer what we began, and begin what it was granted.
pub(crate) fn decide_about_client(
    interface: Option<&Interface>,
    client: Option<&Client>,
    packet: &IpPacket,
    now: Instant,
) -> Verdict {
    let Some(client) = client else {
        return Verdict::Drop(Reason::UnknownPeer);
    };
    if let Some(message) = control::parse(packet) {
        return Verdict::Message(messages::read(message));
    }
    if !client.owns(packet.source()) {
        return Verdict::Drop(Reason::SpoofedSource);
    }
    if !interface.is_some_and(|interface| is_ours(interface, packet.destination())) {
        return Verdict::Drop(Reason::ForeignDestination);
    }
    if let Transport::IcmpError(quoted) = packet.transport() {
        let is_about_us = interface.is_some_and(|interface| is_ours(interface, quoted.source));
        let is_meant = is_about_us && client.flows.is_known(&Flow::of_our_quoted(&quoted), now);
        return if is_meant { Verdict::Deliver } else { Verdict::Drop(Reason::Protocol) };
    }
    let Some((flow, protocol)) = Flow::of_theirs(packet).zip(routing::protocol(packet.transport())) else {
        return Verdict::Drop(Reason::Protocol);
    };
    if client.flows.is_ours(&flow, now) {
        return Verdict::Deliver;
    }
    if client.grants.permit(protocol, now) { Verdict::Admit(flow) } else { Verdict::Refuse }
}

/// Where a packet of ours was going if this one says that nothing is there: network unreachable over IPv4, address
/// unreachable over IPv6 (RFC 792, RFC 4443 3.1).
pub(crate) fn unreachable_destination(packet: &IpPacket) -> Option<IpAddr> {
    let Transport::IcmpError(quoted) = packet.transport() else { return None };
    let expected = if quoted.destination.is_ipv4() { (3, 0) } else { (1, 3) };
    ((quoted.icmp_type, quoted.icmp_code) == expected).then_some(quoted.destination)
}

/// Where a packet of ours was going that is said to be forbidden in this one.
pub(crate) fn forbidden_flow(packet: &IpPacket) -> Option<(IpAddr, Protocol)> {
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
