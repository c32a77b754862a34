//! Which resources may be used through which gateway, and the requests for access to the others.

mod pending_requests;

use std::collections::{BTreeMap, BTreeSet};

use model::{ClientId, GatewayId, ResourceId, SiteId};

pub(crate) use pending_requests::{PendingRequest, PendingRequests, RequestDecision, SiteQuery, Target};

/// Granted access, and the known gateways, so that the same ones are preferred again.
#[derive(Debug, Default)]
pub(crate) struct Access {
    granted: BTreeMap<ResourceId, GatewayId>,
    /// The members to which access is granted, by pool.
    devices: BTreeMap<ResourceId, BTreeSet<ClientId>>,
    /// All gateways of this session with their sites.
    sites: BTreeMap<GatewayId, SiteId>,
    /// Requests that the portal has not answered.
    pub(crate) pending: PendingRequests,
}

impl Access {
    /// The gateway through which `resource` may be used.
    pub(crate) fn gateway(&self, resource: ResourceId) -> Option<GatewayId> {
        self.granted.get(&resource).copied()
    }

    /// Grants access to `resource` through `gateway`. Returns the previous gateway.
    pub(crate) fn grant(&mut self, resource: ResourceId, gateway: GatewayId, site: SiteId) -> Option<GatewayId> {
        self.sites.insert(gateway, site);
        self.granted.insert(resource, gateway)
    }

    /// Revokes access to `resource`. Returns the gateway through which it was used.
    pub(crate) fn revoke(&mut self, resource: ResourceId) -> Option<GatewayId> {
        self.granted.remove(&resource)
    }

    /// The resources that may be used through `gateway`.
    pub(crate) fn granted_through(&self, gateway: GatewayId) -> Vec<ResourceId> {
        self.granted.iter().filter(|(_, through)| **through == gateway).map(|(resource, _)| *resource).collect()
    }

    /// Revokes all access through `gateway`; the next packet for any of its resources requests access immediately.
    pub(crate) fn remove_gateway(&mut self, gateway: GatewayId) {
        let pending = &mut self.pending;
        self.granted.retain(|resource, through| {
            let keep = *through != gateway;
            if !keep {
                pending.forget_request(Target::Resource(*resource));
            }
            keep
        });
    }

    /// Whether `client` may be reached through `pool`.
    pub(crate) fn may_reach(&self, pool: ResourceId, client: ClientId) -> bool {
        self.devices.get(&pool).is_some_and(|members| members.contains(&client))
    }

    /// Grants access to `client` through `pool`.
    pub(crate) fn grant_device(&mut self, pool: ResourceId, client: ClientId) {
        self.devices.entry(pool).or_default().insert(client);
    }

    /// Revokes access to `client` through `pool`.
    pub(crate) fn revoke_device(&mut self, pool: ResourceId, client: ClientId) {
        if let Some(members) = self.devices.get_mut(&pool) {
            members.remove(&client);
        }
    }

    /// Revokes all access through `pool`.
    pub(crate) fn revoke_pool(&mut self, pool: ResourceId) {
        self.devices.remove(&pool);
    }

    /// Revokes all access to `client`; the next packet to it requests access immediately.
    pub(crate) fn remove_client(&mut self, client: ClientId) {
        self.devices.values_mut().for_each(|members| {
            members.remove(&client);
        });
    }

    /// Whether any resource is used through `gateway`.
    pub(crate) fn is_used(&self, gateway: GatewayId) -> bool {
        self.granted.values().any(|through| *through == gateway)
    }

    /// The site of a known gateway.
    pub(crate) fn site(&self, gateway: GatewayId) -> Option<SiteId> {
        self.sites.get(&gateway).copied()
    }

    /// The preferred gateways for `resource`, best first: the current one, then the `connected` ones, then all others of
    /// this session. The portal picks one that can serve the resource, so existing TCP connections through a gateway
    /// are likely to survive.
    pub(crate) fn preferred(&self, resource: ResourceId, connected: &BTreeSet<GatewayId>) -> Vec<GatewayId> {
        let mut order: Vec<GatewayId> = self.gateway(resource).into_iter().collect();
        for gateway in connected.iter().chain(self.sites.keys()) {
            if !order.contains(gateway) {
                order.push(*gateway);
            }
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn current_gateway_is_preferred_then_connected_ones_then_known_ones() {
        let gateway = GatewayId::from_u128;
        let site = SiteId::from_u128(1);
        let resource = ResourceId::from_u128;
        let mut access = Access::default();
        for number in [1, 2, 3] {
            access.grant(resource(number), gateway(number), site);
        }

        let order = access.preferred(resource(3), &BTreeSet::from([gateway(2), gateway(3)]));

        assert_eq!(order, [gateway(3), gateway(2), gateway(1)]);
    }

    #[test]
    fn removed_gateway_stays_preferred_but_grants_nothing() {
        let (gateway, site) = (GatewayId::from_u128(1), SiteId::from_u128(1));
        let resource = ResourceId::from_u128(1);
        let mut access = Access::default();
        access.grant(resource, gateway, site);

        access.remove_gateway(gateway);

        assert_eq!(access.gateway(resource), None);
        assert!(!access.is_used(gateway));
        assert_eq!(access.preferred(resource, &BTreeSet::new()), [gateway]);
    }
}
