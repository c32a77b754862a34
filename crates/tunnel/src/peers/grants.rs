//! Grants: which flows another client may initiate.

use std::{collections::BTreeMap, time::Instant};

use model::{Filters, ResourceId, filter::Protocol};

/// The grants of one client, by resource.
#[derive(Debug, Default)]
pub(crate) struct Grants(BTreeMap<ResourceId, Grant>);

#[derive(Debug)]
struct Grant {
    filters: Filters,
    /// When the grant expires; never if absent.
    expires_at: Option<Instant>,
}

impl Grants {
    /// Adds a grant, or replaces the one of the same resource.
    pub(crate) fn insert(&mut self, resource: ResourceId, filters: Filters, expires_at: Option<Instant>) {
        self.0.insert(resource, Grant { filters, expires_at });
    }

    /// Removes a grant.
    pub(crate) fn remove(&mut self, resource: ResourceId) {
        self.0.remove(&resource);
    }

    /// Changes the filters of a grant.
    pub(crate) fn set_filters(&mut self, resource: ResourceId, filters: &Filters) {
        if let Some(grant) = self.0.get_mut(&resource) {
            grant.filters = filters.clone();
        }
    }

    /// Keeps only the grants in `valid` and sets their expiry. Listed grants that are unknown are not added, because their
    /// filters are missing.
    pub(crate) fn resync(&mut self, valid: &BTreeMap<ResourceId, Instant>) {
        self.0.retain(|resource, grant| match valid.get(resource) {
            Some(expires_at) => {
                grant.expires_at = Some(*expires_at);
                true
            }
            None => false,
        });
    }

    /// Whether any grant permits a packet with this protocol.
    pub(crate) fn permit(&self, protocol: Protocol, now: Instant) -> bool {
        let mut valid = self.0.values().filter(|grant| grant.expires_at.is_none_or(|at| now < at));
        valid.any(|grant| grant.filters.permit(protocol))
    }

    /// Removes expired grants.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.0.retain(|_, grant| grant.expires_at.is_none_or(|at| now < at));
    }

    /// When the next grant expires.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.0.values().filter_map(|grant| grant.expires_at).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::Filter;

    use super::*;
    use crate::testing::start;

    const ONE: ResourceId = ResourceId::from_u128(1);
    const TWO: ResourceId = ResourceId::from_u128(2);

    fn only(filter: Filter) -> Filters {
        std::iter::once(filter).collect()
    }

    #[test]
    fn packet_is_permitted_if_any_grant_permits_it() {
        let (mut grants, now) = (Grants::default(), start());
        assert!(!grants.permit(Protocol::Icmp, now));

        grants.insert(ONE, only(Filter::Icmp), None);
        grants.insert(TWO, only(Filter::Udp(53..=53)), None);
        assert!(grants.permit(Protocol::Icmp, now) && grants.permit(Protocol::Udp(53), now));
        assert!(!grants.permit(Protocol::Tcp(53), now));

        grants.set_filters(ONE, &Filters::default());
        assert!(grants.permit(Protocol::Tcp(53), now), "an empty list permits everything");
        grants.remove(ONE);
        assert!(!grants.permit(Protocol::Tcp(53), now));
    }

    #[test]
    fn expired_grant_permits_nothing_and_leaves_no_deadline() {
        let (mut grants, now) = (Grants::default(), start());
        let until = now + Duration::from_secs(60);
        grants.insert(ONE, Filters::default(), Some(until));
        assert_eq!(grants.poll_timeout(), Some(until));
        assert!(grants.permit(Protocol::Icmp, now));
        assert!(!grants.permit(Protocol::Icmp, until), "also before it is removed");

        grants.handle_timeout(until);

        assert_eq!(grants.poll_timeout(), None);
    }

    #[test]
    fn resync_removes_unlisted_grants_and_updates_expiry() {
        let (mut grants, now) = (Grants::default(), start());
        grants.insert(ONE, only(Filter::Icmp), None);
        grants.insert(TWO, only(Filter::Udp(1..=1)), None);
        let until = now + Duration::from_secs(60);

        grants.resync(&BTreeMap::from([(TWO, until), (ResourceId::from_u128(3), until)]));

        assert!(!grants.permit(Protocol::Icmp, now));
        assert!(grants.permit(Protocol::Udp(1), now));
        assert_eq!(grants.poll_timeout(), Some(until));
    }
}
