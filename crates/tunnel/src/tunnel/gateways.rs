//! The life of gateways, from the permission to use one until nothing needs it any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use connection::Params;
use dns::Domain;
use ip_packet::control;
use model::{
    GatewayId, PeerId, Resource, ResourceId, ToPortal,
    message::{AuthorizationCreated, IceRole},
};

use super::{Event, Tunnel};
use crate::{
    access::{Ask, Target},
    counters::Reason,
    nat,
    peers::Identity,
    routing,
};

impl Tunnel {
    /// The portal permits a resource through a gateway, and told it so.
    pub(super) fn accept(&mut self, authorization: AuthorizationCreated, now: Instant) {
        let (id, gateway) = (authorization.resource_id, authorization.gateway_id);
        let Some(resource) = self.resources.resource(id).cloned() else {
            tracing::debug!(resource = %id, "permitted a resource that we do not know");
            return;
        };
        if !self.access.pending.is_pending(Target::Resource(id)) {
            tracing::debug!(resource = %id, "permitted a resource that we did not ask for");
            return;
        }
        if authorization.use_iceless {
            tracing::warn!(resource = %id, "the portal wants a connection without ICE, which is not supported");
            self.deny(id);
            return;
        }

        if self.resources.refused(id, None) {
            self.told_resources.mark_stale();
        }
        let identity = Identity::of(&authorization);
        let params = Params {
            public_key: authorization.gateway_public_key,
            preshared_key: authorization.preshared_key,
            local_ice: authorization.client_ice_credentials,
            remote_ice: authorization.gateway_ice_credentials,
            role: IceRole::Controlling,
        };
        if self.node.upsert(PeerId::Gateway(gateway), params, now).is_err() {
            // What waits goes on waiting; more traffic or a relay will ask again.
            self.access.pending.await_relay(Target::Resource(id));
            if self.relay_plea.handle_needed(now) {
                self.events.push_back(Event::ToPortal(ToPortal::NoRelays));
            }
            return;
        }

        if self.peers.is_someone_else(gateway, &identity) {
            // The new connection took the place of the old one.
            self.forget_gateway(gateway);
        }
        let peer = self.peers.upsert(gateway, identity);
        match &resource {
            Resource::Cidr(it) => peer.allow(it.address, id),
            Resource::Internet(_) => routing::EVERYTHING.into_iter().for_each(|network| peer.allow(network, id)),
            // Addresses of names are allowed when they are announced. Pools are not reached through gateways.
            Resource::Dns(_) | Resource::StaticDevicePool(_) | Resource::DynamicDevicePool(_) => {}
        }
        match self.access.grant(id, gateway, authorization.site_id) {
            Some(same) if same == gateway => self.nat.handle_renewal(gateway, id, now),
            Some(other) => self.release(other, id, now),
            None => {}
        }
        self.release_waiting(id, gateway, now);
    }

    /// We may no longer use `resource`, or do not want to.
    pub(super) fn withdraw(&mut self, resource: ResourceId, now: Instant) {
        let target = Target::Resource(resource);
        if let Some(waiting) = self.access.pending.take(target) {
            self.give_up(waiting);
        }
        self.access.pending.forget_request(target);
        self.withdraw_grant(resource, now);
    }

    /// The permission for `resource` is void; when it was last asked for is remembered.
    pub(super) fn withdraw_grant(&mut self, resource: ResourceId, now: Instant) {
        if let Some(gateway) = self.access.revoke(resource) {
            self.release(gateway, resource, now);
        }
    }

    /// Ends a connection in good order.
    pub(super) fn close_gateway(&mut self, gateway: GatewayId, now: Instant) {
        self.node.close(PeerId::Gateway(gateway), &control::goodbye(), now);
        self.forget_gateway(gateway);
    }

    /// A connection is gone, with everything that depended on it. Nothing is moved to another gateway; the next packet
    /// of each resource asks anew.
    pub(super) fn forget_gateway(&mut self, gateway: GatewayId) {
        let Some(mut peer) = self.peers.remove(gateway) else { return };
        self.counters.count(Reason::Expired, peer.queue.take().count());
        self.access.lose(gateway);
        self.nat.forget_gateway(gateway);
        self.site_changed(gateway);
    }

    /// The same for a gateway that is lost and not given up: what was in use through it waits for a new permission. Says
    /// what to ask for.
    pub(super) fn lose_gateway(&mut self, gateway: GatewayId, now: Instant) -> Vec<ResourceId> {
        let peer = self.peers.gateway(gateway).filter(|peer| peer.is_in_use(now));
        let granted = if peer.is_some() { self.access.granted_through(gateway) } else { Vec::new() };
        let mut names: BTreeMap<ResourceId, BTreeSet<Domain>> = BTreeMap::new();
        for (address, because) in peer.map(|peer| peer.addresses_in_use(now)).unwrap_or_default() {
            let Some(name) = self.stub.names().owner(address) else { continue };
            for resource in because {
                names.entry(*resource).or_default().insert(name.clone());
            }
        }
        self.forget_gateway(gateway);
        let pending = &mut self.access.pending;
        let renew = |resource: &ResourceId| {
            let names = names.remove(resource).unwrap_or_default();
            pending.renew(*resource, names, now) == Ask::Now
        };
        granted.into_iter().filter(renew).collect()
    }

    /// What the node says about connections.
    pub(super) fn follow_node(&mut self, event: connection::Event, now: Instant) {
        match event {
            connection::Event::Candidates { peer, candidates } => {
                self.events.push_back(Event::ToPortal(ToPortal::NewIceCandidates { peer, candidates }));
            }
            connection::Event::InvalidateCandidates { peer, candidates } => {
                self.events.push_back(Event::ToPortal(ToPortal::InvalidateIceCandidates { peer, candidates }));
            }
            connection::Event::Established(PeerId::Gateway(gateway)) => {
                tracing::debug!(%gateway, "connected");
                if let Some(peer) = self.peers.gateway_mut(gateway) {
                    peer.connected();
                    self.site_changed(gateway);
                    self.send_held(PeerId::Gateway(gateway), now);
                }
            }
            connection::Event::SessionReady(peer) => self.send_held(peer, now),
            connection::Event::Failed(PeerId::Gateway(gateway), why) => {
                tracing::debug!(%gateway, ?why, "the gateway cannot be reached (any more)");
                for resource in self.lose_gateway(gateway, now) {
                    self.ask_portal(Target::Resource(resource));
                }
            }
            connection::Event::Closed(PeerId::Gateway(gateway)) => self.forget_gateway(gateway),
            connection::Event::NewKeyNeeded(_) => self.events.push_back(Event::NewKeyNeeded),
            connection::Event::NoRelays => {
                if self.relay_plea.handle_lost(now) {
                    self.events.push_back(Event::ToPortal(ToPortal::NoRelays));
                }
            }
            connection::Event::Established(PeerId::Client(client)) => {
                tracing::debug!(%client, "connected");
                if let Some(peer) = self.clients.client_mut(client) {
                    peer.connected();
                    self.told_devices.mark_stale();
                    self.send_held(PeerId::Client(client), now);
                }
            }
            connection::Event::Failed(PeerId::Client(client), why) => {
                tracing::debug!(%client, ?why, "the client cannot be reached (any more)");
                self.forget_client(client);
            }
            connection::Event::Closed(PeerId::Client(client)) => self.forget_client(client),
        }
    }

    /// `resource` is no longer used through `gateway`. The connection ends if it was the last one.
    fn release(&mut self, gateway: GatewayId, resource: ResourceId, now: Instant) {
        if let Some(peer) = self.peers.gateway_mut(gateway) {
            peer.disallow(resource);
        }
        self.nat.forget(gateway, resource);
        if !self.access.uses(gateway) {
            self.close_gateway(gateway, now);
        }
    }

    /// What waited for the permission goes on its way.
    fn release_waiting(&mut self, resource: ResourceId, gateway: GatewayId, now: Instant) {
        let Some(waiting) = self.access.pending.take(Target::Resource(resource)) else { return };
        self.counters.count(Reason::Expired, waiting.packets.dropped());
        for packet in waiting.packets {
            self.send_packet(packet, now);
        }
        for query in waiting.queries {
            self.ask_site(query, gateway);
        }
        for name in waiting.names {
            self.nat.handle_moved(nat::Key { name, gateway, resource }, now);
        }
    }

    /// A site is online for as long as one of its gateways is connected.
    fn site_changed(&mut self, gateway: GatewayId) {
        let Some(site) = self.access.site(gateway) else { return };
        if self.peers.connected().any(|gateway| self.access.site(gateway) == Some(site)) {
            self.sites.online(site);
        } else {
            self.sites.unknown(site);
        }
        self.told_resources.mark_stale();
    }
}
