//! Members of static device pools: other clients that may be reached.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use model::{ClientId, Device, Filters, Pool, ResourceId, filter::Protocol};

/// All static device pools, and the owners of their members' addresses.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    pools: BTreeMap<ResourceId, Pool<Vec<Device>>>,
    by_address: BTreeMap<IpAddr, BTreeMap<ResourceId, ClientId>>,
}

/// The pool member that a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    /// The pool through which the member is reached.
    pub(crate) pool: ResourceId,
    /// The member.
    pub(crate) client: ClientId,
    /// Whether the filters of the pool permit the packet.
    pub(crate) is_permitted: bool,
}

/// The effects of a changed pool on granted and pending access.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PoolChange {
    /// Addresses that left the pool or to which different filters apply.
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// Members that left the pool or have different addresses.
    pub(crate) members: BTreeSet<ClientId>,
    /// Whether the filters changed.
    pub(crate) filters: bool,
}

impl Pools {
    /// Adds or changes a pool.
    pub(crate) fn upsert(&mut self, pool: &Pool<Vec<Device>>) -> PoolChange {
        let Some(known) = self.pools.insert(pool.id, pool.clone()) else {
            self.add(pool);
            return PoolChange::default();
        };
        let filters = known.filters != pool.filters;
        let stays = |device: &Device| pool.members.contains(device);
        let gone = known.members.iter().filter(|device| !stays(device));
        let members = gone.map(|device| device.client_id).collect();
        let affected = known.members.iter().filter(|device| filters || !stays(device));
        let addresses = affected.flat_map(addresses).collect();

        for device in &known.members {
            self.remove_addresses(pool.id, device);
        }
        self.add(pool);
        PoolChange { addresses, members, filters }
    }

    /// Removes a pool.
    pub(crate) fn remove(&mut self, pool: ResourceId) {
        let Some(known) = self.pools.remove(&pool) else { return };
        for device in &known.members {
            self.remove_addresses(pool, device);
        }
    }

    /// The best pool for a packet to `destination`: permitting pools precede others, then the greater id wins.
    pub(crate) fn route(&self, destination: IpAddr, protocol: Protocol) -> Option<Member> {
        let permits = |pool: &ResourceId| self.filters(*pool).is_some_and(|filters| filters.permit(protocol));
        let candidates =
            self.by_address.get(&destination)?.iter().map(|(pool, client)| (permits(pool), *pool, *client));
        let (is_permitted, pool, client) = candidates.max()?;
        Some(Member { pool, client, is_permitted })
    }

    /// The clients that have this address in any pool.
    pub(crate) fn owners(&self, address: IpAddr) -> impl Iterator<Item = ClientId> {
        self.by_address.get(&address).into_iter().flat_map(|pools| pools.values().copied())
    }

    /// The addresses of a member, in all pools.
    pub(crate) fn addresses_of(&self, client: ClientId) -> BTreeSet<IpAddr> {
        let members = self.pools.values().flat_map(|pool| &pool.members);
        members.filter(|device| device.client_id == client).flat_map(addresses).collect()
    }

    /// The names of the pools that a client is a member of, sorted.
    pub(crate) fn pool_names_of(&self, client: ClientId) -> BTreeSet<&str> {
        let is_member = |pool: &&Pool<Vec<Device>>| pool.members.iter().any(|device| device.client_id == client);
        self.pools.values().filter(is_member).map(|pool| pool.name.as_str()).collect()
    }

    fn filters(&self, pool: ResourceId) -> Option<&Filters> {
        self.pools.get(&pool).map(|pool| &pool.filters)
    }

    fn add(&mut self, pool: &Pool<Vec<Device>>) {
        for device in &pool.members {
            for address in addresses(device) {
                self.by_address.entry(address).or_default().insert(pool.id, device.client_id);
            }
        }
    }

    fn remove_addresses(&mut self, pool: ResourceId, device: &Device) {
        for address in addresses(device) {
            let Some(pools) = self.by_address.get_mut(&address) else { continue };
            pools.remove(&pool);
            if pools.is_empty() {
                self.by_address.remove(&address);
            }
        }
    }
}

fn addresses(device: &Device) -> [IpAddr; 2] {
    [device.ipv4.into(), device.ipv6.into()]
}

#[cfg(test)]
mod tests {
    use model::Filter;

    use super::*;
    use crate::testing::{device, pool};

    const ONE: ResourceId = ResourceId::from_u128(1);
    const TWO: ResourceId = ResourceId::from_u128(2);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn pool_member_is_routed_at_both_addresses() {
        let mut pools = Pools::default();
        pools.upsert(&pool(1, &[device(8)], &[]));
        let member = Member { pool: ONE, client: ClientId::from_u128(8), is_permitted: true };
        for ip in ["100.64.0.8", "fd00:2021:1111::8"] {
            assert_eq!(pools.route(address(ip), Protocol::Icmp), Some(member));
        }
        assert_eq!(pools.route(address("100.64.0.9"), Protocol::Icmp), None);
    }

    #[test]
    fn permitting_pool_wins_then_the_greater_id() {
        let mut pools = Pools::default();
        pools.upsert(&pool(1, &[device(8)], &[Filter::Icmp]));
        pools.upsert(&pool(2, &[device(8)], &[Filter::Udp(1..=1)]));
        let best = |protocol| pools.route(address("100.64.0.8"), protocol).map(|it| (it.pool, it.is_permitted));
        assert_eq!(best(Protocol::Icmp), Some((ONE, true)));
        assert_eq!(best(Protocol::Udp(1)), Some((TWO, true)));
        assert_eq!(best(Protocol::Tcp(1)), Some((TWO, false)));
    }

    #[test]
    fn pool_change_lists_removed_moved_and_refiltered_members() {
        let mut pools = Pools::default();
        assert_eq!(pools.upsert(&pool(1, &[device(8), device(9)], &[])), PoolChange::default());
        assert_eq!(pools.upsert(&pool(1, &[device(8), device(9), device(10)], &[])), PoolChange::default());

        let moved = Device { ipv4: "100.64.0.88".parse().unwrap(), ..device(8) };
        let changed = pools.upsert(&pool(1, &[moved, device(10)], &[]));
        let ids = |numbers: &[u128]| numbers.iter().copied().map(ClientId::from_u128).collect::<BTreeSet<_>>();
        assert_eq!(changed.members, ids(&[8, 9]));
        assert_eq!(changed.addresses.len(), 4);
        assert_eq!(pools.route(address("100.64.0.8"), Protocol::Icmp), None);
        assert!(pools.route(address("100.64.0.88"), Protocol::Icmp).is_some());

        let changed = pools.upsert(&pool(1, &[device(10)], &[Filter::Icmp]));
        assert!(changed.filters && changed.addresses.contains(&address("100.64.0.10")));

        pools.remove(ONE);
        assert!(pools.by_address.is_empty());
    }
}
