//! What the portal says we may reach.

use std::collections::{BTreeMap, BTreeSet};

use model::{Resource, ResourceId, ResourceView, Site, SiteId, Status, view::Kind};

/// All resources, and whether the user wants the Internet resource.
///
/// The wish is remembered when the resource goes away and comes back, as it does when an administrator moves it to
/// another site.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    by_id: BTreeMap<ResourceId, Resource>,
    /// Those among them that are the Internet; the portal has at most one per account.
    internet: BTreeSet<ResourceId>,
    wants_internet: bool,
}

/// How a resource compares with what was known under its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing was known.
    New,
    /// It is another thing now: whatever was allowed or set up for the old one is void.
    Replaced,
    /// At most what people see of it changed.
    Cosmetic,
}

impl Resources {
    /// How `resource` compares with what is known.
    pub(crate) fn compare(&self, resource: &Resource) -> Change {
        match self.by_id.get(&resource.id()) {
            None => Change::New,
            Some(known) if is_same(known, resource) => Change::Cosmetic,
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
        self.by_id.remove(&id)
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

    /// Notes what the user wants. Says whether that is news.
    pub(crate) fn switch_internet(&mut self, on: bool) -> bool {
        std::mem::replace(&mut self.wants_internet, on) != on
    }

    /// The Internet resource, if there is one and the user wants it.
    pub(crate) fn active_internet(&self) -> Option<ResourceId> {
        self.internet().filter(|_| self.wants_internet)
    }

    /// The Internet resource, if there is one.
    pub(crate) fn internet(&self) -> Option<ResourceId> {
        self.internet.last().copied()
    }

    /// What people see: the Internet first, then by name. Device pools are not shown as resources.
    pub(crate) fn views(&self, status: impl Fn(&[Site]) -> Status) -> Vec<ResourceView> {
        let mut views: Vec<ResourceView> = self.by_id.values().filter_map(|resource| view(resource, &status)).collect();
        let place = |view: &ResourceView| (view.kind != Kind::Internet, view.name.clone(), view.id);
        views.sort_by_cached_key(place);
        views
    }
}

/// Whether two resources differ at most in what people see.
fn is_same(a: &Resource, b: &Resource) -> bool {
    let sites = |resource: &Resource| resource.sites().iter().map(|site| site.id).collect::<BTreeSet<SiteId>>();
    let is_reached_alike = match (a, b) {
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
    is_reached_alike && sites(a) == sites(b)
}

fn view(resource: &Resource, status: impl Fn(&[Site]) -> Status) -> Option<ResourceView> {
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
    })
}
