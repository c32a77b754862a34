//! The way of one packet.

use std::{collections::BTreeSet, time::Instant};

use connection::Sealed;
use ip_packet::{IpPacket, icmp};
use model::{ClientId, GatewayId, PeerId};

use super::Tunnel;
use crate::{
    access::{Ask, Target},
    control::{self, Message},
    counters::Reason,
    inbound, nat,
    outbound::{self, Outbound},
    peers::{Flow, Queue},
};

impl Tunnel {
    /// A packet wants to leave. Also the way of packets that were held: the world may have changed meanwhile.
    pub(super) fn send_packet(&mut self, packet: IpPacket, now: Instant) {
        let verdict = Outbound {
            interface: self.interface.as_ref(),
            resources: &self.resources,
            routing: &self.routing,
            names: self.stub.names(),
            pools: &self.pools,
            access: &self.access,
            peers: &self.peers,
            clients: &self.clients,
        }
        .decide(&packet, now);

        match verdict {
            outbound::Verdict::Send(gateway) => self.seal(PeerId::Gateway(gateway), packet, now),
            outbound::Verdict::SendToName(key) => {
                let gateway = key.gateway;
                if let Some(packet) = self.nat.handle_packet(key, packet, now) {
                    self.seal(PeerId::Gateway(gateway), packet, now);
                }
            }
            outbound::Verdict::SendToClient(client, flow) => self.talk(client, flow, packet, now),
            outbound::Verdict::AnswerClient(client) => self.seal(PeerId::Client(client), packet, now),
            outbound::Verdict::Ask(target) => {
                if self.access.pending.hold(target, packet, now) == Ask::Now {
                    self.ask_portal(target);
                }
            }
            outbound::Verdict::Refuse => {
                self.counters.count(Reason::Filtered, 1);
                self.to_host.extend(icmp::prohibited(&packet));
            }
            outbound::Verdict::Drop(reason) => self.counters.count(reason, 1),
        }
    }

    /// A peer sent a packet.
    pub(super) fn receive_packet(&mut self, peer: PeerId, packet: IpPacket, now: Instant) {
        let interface = self.interface.as_ref();
        let verdict = match peer {
            PeerId::Gateway(id) => inbound::decide(interface, self.peers.gateway(id), &packet),
            PeerId::Client(id) => inbound::decide_about_client(interface, self.clients.client(id), &packet, now),
        };
        match (verdict, peer) {
            (inbound::Verdict::Message(message), _) => self.follow_peer(peer, message, now),
            (inbound::Verdict::Deliver, _) => {
                if let PeerId::Gateway(gateway) = peer {
                    self.learn_from_error(gateway, &packet, now);
                    if let Some(peer) = self.peers.gateway_mut(gateway) {
                        peer.heard(packet.source(), now);
                    }
                }
                self.to_host.push_back(packet);
            }
            (inbound::Verdict::Admit(flow), PeerId::Client(client)) => self.admit(client, flow, packet, now),
            (inbound::Verdict::Refuse, PeerId::Client(_)) => {
                self.counters.count(Reason::NotGranted, 1);
                if let Some(answer) = icmp::prohibited(&packet) {
                    // The session may just be being renewed; whoever is refused need not wait for nothing.
                    self.seal_message(peer, answer, now);
                }
            }
            (inbound::Verdict::Admit(_) | inbound::Verdict::Refuse, PeerId::Gateway(_)) => {
                self.counters.count(Reason::SpoofedSource, 1);
            }
            (inbound::Verdict::Drop(reason), _) => self.counters.count(reason, 1),
        }
    }

    /// Tells a gateway what the addresses of a name mean, and lets it speak for them.
    pub(super) fn announce(&mut self, key: &nat::Key, now: Instant) {
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

    /// The connection to a peer can be used: everything that waited for it leaves, our own messages last.
    pub(super) fn send_held(&mut self, peer: PeerId, now: Instant) {
        let Some(released) = self.queue_mut(peer).map(Queue::take) else { return };
        self.counters.count(Reason::Expired, released.dropped);
        for packet in released.packets {
            self.send_packet(packet, now);
        }
        for message in released.messages {
            self.seal_message(peer, message, now);
        }
    }

    /// A packet in a conversation of ours with another client.
    fn talk(&mut self, client: ClientId, flow: Flow, packet: IpPacket, now: Instant) {
        let noted = self.clients.client_mut(client).map(|it| it.flows.note_ours(flow, now));
        match noted {
            Some(Ok(())) => self.seal(PeerId::Client(client), packet, now),
            Some(Err(_)) => self.counters.count(Reason::TooManyFlows, 1),
            None => self.counters.count(Reason::NoConnection, 1),
        }
    }

    /// A packet in a conversation that another client may have with us.
    fn admit(&mut self, client: ClientId, flow: Flow, packet: IpPacket, now: Instant) {
        let Some(client) = self.clients.client_mut(client) else { return };
        match client.flows.note_theirs(flow, now) {
            Ok(()) => self.to_host.push_back(packet),
            Err(_) => self.counters.count(Reason::TooManyFlows, 1),
        }
    }

    fn queue_mut(&mut self, peer: PeerId) -> Option<&mut Queue> {
        match peer {
            PeerId::Gateway(id) => self.peers.gateway_mut(id).map(|gateway| &mut gateway.queue),
            PeerId::Client(id) => self.clients.client_mut(id).map(|client| &mut client.queue),
        }
    }

    fn seal(&mut self, peer: PeerId, packet: IpPacket, now: Instant) {
        let queue = match peer {
            PeerId::Gateway(id) => self.peers.gateway_mut(id).map(|gateway| &mut gateway.queue),
            PeerId::Client(id) => self.clients.client_mut(id).map(|client| &mut client.queue),
        };
        let Some(queue) = queue else {
            self.counters.count(Reason::NoConnection, 1);
            return;
        };
        if queue.is_holding() {
            queue.hold(packet);
            return;
        }
        match self.node.seal(peer, &packet, now) {
            Sealed::Sent => {}
            Sealed::NotYet => queue.hold(packet),
            Sealed::Unknown => self.counters.count(Reason::NoConnection, 1),
        }
    }

    fn seal_message(&mut self, peer: PeerId, message: IpPacket, now: Instant) {
        match self.node.seal(peer, &message, now) {
            Sealed::Sent => {}
            Sealed::NotYet => {
                if let Some(queue) = self.queue_mut(peer) {
                    queue.hold_message(message);
                }
            }
            Sealed::Unknown => self.counters.count(Reason::NoConnection, 1),
        }
    }

    fn follow_peer(&mut self, peer: PeerId, message: Message, now: Instant) {
        match (message, peer) {
            (Message::DomainStatus { resource, name, is_active }, PeerId::Gateway(gateway)) => {
                let key = nat::Key { name, gateway, resource };
                for packet in self.nat.handle_status(&key, is_active, now) {
                    self.send_packet(packet, now);
                }
            }
            (Message::Goodbye, _) => {
                tracing::debug!(%peer, "said goodbye");
                self.node.remove(peer, now);
                match peer {
                    PeerId::Gateway(gateway) => self.forget_gateway(gateway),
                    PeerId::Client(client) => self.forget_client(client),
                }
            }
            (Message::DomainStatus { .. }, PeerId::Client(_)) | (Message::Unknown, _) => {
                self.counters.count(Reason::Message, 1);
            }
        }
    }

    /// A gateway may tell by an error that it has forgotten us or a name.
    fn learn_from_error(&mut self, gateway: GatewayId, packet: &IpPacket, now: Instant) {
        self.renew_if_forbidden(gateway, packet, now);
        if let Some(name) = inbound::unreachable_destination(packet).and_then(|ip| self.stub.names().owner(ip)) {
            self.nat.handle_unreachable(gateway, name, now);
        }
    }

    /// A gateway says that what we send is forbidden, although the filters permit it: it does not know of our
    /// permission (any more). The portal can tell it again.
    fn renew_if_forbidden(&mut self, gateway: GatewayId, packet: &IpPacket, now: Instant) {
        let Some((destination, protocol)) = inbound::forbidden_flow(packet) else { return };
        let route = self.routing.route(&self.resources, self.stub.names(), destination, protocol);
        let Some(route) = route.filter(|route| route.is_permitted) else { return };
        if self.access.gateway(route.resource) == Some(gateway)
            && self.access.pending.renew(route.resource, BTreeSet::new(), now) == Ask::Now
        {
            tracing::debug!(%gateway, resource = %route.resource, "the gateway forbids what we may; asking again");
            self.ask_portal(Target::Resource(route.resource));
        }
    }
}
