//! A client, gateways and a relay on a toy network, with a portal that says what tests tell it to.

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

use super::{Client, device_access, permission, secs};
use sim::Relay;

const LATENCY: Duration = Duration::from_millis(10);

/// The world around one client.
pub(crate) struct Lab {
    pub(crate) client: Client,
    pub(crate) gateways: Vec<Gateway>,
    /// Whether a router marks what it may mark.
    pub(crate) is_congested: bool,
    pub(crate) relay: Relay,
    wire: VecDeque<Datagram>,
}

/// A gateway, or another client, that keeps what it gets and says what it is told to say.
pub(crate) struct Gateway {
    pub(crate) node: Node,
    /// What it says when it learns of a name; `None` is silence.
    pub(crate) domain_status: Option<&'static str>,
    /// Packets that came, other than messages.
    pub(crate) received: Vec<IpPacket>,
    /// Messages that came: their types and contents.
    pub(crate) messages: Vec<(u8, serde_json::Value)>,
    kept: Vec<IpPacket>,
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

impl Lab {
    /// One gateway, and a client that was told about the relay and these resources.
    pub(crate) fn new(resources: &[Resource]) -> Self {
        let mut lab = Self::without_relay(resources);
        lab.introduce_relay();
        lab
    }

    /// The same, but the client knows of no relay.
    pub(crate) fn without_relay(resources: &[Resource]) -> Self {
        let client = Client::with(resources);
        let mut lab = Self {
            gateways: Vec::new(),
            is_congested: false,
            relay: Relay::new(1, vec!["203.0.113.1:3478".parse().unwrap()], client.now),
            wire: VecDeque::new(),
            client,
        };
        lab.add_gateway();
        lab.run_for(secs(1));
        lab
    }

    pub(crate) fn add_gateway(&mut self) {
        let number = u8::try_from(self.gateways.len() + 1).unwrap();
        let id = PeerId::Gateway(GatewayId::from_u128(number.into()));
        let gateway = Gateway::new(number, id, &self.relay, self.client.now);
        self.gateways.push(gateway);
        self.run_for(secs(1));
    }

    /// Another client, which stands in the list of gateways. Says its number.
    pub(crate) fn add_device(&mut self) -> u8 {
        let number = u8::try_from(self.gateways.len() + 1).unwrap();
        let id = PeerId::Client(ClientId::from_u128(number.into()));
        let device = Gateway::new(number, id, &self.relay, self.client.now);
        self.gateways.push(device);
        self.run_for(secs(1));
        number
    }

    /// The portal lets the device with this number and our client talk, and tells both. With a grant the device is the one
    /// that asked.
    pub(crate) fn introduce(&mut self, number: u8, grant: Option<DeviceGrant>) {
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
        self.client.hear(FromPortal::ClientDeviceAccessAuthorized(Box::new(access)));
    }

    /// A gateway starts anew: nothing is left of it but its name.
    pub(crate) fn restart_gateway(&mut self, index: usize) {
        let Gateway { number, id, .. } = self.gateways[index];
        self.gateways[index] = Gateway::new(number + 100, id, &self.relay, self.client.now);
        self.gateways[index].number = number;
        self.run_for(secs(1));
    }

    pub(crate) fn introduce_relay(&mut self) {
        let connected = vec![self.relay.entry(self.client.tunnel.public_key())];
        self.client.hear(FromPortal::RelaysPresence { disconnected: Vec::new(), connected });
        self.run_for(secs(1));
    }

    /// The portal permits a resource through a gateway, and tells both.
    pub(crate) fn permit(&mut self, resource: ResourceId, gateway: usize) {
        self.permit_in(resource, gateway, 1);
    }

    /// The same, if the gateway is in this site.
    pub(crate) fn permit_in(&mut self, resource: ResourceId, gateway: usize, site: u128) {
        let now = self.client.now;
        let client_key = self.client.tunnel.public_key();
        let gateway = &mut self.gateways[gateway];
        let permission = permission(resource, gateway.number, gateway.node.public_key());
        let permission = AuthorizationCreated { site_id: SiteId::from_u128(site), ..permission };
        let params = Params {
            public_key: client_key,
            preshared_key: permission.preshared_key.clone(),
            local_ice: permission.gateway_ice_credentials.clone(),
            remote_ice: permission.client_ice_credentials.clone(),
            role: IceRole::Controlled,
        };
        gateway.node.upsert(client_id(), params, now).expect("the gateway has a relay");
        self.client.hear(FromPortal::AuthorizationCreated(Box::new(permission)));
    }

    /// A packet has made the client ask for `resource`, and the gateway has it and is connected.
    pub(crate) fn connected(mut self, resource: ResourceId, packet: IpPacket) -> Self {
        self.client.send(packet);
        self.permit(resource, 0);
        self.run_for(secs(3));
        self.client.take_requests();
        self
    }

    /// A gateway sends a packet to the client.
    pub(crate) fn send_from(&mut self, gateway: usize, packet: IpPacket) {
        let sealed = self.gateways[gateway].node.seal(client_id(), &packet, self.client.now);
        assert_eq!(sealed, Sealed::Sent);
        self.run_for(secs(1));
    }

    /// A gateway tries to send a packet to the client, if it can, and takes no time for it.
    pub(crate) fn seal_from(&mut self, gateway: usize, packet: &IpPacket) {
        let gateway = &mut self.gateways[gateway];
        if gateway.node.seal(client_id(), packet, self.client.now) == Sealed::NotYet {
            gateway.kept.push(packet.clone());
        }
        if *packet == control::goodbye() {
            while let Some(transmit) = gateway.node.poll_transmit() {
                post(&mut self.wire, gateway.address(), transmit, self.client.now);
            }
            gateway.node.remove(client_id(), self.client.now);
        }
    }

    /// Everybody goes on with what they do.
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

    /// Takes away what everybody has to send and to say.
    fn collect(&mut self) {
        let now = self.client.now;
        self.client.drain();
        while let Some(transmit) = self.client.tunnel.poll_transmit() {
            post(&mut self.wire, address_of_client(), transmit, now);
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
            for candidates in gateway.news(now) {
                self.client.hear(FromPortal::IceCandidates { peer: gateway.id(), candidates });
            }
            while let Some(transmit) = gateway.node.poll_transmit() {
                post(&mut self.wire, gateway.address(), transmit, now);
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
            kept: Vec::new(),
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

    /// How often it was told what addresses mean.
    pub(crate) fn announcements(&self) -> usize {
        self.messages.iter().filter(|(event, _)| *event == control::ASSIGNED_IPS).count()
    }

    pub(crate) fn goodbyes(&self) -> usize {
        self.messages.iter().filter(|(event, _)| *event == control::GOODBYE).count()
    }

    /// What it could not send will not be sent.
    pub(crate) fn forget_kept(&mut self) {
        self.kept.clear();
    }

    /// Says something about a name that it learned of.
    pub(crate) fn say_status(&mut self, announcement: &serde_json::Value, status: &str, now: Instant) {
        let (resource, domain) = (&announcement["resource"], &announcement["domain"]);
        let json = serde_json::json!({ "resource": resource, "domain": domain, "status": status });
        let message = control::build(control::DOMAIN_STATUS, json.to_string().as_bytes()).unwrap();
        if self.node.seal(client_id(), &message, now) == Sealed::NotYet {
            self.kept.push(message);
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
            self.say_status(&content, status, now);
        }
        self.messages.push((message.event, content));
        if message.event == control::GOODBYE {
            self.node.remove(client_id(), now);
        }
    }

    /// The candidates that the client has to hear of.
    fn news(&mut self, now: Instant) -> Vec<Vec<String>> {
        let mut news = Vec::new();
        while let Some(event) = self.node.poll_event() {
            match event {
                connection::Event::Candidates { candidates, .. } => news.push(candidates),
                connection::Event::SessionReady(_) => {
                    for message in std::mem::take(&mut self.kept) {
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

fn post(wire: &mut VecDeque<Datagram>, from: SocketAddr, transmit: Transmit, now: Instant) {
    if !transmit.destination.is_ipv4() {
        return;
    }
    for payload in transmit.payload.chunks(transmit.segment.max(1)) {
        let (to, ecn, payload) = (transmit.destination, transmit.ecn, payload.to_vec());
        wire.push_back(Datagram { arrives: now + LATENCY, from, to, ecn, payload });
    }
}
