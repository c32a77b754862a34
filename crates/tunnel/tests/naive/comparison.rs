//! The possible steps, and the comparison of the real client's outcomes with the naive client's predictions.

use std::{collections::BTreeSet, net::IpAddr};

use dns::{Decision, Upstream, Via};
use ip_packet::{IpPacket, Transport, build, control};
use model::{FromPortal, PeerId, Resource, ToPortal, message::DeviceGrant};

use super::{
    super::support::{self, CLIENT_V4, CLIENT_V6, id, network::TestNetwork, secs},
    client::{Client, Outcome, Reply, Seconds},
    scenario::{self, Choices, DEVICES, GATEWAYS, ModelFilter, ModelResource, PEERS, Packet},
};

/// One step of a scenario.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Upsert(u128, ModelResource),
    Remove(u128),
    /// The portal repeats its complete state without changes.
    Snapshot,
    SwitchInternet(bool),
    /// Whether a site has gateways from now on; 0 stands for devices.
    Presence(u128, bool),
    Send(Packet),
    Ask(&'static str, &'static str),
    /// A gateway sends a packet from this address.
    Receive(usize, IpAddr),
    /// A device sends a packet from this port.
    ReceiveFromDevice(usize, u16, bool),
    /// A device gets a grant through this pool.
    Introduce(usize, u128, Vec<ModelFilter>),
    Revoke(usize, u128),
    Goodbye(usize),
    Roam,
    Idle(Seconds),
}

/// Both clients, and the steps so far.
pub(crate) struct Comparison {
    net: TestNetwork,
    naive: Client,
    /// Sites without gateways; 0 stands for devices.
    offline_sites: BTreeSet<u128>,
    began: std::time::Instant,
    packets: u16,
    pub(crate) history: Vec<Step>,
}

impl Step {
    /// Chooses a random step.
    pub(crate) fn any(choices: &mut impl Choices) -> Self {
        let device = GATEWAYS + choices.below(DEVICES);
        match choices.below(40) {
            0..7 => {
                let (id, resource) = scenario::any_resource(choices);
                Self::Upsert(id, resource)
            }
            7..9 => Self::Remove(1 + choices.below(9) as u128),
            9 => Self::Snapshot,
            10..12 => Self::SwitchInternet(choices.below(3) > 0),
            12 => Self::Presence(choices.below(GATEWAYS + 1) as u128, false),
            13 => Self::Presence(choices.below(GATEWAYS + 1) as u128, true),
            14..24 => Self::Send(scenario::any_packet(choices)),
            24..29 => Self::Ask(choices.one_of(&scenario::NAMES), choices.one_of(&scenario::TYPES)),
            29..32 => {
                let source = scenario::any_packet(choices).to;
                Self::Receive(choices.below(GATEWAYS), source)
            }
            32..35 => Self::ReceiveFromDevice(device, choices.one_of(&scenario::PORTS), choices.below(2) == 0),
            35 => {
                let filters =
                    choices.one_of(&[None, Some(ModelFilter::Udp(scenario::OUR_PORT)), Some(ModelFilter::Icmp)]);
                Self::Introduce(device, 7 + choices.below(2) as u128, filters.into_iter().collect())
            }
            36 => Self::Revoke(device, 7 + choices.below(2) as u128),
            37 => Self::Goodbye(choices.below(PEERS)),
            38 if choices.below(2) == 0 => Self::Roam,
            _ => Self::Idle(choices.one_of(&[10, 40, 160])),
        }
    }
}

impl Comparison {
    pub(crate) fn new() -> Self {
        let mut net = TestNetwork::new(&[]);
        while net.gateways.len() < GATEWAYS {
            net.add_gateway();
        }
        for _ in 0..DEVICES {
            net.add_device();
        }
        let began = net.client.now;
        Self { net, naive: Client::default(), offline_sites: BTreeSet::new(), began, packets: 0, history: Vec::new() }
    }

    /// Applies a step to both clients and compares them.
    pub(crate) fn apply(&mut self, op: Step) -> Result<(), String> {
        while self.naive.is_near_a_timeout(self.now()) {
            self.net.run_for(secs(10));
        }
        self.history.push(op.clone());
        match op {
            Step::Upsert(id, resource) => {
                self.receive_portal(FromPortal::ResourceCreatedOrUpdated(scenario::resource(id, &resource)));
                self.naive.upsert(id, resource);
            }
            Step::Remove(number) => {
                self.receive_portal(FromPortal::ResourceDeleted(id(number)));
                self.naive.remove(number);
            }
            Step::Snapshot => self.snapshot(),
            Step::SwitchInternet(on) => {
                self.net.client.tunnel.switch_internet_resource(on, self.net.client.now);
                self.net.client.drain();
                self.naive.set_internet_enabled(on);
            }
            Step::Presence(site, true) => {
                self.offline_sites.remove(&site);
            }
            Step::Presence(site, false) => {
                self.offline_sites.insert(site);
            }
            Step::Send(packet) => self.send(packet)?,
            Step::Ask(name, qtype) => self.ask(name, qtype)?,
            Step::Receive(gateway, source) => self.receive(gateway, source)?,
            Step::ReceiveFromDevice(index, port, v4) => self.receive_from_device(index, port, v4)?,
            Step::Introduce(index, pool, filters) => {
                let grant = DeviceGrant { resource: id(pool), filters: scenario::filters(&filters), expires_at: None };
                self.net.connect_device(number(index), Some(grant));
                self.settle();
                self.naive.grant_incoming(index, pool, filters);
            }
            Step::Revoke(index, pool) => {
                let client = support::device(number(index)).client_id;
                self.receive_portal(FromPortal::RejectAccess { client, resource: id(pool) });
                self.naive.revoke_incoming(index, pool);
            }
            Step::Goodbye(index) => {
                self.net.seal_from(index, &control::goodbye());
                self.settle();
                if index < GATEWAYS { self.naive.lose_gateway(index) } else { self.naive.lose_device(index) }
            }
            Step::Roam => {
                self.net.client.tunnel.reset(self.net.client.now);
                self.net.client.drain();
                let (offline_sites, now) = (self.offline_sites.clone(), self.now());
                self.naive.roam(|site| !offline_sites.contains(&site), now);
                self.snapshot();
            }
            Step::Idle(seconds) => self.net.run_for(secs(seconds)),
        }
        self.settle();
        self.compare_state()
    }

    fn now(&self) -> Seconds {
        (self.net.client.now - self.began).as_secs()
    }

    fn receive_portal(&mut self, message: FromPortal) {
        self.net.client.receive_portal(message);
        self.settle();
    }

    fn snapshot(&mut self) {
        let resources: Vec<Resource> =
            self.naive.resources.iter().map(|(id, resource)| scenario::resource(*id, resource)).collect();
        let all = (GATEWAYS..PEERS).flat_map(|index| [7, 8].map(|pool| (index, pool)));
        let grants = all.map(|(index, pool)| model::message::InboundGrant {
            client: support::device(number(index)).client_id,
            resource: id(pool),
            expires_at: u64::MAX,
        });
        self.net.client.init_with_grants(support::interface(), &resources, grants.collect());
    }

    /// Answers requests as the portal, and runs the network.
    fn settle(&mut self) {
        for _ in 0..6 {
            let is_request = |message: &ToPortal| matches!(message, ToPortal::RequestAuthorization { .. });
            let (requests, rest) = std::mem::take(&mut self.net.client.to_portal).into_iter().partition(is_request);
            // All other messages are handled by the test network.
            self.net.client.to_portal = rest;
            let requests: Vec<ToPortal> = requests;
            for request in requests {
                let ToPortal::RequestAuthorization { resource, device, .. } = request else { continue };
                match device {
                    None => self.answer(resource),
                    Some(address) => self.answer_about_device(address),
                }
            }
            self.net.run_for(secs(1));
        }
    }

    fn answer(&mut self, resource: model::ResourceId) {
        let known = self.naive.resources.iter().find(|(number, _)| id(**number) == resource);
        let Some((_, known)) = known else { return };
        let site = known.site;
        if self.offline_sites.contains(&site) {
            self.net.client.receive_failure(resource, model::message::FailureReason::Offline);
        } else {
            self.net.authorize_in_site(resource, scenario::gateway_of(site), site);
        }
    }

    fn answer_about_device(&mut self, address: IpAddr) {
        let Some(index) = scenario::device_at(address) else { return };
        if self.offline_sites.contains(&scenario::DEVICE_SITE) {
            let device = support::device(number(index));
            // Only for this address: there may be no request for the other one.
            let (ipv4, ipv6) = match address {
                IpAddr::V4(_) => (Some(device.ipv4), None),
                IpAddr::V6(_) => (None, Some(device.ipv6)),
            };
            let reason = model::message::FailureReason::Offline;
            self.net.client.receive_portal(FromPortal::ClientDeviceAccessDenied { ipv4, ipv6, reason });
        } else {
            self.net.connect_device(number(index), None);
        }
    }

    fn send(&mut self, packet: Packet) -> Result<(), String> {
        self.packets += 1;
        let (bytes, now) = (scenario::bytes(packet, self.packets), self.now());
        self.forget_traffic();
        self.net.client.send(bytes.clone());
        self.settle();
        let was_connected = scenario::device_at(packet.to).is_some_and(|index| self.naive.has_device(index));
        let offline_sites = self.offline_sites.clone();
        let expected = self.naive.outbound(packet, |site| !offline_sites.contains(&site), now);
        // A denied client is not only unreachable but also disconnected.
        if let Some(index) = scenario::device_at(packet.to)
            && was_connected
            && expected == Outcome::Nothing
            && self.naive_denied(packet)
        {
            self.naive.lose_device(index);
        }

        let mut outcome = self.arrivals(&bytes);
        outcome.extend(
            self.net.client.packets.iter().filter_map(|it| is_refusal_of(it, &bytes).then_some(Outcome::Refusal)),
        );
        expect_outcome("the packet", &outcome, expected)
    }

    /// Whether a packet to a device was dropped because the portal denied access.
    fn naive_denied(&self, packet: Packet) -> bool {
        let is_member = |resource: &ModelResource| {
            matches!(&resource.kind, scenario::Kind::Pool(members)
                if scenario::device_at(packet.to).is_some_and(|index| members.contains(&index)))
        };
        self.offline_sites.contains(&scenario::DEVICE_SITE) && self.naive.resources.values().any(is_member)
    }

    fn receive(&mut self, gateway: usize, source: IpAddr) -> Result<(), String> {
        let (packet, now) = (datagram(source, 53, scenario::OUR_PORT), self.now());
        self.forget_traffic();
        self.net.seal_from(gateway, &packet);
        self.settle();
        expect_outcome("a gateway's packet", &self.deliveries(&packet), self.naive.gateway_sends(gateway, source, now))
    }

    fn receive_from_device(&mut self, index: usize, port: u16, v4: bool) -> Result<(), String> {
        let source = scenario::addresses_of_peer(index)[usize::from(!v4)];
        let (packet, now) = (datagram(source, port, scenario::OUR_PORT), self.now());
        self.forget_traffic();
        self.net.seal_from(index, &packet);
        self.settle();
        let mut outcome = self.deliveries(&packet);
        let received = &self.net.gateways[index].received;
        outcome.extend(received.iter().filter_map(|it| is_refusal_of(it, &packet).then_some(Outcome::Refusal)));
        expect_outcome("a device's packet", &outcome, self.naive.device_sends(index, port, v4, now))
    }

    fn ask(&mut self, name: &'static str, qtype: &'static str) -> Result<(), String> {
        let now = self.now();
        let query = self.net.client.ask(name, qtype);
        self.settle();
        let offline_sites = self.offline_sites.clone();
        let expected = self.naive.query(name, qtype, |site| !offline_sites.contains(&site), now);
        let outcome = match self.net.client.decision(query) {
            Some(Decision::Answer(answer)) => {
                Reply::Addresses(answer.records.iter().filter_map(|record| record.data.ip_addr()).collect())
            }
            Some(Decision::Forward { to: Upstream::Do53(to), via, .. }) => match scenario::gateway_at(to.ip()) {
                Some(gateway) => Reply::Site(gateway),
                None => Reply::Upstream { through_tunnel: *via == Via::Tunnel },
            },
            Some(Decision::ServFail) => Reply::Failure,
            other => return Err(format!("the question came to {other:?}")),
        };
        if outcome == expected { Ok(()) } else { Err(format!("the question: {outcome:?} instead of {expected:?}")) }
    }

    fn compare_state(&self) -> Result<(), String> {
        let published = self.net.client.interfaces.last().map(|it| &it.routes);
        let routes: BTreeSet<String> = published.into_iter().flatten().map(ToString::to_string).collect();
        if routes != self.naive.routes() {
            return Err(format!("routes: {routes:?} instead of {:?}", self.naive.routes()));
        }
        let published = self.net.client.lists.last().into_iter().flatten();
        let list: Vec<(String, String)> =
            published.map(|view| (view.id.to_string(), format!("{:?}", view.status).to_lowercase())).collect();
        let expected = self.naive.list(self.now());
        let expected: Vec<_> =
            expected.iter().map(|(number, status)| (id(*number).to_string(), (*status).to_owned())).collect();
        if list != expected {
            return Err(format!("list: {list:?} instead of {expected:?}"));
        }
        for gateway in 0..GATEWAYS {
            let is_connected = self
                .net
                .client
                .tunnel
                .paths()
                .iter()
                .any(|path| PeerId::Gateway(path.gateway) == self.net.gateways[gateway].id());
            if is_connected != self.naive.has_gateway(gateway) {
                return Err(format!("gateway {gateway} is connected: {is_connected}"));
            }
        }
        Ok(())
    }

    /// The client's drop counters, for failure messages.
    pub(crate) fn drops(&self) -> Vec<(&'static str, u64)> {
        let counters = self.net.client.tunnel.counters();
        counters.iter().filter(|(_, count)| *count > 0).map(|(reason, count)| (reason.name(), count)).collect()
    }

    fn forget_traffic(&mut self) {
        self.net.client.packets.clear();
        for peer in &mut self.net.gateways {
            peer.received.clear();
            peer.clear_unsent();
        }
    }

    /// The peers that received this packet, once per copy.
    fn arrivals(&self, packet: &IpPacket) -> Vec<Outcome> {
        let count = |index: usize| self.net.gateways[index].received.iter().filter(|it| *it == packet).count();
        (0..PEERS).flat_map(|index| std::iter::repeat_n(Outcome::Arrival(index), count(index))).collect()
    }

    fn deliveries(&self, packet: &IpPacket) -> Vec<Outcome> {
        self.net.client.packets.iter().filter(|it| *it == packet).map(|_| Outcome::Delivery).collect()
    }
}

fn expect_outcome(what: &str, outcome: &[Outcome], expected: Outcome) -> Result<(), String> {
    let is_same = match outcome {
        [] => expected == Outcome::Nothing,
        [one] => *one == expected,
        _ => false,
    };
    if is_same { Ok(()) } else { Err(format!("{what}: {outcome:?} instead of {expected:?}")) }
}

fn is_refusal_of(packet: &IpPacket, refused: &IpPacket) -> bool {
    let Transport::IcmpError(quoted) = packet.transport() else { return false };
    quoted.is_prohibited() && (quoted.source, quoted.destination) == (refused.source(), refused.destination())
}

fn datagram(source: IpAddr, from: u16, to: u16) -> IpPacket {
    let us: IpAddr = if source.is_ipv4() { CLIENT_V4 } else { CLIENT_V6 }.parse().unwrap();
    build::udp(std::net::SocketAddr::new(source, from), std::net::SocketAddr::new(us, to), b"x").unwrap()
}

/// List indices start at 0, addresses at 1.
fn number(index: usize) -> u8 {
    u8::try_from(index + 1).unwrap()
}
