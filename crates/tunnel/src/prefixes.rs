//! A map with networks as keys, for longest-prefix matches.

use std::{collections::BTreeSet, hash::Hash, net::IpAddr};

use ipnet::IpNet;
use rustc_hash::FxHashMap;

/// A map from networks to values. Finding the networks that contain an address costs the same for ten networks and for
/// ten thousand: one look-up per prefix length in use, of which there are few.
///
/// The networks come from the portal, so no attacker can choose them to make the cheap hash collide.
#[derive(Debug, Clone)]
pub(crate) struct PrefixMap<T> {
    networks: BTreeSet<IpNet>,
    v4: PrefixesByLength<u32, T>,
    v6: PrefixesByLength<u128, T>,
}

/// The networks of one address family, longest prefix first. `B` is the integer type of an address.
#[derive(Debug, Clone)]
struct PrefixesByLength<B, T>(Vec<(u8, FxHashMap<B, T>)>);

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        Self { networks: BTreeSet::new(), v4: PrefixesByLength(Vec::new()), v6: PrefixesByLength(Vec::new()) }
    }
}

impl<T> PrefixMap<T> {
    /// The value of exactly this network, inserted if missing.
    pub(crate) fn entry(&mut self, network: IpNet) -> &mut T
    where
        T: Default,
    {
        let network = network.trunc();
        self.networks.insert(network);
        match network {
            IpNet::V4(it) => self.v4.entry(it.prefix_len(), it.network().to_bits()),
            IpNet::V6(it) => self.v6.entry(it.prefix_len(), it.network().to_bits()),
        }
    }

    /// Keeps only the values for which `keep` returns `true`; `keep` may change them.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&IpNet, &mut T) -> bool) {
        let Self { networks, v4, v6 } = self;
        networks.retain(|network| update(v4, v6, *network, |value| keep(network, value)));
    }

    /// Updates the value of exactly this network; it is removed if `keep` returns `false`.
    pub(crate) fn update(&mut self, network: IpNet, keep: impl FnOnce(&mut T) -> bool) {
        let network = network.trunc();
        if !update(&mut self.v4, &mut self.v6, network, keep) {
            self.networks.remove(&network);
        }
    }

    /// The values of all networks that contain `ip`, longest prefix first.
    pub(crate) fn containing(&self, ip: IpAddr) -> impl Iterator<Item = &T> {
        let (v4, v6) = match ip {
            IpAddr::V4(ip) => (Some(self.v4.containing(move |length| masked_v4(ip.to_bits(), length))), None),
            IpAddr::V6(ip) => (None, Some(self.v6.containing(move |length| masked_v6(ip.to_bits(), length)))),
        };
        v4.into_iter().flatten().chain(v6.into_iter().flatten())
    }

    /// All networks.
    pub(crate) fn networks(&self) -> impl Iterator<Item = IpNet> {
        self.networks.iter().copied()
    }
}

impl<B: Hash + Eq, T> PrefixesByLength<B, T> {
    fn entry(&mut self, length: u8, bits: B) -> &mut T
    where
        T: Default,
    {
        let at = self.0.partition_point(|(longer, _)| *longer > length);
        if self.0.get(at).is_none_or(|(found, _)| *found != length) {
            self.0.insert(at, (length, FxHashMap::default()));
        }
        self.0[at].1.entry(bits).or_default()
    }

    /// Returns whether the network has a value afterwards.
    fn update(&mut self, length: u8, bits: &B, keep: impl FnOnce(&mut T) -> bool) -> bool {
        let Some(at) = self.0.iter().position(|(found, _)| *found == length) else { return false };
        let networks = &mut self.0[at].1;
        let Some(value) = networks.get_mut(bits) else { return false };
        if keep(value) {
            return true;
        }
        networks.remove(bits);
        if networks.is_empty() {
            self.0.remove(at);
        }
        false
    }

    fn containing(&self, masked: impl Fn(u8) -> B) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(move |(length, networks)| networks.get(&masked(*length)))
    }
}

fn update<T>(
    v4: &mut PrefixesByLength<u32, T>,
    v6: &mut PrefixesByLength<u128, T>,
    network: IpNet,
    keep: impl FnOnce(&mut T) -> bool,
) -> bool {
    match network {
        IpNet::V4(it) => v4.update(it.prefix_len(), &it.network().to_bits(), keep),
        IpNet::V6(it) => v6.update(it.prefix_len(), &it.network().to_bits(), keep),
    }
}

fn masked_v4(bits: u32, length: u8) -> u32 {
    bits & u32::MAX.checked_shl(u32::BITS - u32::from(length)).unwrap_or(0)
}

fn masked_v6(bits: u128, length: u8) -> u128 {
    bits & u128::MAX.checked_shl(u128::BITS - u32::from(length)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    fn found(map: &PrefixMap<u8>, ip: &str) -> Vec<u8> {
        map.containing(ip.parse().unwrap()).copied().collect()
    }

    #[test]
    fn longer_prefixes_come_first_per_address_family() {
        let mut map = PrefixMap::<u8>::default();
        *map.entry("10.0.0.0/8".parse().unwrap()) = 8;
        *map.entry("10.20.0.0/16".parse().unwrap()) = 16;
        *map.entry("10.20.1.1/32".parse().unwrap()) = 32;
        *map.entry("::/0".parse().unwrap()) = 0;
        *map.entry("2001:db8::1/128".parse().unwrap()) = 128;

        assert_eq!(found(&map, "10.20.1.1"), [32, 16, 8]);
        assert_eq!(found(&map, "10.21.1.1"), [8]);
        assert_eq!(found(&map, "11.0.0.1"), [0u8; 0]);
        assert_eq!(found(&map, "2001:db8::1"), [128, 0]);
    }

    #[test]
    fn network_without_values_is_removed() {
        let mut map = PrefixMap::<u8>::default();
        *map.entry("10.0.0.0/8".parse().unwrap()) = 8;
        *map.entry("::/0".parse().unwrap()) = 0;

        map.retain(|_, value| *value == 0);
        assert_eq!(map.networks().collect::<Vec<_>>(), ["::/0".parse().unwrap()]);
        map.update("::/0".parse().unwrap(), |_| false);

        assert_eq!(map.networks().count(), 0);
        assert!(map.v4.0.is_empty() && map.v6.0.is_empty());
    }

    #[test]
    fn prefix_lookup_agrees_with_linear_search() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut map = PrefixMap::<u32>::default();
        let mut all = Vec::new();
        for number in 0..2_000 {
            let length = rng.random_range(0..=16) + 16;
            let network = IpNet::new(IpAddr::from([10, 0, rng.random(), rng.random()]), length).unwrap().trunc();
            if !all.iter().any(|(known, _)| *known == network) {
                *map.entry(network) = number;
                all.push((network, number));
            }
        }
        all.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
        for _ in 0..2_000 {
            let ip = IpAddr::from([10, 0, rng.random(), rng.random()]);
            let expected = all.iter().filter(|(network, _)| network.contains(&ip)).map(|(_, number)| *number);
            assert_eq!(map.containing(ip).copied().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }
    }
}
