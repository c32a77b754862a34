//! Handles one outgoing or incoming packet.

use std::{collections::BTreeSet, time::Instant};

use connection::Sealed;
use ip_packet::{IpPacket, icmp};
use model::{ClientId, GatewayId, PeerId};

use super::Tunnel;
use crate::{
    access::{RequestDecision, Target},
    announcements,
    control::{self, Message},
    counters::DropReason,
    inbound,
    outbound::{self, Outbound},
    peers::Flow,
};

impl Tunnel {
    /// Sends a packet of the host. Held packets are decided here again, because the state may have changed meanwhile.
    pub(super) fn send_packet(&mut self, packet: IpPacket, now: Instant) {
        let verdict = Outbound {
            interface: self.interface.as_ref(),
            resources: &self.resources,
            routing: &self.routing,
            names: self.stub.names(),
            pools: &self.pools,
            access: &self.access,
            peers: &self.peers,
        }
        .decide(&packet, now);

        match verdict {
            outbound::Verdict::Send(gateway) => self.seal(PeerId::Gateway(gateway), packet, now),
            outbound::Verdict::SendToNamed(key) => {
                let gateway = key.gateway;
                if let Some(packet) = self.announcements.handle_packet(key, packet, now) {
                    self.seal(PeerId::Gateway(gateway), packet, now);
                }
            }
            outbound::Verdict::SendToClient(client, flow) => self.send_in_flow(client, flow, packet, now),
            outbound::Verdict::ReplyToClient(client) => self.seal(PeerId::Client(client), packet, now),
            outbound::Verdict::RequestAccess(target) => {
                if self.access.pending.hold(target, packet, now) == RequestDecision::SendNow {
                    self.request_access(target);
                }
            }
            outbound::Verdict::Reject => {
                self.counters.add(DropReason::Filtered, 1);
                self.to_host.extend(icmp::prohibited(&packet));
            }
            outbound::Verdict::Drop(reason) => self.counters.add(reason, 1),
        }
    }

    /// Handles a packet from a peer.
    pub(super) fn receive_packet(&mut self, peer: PeerId, packet: IpPacket, now: Instant) {
        match inbound::decide(self.interface.as_ref(), self.peers.get(peer), &packet, now) {
            inbound::Verdict::Message(message) => self.handle_peer_message(peer, message, now),
            inbound::Verdict::Deliver => {
                if let PeerId::Gateway(gateway) = peer {
                    self.handle_icmp_error(gateway, &packet, now);
                    if let Some(gateway) = self.peers.gateway_mut(gateway) {
                        gateway.record_packet(packet.source(), now);
                    }
                }
                self.to_host.push_back(packet);
            }
            inbound::Verdict::DeliverInFlow(flow) => self.deliver_in_flow(peer, flow, packet, now),
            inbound::Verdict::Reject => {
                self.counters.add(DropReason::NotGranted, 1);
                if let Some(answer) = icmp::prohibited(&packet) {
                    // Queued if the session is being renewed, so that the sender gets the error in any case.
                    self.seal_message(peer, answer, now);
                }
            }
            inbound::Verdict::Drop(reason) => self.counters.add(reason, 1),
        }
    }

    /// Announces the proxy addresses of a name to a gateway, and allows them as its source addresses.
    pub(super) fn announce(&mut self, key: &announcements::Key, now: Instant) {
        let Some(model::Resource::Dns(resource)) = self.resources.resource(key.resource) else { return };
        let Some(assigned) = self.stub.assignment(&key.name) else { return };
        let Some(gateway) = self.peers.gateway_mut(key.gateway) else { return };

        let addresses: Vec<_> = assigned.addresses(resource.ip_stack).collect();
        for address in &addresses {
            gateway.allow((*address).into(), key.resource);
        }
        if let Some(message) = control::assigned_ips(key.resource, &key.name, &addresses) {
            self.seal_message(PeerId::Gateway(key.gateway), message, now);
        }
    }

    /// Sends everything that waited for the connection with a peer; control messages last.
    pub(super) fn send_held(&mut self, peer: PeerId, now: Instant) {
        let Some(released) = self.peers.get_mut(peer).map(|peer| peer.queue.drain()) else { return };
        self.counters.add(DropReason::Expired, released.dropped);
        for packet in released.packets {
            self.send_packet(packet, now);
        }
        for message in released.messages {
            self.seal_message(peer, message, now);
        }
    }

    /// Sends a packet in a flow with another client that this host initiated.
    fn send_in_flow(&mut self, client: ClientId, flow: Flow, packet: IpPacket, now: Instant) {
        let recorded = self.peers.client_mut(client).map(|it| it.flows.record_ours(flow, now));
        match recorded {
            Some(Ok(())) => self.seal(PeerId::Client(client), packet, now),
            Some(Err(_)) => self.counters.add(DropReason::TooManyFlows, 1),
            None => self.counters.add(DropReason::NoConnection, 1),
        }
    }

    /// Delivers a packet in a flow that another client may initiate.
    fn deliver_in_flow(&mut self, peer: PeerId, flow: Flow, packet: IpPacket, now: Instant) {
        let PeerId::Client(client) = peer else { return };
        let Some(client) = self.peers.client_mut(client) else { return };
        match client.flows.record_theirs(flow, now) {
            Ok(()) => self.to_host.push_back(packet),
            Err(_) => self.counters.add(DropReason::TooManyFlows, 1),
        }
    }

    fn seal(&mut self, peer: PeerId, packet: IpPacket, now: Instant) {
        let Some(queue) = self.peers.get_mut(peer).map(|peer| &mut peer.queue) else {
            self.counters.add(DropReason::NoConnection, 1);
            return;
        };
        if queue.is_holding() {
            queue.hold(packet);
            return;
        }
        match self.node.seal(peer, &packet, now) {
            Sealed::Sent => {}
            Sealed::NotYet => queue.hold(packet),
            Sealed::Unknown => self.counters.add(DropReason::NoConnection, 1),
        }
    }

    fn seal_message(&mut self, peer: PeerId, message: IpPacket, now: Instant) {
        match self.node.seal(peer, &message, now) {
            Sealed::Sent => {}
            Sealed::NotYet => {
                if let Some(peer) = self.peers.get_mut(peer) {
                    peer.queue.hold_message(message);
                }
            }
            Sealed::Unknown => self.counters.add(DropReason::NoConnection, 1),
        }
    }

    fn handle_peer_message(&mut self, peer: PeerId, message: Message, now: Instant) {
        match (message, peer) {
            (Message::DomainStatus { resource, name, is_active }, PeerId::Gateway(gateway)) => {
                let key = announcements::Key { name, gateway, resource };
                for packet in self.announcements.handle_status(&key, is_active, now) {
                    self.send_packet(packet, now);
                }
            }
            (Message::Goodbye, _) => {
                tracing::debug!(%peer, "received a goodbye");
                self.node.remove(peer, now);
                self.forget_peer(peer);
            }
            (Message::DomainStatus { .. }, PeerId::Client(_)) | (Message::Unknown, _) => {
                self.counters.add(DropReason::Message, 1);
            }
        }
    }

    /// An ICMP error can mean that a gateway lost its state about this client or a name.
    fn handle_icmp_error(&mut self, gateway: GatewayId, packet: &IpPacket, now: Instant) {
        self.renew_if_prohibited(gateway, packet, now);
        if let Some(name) = inbound::unreachable_destination(packet).and_then(|ip| self.stub.names().owner(ip)) {
            self.announcements.handle_unreachable(gateway, name, now);
        }
    }

    /// If a gateway rejects a packet that the filters permit, it lost the authorization. Requests access again, so that
    /// the portal repeats it.
    fn renew_if_prohibited(&mut self, gateway: GatewayId, packet: &IpPacket, now: Instant) {
        let Some((destination, protocol)) = inbound::prohibited_flow(packet) else { return };
        let route = self.routing.route(&self.resources, self.stub.names(), destination, protocol);
        let Some(route) = route.filter(|route| route.is_permitted) else { return };
        if self.access.gateway(route.resource) == Some(gateway)
            && self.access.pending.renew(route.resource, BTreeSet::new(), now) == RequestDecision::SendNow
        {
            tracing::debug!(%gateway, resource = %route.resource, "the gateway rejects permitted traffic; requesting access again");
            self.request_access(Target::Resource(route.resource));
        }
    }
}
