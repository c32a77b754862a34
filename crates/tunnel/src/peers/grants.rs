//! What another client may send us unasked.

use std::{collections::BTreeMap, time::Instant};

use model::{Filters, ResourceId, filter::Protocol};

/// The grants of one client, by the resource through which it has each.
#[derive(Debug, Default)]
pub(crate) struct Grants(BTreeMap<ResourceId, Grant>);

#[derive(Debug)]
struct Grant {
    filters: Filters,
    /// For ever if absent.
    until: Option<Instant>,
}

impl Grants {
    /// Adds a grant, instead of the one that there was because of the same resource.
    pub(crate) fn insert(&mut self, resource: ResourceId, filters: Filters, until: Option<Instant>) {
        self.0.insert(resource, Grant { filters, until });
    }

    /// Takes a grant back.
    pub(crate) fn remove(&mut self, resource: ResourceId) {
        self.0.remove(&resource);
    }

    /// What the resource lets through has changed.
    pub(crate) fn set_filters(&mut self, resource: ResourceId, filters: &Filters) {
        if let Some(grant) = self.0.get_mut(&resource) {
            grant.filters = filters.clone();
        }
    }

    /// These and no others are valid, until then. What is listed but was never granted with its filters is not added.
    pub(crate) fn resync(&mut self, valid: &BTreeMap<ResourceId, Instant>) {
        self.0.retain(|resource, grant| match valid.get(resource) {
            Some(until) => {
                grant.until = Some(*until);
                true
            }
            None => false,
        });
    }

    /// Whether any grant lets this in.
    pub(crate) fn permit(&self, protocol: Protocol, now: Instant) -> bool {
        let mut live = self.0.values().filter(|grant| grant.until.is_none_or(|until| now < until));
        live.any(|grant| grant.filters.permit(protocol))
    }

    /// Takes back what is over.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.0.retain(|_, grant| grant.until.is_none_or(|until| now < until));
    }

    /// When the next one is over.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.0.values().filter_map(|grant| grant.until).min()
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
    fn without_grants_nothing_is_let_in_and_with_several_what_any_lets_in() {
        let (mut grants, now) = (Grants::default(), start());
        assert!(!grants.permit(Protocol::Icmp, now));

        grants.insert(ONE, only(Filter::Icmp), None);
        grants.insert(TWO, only(Filter::Udp(53..=53)), None);
        assert!(grants.permit(Protocol::Icmp, now) && grants.permit(Protocol::Udp(53), now));
        assert!(!grants.permit(Protocol::Tcp(53), now));

        grants.set_filters(ONE, &Filters::default());
        assert!(grants.permit(Protocol::Tcp(53), now), "an empty list lets everything in");
        grants.remove(ONE);
        assert!(!grants.permit(Protocol::Tcp(53), now));
    }

    #[test]
    fn a_grant_is_over_at_its_time_and_leaves_no_deadline() {
        let (mut grants, now) = (Grants::default(), start());
        let until = now + Duration::from_secs(60);
        grants.insert(ONE, Filters::default(), Some(until));
        assert_eq!(grants.poll_timeout(), Some(until));
        assert!(grants.permit(Protocol::Icmp, now));
        assert!(!grants.permit(Protocol::Icmp, until), "also before anybody tidies up");

        grants.handle_timeout(until);

        assert_eq!(grants.poll_timeout(), None);
    }

    #[test]
    fn what_the_portal_does_not_list_is_over_and_what_it_lists_gets_its_time() {
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
