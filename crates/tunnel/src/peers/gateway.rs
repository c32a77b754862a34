//! The state of a gateway.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use model::ResourceId;

use crate::prefixes::PrefixMap;

/// A gateway is in use for this long after its last packet: a little longer than it takes to detect a dead path.
const IN_USE_WINDOW: Duration = Duration::from_secs(30);
/// Minimum time between two updates for the same source: in a download every packet has the same one.
const HEARD_UPDATE_INTERVAL: Duration = Duration::from_secs(1);

/// What is known about a gateway, besides its identity.
#[derive(Debug, Default)]
pub(crate) struct Gateway {
    /// The source and time of its last packet.
    last_heard: Option<(IpAddr, Instant)>,
    /// The source addresses that it may use besides its own.
    sources: PrefixMap<Source>,
}

/// A permitted source network.
#[derive(Debug, Default)]
struct Source {
    /// The resources that permit it.
    resources: BTreeSet<ResourceId>,
    /// When a packet from it was last received; recorded for single addresses only.
    last_heard: Option<Instant>,
}

impl Gateway {
    /// Records a packet from `source`.
    pub(crate) fn record_packet(&mut self, source: IpAddr, now: Instant) {
        if self.last_heard.is_some_and(|(last, at)| last == source && now.duration_since(at) < HEARD_UPDATE_INTERVAL) {
            return;
        }
        self.last_heard = Some((source, now));
        self.sources.update(source.into(), |it| {
            it.last_heard = Some(now);
            true
        });
    }

    /// Whether packets arrived from the gateway recently. Programs that only receive would not resume by themselves after
    /// a lost connection, because no outgoing packet requests access again.
    pub(crate) fn is_in_use(&self, now: Instant) -> bool {
        self.last_heard.is_some_and(|(_, at)| now.duration_since(at) < IN_USE_WINDOW)
    }

    /// The single addresses from which packets arrived recently, and the resources that permit them.
    pub(crate) fn addresses_in_use(&self, now: Instant) -> Vec<(IpAddr, &BTreeSet<ResourceId>)> {
        let single = self.sources.networks().filter(|network| network.prefix_len() == network.max_prefix_len());
        let in_use = single.filter_map(|network| {
            let source = self.sources.containing(network.addr()).next()?;
            let is_in_use = source.last_heard.is_some_and(|at| now.duration_since(at) < IN_USE_WINDOW);
            is_in_use.then_some((network.addr(), &source.resources))
        });
        in_use.collect()
    }

    /// Allows `network` as source because of `resource`.
    pub(crate) fn allow(&mut self, network: IpNet, resource: ResourceId) {
        self.sources.entry(network).resources.insert(resource);
    }

    /// Removes all sources that only `resource` permits.
    pub(crate) fn disallow(&mut self, resource: ResourceId) {
        self.sources.retain(|_, source| {
            source.resources.remove(&resource);
            !source.resources.is_empty()
        });
    }

    /// Whether any resource permits packets with this source.
    pub(crate) fn may_send_from(&self, source: IpAddr) -> bool {
        self.sources.containing(source).next().is_some()
    }
}
