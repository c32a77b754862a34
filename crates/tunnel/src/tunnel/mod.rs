//! The coordinator: passes values between the machines, and knows the order of things.

mod clients;
mod devices;
mod explain;
mod gateways;
mod packets;
mod portal;
mod queries;

use std::{
    collections::{BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use connection::{Node, Path, Transmit};
use dns::{Assignments, Decision, DeviceNames, Stub};
use ip_packet::{Ecn, IpPacket};
use model::{
    Deadline, DeviceView, FromPortal, GatewayId, Interface, PeerId, PublicKey, Resolver, ResourceId, ResourceView,
    SiteId, ToPortal,
};

use crate::{
    access::{Access, Target},
    counters::Counters,
    epoch::Epoch,
    nat::Tracker,
    peers::{Clients, Peers},
    pools::Pools,
    relay_plea::RelayPlea,
    resources::Resources,
    routing::Routing,
    sites::Sites,
    told::{InterfaceConfig, ToldDevices, ToldInterface, ToldResources},
};
use clients::Postponed;
pub use explain::{MatchView, NameAnswer, NameView, NamesView};

/// One session's data plane.
///
/// Feed it with the `handle_*` methods. After each call drain [`poll_transmit`](Self::poll_transmit),
/// [`poll_packet`](Self::poll_packet) and [`poll_event`](Self::poll_event), and call
/// [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) is due.
#[derive(Debug)]
pub struct Tunnel {
    interface: Option<Interface>,
    /// Whether the portal may still know us by an older key: what it permitted to that one is of no use any more. It
    /// knows the new one when it says everything anew.
    awaits_snapshot: bool,
    resources: Resources,
    routing: Routing,
    pools: Pools,
    access: Access,
    peers: Peers,
    clients: Clients,
    sites: Sites,
    nat: Tracker,
    stub: Stub,
    device_names: DeviceNames<QueryId>,
    /// The resolvers of the host, as far as we were told.
    host_resolvers: Vec<Resolver>,
    node: Node,
    relay_plea: RelayPlea,
    /// Connections with other clients that have to be made as soon as there is a relay.
    postponed: Postponed,
    /// How the portal's times are read.
    epoch: Epoch,
    told_interface: ToldInterface,
    told_resources: ToldResources,
    told_devices: ToldDevices,
    /// What the user has been bothered with in this session.
    notices: BTreeSet<Notice>,
    to_host: VecDeque<IpPacket>,
    events: VecDeque<Event>,
    counters: Counters,
}

/// A DNS query that awaits its [`Event::Decided`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// Something that the owner of the tunnel has to do or to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The host has to look like this.
    Interface(InterfaceConfig),
    /// The list of resources looks like this.
    Resources(Vec<ResourceView>),
    /// These other clients are connected directly.
    Devices(Vec<DeviceView>),
    /// The portal has to hear this.
    ToPortal(ToPortal),
    /// This is what happens to a query.
    Decided {
        /// Which query.
        id: QueryId,
        /// What happens to it.
        decision: Decision,
    },
    /// No gateway of the resource is there. Said once per resource.
    GatewaysOffline(ResourceId),
    /// The resource's gateways and we are too far apart in version. Said once per resource.
    GatewayVersionMismatch(ResourceId),
    /// A gateway cannot be reached again and again, and nothing but a [`reset`](Tunnel::reset) can help, with new sockets.
    NewKeyNeeded,
    /// The portal has to know us by this key from now on.
    NewPublicKey(PublicKey),
}

/// How a gateway is reached at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathView {
    /// Which gateway.
    pub gateway: GatewayId,
    /// Where it is.
    pub site: Option<SiteId>,
    /// Its path; `None` while the connection is being made.
    pub path: Option<Path>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Notice {
    Offline(ResourceId),
    VersionMismatch(ResourceId),
}

impl Tunnel {
    /// A tunnel that reaches nothing yet. `unix_now` is the time since the Unix epoch at `now`; `names` are those of the
    /// last session, which keep their addresses.
    #[must_use]
    pub fn new(now: Instant, unix_now: Duration, seed: [u8; 32], names: Assignments) -> Self {
        Self {
            interface: None,
            awaits_snapshot: false,
            resources: Resources::default(),
            routing: Routing::default(),
            pools: Pools::default(),
            access: Access::default(),
            peers: Peers::default(),
            clients: Clients::default(),
            sites: Sites::default(),
            nat: Tracker::default(),
            stub: Stub::new(names),
            device_names: DeviceNames::default(),
            host_resolvers: Vec::new(),
            node: Node::new(now, unix_now, seed),
            relay_plea: RelayPlea::default(),
            postponed: Postponed::default(),
            epoch: Epoch::new(now, unix_now),
            told_interface: ToldInterface::default(),
            told_resources: ToldResources::default(),
            told_devices: ToldDevices::from_the_start(Vec::new()),
            notices: BTreeSet::new(),
            to_host: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Our WireGuard key, by which the portal has to know us. It changes with [`reset`](Self::reset).
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.node.public_key()
    }

    /// A program on this host sent a packet into the tunnel.
    pub fn handle_outbound(&mut self, packet: IpPacket, now: Instant) {
        self.send_packet(packet, now);
        self.settle(now);
    }

    /// A datagram came from the network. `payload` is used as working space.
    pub fn handle_inbound(&mut self, local: SocketAddr, from: SocketAddr, ecn: Ecn, payload: &mut [u8], now: Instant) {
        if let Some((peer, packet)) = self.node.open(local, from, ecn, payload, now) {
            self.receive_packet(peer, packet, now);
        }
        self.settle(now);
    }

    /// The portal says something.
    pub fn handle_portal(&mut self, message: FromPortal, now: Instant) {
        self.follow_portal(message, now);
        self.settle(now);
    }

    /// A program asks for a name at `sentinel`. [`Event::Decided`] says what happens to the query, mostly at once.
    pub fn handle_query(&mut self, id: QueryId, question: &dns::Question, sentinel: IpAddr, now: Instant) {
        self.decide_query(id, question, sentinel, now);
        self.settle(now);
    }

    /// Another resolver answered a query that we had [forwarded](Decision::Forward) in `epoch`.
    pub fn handle_answer(&mut self, generation: dns::CacheGeneration, answer: dns::Cacheable, now: Instant) {
        self.stub.cache_response(generation, answer, now);
    }

    /// These are the host's own resolvers now.
    pub fn handle_resolvers(&mut self, system: &[Resolver], now: Instant) {
        self.host_resolvers = system.to_vec();
        self.choose_resolvers();
        self.settle(now);
    }

    /// The user wants the Internet resource, or wants it no longer. That may be said before there is one.
    pub fn switch_internet_resource(&mut self, on: bool, now: Instant) {
        if self.resources.switch_internet(on) {
            if !on && let Some(resource) = self.resources.internet() {
                self.withdraw(resource, now);
            }
            self.resources_changed();
        }
        self.settle(now);
    }

    /// We are in another network: drops all connections and takes a new key. What the portal said stays true.
    pub fn reset(&mut self, now: Instant) {
        self.awaits_snapshot = true;
        self.node.reset(now);
        for gateway in self.peers.ids() {
            // Asked for when the portal knows our new key.
            let _later = self.lose_gateway(gateway, now);
        }
        for client in self.clients.ids() {
            self.forget_client(client);
        }
        self.postponed.clear();
        self.events.push_back(Event::NewPublicKey(self.node.public_key()));
        self.settle(now);
    }

    /// The session ends: says goodbye to everybody, and gives back what relays lend us.
    pub fn stop(&mut self, now: Instant) {
        for gateway in self.peers.ids() {
            self.close_gateway(gateway, now);
        }
        for client in self.clients.ids() {
            self.close_client(client, now);
        }
        self.settle(now);
        self.node.give_back_relays(now);
    }

    /// The names that have addresses, for the next session.
    #[must_use]
    pub fn into_names(self) -> Assignments {
        self.stub.into_names()
    }

    /// Does what is due. Calling early is harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.node.handle_timeout(now);
        if self.sites.handle_timeout(now) {
            self.told_resources.mark_stale();
        }
        if self.relay_plea.handle_timeout(now) {
            self.events.push_back(Event::ToPortal(ToPortal::NoRelays));
        }
        for waiting in self.access.pending.handle_timeout(now) {
            self.give_up(waiting);
        }
        self.clients.handle_timeout(now);
        self.postponed.handle_timeout(now);
        let decided = self.device_names.handle_timeout(now);
        self.decided_all(decided);
        self.settle(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let due = |reason| move |at| Deadline { at, reason };
        [
            self.node.poll_timeout(),
            self.sites.poll_timeout().map(due("a site is no longer known to be offline")),
            self.relay_plea.poll_timeout().map(due("the portal has to hear that we have no relay")),
            self.access.pending.poll_timeout().map(due("a request for access is given up")),
            self.clients.poll_timeout().map(due("what another client may send or talks about is over")),
            self.postponed.poll_timeout().map(due("a connection with a client is given up for lack of a relay")),
            self.device_names.poll_timeout().map(due("nobody says who has a name")),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next datagram for the network.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.node.poll_transmit()
    }

    /// The next packet for a program on this host.
    pub fn poll_packet(&mut self) -> Option<IpPacket> {
        self.to_host.pop_front()
    }

    /// The next thing to do or to know. The interface comes before the resources and those before all else, so that
    /// nothing is used before it is there.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(interface) = self.told_interface.poll() {
            return Some(Event::Interface(interface));
        }
        if let Some(resources) = self.told_resources.poll() {
            return Some(Event::Resources(resources));
        }
        if let Some(devices) = self.told_devices.poll() {
            return Some(Event::Devices(devices));
        }
        self.events.pop_front()
    }

    /// How each gateway is reached.
    #[must_use]
    pub fn paths(&self) -> Vec<PathView> {
        let view = |gateway| PathView {
            gateway,
            site: self.access.site(gateway),
            path: self.node.path(PeerId::Gateway(gateway)),
        };
        self.peers.ids().into_iter().map(view).collect()
    }

    /// How many packets were dropped, and why.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Lets the consequences of what happened run their course, then takes stock of what our owner has to know.
    fn settle(&mut self, now: Instant) {
        self.make_postponed(now);
        loop {
            if let Some(key) = self.nat.poll_announcement() {
                self.announce(&key, now);
            } else if let Some(event) = self.node.poll_event() {
                self.follow_node(event, now);
            } else {
                break;
            }
        }
        self.counters.count(crate::Reason::Expired, self.nat.take_dropped());
        self.take_stock();
    }

    fn take_stock(&mut self) {
        let Self { told_interface, told_resources, interface, resources, routing, stub, sites, .. } = self;
        told_interface.settle(|| {
            interface.as_ref().map(|interface| InterfaceConfig {
                ipv4: interface.ipv4,
                ipv6: interface.ipv6,
                sentinels: stub.sentinels().servers().to_vec(),
                search_domain: interface.search_domain.clone(),
                routes: routing.host_routes(resources),
            })
        });
        told_resources.settle(|| Some(resources.views(|of| sites.status(of))));
        let Self { told_devices, clients, pools, .. } = self;
        told_devices.settle(|| Some(clients::views(clients, pools)));
    }

    /// Something about the resources changed that may change the routes, the list and the meaning of names.
    fn resources_changed(&mut self) {
        self.stub.flush();
        self.told_interface.mark_stale();
        self.told_resources.mark_stale();
    }

    fn ask_portal(&mut self, target: Target) {
        let request = match target {
            Target::Resource(resource) => {
                let connected_gateways = self.access.preferred(resource, &self.peers.ids());
                ToPortal::RequestAuthorization { resource, connected_gateways, device: None }
            }
            Target::Device { pool, address } => {
                ToPortal::RequestAuthorization { resource: pool, connected_gateways: Vec::new(), device: Some(address) }
            }
        };
        self.events.push_back(Event::ToPortal(request));
    }

    fn notify_once(&mut self, notice: Notice) {
        if self.notices.insert(notice) {
            self.events.push_back(match notice {
                Notice::Offline(resource) => Event::GatewaysOffline(resource),
                Notice::VersionMismatch(resource) => Event::GatewayVersionMismatch(resource),
            });
        }
    }
}
