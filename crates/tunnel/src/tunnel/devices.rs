//! Device pools: who their members are, and what that means for what we may reach.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use dns::Domain;
use model::{ClientId, Device, Pool, ResourceId, ToPortal, message::FailReason};

use super::{Event, Tunnel};
use crate::access::Target;

impl Tunnel {
    /// A pool is new or different. A member that leaves is no longer reached through it, but its connection stays: it may
    /// have been granted access to us.
    pub(super) fn update_pool(&mut self, pool: &Pool<Vec<Device>>) {
        let changed = self.pools.upsert(pool);
        self.drop_requests(|of, address| of == pool.id && changed.addresses.contains(&address));
        for member in changed.members {
            self.access.revoke_device(pool.id, member);
        }
        if changed.filters {
            self.clients.set_filters(pool.id, &pool.filters);
        }
        self.told_devices.mark_stale();
    }

    /// A pool is gone.
    pub(super) fn remove_pool(&mut self, pool: ResourceId) {
        self.pools.remove(pool);
        self.access.revoke_pool(pool);
        self.drop_requests(|of, _| of == pool);
        self.access.pending.forget_requests_of_pool(pool);
        self.told_devices.mark_stale();
    }

    /// The portal lets us not, or no longer, reach whoever has one of these addresses.
    pub(super) fn deny_device(
        &mut self,
        ipv4: Option<Ipv4Addr>,
        ipv6: Option<Ipv6Addr>,
        reason: FailReason,
        now: Instant,
    ) {
        tracing::debug!(?reason, "not permitted to reach a device");
        let addresses: BTreeSet<IpAddr> = ipv4.map(IpAddr::V4).into_iter().chain(ipv6.map(IpAddr::V6)).collect();
        self.drop_requests(|_, address| addresses.contains(&address));
        let mut denied = self.clients.owners(ipv4, ipv6);
        denied.extend(addresses.iter().flat_map(|address| self.pools.owners(*address)));
        for client in denied {
            self.close_client(client, now);
        }
    }

    /// A candidate that is void could not be taken back from `client`.
    pub(super) fn lose_candidate(&mut self, client: ClientId, reason: FailReason, now: Instant) {
        if reason != FailReason::Offline {
            return;
        }
        let mut addresses = self.pools.addresses_of(client);
        addresses.extend(self.clients.client(client).into_iter().flat_map(|it| it.addresses()));
        self.drop_requests(|_, address| addresses.contains(&address));
        self.close_client(client, now);
    }

    /// Only the portal knows who has this name.
    pub(super) fn look_up_device(&mut self, resource: ResourceId, name: &Domain) {
        let domain = name.as_str().to_owned();
        self.events.push_back(Event::ToPortal(ToPortal::ResolveDevicePoolDomain { resource, domain }));
    }

    /// The portal starts anew and will not answer what it was asked before.
    pub(super) fn look_up_devices_again(&mut self) {
        let outstanding: Vec<_> =
            self.device_names.pending().map(|(resource, name)| (resource, name.clone())).collect();
        for (resource, name) in outstanding {
            self.look_up_device(resource, &name);
        }
    }

    /// What waits for devices that satisfy `is_meant` waits in vain.
    fn drop_requests(&mut self, is_meant: impl Fn(ResourceId, IpAddr) -> bool) {
        let targets: Vec<Target> = self.access.pending.devices(is_meant);
        for target in targets {
            if let Some(waiting) = self.access.pending.take(target) {
                self.give_up(waiting);
            }
        }
    }
}
