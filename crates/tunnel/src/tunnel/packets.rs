//! The way of one packet.

use std::time::Instant;

use connection::Sealed;
use ip_packet::{IpPacket, icmp};
use model::{GatewayId, PeerId};

use super::Tunnel;
use crate::{
    access::Ask,
    control::{self, Message},
    counters::Reason,
    inbound, nat,
    outbound::{self, Outbound},
};

impl Tunnel {
    /// A packet wants to leave. Also the way of packets that were held: the world may have changed meanwhile.
    pub(super) fn send_packet(&mut self, packet: IpPacket, now: Instant) {
        let verdict = Outbound {
            interface: self.interface.as_ref(),
            resources: &self.resources,
            routing: &self.routing,
            names: self.stub.names(),
            access: &self.access,
            peers: &self.peers,
        }
        .decide(&packet);

        match verdict {
            outbound::Verdict::Send(gateway) => self.seal(gateway, packet, now),
            outbound::Verdict::SendToName(key) => {
                let gateway = key.gateway;
                if let Some(packet) = self.nat.handle_packet(key, packet, now) {
                    self.seal(gateway, packet, now);
                }
            }
            outbound::Verdict::Ask(resource) => {
                if self.access.pending.hold(resource, packet, now) == Ask::Now {
                    self.ask_portal(resource);
                }
            }
            outbound::Verdict::Refuse => {
                self.counters.count(Reason::Filtered, 1);
                self.to_host.extend(icmp::prohibited(&packet));
            }
            outbound::Verdict::Drop(reason) => self.counters.count(reason, 1),
        }
    }

    /// A gateway sent a packet.
    pub(super) fn receive_packet(&mut self, peer: PeerId, packet: IpPacket, now: Instant) {
        let PeerId::Gateway(gateway) = peer else {
            self.counters.count(Reason::UnknownPeer, 1);
            return;
        };
        match inbound::decide(self.interface.as_ref(), self.peers.gateway(gateway), &packet) {
            inbound::Verdict::Message(message) => self.follow_gateway(gateway, message, now),
            inbound::Verdict::Deliver => {
                self.renew_if_forbidden(gateway, &packet, now);
                if let Some(name) = inbound::unreachable_destination(&packet).and_then(|ip| self.stub.names().owner(ip))
                {
                    self.nat.handle_unreachable(gateway, name, now);
                }
                self.to_host.push_back(packet);
            }
            inbound::Verdict::Drop(reason) => self.counters.count(reason, 1),
        }
    }

    /// Tells a gateway what the addresses of a name mean, and lets it speak for them.
    pub(super) fn announce(&mut self, key: &nat::Key, now: Instant) {
        let Some(model::Resource::Dns(resource)) = self.resources.resource(key.resource) else { return };
        let Some(assigned) = self.stub.assigned(&key.name) else { return };
        let Some(gateway) = self.peers.gateway_mut(key.gateway) else { return };

        let addresses: Vec<_> = assigned.addresses(resource.ip_stack).collect();
        for address in &addresses {
            gateway.allow((*address).into(), key.resource);
        }
        if let Some(message) = control::assigned_ips(key.resource, &key.name, &addresses) {
            self.seal_message(key.gateway, message, now);
        }
    }

    /// The connection to a gateway can be used: everything that waited for it leaves, our own messages last.
    pub(super) fn send_held(&mut self, gateway: GatewayId, now: Instant) {
        let Some(peer) = self.peers.gateway_mut(gateway) else { return };
        let (packets, messages) = peer.take_held();
        for packet in packets {
            self.send_packet(packet, now);
        }
        for message in messages {
            self.seal_message(gateway, message, now);
        }
    }

    fn seal(&mut self, gateway: GatewayId, packet: IpPacket, now: Instant) {
        let Some(peer) = self.peers.gateway_mut(gateway) else {
            self.counters.count(Reason::NoConnection, 1);
            return;
        };
        if peer.is_holding() {
            peer.hold(packet);
            return;
        }
        match self.node.seal(PeerId::Gateway(gateway), &packet, now) {
            Sealed::Sent => {}
            Sealed::NotYet => peer.hold(packet),
            Sealed::Unknown => self.counters.count(Reason::NoConnection, 1),
        }
    }

    fn seal_message(&mut self, gateway: GatewayId, message: IpPacket, now: Instant) {
        let Some(peer) = self.peers.gateway_mut(gateway) else { return };
        match self.node.seal(PeerId::Gateway(gateway), &message, now) {
            Sealed::Sent => {}
            Sealed::NotYet => peer.hold_message(message),
            Sealed::Unknown => self.counters.count(Reason::NoConnection, 1),
        }
    }

    fn follow_gateway(&mut self, gateway: GatewayId, message: Message, now: Instant) {
        match message {
            Message::DomainStatus { resource, name, is_active } => {
                let key = nat::Key { name, gateway, resource };
                for packet in self.nat.handle_status(&key, is_active, now) {
                    self.send_packet(packet, now);
                }
            }
            Message::Goodbye => {
                tracing::debug!(%gateway, "the gateway said goodbye");
                self.node.remove(PeerId::Gateway(gateway), now);
                self.forget_gateway(gateway);
            }
            Message::Unknown => self.counters.count(Reason::Message, 1),
        }
    }

    /// A gateway says that what we send is forbidden, although the filters permit it: it does not know of our
    /// permission (any more). The portal can tell it again.
    fn renew_if_forbidden(&mut self, gateway: GatewayId, packet: &IpPacket, now: Instant) {
        let Some((destination, protocol)) = inbound::forbidden_flow(packet) else { return };
        let route = self.routing.route(&self.resources, self.stub.names(), destination, protocol);
        let Some(route) = route.filter(|route| route.is_permitted) else { return };
        if self.access.gateway(route.resource) == Some(gateway)
            && self.access.pending.renew(route.resource, now) == Ask::Now
        {
            tracing::debug!(%gateway, resource = %route.resource, "the gateway forbids what we may; asking again");
            self.ask_portal(route.resource);
        }
    }
}
