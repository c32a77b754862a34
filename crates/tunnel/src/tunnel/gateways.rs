//! Connections with gateways, from the portal's authorization until no resource uses them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use connection::Params;
use dns::Domain;
use model::{
    GatewayId, PeerId, Resource, ResourceId, ToPortal,
    message::{AuthorizationCreated, IceRole},
};

use super::{Event, Tunnel};
use crate::{
    access::{RequestDecision, Target},
    announcements,
    counters::DropReason,
    peers::Identity,
    routing,
};

impl Tunnel {
    /// The portal authorized a resource through a gateway and notified the gateway.
    pub(super) fn accept_authorization(&mut self, authorization: AuthorizationCreated, now: Instant) {
        let (id, gateway) = (authorization.resource_id, authorization.gateway_id);
        let Some(resource) = self.resources.resource(id).cloned() else {
            tracing::debug!(resource = %id, "ignoring an authorization for an unknown resource");
            return;
        };
        if !self.access.pending.is_pending(Target::Resource(id)) {
            tracing::debug!(resource = %id, "ignoring an unrequested authorization");
            return;
        }
        if authorization.use_iceless {
            tracing::warn!(resource = %id, "the portal requests a connection without ICE, which is not supported");
            self.drop_pending(id);
            return;
        }

        if self.resources.set_refusal(id, None) {
            self.published_resources.mark_stale();
        }
        let identity = Identity::of_gateway(&authorization);
        let params = Params {
            public_key: authorization.gateway_public_key,
            preshared_key: authorization.preshared_key,
            local_ice: authorization.client_ice_credentials,
            remote_ice: authorization.gateway_ice_credentials,
            role: IceRole::Controlling,
        };
        let peer = PeerId::Gateway(gateway);
        if self.node.upsert(peer, params, now).is_err() {
            // Packets keep waiting; more traffic or a relay repeats the request.
            self.access.pending.wait_for_relay(Target::Resource(id));
            if self.relay_requests.handle_no_relay(now) {
                self.events.push_back(Event::ToPortal(ToPortal::NoRelays));
            }
            return;
        }

        if self.peers.get(peer).is_some_and(|known| !known.has_identity(&identity)) {
            // The new connection replaced the old one.
            self.forget_gateway(gateway);
        }
        self.peers.upsert(peer, identity);
        let Some(sources) = self.peers.gateway_mut(gateway) else { return };
        match &resource {
            Resource::Cidr(it) => sources.allow(it.address, id),
            Resource::Internet(_) => routing::DEFAULT_ROUTES.into_iter().for_each(|network| sources.allow(network, id)),
            // Proxy addresses are allowed when their name is announced. Pools are not reached through gateways.
            Resource::Dns(_) | Resource::StaticDevicePool(_) | Resource::DynamicDevicePool(_) => {}
        }
        match self.access.grant(id, gateway, authorization.site_id) {
            Some(same) if same == gateway => self.announcements.handle_access_renewed(gateway, id, now),
            Some(other) => self.release_gateway(other, id, now),
            None => {}
        }
        self.send_held_for_resource(id, gateway, now);
    }

    /// Revokes access to `resource` and drops its pending request.
    pub(super) fn withdraw(&mut self, resource: ResourceId, now: Instant) {
        let target = Target::Resource(resource);
        if let Some(request) = self.access.pending.take(target) {
            self.drop_request(request);
        }
        self.access.pending.forget_request(target);
        self.revoke_access(resource, now);
    }

    /// Revokes access to `resource`; requests for it stay rate-limited.
    pub(super) fn revoke_access(&mut self, resource: ResourceId, now: Instant) {
        if let Some(gateway) = self.access.revoke(resource) {
            self.release_gateway(gateway, resource, now);
        }
    }

    /// Removes a closed connection and all access through it. Nothing is moved to another gateway; the next packet to
    /// each resource requests access again.
    pub(super) fn forget_gateway(&mut self, gateway: GatewayId) {
        let Some(mut peer) = self.peers.remove(PeerId::Gateway(gateway)) else { return };
        self.counters.add(DropReason::Expired, peer.queue.drain().count());
        self.access.remove_gateway(gateway);
        self.announcements.forget_gateway(gateway);
        self.update_site_status(gateway);
    }

    /// Removes a lost connection like [`Self::forget_gateway`], and requests the resources that were in use through it
    /// again. Returns the resources whose request has to be sent.
    pub(super) fn lose_gateway(&mut self, gateway: GatewayId, now: Instant) -> Vec<ResourceId> {
        let peer = self.peers.gateway(gateway).filter(|peer| peer.is_in_use(now));
        let granted = if peer.is_some() { self.access.granted_through(gateway) } else { Vec::new() };
        let mut names: BTreeMap<ResourceId, BTreeSet<Domain>> = BTreeMap::new();
        for (address, resources) in peer.map(|peer| peer.addresses_in_use(now)).unwrap_or_default() {
            let Some(name) = self.stub.names().owner(address) else { continue };
            for resource in resources {
                names.entry(*resource).or_default().insert(name.clone());
            }
        }
        self.forget_gateway(gateway);
        let pending = &mut self.access.pending;
        let renew = |resource: &ResourceId| {
            let names = names.remove(resource).unwrap_or_default();
            pending.renew(*resource, names, now) == RequestDecision::SendNow
        };
        granted.into_iter().filter(renew).collect()
    }

    /// `resource` is no longer used through `gateway`. Closes the connection if it was the last resource.
    fn release_gateway(&mut self, gateway: GatewayId, resource: ResourceId, now: Instant) {
        if let Some(peer) = self.peers.gateway_mut(gateway) {
            peer.disallow(resource);
        }
        self.announcements.forget(gateway, resource);
        if !self.access.is_used(gateway) {
            self.close_peer(PeerId::Gateway(gateway), now);
        }
    }

    /// Sends the packets and queries that were held until access was granted.
    fn send_held_for_resource(&mut self, resource: ResourceId, gateway: GatewayId, now: Instant) {
        let Some(request) = self.access.pending.take(Target::Resource(resource)) else { return };
        self.counters.add(DropReason::Expired, request.packets.dropped());
        for packet in request.packets {
            self.send_packet(packet, now);
        }
        for query in request.queries {
            self.forward_to_site(query, gateway);
        }
        for name in request.names {
            self.announcements.handle_gateway_replaced(announcements::Key { name, gateway, resource }, now);
        }
    }

    /// Updates the status of a gateway's site: online while one of its gateways is connected.
    pub(super) fn update_site_status(&mut self, gateway: GatewayId) {
        let Some(site) = self.access.site(gateway) else { return };
        if self.peers.connected_gateways().any(|gateway| self.access.site(gateway) == Some(site)) {
            self.sites.set_online(site);
        } else {
            self.sites.set_unknown(site);
        }
        self.published_resources.mark_stale();
    }
}
