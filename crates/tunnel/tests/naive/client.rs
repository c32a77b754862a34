//! The naive client: lists and `if`s, no networking, and no code in common with the one that it judges.
//!
//! It knows what a portal said and what happened, and says for each thing that a program or a peer does what has to be
//! seen outside. Read it as the specification of resources, access and names.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::universe::{self, DEVICES, GATEWAYS, Kind, Known, Packet, Proto, Thing};

/// Seconds.
pub(crate) type Time = u64;

/// What has to be seen after a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Whoever sent it is told that it is forbidden; nobody gets it.
    Refusal,
    /// Nothing at all.
    Nothing,
    /// This peer gets it, and nobody else. Gateways and devices are counted together.
    Arrival(usize),
    /// A program on this host gets it.
    Delivery,
}

/// What has to be seen after a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// These addresses.
    Addresses(Vec<IpAddr>),
    /// It is passed on to the resolver, through the tunnel or not.
    Upstream { through_tunnel: bool },
    /// It is passed on to the gateway with this index.
    Site(usize),
    /// An error.
    Failure,
}

#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) things: BTreeMap<u128, Thing>,
    pub(crate) wants_internet: bool,
    /// Names in the order in which they were first asked for.
    names: Vec<&'static str>,
    /// Which resource each name matched, and with which pattern.
    matched: BTreeSet<(&'static str, u128, &'static str)>,
    /// Which gateway each resource is used through.
    granted: BTreeMap<u128, usize>,
    /// The names that each gateway was told of, because of which resource.
    announced: BTreeSet<(usize, &'static str, u128)>,
    /// When each gateway was last heard.
    heard: BTreeMap<usize, Time>,
    /// When it was last heard from an address of a name.
    names_heard: BTreeMap<(usize, IpAddr), Time>,
    /// Sites without gateways, and since when we know.
    offline: BTreeMap<u128, Time>,
    /// Connected devices.
    devices: BTreeMap<usize, Device>,
}

#[derive(Debug, Default)]
struct Device {
    /// The pools through which we may reach it.
    pools: BTreeSet<u128>,
    /// What it may send, by resource.
    grants: BTreeMap<u128, Vec<Known>>,
    /// Conversations by their port and family: when whoever began them last spoke.
    ours: BTreeMap<(u16, bool), Time>,
    theirs: BTreeMap<(u16, bool), Time>,
}

/// How long a conversation over UDP may be silent.
pub(crate) const SILENCE: Time = 120;
const OFFLINE: Time = 300;
/// What was heard within this time is asked for again when its connection is lost without a goodbye.
const IN_USE: Time = 30;

impl Client {
    // What the portal says.

    pub(crate) fn upsert(&mut self, id: u128, thing: Thing) {
        if let Some(known) = self.things.get(&id).cloned() {
            match (&known.kind, &thing.kind) {
                (Kind::Pool(before), Kind::Pool(after)) => {
                    for (index, device) in &mut self.devices {
                        if before.contains(index) && !after.contains(index) {
                            device.pools.remove(&id);
                        }
                    }
                    if known.filters != thing.filters {
                        for device in self.devices.values_mut() {
                            device.grants.entry(id).and_modify(|filters| filters.clone_from(&thing.filters));
                        }
                    }
                }
                _ if known != thing => self.remove(id),
                _ => {}
            }
        }
        if let Kind::Names(pattern, _) = thing.kind {
            self.matched.retain(|(_, of, with)| *of != id || *with == pattern);
        }
        self.things.insert(id, thing);
    }

    pub(crate) fn remove(&mut self, id: u128) {
        self.things.remove(&id);
        self.withdraw(id);
        self.devices.values_mut().for_each(|device| {
            device.pools.remove(&id);
        });
    }

    pub(crate) fn switch_internet(&mut self, on: bool) {
        self.wants_internet = on;
        if !on {
            let internet: Vec<u128> = self.ids(|kind| *kind == Kind::Internet).collect();
            internet.into_iter().for_each(|id| self.withdraw(id));
        }
    }

    pub(crate) fn offline(&mut self, id: u128, now: Time) {
        self.withdraw(id);
        let site = self.things[&id].site;
        if !self.is_online(site) {
            self.offline.insert(site, now);
        }
    }

    pub(crate) fn may_be_sent_by(&mut self, device: usize, id: u128, filters: Vec<Known>) {
        self.devices.entry(device).or_default().grants.insert(id, filters);
    }

    pub(crate) fn revoked_from(&mut self, device: usize, id: u128) {
        if let Some(device) = self.devices.get_mut(&device) {
            device.grants.remove(&id);
        }
    }

    // What peers do.

    pub(crate) fn lose_gateway(&mut self, gateway: usize) {
        self.granted.retain(|_, through| *through != gateway);
        self.announced.retain(|(of, _, _)| *of != gateway);
        self.heard.remove(&gateway);
        self.names_heard.retain(|(of, _), _| *of != gateway);
    }

    pub(crate) fn lose_device(&mut self, device: usize) {
        self.devices.remove(&device);
    }

    pub(crate) fn roam(&mut self, is_there: impl Fn(u128) -> bool, now: Time) {
        let in_use = |at: &Time| now < at + IN_USE;
        for lost in 0..GATEWAYS {
            let is_in_use = self.heard.get(&lost).is_some_and(in_use);
            let (granted, announced, heard) = (self.granted.clone(), self.announced.clone(), self.names_heard.clone());
            self.lose_gateway(lost);
            // Everything that was used through it, and the names of which something was heard.
            for (id, _) in granted.into_iter().filter(|(_, through)| is_in_use && *through == lost) {
                let Some(gateway) = self.use_resource(id, &is_there, now) else { continue };
                for (_, name, _) in announced.iter().filter(|(to, _, because)| (*to, *because) == (lost, id)) {
                    if self.addresses(name).iter().any(|ip| heard.get(&(lost, *ip)).is_some_and(in_use)) {
                        self.announced.insert((gateway, name, id));
                    }
                }
            }
        }
        self.devices.clear();
    }

    // What has to be seen.

    pub(crate) fn routes(&self) -> BTreeSet<String> {
        let mut routes: BTreeSet<String> = universe::RANGES.iter().map(|&range| range.to_owned()).collect();
        for thing in self.things.values() {
            match thing.kind {
                Kind::Network(network) => {
                    routes.insert(network.to_owned());
                }
                Kind::Internet if self.wants_internet => routes.extend(["0.0.0.0/0".to_owned(), "::/0".to_owned()]),
                Kind::Internet | Kind::Names(..) | Kind::Pool(_) => {}
            }
        }
        routes
    }

    /// Ids and status, as people see them: the Internet first. All other names are equal.
    pub(crate) fn list(&self, now: Time) -> Vec<(u128, &'static str)> {
        let status = |thing: &Thing| {
            if self.is_online(thing.site) {
                "online"
            } else if self.offline.get(&thing.site).is_some_and(|since| now < since + OFFLINE) {
                "offline"
            } else {
                "unknown"
            }
        };
        let internet = self.things.iter().filter(|(_, thing)| thing.kind == Kind::Internet);
        let others = self.things.iter().filter(|(_, thing)| !matches!(thing.kind, Kind::Internet | Kind::Pool(_)));
        internet.chain(others).map(|(id, thing)| (*id, status(thing))).collect()
    }

    /// A program asks for a name. `is_there` says whether a site has gateways.
    pub(crate) fn query(
        &mut self,
        name: &'static str,
        qtype: &str,
        is_there: impl Fn(u128) -> bool,
        now: Time,
    ) -> Reply {
        let matching = |kind: &Kind| matches!(kind, Kind::Names(pattern, _) if universe::matches(pattern, name));
        let matching: Vec<u128> = self.ids(matching).collect();
        let internet = self.wants_internet && self.ids(|kind| *kind == Kind::Internet).count() > 0;
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
                    let Kind::Names(pattern, stack) = self.things[&id].kind else { continue };
                    self.matched.insert((name, id, pattern));
                    has_family |= stack.has(qtype == "A");
                }
                let mut all = self.addresses(name);
                all.retain(|ip| has_family && ip.is_ipv4() == (qtype == "A"));
                Reply::Addresses(all)
            }
            "HTTPS" => Reply::Addresses(Vec::new()),
            "TXT" | "SRV" => {
                let best = matching.into_iter().max_by_key(|id| (universe::specificity(&self.things[id].kind), *id));
                let Some(best) = best else { return upstream };
                match self.use_resource(best, &is_there, now) {
                    Some(gateway) => Reply::Site(gateway),
                    None => Reply::Failure,
                }
            }
            _ => upstream,
        }
    }

    /// A program sends a packet.
    pub(crate) fn outbound(&mut self, packet: Packet, is_there: impl Fn(u128) -> bool, now: Time) -> Seen {
        let to = packet.to;
        if to.is_multicast() || universe::is_ours(to) || universe::is_sentinel(to) || packet.proto == Proto::Gre {
            return Seen::Nothing;
        }
        if let Some(gateway) = universe::gateway_at(to).filter(|gateway| self.has_gateway(*gateway)) {
            return Seen::Arrival(gateway);
        }
        if let Some(index) = universe::device_at(to) {
            return self.send_to_device(index, packet, is_there(universe::DEVICE_SITE), now);
        }
        let Some((id, name)) = self.resource_for(packet) else { return Seen::Nothing };
        if !universe::permits(&self.things[&id].filters, packet.proto) {
            return Seen::Refusal;
        }
        let Some(gateway) = self.use_resource(id, &is_there, now) else { return Seen::Nothing };
        if let Some(name) = name {
            self.announced.insert((gateway, name, id));
        }
        Seen::Arrival(gateway)
    }

    /// A gateway sends a packet to us.
    pub(crate) fn gateway_sends(&mut self, gateway: usize, source: IpAddr, now: Time) -> Seen {
        let is_of_a_name = self.speaks_for_a_name(gateway, source);
        let may = self.has_gateway(gateway)
            && (universe::gateway_at(source) == Some(gateway)
                || is_of_a_name
                || self.granted.iter().any(|(id, through)| {
                    *through == gateway
                        && match self.things[id].kind {
                            Kind::Network(network) => universe::contains(network, source),
                            Kind::Internet => true,
                            Kind::Names(..) | Kind::Pool(_) => false,
                        }
                }));
        if !may {
            return Seen::Nothing;
        }
        self.heard.insert(gateway, now);
        if is_of_a_name {
            self.names_heard.insert((gateway, source), now);
        }
        Seen::Delivery
    }

    /// A device sends a datagram from one of its ports to the only one of ours.
    pub(crate) fn device_sends(&mut self, index: usize, port: u16, v4: bool, now: Time) -> Seen {
        let Some(device) = self.devices.get_mut(&index) else { return Seen::Nothing };
        if device.ours.get(&(port, v4)).is_some_and(|last| now < last + SILENCE) {
            return Seen::Delivery;
        }
        let proto = Proto::Udp(universe::OUR_PORT);
        if !device.grants.values().any(|filters| universe::permits(filters, proto)) {
            return Seen::Refusal;
        }
        device.theirs.insert((port, v4), now);
        Seen::Delivery
    }

    /// Whether any conversation is so nearly over that it is unclear what a packet finds.
    pub(crate) fn is_on_the_edge(&self, now: Time) -> bool {
        let conversations = self.devices.values().flat_map(|device| device.ours.values().chain(device.theirs.values()));
        let near = |age: Time| (SILENCE - 15..=SILENCE + 15).contains(&age);
        let near_offline = self.offline.values().any(|since| (OFFLINE - 15..=OFFLINE + 15).contains(&(now - since)));
        let near_in_use = self
            .heard
            .values()
            .chain(self.names_heard.values())
            .any(|at| (IN_USE - 15..=IN_USE + 15).contains(&(now - at)));
        near_offline || near_in_use || conversations.map(|last| now - last).any(near)
    }

    pub(crate) fn has_device(&self, index: usize) -> bool {
        self.devices.contains_key(&index)
    }

    fn send_to_device(&mut self, index: usize, packet: Packet, is_there: bool, now: Time) -> Seen {
        let Proto::Udp(port) = packet.proto else { return Seen::Nothing };
        let flow = (port, packet.to.is_ipv4());
        let theirs = self.devices.get(&index).and_then(|device| device.theirs.get(&flow));
        if theirs.is_some_and(|last| now < last + SILENCE) {
            return Seen::Arrival(index);
        }
        let pools = self.ids(|kind| matches!(kind, Kind::Pool(members) if members.contains(&index)));
        let permits = |id: &u128| universe::permits(&self.things[id].filters, packet.proto);
        let Some(best) = pools.max_by_key(|id| (permits(id), *id)) else { return Seen::Nothing };
        if !permits(&best) {
            return Seen::Refusal;
        }
        let may = self.devices.get(&index).is_some_and(|device| device.pools.contains(&best));
        if !may && !is_there {
            return Seen::Nothing;
        }
        let device = self.devices.entry(index).or_default();
        device.pools.insert(best);
        device.ours.insert(flow, now);
        Seen::Arrival(index)
    }

    /// The resource for a packet, and the name if it is one of names.
    fn resource_for(&self, packet: Packet) -> Option<(u128, Option<&'static str>)> {
        let permits = |id: &u128| universe::permits(&self.things[id].filters, packet.proto);
        let owner = self.names.iter().copied().find(|name| self.addresses(name).contains(&packet.to));
        let named = self.matched.iter().filter(|(name, id, pattern)| {
            Some(*name) == owner
                && self.things.get(id).is_some_and(|thing| {
                    matches!(thing.kind, Kind::Names(now, stack) if now == *pattern && stack.has(packet.to.is_ipv4()))
                })
        });
        let best = named.max_by_key(|(_, id, _)| (permits(id), universe::specificity(&self.things[id].kind), *id));
        if let Some((name, id, _)) = best {
            return Some((*id, Some(*name)));
        }

        let containing = |kind: &Kind| matches!(kind, Kind::Network(network) if universe::contains(network, packet.to));
        let length = |id: &u128| match self.things[id].kind {
            Kind::Network(network) => universe::length(network),
            Kind::Names(..) | Kind::Internet | Kind::Pool(_) => 0,
        };
        if let Some(id) = self.ids(containing).max_by_key(|id| (permits(id), length(id), *id)) {
            return Some((id, None));
        }
        if !self.wants_internet || universe::is_peer(packet.to) {
            return None;
        }
        self.ids(|kind| *kind == Kind::Internet).max().map(|id| (id, None))
    }

    /// The gateway that a resource is used through from now on, if its site has one.
    fn use_resource(&mut self, id: u128, is_there: &impl Fn(u128) -> bool, now: Time) -> Option<usize> {
        if let Some(gateway) = self.granted.get(&id) {
            return Some(*gateway);
        }
        let site = self.things[&id].site;
        if !is_there(site) {
            self.offline(id, now);
            return None;
        }
        let gateway = universe::gateway_of(site);
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

    /// Whether a gateway was told that this address is one of a name's, because of a resource that is used through it.
    fn speaks_for_a_name(&self, gateway: usize, source: IpAddr) -> bool {
        self.announced.iter().any(|(to, name, because)| {
            *to == gateway
                && self.granted.get(because) == Some(&gateway)
                && matches!(self.things.get(because), Some(Thing { kind: Kind::Names(_, stack), .. })
                    if stack.has(source.is_ipv4()))
                && self.addresses(name).contains(&source)
        })
    }

    /// A gateway is connected for as long as anything is used through it.
    pub(crate) fn has_gateway(&self, gateway: usize) -> bool {
        self.granted.values().any(|through| *through == gateway)
    }

    fn is_online(&self, site: u128) -> bool {
        site != universe::DEVICE_SITE && self.has_gateway(universe::gateway_of(site))
    }

    fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let place = self.names.iter().position(|known| *known == name);
        place.map(universe::invented).unwrap_or_default()
    }

    fn ids<'a>(&'a self, is: impl Fn(&Kind) -> bool + 'a) -> impl Iterator<Item = u128> + 'a {
        self.things.iter().filter(move |(_, thing)| is(&thing.kind)).map(|(id, _)| *id)
    }
}

const _: () = assert!(GATEWAYS + DEVICES == universe::PEERS);
