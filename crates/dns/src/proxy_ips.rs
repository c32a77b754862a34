//! The proxy addresses that stand for names of DNS resources.
//!
//! A name gets four IPv4 and four IPv6 addresses, regardless of the resource it belongs to, and keeps them for the
//! lifetime of the daemon: also when the resource is removed, also across sessions. Programs that resolve a name only
//! once keep working, and an address is never reused for another name.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use model::{IpStack, ResourceId, address_plan};
use rustc_hash::FxHashMap;

use crate::{Domain, Pattern};

/// Number of addresses per name and address family.
pub const IPS_PER_FAMILY: usize = 4;

/// All names with proxy addresses. Carried over from session to session.
#[derive(Clone, Debug, Default)]
pub struct Assignments {
    /// The index of each name in `slots`. Web pages can make programs look up arbitrary names, so this hash is keyed;
    /// its order is never used.
    names: HashMap<Domain, usize>,
    /// The names in the order of their addresses, so that the name of an address is found by arithmetic: every packet
    /// needs this look-up.
    slots: Vec<(Domain, Assignment)>,
    /// Keyed by ids from the portal, which cannot be chosen to collide.
    matched: FxHashMap<ResourceId, MatchedNames>,
    pool: IpPool,
}

/// The addresses of one name and the resources that it matched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// Its IPv4 addresses, ascending.
    pub v4: [Ipv4Addr; IPS_PER_FAMILY],
    /// Its IPv6 addresses, ascending.
    pub v6: [Ipv6Addr; IPS_PER_FAMILY],
    /// The resources that the name matched, the most specific last. Some of them may have been removed since.
    pub matches: BTreeSet<(Pattern, ResourceId)>,
}

/// All addresses are in use, by half a million names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there are no addresses left for more names")]
pub struct NoAddressesLeft;

/// The names that matched the current pattern of one resource.
#[derive(Clone, Debug)]
struct MatchedNames {
    pattern: Pattern,
    names: BTreeSet<Domain>,
}

/// Hands out addresses in sequence, each once.
#[derive(Clone, Debug, Default)]
struct IpPool {
    v4_used: u32,
    v6_used: u32,
}

impl Assignments {
    /// The addresses and matches of `name`, if it has any.
    #[must_use]
    pub fn assignment(&self, name: &Domain) -> Option<&Assignment> {
        self.slots.get(*self.names.get(name)?).map(|(_, assigned)| assigned)
    }

    /// The name that `ip` stands for.
    #[must_use]
    pub fn owner(&self, ip: IpAddr) -> Option<&Domain> {
        self.owner_entry(ip).map(|(name, _)| name)
    }

    /// The name that `ip` stands for, with its assignment.
    #[must_use]
    pub fn owner_entry(&self, ip: IpAddr) -> Option<(&Domain, &Assignment)> {
        let index = match ip {
            IpAddr::V4(ip) => IpPool::index_v4(ip)?,
            IpAddr::V6(ip) => IpPool::index_v6(ip)?,
        };
        self.slots.get(index / IPS_PER_FAMILY).map(|(name, assigned)| (name, assigned))
    }

    /// All names and their assignments, in the order of their addresses.
    pub fn iter(&self) -> impl Iterator<Item = (&Domain, &Assignment)> {
        self.slots.iter().map(|(name, assigned)| (name, assigned))
    }

    /// The names that matched the current pattern of `resource`.
    #[cfg(test)]
    pub(crate) fn names_of(&self, resource: ResourceId) -> impl Iterator<Item = (&Domain, &Assignment)> {
        self.matched
            .get(&resource)
            .into_iter()
            .flat_map(|matched| &matched.names)
            .filter_map(|name| Some((name, self.assignment(name)?)))
    }

    /// Forgets which resources the names matched, but keeps their addresses in use. Called when another user signs in.
    pub fn forget_matches(&mut self) {
        self.matched.clear();
        for (_, assigned) in &mut self.slots {
            assigned.matches.clear();
        }
    }

    /// Gives `name` its addresses, if it has none yet, and records its matches.
    pub(crate) fn assign(
        &mut self,
        name: &Domain,
        matches: &BTreeSet<(Pattern, ResourceId)>,
    ) -> Result<(), NoAddressesLeft> {
        if !self.names.contains_key(name) {
            let (v4, v6) = self.pool.take()?;
            self.names.insert(name.clone(), self.slots.len());
            self.slots.push((name.clone(), Assignment { v4, v6, matches: BTreeSet::new() }));
        }
        let slot = self.names.get(name).copied().ok_or(NoAddressesLeft)?;
        let Some((_, assigned)) = self.slots.get_mut(slot) else { return Err(NoAddressesLeft) };

        for (pattern, resource) in matches {
            if !assigned.matches.insert((pattern.clone(), *resource)) {
                // Already recorded, in `matched` too.
                continue;
            }
            let matched = self
                .matched
                .entry(*resource)
                .or_insert_with(|| MatchedNames { pattern: pattern.clone(), names: BTreeSet::new() });
            matched.names.insert(name.clone());
        }
        Ok(())
    }

    /// Sets the pattern of a resource that was added or changed. If it had another pattern, its names are detached.
    pub(crate) fn set_pattern(&mut self, resource: ResourceId, pattern: &Pattern) {
        if self.matched.get(&resource).is_none_or(|matched| matched.pattern == *pattern) {
            return;
        }
        let Some(stale) = self.matched.remove(&resource) else { return };
        for name in &stale.names {
            if let Some(slot) = self.names.get(name)
                && let Some((_, assigned)) = self.slots.get_mut(*slot)
            {
                assigned.matches.remove(&(stale.pattern.clone(), resource));
            }
        }
    }
}

impl Assignment {
    /// The addresses of the families in `stack`, IPv4 first.
    pub fn addresses(&self, stack: IpStack) -> impl Iterator<Item = IpAddr> + '_ {
        let v4 = self.v4.iter().filter(move |_| stack.has_ipv4()).copied().map(IpAddr::V4);
        let v6 = self.v6.iter().filter(move |_| stack.has_ipv6()).copied().map(IpAddr::V6);
        v4.chain(v6)
    }
}

impl IpPool {
    /// Four addresses of each family, or none at all.
    fn take(&mut self) -> Result<([Ipv4Addr; IPS_PER_FAMILY], [Ipv6Addr; IPS_PER_FAMILY]), NoAddressesLeft> {
        let mut after = self.clone();
        let mut v4 = [Ipv4Addr::UNSPECIFIED; IPS_PER_FAMILY];
        let mut v6 = [Ipv6Addr::UNSPECIFIED; IPS_PER_FAMILY];
        for (v4, v6) in v4.iter_mut().zip(&mut v6) {
            *v4 = after.next_v4().ok_or(NoAddressesLeft)?;
            *v6 = after.next_v6().ok_or(NoAddressesLeft)?;
        }
        *self = after;
        Ok((v4, v6))
    }

    /// The position of an IPv4 address in the sequence; `None` if it is not a proxy address.
    fn index_v4(ip: Ipv4Addr) -> Option<usize> {
        let range = address_plan::PROXIES_V4;
        let sentinels = address_plan::SENTINELS_V4;
        if !range.contains(&ip) || sentinels.contains(&ip) {
            return None;
        }
        let skipped = if ip > sentinels.broadcast() { 1 << (32 - sentinels.prefix_len()) } else { 0 };
        let index = ip.to_bits().checked_sub(range.network().to_bits())?.checked_sub(1 + skipped)?;
        usize::try_from(index).ok()
    }

    /// The same for IPv6.
    fn index_v6(ip: Ipv6Addr) -> Option<usize> {
        let range = address_plan::PROXIES_V6;
        let index = ip.to_bits().checked_sub(range.network().to_bits())?;
        usize::try_from(index).ok().filter(|_| range.contains(&ip))
    }

    /// The next host of the range, skipping the sentinels.
    fn next_v4(&mut self) -> Option<Ipv4Addr> {
        let range = address_plan::PROXIES_V4;
        let sentinels = address_plan::SENTINELS_V4;
        let first = range.network().to_bits().checked_add(1)?;
        let mut ip = Ipv4Addr::from_bits(first.checked_add(self.v4_used)?);
        if sentinels.contains(&ip) {
            ip = Ipv4Addr::from_bits(sentinels.broadcast().to_bits().checked_add(1)?);
        }
        if ip >= range.broadcast() {
            return None;
        }
        self.v4_used = ip.to_bits().checked_sub(first)?.checked_add(1)?;
        Some(ip)
    }

    /// The next address of the range.
    fn next_v6(&mut self) -> Option<Ipv6Addr> {
        let range = address_plan::PROXIES_V6;
        let ip = Ipv6Addr::from_bits(range.network().to_bits().checked_add(u128::from(self.v6_used))?);
        if ip > range.broadcast() {
            return None;
        }
        self.v6_used = self.v6_used.checked_add(1)?;
        Some(ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ResourceId = ResourceId::from_u128(1);
    const TWO: ResourceId = ResourceId::from_u128(2);

    fn matches(pairs: &[(&str, ResourceId)]) -> BTreeSet<(Pattern, ResourceId)> {
        pairs.iter().map(|(text, id)| (text.parse().expect("a pattern"), *id)).collect()
    }

    #[test]
    fn proxy_addresses_are_assigned_in_sequence() {
        let mut names = Assignments::default();
        names.assign(&"a.example".into(), &matches(&[("*.example", ONE)])).expect("addresses");
        names.assign(&"b.example".into(), &matches(&[("*.example", ONE)])).expect("addresses");

        let texts = |name: &str| -> Vec<String> {
            let assigned = names.assignment(&name.into()).expect("assigned");
            assigned.addresses(IpStack::Dual).map(|ip| ip.to_string()).collect()
        };
        let first = ["100.96.0.1", "100.96.0.2", "100.96.0.3", "100.96.0.4"];
        let first6 = ["fd00:2021:1111:8000::", "fd00:2021:1111:8000::1", "fd00:2021:1111:8000::2"];
        assert_eq!(texts("a.example")[..4], first);
        assert_eq!(texts("a.example")[4..7], first6);
        assert_eq!(texts("a.example")[7], "fd00:2021:1111:8000::3");
        assert_eq!(texts("b.example")[0], "100.96.0.5");
        assert_eq!(texts("b.example")[7], "fd00:2021:1111:8000::7");
        for (ip, owner) in [
            ("100.96.0.4", Some("a.example")),
            ("100.96.0.5", Some("b.example")),
            ("fd00:2021:1111:8000::3", Some("a.example")),
            ("fd00:2021:1111:8000::4", Some("b.example")),
            ("100.96.0.9", None),
            ("fd00:2021:1111:8000::8", None),
        ] {
            assert_eq!(names.owner(ip.parse().expect("an address")), owner.map(Domain::from).as_ref(), "{ip}");
        }
    }

    #[test]
    fn pool_skips_sentinels_and_ends_before_the_broadcast_address() {
        let mut pool = IpPool::default();
        let all: Vec<_> = std::iter::from_fn(|| pool.next_v4()).collect();
        assert_eq!(all.len(), 2_096_894);
        assert!(all.is_sorted());
        assert!(!all.iter().any(|ip| address_plan::is_sentinel((*ip).into())));
        assert_eq!(all.first(), Some(&Ipv4Addr::new(100, 96, 0, 1)));
        assert_eq!(all.last(), Some(&Ipv4Addr::new(100, 127, 255, 254)));

        assert!(all.iter().enumerate().all(|(index, ip)| IpPool::index_v4(*ip) == Some(index)));
        for other in ["100.95.255.255", "100.96.0.0", "100.100.111.0", "100.100.111.255", "100.128.0.0"] {
            assert_eq!(IpPool::index_v4(other.parse().expect("an address")), None, "{other}");
        }

        let mut pool = IpPool::default();
        let all: Vec<_> = std::iter::from_fn(|| pool.next_v6()).collect();
        assert_eq!(all.len(), 1 << 21);
        assert!(all.iter().enumerate().all(|(index, ip)| IpPool::index_v6(*ip) == Some(index)));
        for other in ["fd00:2021:1111:7fff:ffff:ffff:ffff:ffff", "fd00:2021:1111:8000::20:0", "::"] {
            assert_eq!(IpPool::index_v6(other.parse().expect("an address")), None, "{other}");
        }
    }

    #[test]
    fn name_gets_all_its_addresses_or_none() {
        let mut names = Assignments::default();
        let pool = &mut names.pool;
        let names_possible = std::iter::from_fn(|| pool.take().ok()).count();
        assert_eq!(names_possible, 524_223);
        assert_eq!(names.assign(&"late.example".into(), &BTreeSet::new()), Err(NoAddressesLeft));
        assert_eq!(names.assignment(&"late.example".into()), None);
    }

    #[test]
    fn changed_pattern_detaches_names_but_keeps_their_addresses() {
        let mut names = Assignments::default();
        let name = Domain::from("a.example");
        let both = matches(&[("*.example", ONE), ("a.example", TWO)]);
        names.assign(&name, &both).expect("addresses");
        assert_eq!(names.assignment(&name).expect("assigned").matches, both);
        let before = names.assignment(&name).cloned().expect("assigned");

        names.set_pattern(ONE, &"*.example".parse().expect("a pattern"));
        assert_eq!(names.names_of(ONE).count(), 1);

        names.set_pattern(ONE, &"*.other".parse().expect("a pattern"));
        let after = names.assignment(&name).expect("assigned");
        assert_eq!(names.names_of(ONE).count(), 0);
        assert_eq!(names.names_of(TWO).count(), 1);
        assert_eq!(after.matches, matches(&[("a.example", TWO)]));
        assert_eq!((after.v4, after.v6), (before.v4, before.v6));
    }

    #[test]
    fn forgetting_matches_keeps_addresses_in_use() {
        let mut names = Assignments::default();
        names.assign(&"a.example".into(), &matches(&[("*.example", ONE)])).expect("addresses");
        names.forget_matches();
        assert_eq!(names.names_of(ONE).count(), 0);
        names.assign(&"b.example".into(), &BTreeSet::new()).expect("addresses");
        assert_eq!(names.assignment(&"b.example".into()).expect("assigned").v4[0], Ipv4Addr::new(100, 96, 0, 5));
    }
}
