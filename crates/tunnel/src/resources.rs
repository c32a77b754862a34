//! The resources that the portal listed.

use std::collections::{BTreeMap, BTreeSet};

use model::{Refusal, Resource, ResourceId, ResourceView, Site, SiteId, Status, view::Kind};

/// All resources, and whether the user enabled the Internet resource.
///
/// The setting is kept when the resource is removed and added again, which happens when an administrator moves it to
/// another site.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    by_id: BTreeMap<ResourceId, Resource>,
    /// The Internet resources; the portal has at most one per account.
    internet: BTreeSet<ResourceId>,
    internet_enabled: bool,
    /// The resources to which the portal denied access at the last request.
    refusals: BTreeMap<ResourceId, Refusal>,
}

/// How a resource differs from the known one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The id is new.
    New,
    /// It is a different resource: granted access and connections of the old one are void.
    Replaced,
    /// It is a device pool with other members or filters. Remaining members are not affected.
    Members,
    /// At most its display properties changed.
    DisplayOnly,
}

impl Resources {
    /// Compares `resource` with the known one.
    pub(crate) fn compare(&self, resource: &Resource) -> Change {
        match self.by_id.get(&resource.id()) {
            None => Change::New,
            Some(known) if is_equivalent(known, resource) => Change::DisplayOnly,
            Some(Resource::StaticDevicePool(_)) if matches!(resource, Resource::StaticDevicePool(_)) => Change::Members,
            Some(_) => Change::Replaced,
        }
    }

    /// Stores `resource`.
    pub(crate) fn insert(&mut self, resource: Resource) {
        let id = resource.id();
        if matches!(resource, Resource::Internet(_)) {
            self.internet.insert(id);
        } else {
            self.internet.remove(&id);
        }
        self.by_id.insert(id, resource);
    }

    /// Forgets a resource.
    pub(crate) fn remove(&mut self, id: ResourceId) -> Option<Resource> {
        self.internet.remove(&id);
        self.refusals.remove(&id);
        self.by_id.remove(&id)
    }

    /// Sets why the portal denied access to a resource; `None` if access was granted. Returns whether that changed.
    pub(crate) fn set_refusal(&mut self, id: ResourceId, refusal: Option<Refusal>) -> bool {
        if !self.by_id.contains_key(&id) || self.refusals.get(&id) == refusal.as_ref() {
            return false;
        }
        match refusal {
            Some(refusal) => self.refusals.insert(id, refusal),
            None => self.refusals.remove(&id),
        };
        true
    }

    /// A resource.
    pub(crate) fn resource(&self, id: ResourceId) -> Option<&Resource> {
        self.by_id.get(&id)
    }

    /// The resources that are not in `list`.
    pub(crate) fn missing_from(&self, list: &[Resource]) -> Vec<ResourceId> {
        let listed: BTreeSet<ResourceId> = list.iter().map(Resource::id).collect();
        self.by_id.keys().filter(|id| !listed.contains(id)).copied().collect()
    }

    /// Enables or disables the Internet resource. Returns whether that changed.
    pub(crate) fn set_internet_enabled(&mut self, on: bool) -> bool {
        std::mem::replace(&mut self.internet_enabled, on) != on
    }

    /// The Internet resource, if it exists and is enabled.
    pub(crate) fn active_internet(&self) -> Option<ResourceId> {
        self.internet().filter(|_| self.internet_enabled)
    }

    /// The Internet resource, if it exists.
    pub(crate) fn internet(&self) -> Option<ResourceId> {
        self.internet.last().copied()
    }

    /// The list for users: the Internet resource first, then by name. Device pools are not listed as resources.
    pub(crate) fn views(&self, status: impl Fn(&[Site]) -> Status) -> Vec<ResourceView> {
        let mut views: Vec<ResourceView> = self
            .by_id
            .values()
            .filter_map(|resource| view(resource, &status, self.refusals.get(&resource.id())))
            .collect();
        let sort_key = |view: &ResourceView| (view.kind != Kind::Internet, view.name.clone(), view.id);
        views.sort_by_cached_key(sort_key);
        views
    }
}

/// Whether two resources differ at most in their display properties.
fn is_equivalent(a: &Resource, b: &Resource) -> bool {
    let sites = |resource: &Resource| resource.sites().iter().map(|site| site.id).collect::<BTreeSet<SiteId>>();
    let has_equal_targets = match (a, b) {
        (Resource::Dns(a), Resource::Dns(b)) => {
            a.address == b.address && a.ip_stack == b.ip_stack && a.filters == b.filters
        }
        (Resource::Cidr(a), Resource::Cidr(b)) => a.address == b.address && a.filters == b.filters,
        (Resource::Internet(_), Resource::Internet(_)) => true,
        (Resource::StaticDevicePool(a), Resource::StaticDevicePool(b)) => {
            a.members == b.members && a.filters == b.filters
        }
        (Resource::DynamicDevicePool(a), Resource::DynamicDevicePool(b)) => {
            a.members == b.members && a.filters == b.filters
        }
        (
            Resource::Dns(_)
            | Resource::Cidr(_)
            | Resource::Internet(_)
            | Resource::StaticDevicePool(_)
            | Resource::DynamicDevicePool(_),
            _,
        ) => false,
    };
    has_equal_targets && sites(a) == sites(b)
}

fn view(resource: &Resource, status: impl Fn(&[Site]) -> Status, refusal: Option<&Refusal>) -> Option<ResourceView> {
    let (kind, address, address_description) = match resource {
        Resource::Dns(it) => (Kind::Dns, Some(it.address.clone()), it.address_description.clone()),
        Resource::Cidr(it) => (Kind::Cidr, Some(it.address.to_string()), it.address_description.clone()),
        Resource::Internet(_) => (Kind::Internet, None, None),
        Resource::StaticDevicePool(_) | Resource::DynamicDevicePool(_) => return None,
    };
    Some(ResourceView {
        id: resource.id(),
        kind,
        name: resource.name().to_owned(),
        address,
        address_description,
        sites: resource.sites().to_vec(),
        status: status(resource.sites()),
        refusal: refusal.cloned(),
    })
}

#[cfg(test)]
mod tests {
    use model::{DnsResource, Filter, IpStack};

    use super::*;
    use crate::testing::{cidr, dns, internet, site};

    #[test]
    fn display_change_of_a_resource_keeps_its_access() {
        let mut resources = Resources::default();
        let known = dns(1, "*.example.com", &[]);
        assert_eq!(resources.compare(&Resource::Dns(known.clone())), Change::New);
        resources.insert(Resource::Dns(known.clone()));

        let mut renamed = DnsResource { name: "other".to_owned(), ..known.clone() };
        renamed.sites[0].name = "other".to_owned();
        assert_eq!(resources.compare(&Resource::Dns(renamed)), Change::DisplayOnly);

        for changed in [
            dns(1, "*.example.org", &[]),
            dns(1, "*.example.com", &[Filter::Icmp]),
            DnsResource { ip_stack: IpStack::Ipv4Only, ..known.clone() },
            DnsResource { sites: vec![site(2)], ..known },
        ] {
            assert_eq!(resources.compare(&Resource::Dns(changed)), Change::Replaced);
        }
        assert_eq!(resources.compare(&Resource::Cidr(cidr(1, "10.0.0.0/8", &[]))), Change::Replaced);
    }

    #[test]
    fn internet_setting_outlives_the_resource() {
        let mut resources = Resources::default();
        assert!(!resources.set_internet_enabled(false), "disabled by default");
        assert!(resources.set_internet_enabled(true));
        assert_eq!(resources.active_internet(), None);

        let resource = internet(1);
        resources.insert(resource.clone());
        assert_eq!(resources.active_internet(), Some(resource.id()));
        resources.remove(resource.id());
        assert_eq!(resources.active_internet(), None);
        resources.insert(resource.clone());
        assert_eq!(resources.active_internet(), Some(resource.id()));
    }

    #[test]
    fn list_shows_the_internet_first_and_the_rest_by_name() {
        let mut resources = Resources::default();
        resources.insert(Resource::Cidr(named("b", 1)));
        resources.insert(Resource::Dns(DnsResource { name: "a".to_owned(), ..dns(2, "*.example.com", &[]) }));
        resources.insert(Resource::Cidr(named("a", 1_000)));
        resources.insert(internet(9));

        let views = resources.views(|_| Status::Unknown);

        let names: Vec<&str> = views.iter().map(|view| view.name.as_str()).collect();
        assert_eq!(names, ["Internet", "a", "a", "b"]);
        assert_eq!(views[1].kind, Kind::Dns, "equal names stand in the order of their ids");
        assert_eq!(views[0].address, None);
        assert_eq!(views[3].address.as_deref(), Some("10.0.0.0/8"));
    }

    fn named(name: &str, number: u128) -> model::CidrResource {
        model::CidrResource { name: name.to_owned(), ..cidr(number, "10.0.0.0/8", &[]) }
    }
}
