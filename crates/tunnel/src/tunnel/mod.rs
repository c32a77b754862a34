//! The coordinator: passes values between the state machines in the right order.

mod clients;
mod connections;
mod devices;
mod explain;
mod gateways;
mod packets;
mod portal;
mod postponed;
mod queries;
mod views;

use std::{
    collections::{BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use connection::{Node, Transmit};
use dns::{Assignments, Decision, DeviceNames, Stub};
use ip_packet::{Ecn, IpPacket};
use model::{
    Deadline, DeviceView, FromPortal, Interface, PeerId, PublicKey, Resolver, ResourceId, ResourceView, ToPortal,
};

use crate::{
    access::{Access, Target},
    announcements::Announcements,
    counters::{DropCounters, datagram_drops},
    peers::PeerTable,
    pools::Pools,
    published::{InterfaceConfig, Published},
    query::QueryId,
    relay_request_limiter::RelayRequestLimiter,
    resources::Resources,
    routing::Routing,
    sites::Sites,
    wall_clock::WallClock,
};
use postponed::PostponedConnections;
pub use views::{DnsView, MatchView, NameAnswer, NameExplanation, PathView};

/// One session's data plane.
///
/// Feed it with the `handle_*` methods. After each call, drain [`poll_transmit`](Self::poll_transmit),
/// [`poll_packet`](Self::poll_packet) and [`poll_event`](Self::poll_event), and call
/// [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) is due.
#[derive(Debug)]
pub struct Tunnel {
    interface: Option<Interface>,
    /// Whether the portal may still use the previous public key: authorizations for it are void. The portal's next
    /// snapshot is based on the new key.
    awaits_snapshot: bool,
    resources: Resources,
    routing: Routing,
    pools: Pools,
    access: Access,
    peers: PeerTable,
    sites: Sites,
    announcements: Announcements,
    stub: Stub,
    device_names: DeviceNames<QueryId>,
    /// The resolvers of the host.
    host_resolvers: Vec<Resolver>,
    node: Node,
    relay_requests: RelayRequestLimiter,
    /// Connections with other clients that wait for a relay.
    postponed: PostponedConnections,
    /// Converts the portal's times.
    wall_clock: WallClock,
    published_interface: Published<InterfaceConfig>,
    published_resources: Published<Vec<ResourceView>>,
    published_devices: Published<Vec<DeviceView>>,
    /// The notices that the user got in this session.
    sent_notices: BTreeSet<UserNotice>,
    to_host: VecDeque<IpPacket>,
    events: VecDeque<Event>,
    counters: DropCounters,
}

/// An action or information for the owner of the tunnel.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The desired interface configuration changed.
    Interface(InterfaceConfig),
    /// The list of resources changed.
    Resources(Vec<ResourceView>),
    /// The list of connected clients changed.
    Devices(Vec<DeviceView>),
    /// A message for the portal.
    ToPortal(ToPortal),
    /// A DNS query is decided.
    Decided {
        /// The query.
        id: QueryId,
        /// The decision.
        decision: Decision,
    },
    /// No gateway of the resource is online. Sent once per resource.
    GatewaysOffline(ResourceId),
    /// The versions of this client and the resource's gateways are incompatible. Sent once per resource.
    GatewayVersionMismatch(ResourceId),
    /// Connections with a gateway failed repeatedly; a [`reset`](Tunnel::reset) with new sockets is needed.
    NewKeyNeeded,
    /// The portal has to use this public key from now on.
    NewPublicKey(PublicKey),
}

/// A notice that the user gets once per session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum UserNotice {
    Offline(ResourceId),
    VersionMismatch(ResourceId),
}

impl Tunnel {
    /// A tunnel without configuration. `unix_now` is the time since the Unix epoch at `now`; `names` are those of the
    /// previous session, which keep their addresses.
    #[must_use]
    pub fn new(now: Instant, unix_now: Duration, seed: [u8; 32], names: Assignments) -> Self {
        Self {
            interface: None,
            awaits_snapshot: false,
            resources: Resources::default(),
            routing: Routing::default(),
            pools: Pools::default(),
            access: Access::default(),
            peers: PeerTable::default(),
            sites: Sites::default(),
            announcements: Announcements::default(),
            stub: Stub::new(names),
            device_names: DeviceNames::default(),
            host_resolvers: Vec::new(),
            node: Node::new(now, unix_now, seed),
            relay_requests: RelayRequestLimiter::default(),
            postponed: PostponedConnections::default(),
            wall_clock: WallClock::new(now, unix_now),
            published_interface: Published::default(),
            published_resources: Published::default(),
            published_devices: Published::with_initial(Vec::new()),
            sent_notices: BTreeSet::new(),
            to_host: VecDeque::new(),
            events: VecDeque::new(),
            counters: DropCounters::default(),
        }
    }

    /// The client's WireGuard public key. It changes with [`reset`](Self::reset).
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.node.public_key()
    }

    /// Handles a packet that the host sent into the tunnel.
    pub fn handle_outbound(&mut self, packet: IpPacket, now: Instant) {
        self.send_packet(packet, now);
        self.process_pending(now);
    }

    /// Handles a datagram from the network. `payload` is decrypted in place.
    pub fn handle_inbound(&mut self, local: SocketAddr, from: SocketAddr, ecn: Ecn, payload: &mut [u8], now: Instant) {
        if let Some((peer, packet)) = self.node.open(local, from, ecn, payload, now) {
            self.receive_packet(peer, packet, now);
        }
        self.process_pending(now);
    }

    /// Handles a message of the portal.
    pub fn handle_portal(&mut self, message: FromPortal, now: Instant) {
        self.handle_portal_message(message, now);
        self.process_pending(now);
    }

    /// Handles a DNS query that arrived at `sentinel`. [`Event::Decided`] follows, in most cases immediately.
    pub fn handle_query(&mut self, id: QueryId, question: &dns::Question, sentinel: IpAddr, now: Instant) {
        self.decide_query(id, question, sentinel, now);
        self.process_pending(now);
    }

    /// Handles the answer to a query that was [forwarded](Decision::Forward) in `generation`.
    pub fn handle_answer(&mut self, generation: dns::CacheGeneration, answer: dns::Cacheable, now: Instant) {
        self.stub.cache_response(generation, answer, now);
    }

    /// Sets the host's own resolvers.
    pub fn handle_resolvers(&mut self, system: &[Resolver], now: Instant) {
        self.host_resolvers = system.to_vec();
        self.choose_resolvers();
        self.process_pending(now);
    }

    /// Enables or disables the Internet resource, also before it exists.
    pub fn switch_internet_resource(&mut self, on: bool, now: Instant) {
        if self.resources.set_internet_enabled(on) {
            if !on && let Some(resource) = self.resources.internet() {
                self.withdraw(resource, now);
            }
            self.resources_changed();
        }
        self.process_pending(now);
    }

    /// Handles a change of the network: drops all connections and takes a new key. The portal's configuration stays valid.
    pub fn reset(&mut self, now: Instant) {
        self.awaits_snapshot = true;
        self.node.reset(now);
        for peer in self.peers.ids() {
            match peer {
                // The requests are sent with the next snapshot, when the portal uses the new key.
                PeerId::Gateway(gateway) => drop(self.lose_gateway(gateway, now)),
                PeerId::Client(client) => self.forget_client(client),
            }
        }
        self.postponed.clear();
        self.events.push_back(Event::NewPublicKey(self.node.public_key()));
        self.process_pending(now);
    }

    /// Ends the session: sends a goodbye to all peers and releases the allocations on relays.
    pub fn stop(&mut self, now: Instant) {
        for peer in self.peers.ids() {
            self.close_peer(peer, now);
        }
        self.process_pending(now);
        self.node.release_relays(now);
    }

    /// The names with proxy addresses, for the next session.
    #[must_use]
    pub fn into_names(self) -> Assignments {
        self.stub.into_names()
    }

    /// Handles due timers. Calling it early has no effect.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.node.handle_timeout(now);
        if self.sites.handle_timeout(now) {
            self.published_resources.mark_stale();
        }
        if self.relay_requests.handle_timeout(now) {
            self.events.push_back(Event::ToPortal(ToPortal::NoRelays));
        }
        for request in self.access.pending.handle_timeout(now) {
            self.drop_request(request);
        }
        self.peers.handle_timeout(now);
        self.postponed.handle_timeout(now);
        let decided = self.device_names.handle_timeout(now);
        self.emit_decisions(decided);
        self.process_pending(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let due = |reason| move |at| Deadline { at, reason };
        [
            self.node.poll_timeout(),
            self.sites.poll_timeout().map(due("the offline state of a site expires")),
            self.relay_requests.poll_timeout().map(due("a delayed relay request is sent")),
            self.access.pending.poll_timeout().map(due("a request for access times out")),
            self.peers.poll_timeout().map(due("grants or flows of a client expire")),
            self.postponed.poll_timeout().map(due("a client connection without relay times out")),
            self.device_names.poll_timeout().map(due("the lookup of a device name times out")),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next datagram for the network.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.node.poll_transmit()
    }

    /// The next packet for the host.
    pub fn poll_packet(&mut self) -> Option<IpPacket> {
        self.to_host.pop_front()
    }

    /// The next event. The interface precedes the resources and these precede all others, so that nothing is used before
    /// it is configured.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(interface) = self.published_interface.poll() {
            return Some(Event::Interface(interface));
        }
        if let Some(resources) = self.published_resources.poll() {
            return Some(Event::Resources(resources));
        }
        if let Some(devices) = self.published_devices.poll() {
            return Some(Event::Devices(devices));
        }
        self.events.pop_front()
    }

    /// The path to each gateway.
    #[must_use]
    pub fn paths(&self) -> Vec<PathView> {
        let view = |gateway| PathView {
            gateway,
            site: self.access.site(gateway),
            path: self.node.path(PeerId::Gateway(gateway)),
        };
        self.peers.gateway_ids().into_iter().map(view).collect()
    }

    /// The number of dropped packets and datagrams, by the name of the reason.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let packets = self.counters.iter().map(|(reason, count)| (reason.name(), count));
        packets.chain(datagram_drops(&self.node.drops()))
    }

    /// The number of dropped packets, by reason.
    #[must_use]
    pub fn counters(&self) -> DropCounters {
        self.counters.clone()
    }

    /// Handles the follow-up events of an input, then collects the changes for the owner.
    fn process_pending(&mut self, now: Instant) {
        self.retry_postponed(now);
        loop {
            if let Some(key) = self.announcements.poll_announcement() {
                self.announce(&key, now);
            } else if let Some(event) = self.node.poll_event() {
                self.handle_connection_event(event, now);
            } else {
                break;
            }
        }
        self.counters.add(crate::DropReason::Expired, self.announcements.take_dropped());
        self.collect_changes();
    }

    fn collect_changes(&mut self) {
        let Self { published_interface, published_resources, interface, resources, routing, stub, sites, .. } = self;
        published_interface.update(|| {
            interface.as_ref().map(|interface| InterfaceConfig {
                ipv4: interface.ipv4,
                ipv6: interface.ipv6,
                sentinels: stub.sentinels().servers().to_vec(),
                search_domain: interface.search_domain.clone(),
                routes: routing.host_routes(resources),
            })
        });
        published_resources.update(|| Some(resources.views(|of| sites.status(of))));
        let Self { published_devices, peers, pools, .. } = self;
        published_devices.update(|| Some(views::devices(peers, pools)));
    }

    /// Resources changed: routes, the list and cached answers may be outdated.
    fn resources_changed(&mut self) {
        self.stub.flush();
        self.published_interface.mark_stale();
        self.published_resources.mark_stale();
    }

    fn request_access(&mut self, target: Target) {
        let request = match target {
            Target::Resource(resource) => {
                let connected_gateways = self.access.preferred(resource, &self.peers.gateway_ids());
                ToPortal::RequestAuthorization { resource, connected_gateways, device: None }
            }
            Target::Device { pool, address } => {
                ToPortal::RequestAuthorization { resource: pool, connected_gateways: Vec::new(), device: Some(address) }
            }
        };
        self.events.push_back(Event::ToPortal(request));
    }

    fn notify_once(&mut self, notice: UserNotice) {
        if self.sent_notices.insert(notice) {
            self.events.push_back(match notice {
                UserNotice::Offline(resource) => Event::GatewaysOffline(resource),
                UserNotice::VersionMismatch(resource) => Event::GatewayVersionMismatch(resource),
            });
        }
    }
}
