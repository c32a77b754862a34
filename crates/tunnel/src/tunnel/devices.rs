//! Device pools: changes of their members and denied access.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use dns::Domain;
use model::{ClientId, Device, PeerId, Pool, ResourceId, ToPortal, message::FailureReason};

use super::{Event, Tunnel};
use crate::access::Target;

impl Tunnel {
    /// Adds or changes a pool. Access to members that left is revoked, but their connections stay: they may have grants
    /// for this client.
    pub(super) fn update_pool(&mut self, pool: &Pool<Vec<Device>>) {
        let changed = self.pools.upsert(pool);
        self.drop_requests(|of, address| of == pool.id && changed.addresses.contains(&address));
        for member in changed.members {
            self.access.revoke_device(pool.id, member);
        }
        if changed.filters {
            self.peers.set_filters(pool.id, &pool.filters);
        }
        self.published_devices.mark_stale();
    }

    /// Removes a pool.
    pub(super) fn remove_pool(&mut self, pool: ResourceId) {
        self.pools.remove(pool);
        self.access.revoke_pool(pool);
        self.drop_requests(|of, _| of == pool);
        self.access.pending.forget_requests_of_pool(pool);
        self.published_devices.mark_stale();
    }

    /// The portal denied or revoked access to the client that has one of these addresses.
    pub(super) fn deny_device(
        &mut self,
        ipv4: Option<Ipv4Addr>,
        ipv6: Option<Ipv6Addr>,
        reason: FailureReason,
        now: Instant,
    ) {
        tracing::debug!(?reason, "access to a device is denied");
        let addresses: BTreeSet<IpAddr> = ipv4.map(IpAddr::V4).into_iter().chain(ipv6.map(IpAddr::V6)).collect();
        self.drop_requests(|_, address| addresses.contains(&address));
        let mut denied: BTreeSet<ClientId> = addresses.iter().flat_map(|address| self.pools.owners(*address)).collect();
        denied.extend(addresses.iter().filter_map(|address| match self.peers.owner(*address) {
            Some(PeerId::Client(client)) => Some(client),
            Some(PeerId::Gateway(_)) | None => None,
        }));
        for client in denied {
            self.close_peer(PeerId::Client(client), now);
        }
    }

    /// The portal could not deliver a candidate to `client`.
    pub(super) fn handle_candidate_error(&mut self, client: ClientId, reason: FailureReason, now: Instant) {
        if reason != FailureReason::Offline {
            return;
        }
        let mut addresses = self.pools.addresses_of(client);
        addresses.extend(self.peers.get(PeerId::Client(client)).into_iter().flat_map(|it| it.addresses()));
        self.drop_requests(|_, address| addresses.contains(&address));
        self.close_peer(PeerId::Client(client), now);
    }

    /// Asks the portal to resolve the name of a device.
    pub(super) fn look_up_device(&mut self, resource: ResourceId, name: &Domain) {
        let domain = name.as_str().to_owned();
        self.events.push_back(Event::ToPortal(ToPortal::ResolveDevicePoolDomain { resource, domain }));
    }

    /// Repeats pending lookups on a new portal connection, on which earlier ones are not answered.
    pub(super) fn repeat_device_lookups(&mut self) {
        let pending: Vec<_> = self.device_names.pending().map(|(resource, name)| (resource, name.clone())).collect();
        for (resource, name) in pending {
            self.look_up_device(resource, &name);
        }
    }

    /// Drops the pending requests for devices whose pool and address satisfy `predicate`.
    fn drop_requests(&mut self, predicate: impl Fn(ResourceId, IpAddr) -> bool) {
        let targets: Vec<Target> = self.access.pending.devices(predicate);
        for target in targets {
            if let Some(request) = self.access.pending.take(target) {
                self.drop_request(request);
            }
        }
    }
}
