//! Other clients that we may reach: the members of static device pools.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use model::{ClientId, Device, Filters, Pool, ResourceId, filter::Protocol};

/// Who has which address, in which pool.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    pools: BTreeMap<ResourceId, Pool<Vec<Device>>>,
    by_address: BTreeMap<IpAddr, BTreeMap<ResourceId, ClientId>>,
}

/// Where a packet to a member belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    /// The pool because of which it may be reached.
    pub(crate) pool: ResourceId,
    /// Whose address it is.
    pub(crate) client: ClientId,
    /// Whether the filters of the pool let the packet through.
    pub(crate) is_permitted: bool,
}

/// What a change of a pool means for what was granted and asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Changed {
    /// Addresses that are not reached through this pool any more, or in another way.
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// Members that are gone, or are reached at other addresses.
    pub(crate) members: BTreeSet<ClientId>,
    /// Whether the pool lets other traffic through.
    pub(crate) filters: bool,
}

impl Pools {
    /// A pool is new or different.
    pub(crate) fn upsert(&mut self, pool: &Pool<Vec<Device>>) -> Changed {
        let Some(known) = self.pools.insert(pool.id, pool.clone()) else {
            self.add(pool);
            return Changed::default();
        };
        let filters = known.filters != pool.filters;
        let stays = |device: &Device| pool.members.contains(device);
        let gone = known.members.iter().filter(|device| !stays(device));
        let members = gone.map(|device| device.client_id).collect();
        let affected = known.members.iter().filter(|device| filters || !stays(device));
        let addresses = affected.flat_map(addresses).collect();

        for device in &known.members {
            self.drop_entries(pool.id, device);
        }
        self.add(pool);
        Changed { addresses, members, filters }
    }

    /// A pool is gone.
    pub(crate) fn remove(&mut self, pool: ResourceId) {
        let Some(known) = self.pools.remove(&pool) else { return };
        for device in &known.members {
            self.drop_entries(pool, device);
        }
    }

    /// The best pool for a packet to `destination`: one that lets it through before one that does not, then the one with
    /// the greater id.
    pub(crate) fn route(&self, destination: IpAddr, protocol: Protocol) -> Option<Member> {
        let permits = |pool: &ResourceId| self.filters(*pool).is_some_and(|filters| filters.permit(protocol));
        let candidates =
            self.by_address.get(&destination)?.iter().map(|(pool, client)| (permits(pool), *pool, *client));
        let (is_permitted, pool, client) = candidates.max()?;
        Some(Member { pool, client, is_permitted })
    }

    /// Who has this address, according to any pool.
    pub(crate) fn owners(&self, address: IpAddr) -> impl Iterator<Item = ClientId> {
        self.by_address.get(&address).into_iter().flat_map(|pools| pools.values().copied())
    }

    /// The addresses of a member, in all pools.
    pub(crate) fn addresses_of(&self, client: ClientId) -> BTreeSet<IpAddr> {
        let members = self.pools.values().flat_map(|pool| &pool.members);
        members.filter(|device| device.client_id == client).flat_map(addresses).collect()
    }

    /// What the pools are called that a client is a member of, sorted.
    pub(crate) fn names_of(&self, client: ClientId) -> BTreeSet<&str> {
        let has = |pool: &&Pool<Vec<Device>>| pool.members.iter().any(|device| device.client_id == client);
        self.pools.values().filter(has).map(|pool| pool.name.as_str()).collect()
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

    fn drop_entries(&mut self, pool: ResourceId, device: &Device) {
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
    fn members_are_reached_at_both_addresses() {
        let mut pools = Pools::default();
        pools.upsert(&pool(1, &[device(8)], &[]));
        let member = Member { pool: ONE, client: ClientId::from_u128(8), is_permitted: true };
        for ip in ["100.64.0.8", "fd00:2021:1111::8"] {
            assert_eq!(pools.route(address(ip), Protocol::Icmp), Some(member));
        }
        assert_eq!(pools.route(address("100.64.0.9"), Protocol::Icmp), None);
    }

    #[test]
    fn the_pool_that_lets_it_through_is_the_right_one_and_of_equals_the_greater() {
        let mut pools = Pools::default();
        pools.upsert(&pool(1, &[device(8)], &[Filter::Icmp]));
        pools.upsert(&pool(2, &[device(8)], &[Filter::Udp(1..=1)]));
        let best = |protocol| pools.route(address("100.64.0.8"), protocol).map(|it| (it.pool, it.is_permitted));
        assert_eq!(best(Protocol::Icmp), Some((ONE, true)));
        assert_eq!(best(Protocol::Udp(1)), Some((TWO, true)));
        assert_eq!(best(Protocol::Tcp(1)), Some((TWO, false)));
    }

    #[test]
    fn a_change_concerns_those_who_left_moved_or_are_let_through_differently() {
        let mut pools = Pools::default();
        assert_eq!(pools.upsert(&pool(1, &[device(8), device(9)], &[])), Changed::default());
        assert_eq!(pools.upsert(&pool(1, &[device(8), device(9), device(10)], &[])), Changed::default());

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
