//! Gateways.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use model::{GatewayId, ResourceId};

use super::identity::Identity;
use crate::{prefixes::PrefixMap, send_queue::SendQueue};

/// Who was heard within this time is in use. A little more than it takes to notice that the way to it is dead.
const IN_USE_WINDOW: Duration = Duration::from_secs(30);
/// The same source is noted once in this time: in a download it is the source of every packet.
const HEARD_UPDATE_INTERVAL: Duration = Duration::from_secs(1);

/// All gateways that we have a connection with, or are making one.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    gateways: BTreeMap<GatewayId, Gateway>,
    by_address: BTreeMap<IpAddr, GatewayId>,
}

/// One gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    identity: Identity,
    /// Whether packets can travel.
    is_connected: bool,
    /// When it last sent us something, and from where.
    last_heard: Option<(IpAddr, Instant)>,
    /// Which addresses it may speak for.
    sources: PrefixMap<Source>,
    /// What waits for the connection.
    pub(crate) queue: SendQueue,
}

/// What a gateway may speak for.
#[derive(Debug, Default)]
struct Source {
    /// The resources that permit it.
    because: BTreeSet<ResourceId>,
    /// When it was last heard; kept for single addresses.
    heard: Option<Instant>,
}

impl Peers {
    /// Whether this gateway is known under another identity.
    pub(crate) fn has_other_identity(&self, gateway: GatewayId, identity: &Identity) -> bool {
        self.gateways.get(&gateway).is_some_and(|known| known.identity != *identity)
    }

    /// The gateway, made if there is none.
    pub(crate) fn upsert(&mut self, gateway: GatewayId, identity: Identity) -> &mut Gateway {
        for address in identity.addresses() {
            self.by_address.insert(address, gateway);
        }
        self.gateways.entry(gateway).or_insert_with(|| Gateway {
            identity,
            is_connected: false,
            last_heard: None,
            sources: PrefixMap::default(),
            queue: SendQueue::default(),
        })
    }

    /// Forgets a gateway.
    pub(crate) fn remove(&mut self, gateway: GatewayId) -> Option<Gateway> {
        self.by_address.retain(|_, owner| *owner != gateway);
        self.gateways.remove(&gateway)
    }

    /// A gateway that we know.
    pub(crate) fn gateway(&self, gateway: GatewayId) -> Option<&Gateway> {
        self.gateways.get(&gateway)
    }

    /// A gateway that we know.
    pub(crate) fn gateway_mut(&mut self, gateway: GatewayId) -> Option<&mut Gateway> {
        self.gateways.get_mut(&gateway)
    }

    /// The gateway that has this address in the tunnel.
    pub(crate) fn with_address(&self, address: IpAddr) -> Option<GatewayId> {
        self.by_address.get(&address).copied()
    }

    /// The gateways that packets can travel to.
    pub(crate) fn connected(&self) -> impl Iterator<Item = GatewayId> {
        self.gateways.iter().filter(|(_, gateway)| gateway.is_connected).map(|(id, _)| *id)
    }

    /// All gateways that we know.
    pub(crate) fn ids(&self) -> BTreeSet<GatewayId> {
        self.gateways.keys().copied().collect()
    }
}

impl Gateway {
    /// Packets can travel from now on.
    pub(crate) fn connected(&mut self) {
        self.is_connected = true;
    }

    /// It has sent us a packet from `source`.
    pub(crate) fn heard(&mut self, source: IpAddr, now: Instant) {
        if self.last_heard.is_some_and(|(last, at)| last == source && now.duration_since(at) < HEARD_UPDATE_INTERVAL) {
            return;
        }
        self.last_heard = Some((source, now));
        self.sources.update(source.into(), |it| {
            it.heard = Some(now);
            true
        });
    }

    /// Whether somebody on this host was listening to it not long ago. A conversation in which only the other end speaks
    /// would not begin again by itself, as no packet of ours asks for the resource.
    pub(crate) fn is_in_use(&self, now: Instant) -> bool {
        self.last_heard.is_some_and(|(_, at)| now.duration_since(at) < IN_USE_WINDOW)
    }

    /// The single addresses that were heard not long ago, and the resources that permit them.
    pub(crate) fn addresses_in_use(&self, now: Instant) -> Vec<(IpAddr, &BTreeSet<ResourceId>)> {
        let single = self.sources.networks().filter(|network| network.prefix_len() == network.max_prefix_len());
        let heard = single.filter_map(|network| {
            let source = self.sources.containing(network.addr()).next()?;
            let is_in_use = source.heard.is_some_and(|at| now.duration_since(at) < IN_USE_WINDOW);
            is_in_use.then_some((network.addr(), &source.because))
        });
        heard.collect()
    }

    /// Its address in the tunnel, of the same family as `like`.
    pub(crate) fn address(&self, like: IpAddr) -> IpAddr {
        let [v4, v6] = self.identity.addresses();
        if like.is_ipv4() { v4 } else { v6 }
    }

    /// Lets the gateway speak for `network` because of `resource`.
    pub(crate) fn allow(&mut self, network: IpNet, resource: ResourceId) {
        self.sources.entry(network).because.insert(resource);
    }

    /// The gateway no longer speaks for anything because of `resource`.
    pub(crate) fn disallow(&mut self, resource: ResourceId) {
        self.sources.retain(|_, source| {
            source.because.remove(&resource);
            !source.because.is_empty()
        });
    }

    /// Whether the gateway may send packets with this source.
    pub(crate) fn may_send_from(&self, source: IpAddr) -> bool {
        self.identity.has_address(source) || self.sources.containing(source).next().is_some()
    }
}
