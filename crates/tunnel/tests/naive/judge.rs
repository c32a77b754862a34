//! What can happen, and whether the real client and the naive one see it alike.

use std::{collections::BTreeSet, net::IpAddr};

use dns::{Decision, Upstream, Via};
use ip_packet::{IpPacket, Transport, build, control};
use model::{FromPortal, PeerId, Resource, ToPortal, message::DeviceGrant};

use super::{
    super::world::{self, CLIENT_V4, CLIENT_V6, id, lab::Lab, secs},
    client::{Client, Reply, Seen, Time},
    universe::{self, Choose, DEVICES, GATEWAYS, Known, PEERS, Packet, Thing},
};

/// Something that happens.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Upsert(u128, Thing),
    Remove(u128),
    /// The portal says everything anew, and nothing is new.
    Snapshot,
    SwitchInternet(bool),
    /// Whether a site has gateways from now on, or devices answer.
    Presence(u128, bool),
    Send(Packet),
    Ask(&'static str, &'static str),
    /// A gateway sends from this address.
    Receive(usize, IpAddr),
    /// A device sends from this port.
    ReceiveFromDevice(usize, u16, bool),
    /// A device is let in through this pool.
    Introduce(usize, u128, Vec<Known>),
    Revoke(usize, u128),
    Goodbye(usize),
    Roam,
    Idle(Time),
}

/// Both clients, and what happened so far.
pub(crate) struct Judge {
    lab: Lab,
    naive: Client,
    /// Sites without gateways; 0 stands for devices.
    away: BTreeSet<u128>,
    began: std::time::Instant,
    packets: u16,
    pub(crate) story: Vec<Op>,
}

impl Op {
    /// Chooses what happens next.
    pub(crate) fn any(chance: &mut impl Choose) -> Self {
        let device = GATEWAYS + chance.below(DEVICES);
        match chance.below(40) {
            0..7 => {
                let (id, thing) = universe::any_thing(chance);
                Self::Upsert(id, thing)
            }
            7..9 => Self::Remove(1 + chance.below(9) as u128),
            9 => Self::Snapshot,
            10..12 => Self::SwitchInternet(chance.below(3) > 0),
            12 => Self::Presence(chance.below(GATEWAYS + 1) as u128, false),
            13 => Self::Presence(chance.below(GATEWAYS + 1) as u128, true),
            14..24 => Self::Send(universe::any_packet(chance)),
            24..29 => Self::Ask(chance.one_of(&universe::NAMES), chance.one_of(&universe::TYPES)),
            29..32 => {
                let source = universe::any_packet(chance).to;
                Self::Receive(chance.below(GATEWAYS), source)
            }
            32..35 => Self::ReceiveFromDevice(device, chance.one_of(&universe::PORTS), chance.below(2) == 0),
            35 => {
                let filters = chance.one_of(&[None, Some(Known::Udp(universe::OUR_PORT)), Some(Known::Icmp)]);
                Self::Introduce(device, 7 + chance.below(2) as u128, filters.into_iter().collect())
            }
            36 => Self::Revoke(device, 7 + chance.below(2) as u128),
            37 => Self::Goodbye(chance.below(PEERS)),
            38 if chance.below(2) == 0 => Self::Roam,
            _ => Self::Idle(chance.one_of(&[10, 40, 160])),
        }
    }
}

impl Judge {
    pub(crate) fn new() -> Self {
        let mut lab = Lab::new(&[]);
        while lab.gateways.len() < GATEWAYS {
            lab.add_gateway();
        }
        for _ in 0..DEVICES {
            lab.add_device();
        }
        let began = lab.client.now;
        Self { lab, naive: Client::default(), away: BTreeSet::new(), began, packets: 0, story: Vec::new() }
    }

    /// Lets it happen to both, and compares.
    pub(crate) fn happen(&mut self, op: Op) -> Result<(), String> {
        while self.naive.is_on_the_edge(self.now()) {
            self.lab.run_for(secs(10));
        }
        self.story.push(op.clone());
        match op {
            Op::Upsert(id, thing) => {
                self.hear(FromPortal::ResourceCreatedOrUpdated(universe::resource(id, &thing)));
                self.naive.upsert(id, thing);
            }
            Op::Remove(number) => {
                self.hear(FromPortal::ResourceDeleted(id(number)));
                self.naive.remove(number);
            }
            Op::Snapshot => self.snapshot(),
            Op::SwitchInternet(on) => {
                self.lab.client.tunnel.switch_internet_resource(on, self.lab.client.now);
                self.lab.client.drain();
                self.naive.switch_internet(on);
            }
            Op::Presence(site, true) => {
                self.away.remove(&site);
            }
            Op::Presence(site, false) => {
                self.away.insert(site);
            }
            Op::Send(packet) => self.send(packet)?,
            Op::Ask(name, qtype) => self.ask(name, qtype)?,
            Op::Receive(gateway, source) => self.receive(gateway, source)?,
            Op::ReceiveFromDevice(index, port, v4) => self.receive_from_device(index, port, v4)?,
            Op::Introduce(index, pool, filters) => {
                let grant = DeviceGrant { resource: id(pool), filters: universe::filters(&filters), expires_at: None };
                self.lab.introduce(number(index), Some(grant));
                self.settle();
                self.naive.may_be_sent_by(index, pool, filters);
            }
            Op::Revoke(index, pool) => {
                let client = world::device(number(index)).client_id;
                self.hear(FromPortal::RejectAccess { client, resource: id(pool) });
                self.naive.revoked_from(index, pool);
            }
            Op::Goodbye(index) => {
                self.lab.seal_from(index, &control::goodbye());
                self.settle();
                if index < GATEWAYS { self.naive.lose_gateway(index) } else { self.naive.lose_device(index) }
            }
            Op::Roam => {
                self.lab.client.tunnel.reset(self.lab.client.now);
                self.lab.client.drain();
                let (away, now) = (self.away.clone(), self.now());
                self.naive.roam(|site| !away.contains(&site), now);
                self.snapshot();
            }
            Op::Idle(seconds) => self.lab.run_for(secs(seconds)),
        }
        self.settle();
        self.compare_state()
    }

    fn now(&self) -> Time {
        (self.lab.client.now - self.began).as_secs()
    }

    fn hear(&mut self, message: FromPortal) {
        self.lab.client.hear(message);
        self.settle();
    }

    fn snapshot(&mut self) {
        let resources: Vec<Resource> =
            self.naive.things.iter().map(|(id, thing)| universe::resource(*id, thing)).collect();
        let everybody = (GATEWAYS..PEERS).flat_map(|index| [7, 8].map(|pool| (index, pool)));
        let grants = everybody.map(|(index, pool)| model::message::InboundGrant {
            client: world::device(number(index)).client_id,
            resource: id(pool),
            expires_at: u64::MAX,
        });
        self.lab.client.init_with_grants(world::interface(), &resources, grants.collect());
    }

    /// The portal answers what it is asked, the network carries what there is.
    fn settle(&mut self) {
        for _ in 0..6 {
            let is_request = |message: &ToPortal| matches!(message, ToPortal::RequestAuthorization { .. });
            let (requests, rest) = std::mem::take(&mut self.lab.client.to_portal).into_iter().partition(is_request);
            // Everything else is the lab's business.
            self.lab.client.to_portal = rest;
            let requests: Vec<ToPortal> = requests;
            for request in requests {
                let ToPortal::RequestAuthorization { resource, device, .. } = request else { continue };
                match device {
                    None => self.answer(resource),
                    Some(address) => self.answer_about_device(address),
                }
            }
            self.lab.run_for(secs(1));
        }
    }

    fn answer(&mut self, resource: model::ResourceId) {
        let known = self.naive.things.iter().find(|(number, _)| id(**number) == resource);
        let Some((_, thing)) = known else { return };
        let site = thing.site;
        if self.away.contains(&site) {
            self.lab.client.hear_failure(resource, model::message::FailReason::Offline);
        } else {
            self.lab.permit_in(resource, universe::gateway_of(site), site);
        }
    }

    fn answer_about_device(&mut self, address: IpAddr) {
        let Some(index) = universe::device_at(address) else { return };
        if self.away.contains(&universe::DEVICE_SITE) {
            let device = world::device(number(index));
            // Only about this address: to the other one nothing may have been asked.
            let (ipv4, ipv6) = match address {
                IpAddr::V4(_) => (Some(device.ipv4), None),
                IpAddr::V6(_) => (None, Some(device.ipv6)),
            };
            let reason = model::message::FailReason::Offline;
            self.lab.client.hear(FromPortal::ClientDeviceAccessDenied { ipv4, ipv6, reason });
        } else {
            self.lab.introduce(number(index), None);
        }
    }

    fn send(&mut self, packet: Packet) -> Result<(), String> {
        self.packets += 1;
        let (bytes, now) = (universe::bytes(packet, self.packets), self.now());
        self.forget_traffic();
        self.lab.client.send(bytes.clone());
        self.settle();
        let was_connected = universe::device_at(packet.to).is_some_and(|index| self.naive.has_device(index));
        let away = self.away.clone();
        let expected = self.naive.outbound(packet, |site| !away.contains(&site), now);
        // Whom the portal denies is not only not reached, but no longer connected either.
        if let Some(index) = universe::device_at(packet.to)
            && was_connected
            && expected == Seen::Nothing
            && self.naive_denied(packet)
        {
            self.naive.lose_device(index);
        }

        let mut seen = self.arrivals(&bytes);
        seen.extend(self.lab.client.packets.iter().filter_map(|it| is_refusal_of(it, &bytes).then_some(Seen::Refusal)));
        same("the packet", &seen, expected)
    }

    /// Whether nothing came of a packet to a device because the portal denied it.
    fn naive_denied(&self, packet: Packet) -> bool {
        let is_member = |thing: &Thing| {
            matches!(&thing.kind, universe::Kind::Pool(members)
                if universe::device_at(packet.to).is_some_and(|index| members.contains(&index)))
        };
        self.away.contains(&universe::DEVICE_SITE) && self.naive.things.values().any(is_member)
    }

    fn receive(&mut self, gateway: usize, source: IpAddr) -> Result<(), String> {
        let (packet, now) = (datagram(source, 53, universe::OUR_PORT), self.now());
        self.forget_traffic();
        self.lab.seal_from(gateway, &packet);
        self.settle();
        same("a gateway's packet", &self.deliveries(&packet), self.naive.gateway_sends(gateway, source, now))
    }

    fn receive_from_device(&mut self, index: usize, port: u16, v4: bool) -> Result<(), String> {
        let source = universe::addresses_of_peer(index)[usize::from(!v4)];
        let (packet, now) = (datagram(source, port, universe::OUR_PORT), self.now());
        self.forget_traffic();
        self.lab.seal_from(index, &packet);
        self.settle();
        let mut seen = self.deliveries(&packet);
        let received = &self.lab.gateways[index].received;
        seen.extend(received.iter().filter_map(|it| is_refusal_of(it, &packet).then_some(Seen::Refusal)));
        same("a device's packet", &seen, self.naive.device_sends(index, port, v4, now))
    }

    fn ask(&mut self, name: &'static str, qtype: &'static str) -> Result<(), String> {
        let now = self.now();
        let query = self.lab.client.ask(name, qtype);
        self.settle();
        let away = self.away.clone();
        let expected = self.naive.query(name, qtype, |site| !away.contains(&site), now);
        let seen = match self.lab.client.decision(query) {
            Some(Decision::Answer(answer)) => {
                Reply::Addresses(answer.records.iter().filter_map(|record| record.data.ip_addr()).collect())
            }
            Some(Decision::Forward { to: Upstream::Do53(to), via, .. }) => match universe::gateway_at(to.ip()) {
                Some(gateway) => Reply::Site(gateway),
                None => Reply::Upstream { through_tunnel: *via == Via::Tunnel },
            },
            Some(Decision::ServFail) => Reply::Failure,
            other => return Err(format!("the question came to {other:?}")),
        };
        if seen == expected { Ok(()) } else { Err(format!("the question: {seen:?} instead of {expected:?}")) }
    }

    fn compare_state(&self) -> Result<(), String> {
        let told = self.lab.client.interfaces.last().map(|it| &it.routes);
        let routes: BTreeSet<String> = told.into_iter().flatten().map(ToString::to_string).collect();
        if routes != self.naive.routes() {
            return Err(format!("routes: {routes:?} instead of {:?}", self.naive.routes()));
        }
        let told = self.lab.client.lists.last().into_iter().flatten();
        let list: Vec<(String, String)> =
            told.map(|view| (view.id.to_string(), format!("{:?}", view.status).to_lowercase())).collect();
        let expected = self.naive.list(self.now());
        let expected: Vec<_> =
            expected.iter().map(|(number, status)| (id(*number).to_string(), (*status).to_owned())).collect();
        if list != expected {
            return Err(format!("list: {list:?} instead of {expected:?}"));
        }
        for gateway in 0..GATEWAYS {
            let is_connected = self
                .lab
                .client
                .tunnel
                .paths()
                .iter()
                .any(|path| PeerId::Gateway(path.gateway) == self.lab.gateways[gateway].id());
            if is_connected != self.naive.has_gateway(gateway) {
                return Err(format!("gateway {gateway} is connected: {is_connected}"));
            }
        }
        Ok(())
    }

    /// What the client dropped, for whoever has to find out why.
    pub(crate) fn drops(&self) -> Vec<(&'static str, u64)> {
        let counters = self.lab.client.tunnel.counters();
        counters.iter().filter(|(_, count)| *count > 0).map(|(reason, count)| (reason.name(), count)).collect()
    }

    fn forget_traffic(&mut self) {
        self.lab.client.packets.clear();
        for peer in &mut self.lab.gateways {
            peer.received.clear();
            peer.forget_kept();
        }
    }

    /// Who got this packet, once for each time.
    fn arrivals(&self, packet: &IpPacket) -> Vec<Seen> {
        let count = |index: usize| self.lab.gateways[index].received.iter().filter(|it| *it == packet).count();
        (0..PEERS).flat_map(|index| std::iter::repeat_n(Seen::Arrival(index), count(index))).collect()
    }

    fn deliveries(&self, packet: &IpPacket) -> Vec<Seen> {
        self.lab.client.packets.iter().filter(|it| *it == packet).map(|_| Seen::Delivery).collect()
    }
}

fn same(what: &str, seen: &[Seen], expected: Seen) -> Result<(), String> {
    let is_same = match seen {
        [] => expected == Seen::Nothing,
        [one] => *one == expected,
        _ => false,
    };
    if is_same { Ok(()) } else { Err(format!("{what}: {seen:?} instead of {expected:?}")) }
}

fn is_refusal_of(packet: &IpPacket, refused: &IpPacket) -> bool {
    let Transport::IcmpError(quoted) = packet.transport() else { return false };
    quoted.is_prohibited() && (quoted.source, quoted.destination) == (refused.source(), refused.destination())
}

fn datagram(source: IpAddr, from: u16, to: u16) -> IpPacket {
    let us: IpAddr = if source.is_ipv4() { CLIENT_V4 } else { CLIENT_V6 }.parse().unwrap();
    build::udp(std::net::SocketAddr::new(source, from), std::net::SocketAddr::new(us, to), b"x").unwrap()
}

/// Lists count from 0, addresses from 1.
fn number(index: usize) -> u8 {
    u8::try_from(index + 1).unwrap()
}
