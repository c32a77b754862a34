//! The state of the gateway: connected clients, and the effect of packets and messages.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use connection::{Event, Node, Params, Sealed, Transmit};
use ip_packet::{Ecn, IpPacket, control};
use model::{ClientId, Deadline, PeerId, PublicKey, ResourceId, message::IceRole};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    client::{Client, Grant, Verdict},
    message::{Authorization, CreateAuthorization, Incoming, Init},
};

/// Interval at which expired grants and flows are removed.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(1);

/// The state of the gateway.
#[derive(Debug)]
pub(super) struct Gateway {
    node: Node,
    /// Our addresses in the tunnel, from the portal.
    addresses: Option<(Ipv4Addr, Ipv6Addr)>,
    clients: BTreeMap<ClientId, Client>,
    effects: VecDeque<Effect>,
    next_tick: Instant,
    /// Wall clock and monotonic clock at the same moment, for deadlines.
    epoch: (Duration, Instant),
}

/// A request to the event loop.
#[derive(Debug)]
pub(super) enum Effect {
    /// Send a message to the portal.
    ToPortal(&'static str, Value),
    /// Write a packet to the TUN device.
    ToKernel(IpPacket),
    /// Assign these addresses to the TUN device.
    Addresses(Ipv4Addr, Ipv6Addr),
    /// Look up a name and report the result.
    Resolve(Question),
}

/// A client's request to assign its proxy addresses to a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Question {
    pub(super) client: ClientId,
    pub(super) resource: ResourceId,
    pub(super) name: String,
    pub(super) proxies: Vec<IpAddr>,
}

#[derive(Deserialize)]
struct AssignedIps {
    resource: ResourceId,
    domain: String,
    proxy_ips: Vec<IpAddr>,
}

#[derive(Serialize)]
struct DomainStatus<'a> {
    resource: ResourceId,
    domain: &'a str,
    status: &'static str,
}

impl Gateway {
    pub(super) fn new(now: Instant, unix_now: Duration, seed: [u8; 32]) -> Self {
        Self {
            node: Node::new(now, unix_now, seed).with_gateway_timing(),
            addresses: None,
            clients: BTreeMap::new(),
            effects: VecDeque::new(),
            next_tick: now + EXPIRY_INTERVAL,
            epoch: (unix_now, now),
        }
    }

    pub(super) fn public_key(&self) -> PublicKey {
        self.node.public_key()
    }

    pub(super) fn handle_portal(&mut self, message: Incoming, now: Instant) {
        match message {
            Incoming::Init(init) => self.handle_init(init, now),
            Incoming::CreateAuthorization(it) => self.handle_authorization(*it, now),
            Incoming::IceCandidates(it) => {
                self.node.add_remote_candidates(PeerId::Client(it.client_id), &it.candidates, now);
            }
            Incoming::InvalidateIceCandidates(it) => {
                self.node.remove_remote_candidates(PeerId::Client(it.client_id), &it.candidates, now);
            }
            Incoming::RejectAccess(it) => {
                if let Some(client) = self.clients.get_mut(&it.client_id) {
                    client.revoke(it.resource_id);
                }
                self.close_idle_clients(now);
            }
            Incoming::ResourceUpdated(resource) => {
                for grant in self.clients.values_mut().filter_map(|it| it.grant_mut(resource.id)) {
                    grant.filters = resource.filters.clone();
                }
            }
            Incoming::RelaysPresence { disconnected, connected } => {
                self.node.update_relays(&disconnected, &connected, now);
            }
        }
        self.settle();
    }

    /// A datagram from the network.
    pub(super) fn handle_datagram(
        &mut self,
        local: SocketAddr,
        from: SocketAddr,
        ecn: Ecn,
        payload: &mut [u8],
        now: Instant,
    ) {
        if let Some((PeerId::Client(id), packet)) = self.node.open(local, from, ecn, payload, now) {
            self.handle_from_client(id, packet, now);
        }
        self.settle();
    }

    /// A packet from the kernel.
    pub(super) fn handle_from_kernel(&mut self, packet: IpPacket, now: Instant) {
        let own = self.own();
        let destination = packet.destination();
        let Some((id, client)) = self.clients.iter_mut().find(|(_, client)| client.owns(destination)) else { return };
        let id = *id;
        if let Some(packet) = client.inbound(packet, own, now) {
            self.send(id, &packet, now);
        }
        self.settle();
    }

    /// The answer to [`Effect::Resolve`]: the addresses, or `None` if it took too long.
    pub(super) fn handle_resolved(&mut self, question: &Question, addresses: Option<Vec<IpAddr>>, now: Instant) {
        let installed = match (self.clients.get_mut(&question.client), addresses) {
            (Some(client), Some(addresses)) => {
                client.assign(&question.name, question.resource, &addresses, &question.proxies).is_ok()
            }
            _ => false,
        };
        self.send_status(question, installed, now);
        self.settle();
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.next_tick <= now {
            self.next_tick = now + EXPIRY_INTERVAL;
            self.clients.values_mut().for_each(|client| client.tick(now));
            self.close_idle_clients(now);
        }
        self.node.handle_timeout(now);
        self.settle();
    }

    /// Sends a goodbye to all clients.
    pub(super) fn stop(&mut self, now: Instant) {
        for id in std::mem::take(&mut self.clients).into_keys() {
            self.node.close(PeerId::Client(id), &control::goodbye(), now);
        }
        self.settle();
    }

    pub(super) fn poll_timeout(&self) -> Deadline {
        let tick = Deadline { at: self.next_tick, reason: "deadlines of grants and flows" };
        self.node.poll_timeout().map_or(tick, |due| due.min(tick))
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.node.poll_transmit()
    }

    pub(super) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn handle_init(&mut self, init: Init, now: Instant) {
        if self.addresses != Some((init.ipv4, init.ipv6)) {
            self.addresses = Some((init.ipv4, init.ipv6));
            self.effects.push_back(Effect::Addresses(init.ipv4, init.ipv6));
        }
        self.node.update_relays(&[], &init.relays, now);

        let deadlines: BTreeMap<_, _> = init
            .authorizations
            .iter()
            .map(|it| ((it.client_id, it.resource_id), self.deadline(it.expires_at)))
            .collect();
        for (id, client) in &mut self.clients {
            client.revoke_unless(|resource, _| deadlines.contains_key(&(*id, resource)));
        }
        for Authorization { client_id, resource_id, .. } in init.authorizations {
            let grant = self.clients.get_mut(&client_id).and_then(|client| client.grant_mut(resource_id));
            if let (Some(grant), Some(until)) = (grant, deadlines.get(&(client_id, resource_id))) {
                grant.until = *until;
            }
        }
        self.close_idle_clients(now);
    }

    /// Acknowledges only after the connection exists, because candidates follow at once.
    fn handle_authorization(&mut self, it: CreateAuthorization, now: Instant) {
        let id = it.client.id;
        if it.use_iceless {
            tracing::warn!("the portal wants a connection without ICE, which we never offered");
            return;
        }
        let params = Params {
            public_key: it.client.public_key,
            preshared_key: it.client.preshared_key,
            local_ice: it.gateway_ice_credentials,
            remote_ice: it.client_ice_credentials,
            role: IceRole::Controlled,
        };
        if self.node.upsert(PeerId::Client(id), params, now).is_err() {
            self.effects.push_back(Effect::ToPortal("no_relays", json!({})));
            return;
        }

        let until = self.deadline(it.expires_at);
        let client = self.clients.entry(id).or_insert_with(|| Client::new(it.client.ipv4, it.client.ipv6));
        if !client.has_addresses(it.client.ipv4, it.client.ipv6) {
            *client = Client::new(it.client.ipv4, it.client.ipv6);
        }
        client.grant(it.resource.id, Grant { what: it.resource.what, filters: it.resource.filters, until });
        self.effects.push_back(Effect::ToPortal("authorization_created", json!({"ref": it.reference})));
    }

    fn handle_from_client(&mut self, id: ClientId, packet: IpPacket, now: Instant) {
        if let Some(message) = control::parse(&packet) {
            self.handle_control(id, message, now);
            return;
        }
        let own = self.own();
        let Some(client) = self.clients.get_mut(&id) else { return };
        match client.outbound(packet, own, now) {
            Verdict::Forward(packet) => self.effects.push_back(Effect::ToKernel(packet)),
            Verdict::Refuse(Some(answer)) => self.send(id, &answer, now),
            Verdict::Refuse(None) => {}
            Verdict::Drop(why) => tracing::debug!(why, "dropped"),
        }
    }

    fn handle_control(&mut self, id: ClientId, message: control::Control<'_>, now: Instant) {
        match message.event {
            control::ASSIGNED_IPS => {
                let Ok(assigned) = serde_json::from_slice::<AssignedIps>(message.payload) else { return };
                let question = Question {
                    client: id,
                    resource: assigned.resource,
                    name: assigned.domain,
                    proxies: assigned.proxy_ips,
                };
                let may = self.clients.get(&id).is_some_and(|it| it.may_resolve(question.resource, &question.name));
                if may {
                    self.effects.push_back(Effect::Resolve(question));
                } else {
                    self.send_status(&question, false, now);
                }
            }
            control::GOODBYE => {
                self.clients.remove(&id);
                self.node.remove(PeerId::Client(id), now);
            }
            _ => {}
        }
    }

    fn send_status(&mut self, question: &Question, active: bool, now: Instant) {
        let status = DomainStatus {
            resource: question.resource,
            domain: &question.name,
            status: if active { "Active" } else { "Inactive" },
        };
        let packet = serde_json::to_vec(&status).ok().and_then(|json| control::build(control::DOMAIN_STATUS, &json));
        if let Some(packet) = packet {
            self.send(question.client, &packet, now);
        }
    }

    /// A gateway queues nothing: what cannot be sent now is dropped.
    fn send(&mut self, id: ClientId, packet: &IpPacket, now: Instant) {
        match self.node.seal(PeerId::Client(id), packet, now) {
            Sealed::Sent => {}
            Sealed::NotYet | Sealed::Unknown => tracing::debug!("a packet for a client that is not connected"),
        }
    }

    fn close_idle_clients(&mut self, now: Instant) {
        let idle: Vec<_> = self.clients.iter().filter(|(_, it)| it.has_nothing()).map(|(id, _)| *id).collect();
        for id in idle {
            self.clients.remove(&id);
            self.node.close(PeerId::Client(id), &control::goodbye(), now);
        }
    }

    /// Turns events of the node into messages.
    fn settle(&mut self) {
        while let Some(event) = self.node.poll_event() {
            match event {
                Event::Candidates { peer: PeerId::Client(id), candidates } => {
                    let payload = json!({"client_ids": [id], "candidates": candidates});
                    self.effects.push_back(Effect::ToPortal("broadcast_ice_candidates", payload));
                }
                Event::InvalidateCandidates { peer: PeerId::Client(id), candidates } => {
                    let payload = json!({"client_ids": [id], "candidates": candidates});
                    self.effects.push_back(Effect::ToPortal("broadcast_invalidated_ice_candidates", payload));
                }
                Event::NoRelays => self.effects.push_back(Effect::ToPortal("no_relays", json!({}))),
                Event::Established(peer) => tracing::info!(%peer, path = ?self.node.path(peer), "established"),
                Event::Failed(peer, why) => tracing::info!(%peer, ?why, "failed"),
                // Peers of a gateway are clients, and those take the new key.
                Event::Closed(_) | Event::SessionReady(_) | Event::NewKeyNeeded(_) => {}
                Event::Candidates { .. } | Event::InvalidateCandidates { .. } => {}
            }
        }
    }

    fn own(&self) -> impl Fn(IpAddr) -> bool + use<> {
        let addresses = self.addresses;
        move |ip| addresses.is_some_and(|(v4, v6)| ip == v4 || ip == v6)
    }

    /// A time in the past becomes now; one that cannot be represented becomes tomorrow.
    fn deadline(&self, expires_at: Option<u64>) -> Option<Instant> {
        let (unix, instant) = self.epoch;
        let left = Duration::from_secs(expires_at?).saturating_sub(unix);
        Some(instant.checked_add(left).unwrap_or(instant + Duration::from_secs(24 * 60 * 60)))
    }
}
