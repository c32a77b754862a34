//! Names, for people who wonder.

use std::{net::IpAddr, time::Instant};

use dns::{AnswerSource, Coverage, Domain, Origin, Server};
use model::ResourceId;

use super::Tunnel;

/// Whom we ask for what we do not answer ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamesView {
    /// Who chose the resolvers.
    pub origin: Origin,
    /// The resolvers, in their order.
    pub servers: Vec<Server>,
    /// The domain in which the host looks up single labels.
    pub search_domain: Option<String>,
    /// How many names have addresses that we invented.
    pub assigned: usize,
}

/// Why a name is answered as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameView {
    /// The name, as it is compared.
    pub name: Domain,
    /// Who answers.
    pub answer: NameAnswer,
    /// What the name belongs to, what counts most first.
    pub resources: Vec<MatchView>,
    /// Its addresses, as far as it has any yet.
    pub addresses: Vec<IpAddr>,
    /// Whether what another resolver said about it is remembered.
    pub is_cached: bool,
    /// Who is asked what we do not answer ourselves, for each address on which we may be asked.
    pub servers: Vec<Server>,
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameAnswer {
    /// The portal knows: it belongs to a pool of devices.
    DevicePool,
    /// As the stub says.
    Stub(AnswerSource),
}

/// A resource to which a name belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchView {
    /// Which resource.
    pub resource: ResourceId,
    /// What it is called.
    pub name: String,
    /// Its pattern.
    pub pattern: String,
    /// Where its services and texts are asked: the names of its sites.
    pub sites: Vec<String>,
}

impl Tunnel {
    /// Whom we ask.
    #[must_use]
    pub fn names(&self) -> NamesView {
        NamesView {
            origin: self.stub.resolver_origin(),
            servers: self.servers(),
            search_domain: self.interface.as_ref().and_then(|interface| interface.search_domain.clone()),
            assigned: self.stub.names().iter().count(),
        }
    }

    /// Why `name` is answered as it is. Nothing changes by asking this.
    #[must_use]
    pub fn explain(&self, name: &Domain, now: Instant) -> NameView {
        let explained = self.stub.explain(name, now);
        let pool = self.device_names.pool_of(name);
        let of_pool = pool.map(|(pattern, id)| (pattern.clone(), id));
        let addresses = match pool {
            Some((_, id)) => {
                self.device_names.resolved(id, name).into_iter().flat_map(dns::Device::addresses).collect()
            }
            None => explained.addresses,
        };
        let of_stub = explained.matches.into_iter().filter(|_| pool.is_none());
        let resources = of_pool.into_iter().chain(of_stub);
        NameView {
            name: explained.name,
            answer: if pool.is_some() { NameAnswer::DevicePool } else { NameAnswer::Stub(explained.source) },
            resources: resources.map(|(pattern, id)| self.match_view(&pattern, id)).collect(),
            addresses,
            is_cached: explained.is_cached,
            servers: self.servers(),
        }
    }

    /// Forgets what other resolvers said.
    pub fn flush_names(&mut self) {
        self.stub.flush();
    }

    fn servers(&self) -> Vec<Server> {
        self.stub.servers(|ip| self.coverage(ip))
    }

    /// Which resources cover the address of a resolver.
    pub(super) fn coverage(&self, ip: IpAddr) -> Coverage {
        let internet = self.resources.active_internet().is_some();
        Coverage { cidr: self.routing.has_network_with(ip), internet }
    }

    fn match_view(&self, pattern: &dns::Pattern, id: ResourceId) -> MatchView {
        let resource = self.resources.resource(id);
        MatchView {
            resource: id,
            name: resource.map(|it| it.name().to_owned()).unwrap_or_default(),
            pattern: pattern.to_string(),
            sites: resource.map(|it| it.sites().iter().map(|site| site.name.clone()).collect()).unwrap_or_default(),
        }
    }
}
