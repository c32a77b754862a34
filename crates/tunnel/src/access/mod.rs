//! Which resources we may use, through which gateway, and the asking for those that we may not use yet.

mod held_packets;
mod pending;

use std::collections::{BTreeMap, BTreeSet};

use model::{ClientId, GatewayId, ResourceId, SiteId};

pub(crate) use held_packets::HeldPackets;
pub(crate) use pending::{Ask, Pending, SiteQuery, Target, Waiting};

/// Grants, and the memory of gateways that makes us come back to the same one.
#[derive(Debug, Default)]
pub(crate) struct Access {
    granted: BTreeMap<ResourceId, GatewayId>,
    /// The members that we may reach, by pool.
    devices: BTreeMap<ResourceId, BTreeSet<ClientId>>,
    /// All gateways that the portal ever gave us in this session.
    sites: BTreeMap<GatewayId, SiteId>,
    /// Requests without an answer.
    pub(crate) pending: Pending,
}

impl Access {
    /// The gateway through which we may use `resource`.
    pub(crate) fn gateway(&self, resource: ResourceId) -> Option<GatewayId> {
        self.granted.get(&resource).copied()
    }

    /// We may use `resource` through `gateway`. Says through which gateway we could until now.
    pub(crate) fn grant(&mut self, resource: ResourceId, gateway: GatewayId, site: SiteId) -> Option<GatewayId> {
        self.sites.insert(gateway, site);
        self.granted.insert(resource, gateway)
    }

    /// We may no longer use `resource`. Says through which gateway we could.
    pub(crate) fn revoke(&mut self, resource: ResourceId) -> Option<GatewayId> {
        self.granted.remove(&resource)
    }

    /// The resources that we may use through `gateway`.
    pub(crate) fn granted_through(&self, gateway: GatewayId) -> Vec<ResourceId> {
        self.granted.iter().filter(|(_, through)| **through == gateway).map(|(resource, _)| *resource).collect()
    }

    /// Nothing can be used through `gateway` any more; the next packet for any of its resources asks at once.
    pub(crate) fn lose(&mut self, gateway: GatewayId) {
        let pending = &mut self.pending;
        self.granted.retain(|resource, through| {
            let keep = *through != gateway;
            if !keep {
                pending.forget_request(Target::Resource(*resource));
            }
            keep
        });
    }

    /// Whether we may reach `client` because of `pool`.
    pub(crate) fn reaches(&self, pool: ResourceId, client: ClientId) -> bool {
        self.devices.get(&pool).is_some_and(|members| members.contains(&client))
    }

    /// We may reach `client` because of `pool`.
    pub(crate) fn grant_device(&mut self, pool: ResourceId, client: ClientId) {
        self.devices.entry(pool).or_default().insert(client);
    }

    /// We may no longer reach `client` because of `pool`.
    pub(crate) fn revoke_device(&mut self, pool: ResourceId, client: ClientId) {
        if let Some(members) = self.devices.get_mut(&pool) {
            members.remove(&client);
        }
    }

    /// The pool is gone.
    pub(crate) fn revoke_pool(&mut self, pool: ResourceId) {
        self.devices.remove(&pool);
    }

    /// The connection with `client` is gone; the next packet to it asks at once.
    pub(crate) fn lose_client(&mut self, client: ClientId) {
        self.devices.values_mut().for_each(|members| {
            members.remove(&client);
        });
    }

    /// Whether any resource is used through `gateway`.
    pub(crate) fn uses(&self, gateway: GatewayId) -> bool {
        self.granted.values().any(|through| *through == gateway)
    }

    /// The site of a gateway that the portal gave us.
    pub(crate) fn site(&self, gateway: GatewayId) -> Option<SiteId> {
        self.sites.get(&gateway).copied()
    }

    /// Which gateways we would like for `resource`, best first: the one that has it, then those that are `live`, then
    /// all others that we ever had. The portal picks out those that can serve the resource, so that a TCP connection
    /// through a gateway has the best chance to survive.
    pub(crate) fn preferred(&self, resource: ResourceId, live: &BTreeSet<GatewayId>) -> Vec<GatewayId> {
        let mut order: Vec<GatewayId> = self.gateway(resource).into_iter().collect();
        for gateway in live.iter().chain(self.sites.keys()) {
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
    fn the_gateway_that_has_the_resource_is_preferred_then_live_ones_then_the_rest() {
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
    fn a_lost_gateway_is_remembered_but_grants_nothing() {
        let (gateway, site) = (GatewayId::from_u128(1), SiteId::from_u128(1));
        let resource = ResourceId::from_u128(1);
        let mut access = Access::default();
        access.grant(resource, gateway, site);

        access.lose(gateway);

        assert_eq!(access.gateway(resource), None);
        assert!(!access.uses(gateway));
        assert_eq!(access.preferred(resource, &BTreeSet::new()), [gateway]);
    }
}
