//! Connections with other clients, from the portal's authorization until they are closed.

use std::time::Instant;

use connection::Params;
use model::{ClientId, PeerId, ToPortal, message::DeviceAccess};

use super::{Event, Tunnel};
use crate::{access::Target, counters::DropReason, peers::Identity};

impl Tunnel {
    /// The portal authorized a connection with another client and notified both sides.
    pub(super) fn accept_client(&mut self, access: DeviceAccess, now: Instant) {
        let id = access.client_id;
        let identity = Identity::of_client(&access);
        if self.interface.is_none() {
            tracing::debug!(client = %id, "ignoring a client connection before the interface is configured");
            return;
        }
        if access.use_iceless {
            tracing::warn!(client = %id, "the portal requests a connection without ICE, which is not supported");
            return;
        }
        let requested = self.access.pending.devices(|_, address| identity.has_address(address));
        let peer = PeerId::Client(id);
        let is_known = self.peers.get(peer).is_some_and(|known| known.has_identity(&identity));
        if access.grant.is_none() && requested.is_empty() && !is_known {
            tracing::debug!(client = %id, "ignoring an unrequested client connection");
            return;
        }
        if self.node.upsert(peer, params(&access), now).is_err() {
            if self.relay_requests.handle_no_relay(now) {
                self.events.push_back(Event::ToPortal(ToPortal::NoRelays));
            }
            self.postponed.insert(access, now);
            return;
        }
        self.peers.upsert(peer, identity);
        let Some(client) = self.peers.client_mut(id) else { return };
        client.set_name(access.client_name);
        match access.grant {
            Some(grant) => {
                let expires_at = grant.expires_at.map(|at| self.wall_clock.instant(at));
                client.grants.insert(grant.resource, grant.filters, expires_at);
            }
            None => {
                for target in requested {
                    self.send_held_for_device(target, id, now);
                }
            }
        }
        self.published_devices.mark_stale();
    }

    /// Retries the connections that wait for a relay.
    pub(super) fn retry_postponed(&mut self, now: Instant) {
        for (access, expires_at) in self.postponed.take() {
            let id = access.client_id;
            self.accept_client(access, now);
            // If it is postponed again, its deadline stays the same.
            self.postponed.set_expiry(id, expires_at);
        }
    }

    /// Removes a closed connection, with its grants and all access that depended on it.
    pub(super) fn forget_client(&mut self, client: ClientId) {
        self.postponed.remove(client);
        let Some(mut peer) = self.peers.remove(PeerId::Client(client)) else { return };
        self.counters.add(DropReason::Expired, peer.queue.drain().count());
        self.access.remove_client(client);
        self.access.pending.forget_requests_to(&peer.addresses());
        self.published_devices.mark_stale();
    }

    /// Sends the packets that were held until access to a device was granted.
    fn send_held_for_device(&mut self, target: Target, client: ClientId, now: Instant) {
        let Target::Device { pool, .. } = target else { return };
        self.access.grant_device(pool, client);
        let Some(waiting) = self.access.pending.take(target) else { return };
        self.counters.add(DropReason::Expired, waiting.packets.dropped());
        for packet in waiting.packets {
            self.send_packet(packet, now);
        }
    }
}

fn params(access: &DeviceAccess) -> Params {
    Params {
        public_key: access.client_public_key,
        preshared_key: access.preshared_key.clone(),
        local_ice: access.local_ice_credentials.clone(),
        remote_ice: access.remote_ice_credentials.clone(),
        role: access.ice_role,
    }
}
