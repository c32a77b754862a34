//! Diagnostics of name resolution.

use std::{net::IpAddr, time::Instant};

use dns::{Coverage, Domain, Server};
use model::ResourceId;

use super::{
    Tunnel,
    views::{DnsView, MatchView, NameAnswer, NameExplanation},
};

impl Tunnel {
    /// The state of name resolution.
    #[must_use]
    pub fn names(&self) -> DnsView {
        DnsView {
            origin: self.stub.resolver_origin(),
            servers: self.servers(),
            search_domain: self.interface.as_ref().and_then(|interface| interface.search_domain.clone()),
            assigned: self.stub.names().iter().count(),
        }
    }

    /// Explains how `name` is resolved, without side effects.
    #[must_use]
    pub fn explain(&self, name: &Domain, now: Instant) -> NameExplanation {
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
        NameExplanation {
            name: explained.name,
            answer: if pool.is_some() { NameAnswer::DevicePool } else { NameAnswer::Stub(explained.source) },
            resources: resources.map(|(pattern, id)| self.match_view(&pattern, id)).collect(),
            addresses,
            is_cached: explained.is_cached,
            servers: self.servers(),
        }
    }

    /// Flushes the cache of upstream answers.
    pub fn flush_names(&mut self) {
        self.stub.flush();
    }

    fn servers(&self) -> Vec<Server> {
        self.stub.servers(|ip| self.coverage(ip))
    }

    /// Which resources cover the address of a resolver.
    pub(super) fn coverage(&self, ip: IpAddr) -> Coverage {
        let internet = self.resources.active_internet().is_some();
        Coverage { cidr: self.routing.network_contains(ip), internet }
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
