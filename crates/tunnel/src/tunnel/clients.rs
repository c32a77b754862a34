//! The life of connections with other clients.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use connection::Params;
use ip_packet::control;
use model::{ClientId, DeviceView, PeerId, ToPortal, message::DeviceAccess};

use super::{Event, Tunnel};
use crate::{
    access::Target,
    counters::Reason,
    peers::{Clients, Identity},
    pools::Pools,
};

/// How long a connection waits for a relay: by then the other side has given up.
const RELAY_PATIENCE: Duration = Duration::from_secs(15);
/// How many connections may wait for a relay; the portal can ask no more of us meanwhile.
const POSTPONED: usize = 64;

/// Connections that could not be made for lack of a relay. Whoever is to reach us has no way to ask the portal to ask us
/// again, so they are made as soon as a relay has answered.
#[derive(Debug, Default)]
pub(super) struct Postponed(BTreeMap<ClientId, (DeviceAccess, Instant)>);

impl Postponed {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.0.retain(|_, (_, until)| now < *until);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.values().map(|(_, until)| *until).min()
    }

    fn insert(&mut self, access: DeviceAccess, until: Instant) {
        if self.0.len() < POSTPONED || self.0.contains_key(&access.client_id) {
            self.0.insert(access.client_id, (access, until));
        }
    }
}

impl Tunnel {
    /// The portal lets another client and us talk, and told both.
    pub(super) fn accept_client(&mut self, access: DeviceAccess, now: Instant) {
        let id = access.client_id;
        let identity = Identity::of_client(&access);
        if self.interface.is_none() {
            tracing::debug!(client = %id, "a connection with a client before we know who we are");
            return;
        }
        if access.use_iceless {
            tracing::warn!(client = %id, "the portal wants a connection without ICE, which is not supported");
            return;
        }
        let asked = self.access.pending.devices(|_, address| identity.has(address));
        if access.grant.is_none() && asked.is_empty() && !self.clients.is_known_as(id, &identity) {
            tracing::debug!(client = %id, "a connection with a client that we did not ask for");
            return;
        }
        if self.node.upsert(PeerId::Client(id), params(&access), now).is_err() {
            if self.relay_plea.handle_needed(now) {
                self.events.push_back(Event::ToPortal(ToPortal::NoRelays));
            }
            self.postponed.insert(access, now + RELAY_PATIENCE);
            return;
        }
        let peer = self.clients.upsert(id, identity, access.client_name);
        match access.grant {
            Some(grant) => {
                let until = grant.expires_at.map(|at| self.epoch.instant(at));
                peer.grants.insert(grant.resource, grant.filters, until);
            }
            None => {
                for target in asked {
                    self.release_waiting_for_device(target, id, now);
                }
            }
        }
        self.told_devices.mark_stale();
    }

    /// Makes the connections that waited for a relay, if there is one now.
    pub(super) fn make_postponed(&mut self, now: Instant) {
        if self.postponed.0.is_empty() {
            return;
        }
        for (_, (access, until)) in std::mem::take(&mut self.postponed.0) {
            let id = access.client_id;
            self.accept_client(access, now);
            if let Some((_, again_until)) = self.postponed.0.get_mut(&id) {
                // It goes on waiting, but not for longer than it was to.
                *again_until = until;
            }
        }
    }

    /// Ends a connection in good order.
    pub(super) fn close_client(&mut self, client: ClientId, now: Instant) {
        self.node.close(PeerId::Client(client), &control::goodbye(), now);
        self.forget_client(client);
    }

    /// A connection is gone, with everything that depended on it, also what was granted for it.
    pub(super) fn forget_client(&mut self, client: ClientId) {
        self.postponed.0.remove(&client);
        let Some(mut peer) = self.clients.remove(client) else { return };
        self.counters.count(Reason::Expired, peer.queue.take().count());
        self.access.lose_client(client);
        self.access.pending.forget_requests_to(&peer.addresses());
        self.told_devices.mark_stale();
    }

    /// What waited for the permission to reach a device goes on its way.
    fn release_waiting_for_device(&mut self, target: Target, client: ClientId, now: Instant) {
        let Target::Device { pool, .. } = target else { return };
        self.access.grant_device(pool, client);
        let Some(waiting) = self.access.pending.take(target) else { return };
        self.counters.count(Reason::Expired, waiting.packets.dropped());
        for packet in waiting.packets {
            self.send_packet(packet, now);
        }
    }
}

/// The clients that people are shown: those with a connection that are members of a pool of ours.
pub(super) fn views(clients: &Clients, pools: &Pools) -> Vec<DeviceView> {
    let view = |(id, client): (ClientId, &crate::peers::Client)| {
        let pools: Vec<String> = pools.names_of(id).into_iter().map(str::to_owned).collect();
        let [IpAddr::V4(ipv4), IpAddr::V6(ipv6)] = client.addresses() else { return None };
        (!pools.is_empty()).then(|| DeviceView { id, name: client.name().map(str::to_owned), ipv4, ipv6, pools })
    };
    clients.connected().filter_map(view).collect()
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
