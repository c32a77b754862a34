//! A client, gateways and a relay on a simulated network, and the portal's side of their messages.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use connection::{Node, Params, Sealed, Transmit};
use ip_packet::{Ecn, IpPacket, control};
use model::{
    ClientId, FromPortal, GatewayId, PeerId, PublicKey, Resource, ResourceId, SiteId, ToPortal,
    message::{AuthorizationCreated, DeviceGrant, IceRole},
};

use super::{Client, authorization, device_access, secs};
use sim::Relay;

const LATENCY: Duration = Duration::from_millis(10);

/// The network of one client.
pub(crate) struct TestNetwork {
    pub(crate) client: Client,
    pub(crate) gateways: Vec<Gateway>,
    /// Whether a router sets congestion marks.
    pub(crate) is_congested: bool,
    pub(crate) relay: Relay,
    wire: VecDeque<Datagram>,
}

/// A gateway or another client, which records all received packets.
pub(crate) struct Gateway {
    pub(crate) node: Node,
    /// The status that it reports for announced names; `None` if it does not answer.
    pub(crate) domain_status: Option<&'static str>,
    /// Received packets other than control messages.
    pub(crate) received: Vec<IpPacket>,
    /// Received control messages: types and contents.
    pub(crate) messages: Vec<(u8, serde_json::Value)>,
    unsent: Vec<IpPacket>,
    number: u8,
    id: PeerId,
}

struct Datagram {
    arrives: Instant,
    from: SocketAddr,
    to: SocketAddr,
    ecn: Ecn,
    payload: Vec<u8>,
}

impl TestNetwork {
    /// One gateway, and a client with a relay and these resources.
    pub(crate) fn new(resources: &[Resource]) -> Self {
        let mut net = Self::without_relay(resources);
        net.add_relay();
        net
    }

    /// The same without a relay.
    pub(crate) fn without_relay(resources: &[Resource]) -> Self {
        let client = Client::with(resources);
        let mut net = Self {
            gateways: Vec::new(),
            is_congested: false,
            relay: Relay::new(1, vec!["203.0.113.1:3478".parse().unwrap()], client.now),
            wire: VecDeque::new(),
            client,
        };
        net.add_gateway();
        net.run_for(secs(1));
        net
    }

    pub(crate) fn add_gateway(&mut self) {
        let number = u8::try_from(self.gateways.len() + 1).unwrap();
        let id = PeerId::Gateway(GatewayId::from_u128(number.into()));
        let gateway = Gateway::new(number, id, &self.relay, self.client.now);
        self.gateways.push(gateway);
        self.run_for(secs(1));
    }

    /// Adds another client to the list of gateways. Returns its number.
    pub(crate) fn add_device(&mut self) -> u8 {
        let number = u8::try_from(self.gateways.len() + 1).unwrap();
        let id = PeerId::Client(ClientId::from_u128(number.into()));
        let device = Gateway::new(number, id, &self.relay, self.client.now);
        self.gateways.push(device);
        self.run_for(secs(1));
        number
    }

    /// Authorizes a connection between the device with this number and the client. With a grant, the device is the
    /// initiator.
    pub(crate) fn connect_device(&mut self, number: u8, grant: Option<DeviceGrant>) {
        let now = self.client.now;
        let client_key = self.client.tunnel.public_key();
        let device = &mut self.gateways[usize::from(number) - 1];
        let access = device_access(number, device.node.public_key(), grant);
        let params = Params {
            public_key: client_key,
            preshared_key: access.preshared_key.clone(),
            local_ice: access.remote_ice_credentials.clone(),
            remote_ice: access.local_ice_credentials.clone(),
            role: if access.ice_role == IceRole::Controlled { IceRole::Controlling } else { IceRole::Controlled },
        };
        device.node.upsert(client_id(), params, now).expect("the device has a relay");
        self.client.receive_portal(FromPortal::ClientDeviceAccessAuthorized(Box::new(access)));
    }

    /// Restarts a gateway: it loses all state but its id.
    pub(crate) fn restart_gateway(&mut self, index: usize) {
        let Gateway { number, id, .. } = self.gateways[index];
        self.gateways[index] = Gateway::new(number + 100, id, &self.relay, self.client.now);
        self.gateways[index].number = number;
        self.run_for(secs(1));
    }

    pub(crate) fn add_relay(&mut self) {
        let connected = vec![self.relay.entry(self.client.tunnel.public_key())];
        self.client.receive_portal(FromPortal::RelaysPresence { disconnected: Vec::new(), connected });
        self.run_for(secs(1));
    }

    /// Authorizes a resource through a gateway, on both sides.
    pub(crate) fn authorize(&mut self, resource: ResourceId, gateway: usize) {
        self.authorize_in_site(resource, gateway, 1);
    }

    /// The same for a gateway in this site.
    pub(crate) fn authorize_in_site(&mut self, resource: ResourceId, gateway: usize, site: u128) {
        let now = self.client.now;
        let client_key = self.client.tunnel.public_key();
        let gateway = &mut self.gateways[gateway];
        let authorization = authorization(resource, gateway.number, gateway.node.public_key());
        let authorization = AuthorizationCreated { site_id: SiteId::from_u128(site), ..authorization };
        let params = Params {
            public_key: client_key,
            preshared_key: authorization.preshared_key.clone(),
            local_ice: authorization.gateway_ice_credentials.clone(),
            remote_ice: authorization.client_ice_credentials.clone(),
            role: IceRole::Controlled,
        };
        gateway.node.upsert(client_id(), params, now).expect("the gateway has a relay");
        self.client.receive_portal(FromPortal::AuthorizationCreated(Box::new(authorization)));
    }

    /// Sends a packet and connects the client with the gateway of `resource`.
    pub(crate) fn connected(mut self, resource: ResourceId, packet: IpPacket) -> Self {
        self.client.send(packet);
        self.authorize(resource, 0);
        self.run_for(secs(3));
        self.client.take_requests();
        self
    }

    /// Sends a packet from a gateway to the client, and runs the network.
    pub(crate) fn send_from(&mut self, gateway: usize, packet: IpPacket) {
        let sealed = self.gateways[gateway].node.seal(client_id(), &packet, self.client.now);
        assert_eq!(sealed, Sealed::Sent);
        self.run_for(secs(1));
    }

    /// Sends a packet from a gateway to the client, if possible, without running the network.
    pub(crate) fn seal_from(&mut self, gateway: usize, packet: &IpPacket) {
        let gateway = &mut self.gateways[gateway];
        if gateway.node.seal(client_id(), packet, self.client.now) == Sealed::NotYet {
            gateway.unsent.push(packet.clone());
        }
        if *packet == control::goodbye() {
            while let Some(transmit) = gateway.node.poll_transmit() {
                put_on_wire(&mut self.wire, gateway.address(), transmit, self.client.now);
            }
            gateway.node.remove(client_id(), self.client.now);
        }
    }

    /// Runs the network for `duration`.
    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.client.now + duration;
        loop {
            self.collect();
            let due = self.gateways.iter().filter_map(|gateway| gateway.node.poll_timeout());
            let due = due.chain(self.client.tunnel.poll_timeout()).map(|due| due.at);
            let next = due.chain(self.wire.iter().map(|datagram| datagram.arrives)).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.client.now = self.client.now.max(next);
            self.deliver();
            self.wake();
        }
        self.client.now = end;
    }

    fn wake(&mut self) {
        let now = self.client.now;
        for gateway in &mut self.gateways {
            if gateway.node.poll_timeout().is_some_and(|due| due.at <= now) {
                gateway.node.handle_timeout(now);
            }
        }
        if self.client.tunnel.poll_timeout().is_some_and(|due| due.at <= now) {
            self.client.tunnel.handle_timeout(now);
            let next = self.client.tunnel.poll_timeout();
            assert!(next.is_none_or(|next| next.at > now), "due again at once: {next:?}");
        }
    }

    fn deliver(&mut self) {
        let now = self.client.now;
        while let Some(index) = self.wire.iter().position(|datagram| datagram.arrives <= now) {
            let Some(Datagram { from, to, ecn, mut payload, .. }) = self.wire.remove(index) else { return };
            let ecn = if self.is_congested && ecn != Ecn::NotEct { Ecn::Ce } else { ecn };
            if self.relay.owns(to.ip()) {
                for (from, to, payload) in self.relay.handle(from, to, &payload, now) {
                    self.wire.push_back(Datagram { arrives: now + LATENCY, from, to, ecn, payload });
                }
            } else if to == address_of_client() {
                self.client.tunnel.handle_inbound(to, from, ecn, &mut payload, now);
            } else if let Some(gateway) = self.gateways.iter_mut().find(|gateway| gateway.address() == to) {
                gateway.receive(from, ecn, &mut payload, now);
            }
            self.collect();
        }
    }

    /// Collects outgoing datagrams and messages of all sides.
    fn collect(&mut self) {
        let now = self.client.now;
        self.client.drain();
        while let Some(transmit) = self.client.tunnel.poll_transmit() {
            put_on_wire(&mut self.wire, address_of_client(), transmit, now);
        }
        for message in std::mem::take(&mut self.client.to_portal) {
            match message {
                ToPortal::NewIceCandidates { peer, candidates } => {
                    if let Some(gateway) = self.gateways.iter_mut().find(|gateway| gateway.id() == peer) {
                        gateway.node.add_remote_candidates(client_id(), &candidates, now);
                    }
                }
                ToPortal::InvalidateIceCandidates { .. } => {}
                other @ (ToPortal::RequestAuthorization { .. }
                | ToPortal::NoRelays
                | ToPortal::ResolveDevicePoolDomain { .. }) => self.client.to_portal.push(other),
            }
        }
        for gateway in &mut self.gateways {
            for candidates in gateway.poll_candidates(now) {
                self.client.receive_portal(FromPortal::IceCandidates { peer: gateway.id(), candidates });
            }
            while let Some(transmit) = gateway.node.poll_transmit() {
                put_on_wire(&mut self.wire, gateway.address(), transmit, now);
            }
        }
    }
}

impl Gateway {
    fn new(number: u8, id: PeerId, relay: &Relay, now: Instant) -> Self {
        let node = Node::new(now, secs(1_800_000_000), [number; 32]);
        let mut node = if matches!(id, PeerId::Gateway(_)) { node.with_gateway_timing() } else { node };
        let key = node.public_key();
        node.update_relays(&[], &[relay.entry(key)], now);
        Self {
            node,
            domain_status: Some("Active"),
            received: Vec::new(),
            messages: Vec::new(),
            unsent: Vec::new(),
            number,
            id,
        }
    }

    pub(crate) fn id(&self) -> PeerId {
        self.id
    }

    pub(crate) fn key(&self) -> PublicKey {
        self.node.public_key()
    }

    /// Number of received announcements.
    pub(crate) fn announcements(&self) -> usize {
        self.messages.iter().filter(|(event, _)| *event == control::ASSIGNED_IPS).count()
    }

    pub(crate) fn goodbyes(&self) -> usize {
        self.messages.iter().filter(|(event, _)| *event == control::GOODBYE).count()
    }

    /// Discards unsent packets.
    pub(crate) fn clear_unsent(&mut self) {
        self.unsent.clear();
    }

    /// Sends the status of an announced name.
    pub(crate) fn send_status(&mut self, announcement: &serde_json::Value, status: &str, now: Instant) {
        let (resource, domain) = (&announcement["resource"], &announcement["domain"]);
        let json = serde_json::json!({ "resource": resource, "domain": domain, "status": status });
        let message = control::build(control::DOMAIN_STATUS, json.to_string().as_bytes()).unwrap();
        if self.node.seal(client_id(), &message, now) == Sealed::NotYet {
            self.unsent.push(message);
        }
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::from([192, 0, 2, self.number]), 52625)
    }

    fn receive(&mut self, from: SocketAddr, ecn: Ecn, payload: &mut [u8], now: Instant) {
        let Some((_, packet)) = self.node.open(self.address(), from, ecn, payload, now) else { return };
        let Some(message) = control::parse(&packet) else {
            self.received.push(packet);
            return;
        };
        let content = serde_json::from_slice(message.payload).unwrap_or_default();
        if message.event == control::ASSIGNED_IPS
            && let Some(status) = self.domain_status
        {
            self.send_status(&content, status, now);
        }
        self.messages.push((message.event, content));
        if message.event == control::GOODBYE {
            self.node.remove(client_id(), now);
        }
    }

    /// Candidates for the client.
    fn poll_candidates(&mut self, now: Instant) -> Vec<Vec<String>> {
        let mut news = Vec::new();
        while let Some(event) = self.node.poll_event() {
            match event {
                connection::Event::Candidates { candidates, .. } => news.push(candidates),
                connection::Event::SessionReady(_) => {
                    for message in std::mem::take(&mut self.unsent) {
                        let _ = self.node.seal(client_id(), &message, now);
                    }
                }
                connection::Event::InvalidateCandidates { .. }
                | connection::Event::Established(_)
                | connection::Event::Failed(..)
                | connection::Event::NewKeyNeeded(_)
                | connection::Event::Closed(_)
                | connection::Event::NoRelays => {}
            }
        }
        news
    }
}

fn client_id() -> PeerId {
    PeerId::Client(ClientId::from_u128(1))
}

fn address_of_client() -> SocketAddr {
    "192.0.2.200:52625".parse().unwrap()
}

fn put_on_wire(wire: &mut VecDeque<Datagram>, from: SocketAddr, transmit: Transmit, now: Instant) {
    if !transmit.destination.is_ipv4() {
        return;
    }
    for payload in transmit.payload.chunks(transmit.segment.max(1)) {
        let (to, ecn, payload) = (transmit.destination, transmit.ecn, payload.to_vec());
        wire.push_back(Datagram { arrives: now + LATENCY, from, to, ecn, payload });
    }
}
