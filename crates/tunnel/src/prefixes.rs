//! Networks as keys: which of them contain an address.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

/// A map from networks to values that answers "which networks contain this address" without looking at every network:
/// it asks once per prefix length in use, of which there are few.
#[derive(Debug, Clone)]
pub(crate) struct PrefixMap<T> {
    v4: BTreeMap<u8, BTreeMap<IpNet, T>>,
    v6: BTreeMap<u8, BTreeMap<IpNet, T>>,
}

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        Self { v4: BTreeMap::new(), v6: BTreeMap::new() }
    }
}

impl<T> PrefixMap<T> {
    /// The value of exactly this network, made if there is none.
    pub(crate) fn entry(&mut self, network: IpNet) -> &mut T
    where
        T: Default,
    {
        let family = match network {
            IpNet::V4(_) => &mut self.v4,
            IpNet::V6(_) => &mut self.v6,
        };
        family.entry(network.prefix_len()).or_default().entry(network.trunc()).or_default()
    }

    /// Keeps only the values for which `keep` says so; it may change them.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&IpNet, &mut T) -> bool) {
        for family in [&mut self.v4, &mut self.v6] {
            family.retain(|_, networks| {
                networks.retain(|network, value| keep(network, value));
                !networks.is_empty()
            });
        }
    }

    /// Changes the value of exactly this network; it is dropped unless `keep` says so.
    pub(crate) fn change(&mut self, network: IpNet, keep: impl FnOnce(&mut T) -> bool) {
        let family = match network {
            IpNet::V4(_) => &mut self.v4,
            IpNet::V6(_) => &mut self.v6,
        };
        let Some(networks) = family.get_mut(&network.prefix_len()) else { return };
        if networks.get_mut(&network.trunc()).is_some_and(|value| !keep(value)) {
            networks.remove(&network.trunc());
        }
        if networks.is_empty() {
            family.remove(&network.prefix_len());
        }
    }

    /// All networks that contain `ip`, longest prefix first.
    pub(crate) fn containing(&self, ip: IpAddr) -> impl Iterator<Item = (IpNet, &T)> {
        let family = match ip {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        };
        family.iter().rev().filter_map(move |(&length, networks)| {
            let network = IpNet::new(ip, length).ok()?.trunc();
            networks.get(&network).map(|value| (network, value))
        })
    }

    /// Every network.
    pub(crate) fn networks(&self) -> impl Iterator<Item = IpNet> {
        [&self.v4, &self.v6]
            .into_iter()
            .flat_map(|family| family.values().flat_map(|networks| networks.keys().copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_prefixes_come_first_and_families_do_not_mix() {
        let mut map = PrefixMap::<u8>::default();
        *map.entry("10.0.0.0/8".parse().unwrap()) = 8;
        *map.entry("10.20.0.0/16".parse().unwrap()) = 16;
        *map.entry("::/0".parse().unwrap()) = 0;

        let found = |ip: &str| map.containing(ip.parse().unwrap()).map(|(_, v)| *v).collect::<Vec<_>>();

        assert_eq!(found("10.20.1.1"), [16, 8]);
        assert_eq!(found("10.21.1.1"), [8]);
        assert_eq!(found("11.0.0.1"), [0u8; 0]);
        assert_eq!(found("2001:db8::1"), [0]);
    }

    #[test]
    fn a_network_without_values_is_gone() {
        let mut map = PrefixMap::<u8>::default();
        *map.entry("10.0.0.0/8".parse().unwrap()) = 8;

        map.retain(|_, _| false);

        assert_eq!(map.networks().count(), 0);
    }
}
