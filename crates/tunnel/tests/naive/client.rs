//! The naive client: lists and `if`s, no networking, and no code in common with the client under test.
//!
//! It tracks the portal's messages and all events, and predicts the visible outcome of each action of a program or peer.
//! Read it as the specification of resources, access and names.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::scenario::{self, DEVICES, GATEWAYS, Kind, ModelFilter, ModelResource, Packet, Proto};

/// Time in seconds.
pub(crate) type Seconds = u64;

/// The expected outcome of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The sender gets an ICMP error, and the packet is not forwarded.
    Refusal,
    /// The packet is dropped silently.
    Nothing,
    /// Only this peer receives it. Gateways and devices share one index.
    Arrival(usize),
    /// The host receives it.
    Delivery,
}

/// The expected outcome of a DNS query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A local answer with these addresses.
    Addresses(Vec<IpAddr>),
    /// Forwarded to the resolver.
    Upstream { through_tunnel: bool },
    /// Forwarded to the gateway with this index.
    Site(usize),
    /// SERVFAIL.
    Failure,
}

#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) resources: BTreeMap<u128, ModelResource>,
    pub(crate) internet_enabled: bool,
    /// Names in the order of their first query.
    names: Vec<&'static str>,
    /// The resources and patterns that each name matched.
    matched: BTreeSet<(&'static str, u128, &'static str)>,
    /// The gateway of each resource with access.
    granted: BTreeMap<u128, usize>,
    /// The announced names: gateway, name, resource.
    announced: BTreeSet<(usize, &'static str, u128)>,
    /// When each gateway last sent a packet.
    heard: BTreeMap<usize, Seconds>,
    /// When each gateway last sent a packet from a proxy address.
    names_heard: BTreeMap<(usize, IpAddr), Seconds>,
    /// Offline sites, and since when they are known to be offline.
    offline: BTreeMap<u128, Seconds>,
    /// Connected devices.
    devices: BTreeMap<usize, Device>,
}

#[derive(Debug, Default)]
struct Device {
    /// The pools through which it may be reached.
    pools: BTreeSet<u128>,
    /// Its grants, by resource.
    grants: BTreeMap<u128, Vec<ModelFilter>>,
    /// Flows by port and address family, with the time of the initiator's last packet.
    ours: BTreeMap<(u16, bool), Seconds>,
    theirs: BTreeMap<(u16, bool), Seconds>,
}

/// Idle timeout of UDP flows.
pub(crate) const UDP_IDLE_TIMEOUT: Seconds = 120;
const OFFLINE_EXPIRY: Seconds = 300;
/// Resources used within this time are requested again when their connection is lost without a goodbye.
const IN_USE_WINDOW: Seconds = 30;

impl Client {
    // Messages of the portal.

    pub(crate) fn upsert(&mut self, id: u128, resource: ModelResource) {
        if let Some(known) = self.resources.get(&id).cloned() {
            match (&known.kind, &resource.kind) {
                (Kind::Pool(before), Kind::Pool(after)) => {
                    for (index, device) in &mut self.devices {
                        if before.contains(index) && !after.contains(index) {
                            device.pools.remove(&id);
                        }
                    }
                    if known.filters != resource.filters {
                        for device in self.devices.values_mut() {
                            device.grants.entry(id).and_modify(|filters| filters.clone_from(&resource.filters));
                        }
                    }
                }
                _ if known != resource => self.remove(id),
                _ => {}
            }
        }
        if let Kind::Names(pattern, _) = resource.kind {
            self.matched.retain(|(_, of, with)| *of != id || *with == pattern);
        }
        self.resources.insert(id, resource);
    }

    pub(crate) fn remove(&mut self, id: u128) {
        self.resources.remove(&id);
        self.withdraw(id);
        self.devices.values_mut().for_each(|device| {
            device.pools.remove(&id);
        });
    }

    pub(crate) fn set_internet_enabled(&mut self, on: bool) {
        self.internet_enabled = on;
        if !on {
            let internet: Vec<u128> = self.ids(|kind| *kind == Kind::Internet).collect();
            internet.into_iter().for_each(|id| self.withdraw(id));
        }
    }

    pub(crate) fn offline(&mut self, id: u128, now: Seconds) {
        self.withdraw(id);
        let site = self.resources[&id].site;
        if !self.is_online(site) {
            self.offline.insert(site, now);
        }
    }

    pub(crate) fn grant_incoming(&mut self, device: usize, id: u128, filters: Vec<ModelFilter>) {
        self.devices.entry(device).or_default().grants.insert(id, filters);
    }

    pub(crate) fn revoke_incoming(&mut self, device: usize, id: u128) {
        if let Some(device) = self.devices.get_mut(&device) {
            device.grants.remove(&id);
        }
    }

    // Events of peers.

    pub(crate) fn lose_gateway(&mut self, gateway: usize) {
        self.granted.retain(|_, through| *through != gateway);
        self.announced.retain(|(of, _, _)| *of != gateway);
        self.heard.remove(&gateway);
        self.names_heard.retain(|(of, _), _| *of != gateway);
    }

    pub(crate) fn lose_device(&mut self, device: usize) {
        self.devices.remove(&device);
    }

    pub(crate) fn roam(&mut self, is_online_site: impl Fn(u128) -> bool, now: Seconds) {
        let in_use = |at: &Seconds| now < at + IN_USE_WINDOW;
        for lost in 0..GATEWAYS {
            let is_in_use = self.heard.get(&lost).is_some_and(in_use);
            let (granted, announced, heard) = (self.granted.clone(), self.announced.clone(), self.names_heard.clone());
            self.lose_gateway(lost);
            // All resources that were used through it, and the names from which packets were received.
            for (id, _) in granted.into_iter().filter(|(_, through)| is_in_use && *through == lost) {
                let Some(gateway) = self.use_resource(id, &is_online_site, now) else { continue };
                for (_, name, _) in announced.iter().filter(|(to, _, because)| (*to, *because) == (lost, id)) {
                    if self.addresses(name).iter().any(|ip| heard.get(&(lost, *ip)).is_some_and(in_use)) {
                        self.announced.insert((gateway, name, id));
                    }
                }
            }
        }
        self.devices.clear();
    }

    // Expected outcomes.

    pub(crate) fn routes(&self) -> BTreeSet<String> {
        let mut routes: BTreeSet<String> = scenario::RANGES.iter().map(|&range| range.to_owned()).collect();
        for resource in self.resources.values() {
            match resource.kind {
                Kind::Network(network) => {
                    routes.insert(network.to_owned());
                }
                Kind::Internet if self.internet_enabled => routes.extend(["0.0.0.0/0".to_owned(), "::/0".to_owned()]),
                Kind::Internet | Kind::Names(..) | Kind::Pool(_) => {}
            }
        }
        routes
    }

    /// Ids and status in list order: the Internet first. All other names are equal.
    pub(crate) fn list(&self, now: Seconds) -> Vec<(u128, &'static str)> {
        let status = |resource: &ModelResource| {
            if self.is_online(resource.site) {
                "online"
            } else if self.offline.get(&resource.site).is_some_and(|since| now < since + OFFLINE_EXPIRY) {
                "offline"
            } else {
                "unknown"
            }
        };
        let internet = self.resources.iter().filter(|(_, resource)| resource.kind == Kind::Internet);
        let others =
            self.resources.iter().filter(|(_, resource)| !matches!(resource.kind, Kind::Internet | Kind::Pool(_)));
        internet.chain(others).map(|(id, resource)| (*id, status(resource))).collect()
    }

    /// A program resolves a name. `is_online_site` returns whether a site has gateways.
    pub(crate) fn query(
        &mut self,
        name: &'static str,
        qtype: &str,
        is_online_site: impl Fn(u128) -> bool,
        now: Seconds,
    ) -> Reply {
        let matching = |kind: &Kind| matches!(kind, Kind::Names(pattern, _) if scenario::matches(pattern, name));
        let matching: Vec<u128> = self.ids(matching).collect();
        let internet = self.internet_enabled && self.ids(|kind| *kind == Kind::Internet).count() > 0;
        let upstream = Reply::Upstream { through_tunnel: internet };
        if matching.is_empty() {
            return upstream;
        }
        match qtype {
            "A" | "AAAA" => {
                if !self.names.contains(&name) {
                    self.names.push(name);
                }
                let mut has_family = false;
                for id in matching {
                    let Kind::Names(pattern, stack) = self.resources[&id].kind else { continue };
                    self.matched.insert((name, id, pattern));
                    has_family |= stack.has(qtype == "A");
                }
                let mut all = self.addresses(name);
                all.retain(|ip| has_family && ip.is_ipv4() == (qtype == "A"));
                Reply::Addresses(all)
            }
            "HTTPS" => Reply::Addresses(Vec::new()),
            "TXT" | "SRV" => {
                let best = matching.into_iter().max_by_key(|id| (scenario::specificity(&self.resources[id].kind), *id));
                let Some(best) = best else { return upstream };
                match self.use_resource(best, &is_online_site, now) {
                    Some(gateway) => Reply::Site(gateway),
                    None => Reply::Failure,
                }
            }
            _ => upstream,
        }
    }

    /// A program sends a packet.
    pub(crate) fn outbound(&mut self, packet: Packet, is_online_site: impl Fn(u128) -> bool, now: Seconds) -> Outcome {
        let to = packet.to;
        if to.is_multicast() || scenario::is_ours(to) || scenario::is_sentinel(to) || packet.proto == Proto::Gre {
            return Outcome::Nothing;
        }
        if let Some(gateway) = scenario::gateway_at(to).filter(|gateway| self.has_gateway(*gateway)) {
            return Outcome::Arrival(gateway);
        }
        if let Some(index) = scenario::device_at(to) {
            return self.send_to_device(index, packet, is_online_site(scenario::DEVICE_SITE), now);
        }
        let Some((id, name)) = self.resource_for(packet) else { return Outcome::Nothing };
        if !scenario::permits(&self.resources[&id].filters, packet.proto) {
            return Outcome::Refusal;
        }
        let Some(gateway) = self.use_resource(id, &is_online_site, now) else { return Outcome::Nothing };
        if let Some(name) = name {
            self.announced.insert((gateway, name, id));
        }
        Outcome::Arrival(gateway)
    }

    /// A gateway sends a packet to the client.
    pub(crate) fn gateway_sends(&mut self, gateway: usize, source: IpAddr, now: Seconds) -> Outcome {
        let is_of_a_name = self.speaks_for_a_name(gateway, source);
        let may = self.has_gateway(gateway)
            && (scenario::gateway_at(source) == Some(gateway)
                || is_of_a_name
                || self.granted.iter().any(|(id, through)| {
                    *through == gateway
                        && match self.resources[id].kind {
                            Kind::Network(network) => scenario::contains(network, source),
                            Kind::Internet => true,
                            Kind::Names(..) | Kind::Pool(_) => false,
                        }
                }));
        if !may {
            return Outcome::Nothing;
        }
        self.heard.insert(gateway, now);
        if is_of_a_name {
            self.names_heard.insert((gateway, source), now);
        }
        Outcome::Delivery
    }

    /// A device sends a datagram from one of its ports to the client's only port.
    pub(crate) fn device_sends(&mut self, index: usize, port: u16, v4: bool, now: Seconds) -> Outcome {
        let Some(device) = self.devices.get_mut(&index) else { return Outcome::Nothing };
        if device.ours.get(&(port, v4)).is_some_and(|last| now < last + UDP_IDLE_TIMEOUT) {
            return Outcome::Delivery;
        }
        let proto = Proto::Udp(scenario::OUR_PORT);
        if !device.grants.values().any(|filters| scenario::permits(filters, proto)) {
            return Outcome::Refusal;
        }
        device.theirs.insert((port, v4), now);
        Outcome::Delivery
    }

    /// Whether a time-out is so near that the outcome of a packet is ambiguous.
    pub(crate) fn is_near_a_timeout(&self, now: Seconds) -> bool {
        let conversations = self.devices.values().flat_map(|device| device.ours.values().chain(device.theirs.values()));
        let near = |age: Seconds| (UDP_IDLE_TIMEOUT - 15..=UDP_IDLE_TIMEOUT + 15).contains(&age);
        let near_offline =
            self.offline.values().any(|since| (OFFLINE_EXPIRY - 15..=OFFLINE_EXPIRY + 15).contains(&(now - since)));
        let near_in_use = self
            .heard
            .values()
            .chain(self.names_heard.values())
            .any(|at| (IN_USE_WINDOW - 15..=IN_USE_WINDOW + 15).contains(&(now - at)));
        near_offline || near_in_use || conversations.map(|last| now - last).any(near)
    }

    pub(crate) fn has_device(&self, index: usize) -> bool {
        self.devices.contains_key(&index)
    }

    fn send_to_device(&mut self, index: usize, packet: Packet, is_online_site: bool, now: Seconds) -> Outcome {
        let Proto::Udp(port) = packet.proto else { return Outcome::Nothing };
        let flow = (port, packet.to.is_ipv4());
        let theirs = self.devices.get(&index).and_then(|device| device.theirs.get(&flow));
        if theirs.is_some_and(|last| now < last + UDP_IDLE_TIMEOUT) {
            return Outcome::Arrival(index);
        }
        let pools = self.ids(|kind| matches!(kind, Kind::Pool(members) if members.contains(&index)));
        let permits = |id: &u128| scenario::permits(&self.resources[id].filters, packet.proto);
        let Some(best) = pools.max_by_key(|id| (permits(id), *id)) else { return Outcome::Nothing };
        if !permits(&best) {
            return Outcome::Refusal;
        }
        let may = self.devices.get(&index).is_some_and(|device| device.pools.contains(&best));
        if !may && !is_online_site {
            return Outcome::Nothing;
        }
        let device = self.devices.entry(index).or_default();
        device.pools.insert(best);
        device.ours.insert(flow, now);
        Outcome::Arrival(index)
    }

    /// The resource for a packet, and the name if it is a DNS resource.
    fn resource_for(&self, packet: Packet) -> Option<(u128, Option<&'static str>)> {
        let permits = |id: &u128| scenario::permits(&self.resources[id].filters, packet.proto);
        let owner = self.names.iter().copied().find(|name| self.addresses(name).contains(&packet.to));
        let named = self.matched.iter().filter(|(name, id, pattern)| {
            Some(*name) == owner
                && self.resources.get(id).is_some_and(|resource| {
                    matches!(resource.kind, Kind::Names(now, stack) if now == *pattern && stack.has(packet.to.is_ipv4()))
                })
        });
        let best = named.max_by_key(|(_, id, _)| (permits(id), scenario::specificity(&self.resources[id].kind), *id));
        if let Some((name, id, _)) = best {
            return Some((*id, Some(*name)));
        }

        let containing = |kind: &Kind| matches!(kind, Kind::Network(network) if scenario::contains(network, packet.to));
        let length = |id: &u128| match self.resources[id].kind {
            Kind::Network(network) => scenario::length(network),
            Kind::Names(..) | Kind::Internet | Kind::Pool(_) => 0,
        };
        if let Some(id) = self.ids(containing).max_by_key(|id| (permits(id), length(id), *id)) {
            return Some((id, None));
        }
        if !self.internet_enabled || scenario::is_peer(packet.to) {
            return None;
        }
        self.ids(|kind| *kind == Kind::Internet).max().map(|id| (id, None))
    }

    /// The gateway of a resource, granting access if its site has one.
    fn use_resource(&mut self, id: u128, is_online_site: &impl Fn(u128) -> bool, now: Seconds) -> Option<usize> {
        if let Some(gateway) = self.granted.get(&id) {
            return Some(*gateway);
        }
        let site = self.resources[&id].site;
        if !is_online_site(site) {
            self.offline(id, now);
            return None;
        }
        let gateway = scenario::gateway_of(site);
        self.granted.insert(id, gateway);
        self.offline.remove(&site);
        Some(gateway)
    }

    fn withdraw(&mut self, id: u128) {
        let Some(gateway) = self.granted.remove(&id) else { return };
        self.announced.retain(|(of, _, because)| (*of, *because) != (gateway, id));
        let forgotten = self.names_heard.keys().copied().filter(|(of, ip)| !self.speaks_for_a_name(*of, *ip));
        for key in forgotten.collect::<Vec<_>>() {
            self.names_heard.remove(&key);
        }
        if !self.has_gateway(gateway) {
            self.lose_gateway(gateway);
        }
    }

    /// Whether this address belongs to a name that was announced to the gateway for a resource used through it.
    fn speaks_for_a_name(&self, gateway: usize, source: IpAddr) -> bool {
        self.announced.iter().any(|(to, name, because)| {
            *to == gateway
                && self.granted.get(because) == Some(&gateway)
                && matches!(self.resources.get(because), Some(ModelResource { kind: Kind::Names(_, stack), .. })
                    if stack.has(source.is_ipv4()))
                && self.addresses(name).contains(&source)
        })
    }

    /// A gateway is connected while any resource is used through it.
    pub(crate) fn has_gateway(&self, gateway: usize) -> bool {
        self.granted.values().any(|through| *through == gateway)
    }

    fn is_online(&self, site: u128) -> bool {
        site != scenario::DEVICE_SITE && self.has_gateway(scenario::gateway_of(site))
    }

    fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let place = self.names.iter().position(|known| *known == name);
        place.map(scenario::proxy_addresses).unwrap_or_default()
    }

    fn ids<'a>(&'a self, is: impl Fn(&Kind) -> bool + 'a) -> impl Iterator<Item = u128> + 'a {
        self.resources.iter().filter(move |(_, resource)| is(&resource.kind)).map(|(id, _)| *id)
    }
}

const _: () = assert!(GATEWAYS + DEVICES == scenario::PEERS);
