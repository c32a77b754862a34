//! A tunnel driven step by step: events happen immediately or when the test advances the time.

#![allow(dead_code, reason = "each test file uses its part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

pub(crate) mod network;

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use dns::{Assignments, Decision, Question};
use ip_packet::{Ecn, IpPacket, build, icmp};
use model::{
    CidrResource, ClientId, Device, DeviceView, DnsResource, FromPortal, GatewayId, IceCredentials, Interface,
    InternetResource, IpStack, Pool, PresharedKey, PublicKey, Refusal, Resource, ResourceId, ResourceView, Site,
    SiteId, Status, ToPortal,
    message::{
        AuthorizationCreated, AuthorizationCreationFailed, DeviceAccess, DeviceGrant, FailureReason, IceRole,
        InboundGrant, Init,
    },
};
use tunnel::{Event, InterfaceConfig, QueryId, Tunnel};

pub(crate) const CLIENT_V4: &str = "100.64.0.7";
pub(crate) const CLIENT_V6: &str = "fd00:2021:1111::7";

/// The tunnel and everything it returned so far.
pub(crate) struct Client {
    pub(crate) tunnel: Tunnel,
    pub(crate) now: Instant,
    pub(crate) interfaces: Vec<InterfaceConfig>,
    pub(crate) lists: Vec<Vec<ResourceView>>,
    pub(crate) devices: Vec<Vec<DeviceView>>,
    pub(crate) to_portal: Vec<ToPortal>,
    pub(crate) decided: Vec<(QueryId, Decision)>,
    pub(crate) others: Vec<Event>,
    pub(crate) packets: Vec<IpPacket>,
    queries: u64,
}

impl Client {
    /// A client without configuration.
    pub(crate) fn new() -> Self {
        Self::with_names(Assignments::default())
    }

    /// A client with the names of an earlier session.
    pub(crate) fn with_names(names: Assignments) -> Self {
        let now = start();
        Self {
            tunnel: Tunnel::new(now, Duration::from_secs(1_800_000_000), [7; 32], names),
            now,
            interfaces: Vec::new(),
            lists: Vec::new(),
            devices: Vec::new(),
            to_portal: Vec::new(),
            decided: Vec::new(),
            others: Vec::new(),
            packets: Vec::new(),
            queries: 0,
        }
    }

    /// A client with these resources.
    pub(crate) fn with(resources: &[Resource]) -> Self {
        let mut client = Self::new();
        client.init(resources);
        client
    }

    pub(crate) fn init(&mut self, resources: &[Resource]) {
        self.init_with(interface(), resources);
    }

    pub(crate) fn init_with(&mut self, interface: Interface, resources: &[Resource]) {
        self.init_with_grants(interface, resources, Vec::new());
    }

    pub(crate) fn init_with_grants(
        &mut self,
        interface: Interface,
        resources: &[Resource],
        authorizations: Vec<InboundGrant>,
    ) {
        let init = Init { interface, resources: resources.to_vec(), relays: Vec::new(), authorizations };
        self.receive_portal(FromPortal::Init(Box::new(init)));
    }

    /// Handles a message of the portal.
    pub(crate) fn receive_portal(&mut self, message: FromPortal) {
        self.tunnel.handle_portal(message, self.now);
        self.drain();
    }

    pub(crate) fn receive_failure(&mut self, resource: ResourceId, reason: FailureReason) {
        self.receive_portal(FromPortal::AuthorizationCreationFailed(AuthorizationCreationFailed {
            resource_id: resource,
            reason,
            violated_properties: Vec::new(),
        }));
    }

    /// Sends a packet of a program.
    pub(crate) fn send(&mut self, packet: IpPacket) {
        self.tunnel.handle_outbound(packet, self.now);
        self.drain();
    }

    /// Resolves a name. Returns the id of the query.
    pub(crate) fn ask(&mut self, name: &str, qtype: &str) -> QueryId {
        let sentinel = self.interfaces.last().expect("an interface").sentinels[0].0;
        self.ask_at(sentinel, name, qtype)
    }

    pub(crate) fn ask_at(&mut self, sentinel: IpAddr, name: &str, qtype: &str) -> QueryId {
        self.queries += 1;
        let id = QueryId(self.queries);
        let question = Question::plain(name, qtype.parse().expect("a type")).expect("a name");
        self.tunnel.handle_query(id, &question, sentinel, self.now);
        self.drain();
        id
    }

    /// The decision about a query.
    pub(crate) fn decision(&self, id: QueryId) -> Option<&Decision> {
        self.decided.iter().find(|(decided, _)| *decided == id).map(|(_, decision)| decision)
    }

    /// The addresses of a name.
    pub(crate) fn resolve(&mut self, name: &str, qtype: &str) -> Vec<IpAddr> {
        let id = self.ask(name, qtype);
        let Some(Decision::Answer(answer)) = self.decision(id) else { panic!("{:?}", self.decision(id)) };
        answer.records.iter().filter_map(|record| record.data.ip_addr()).collect()
    }

    /// Advances the time and handles due timers.
    pub(crate) fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        while let Some(due) = self.tunnel.poll_timeout().filter(|due| due.at <= until) {
            self.now = self.now.max(due.at);
            self.tunnel.handle_timeout(self.now);
            let next = self.tunnel.poll_timeout();
            assert!(next.is_none_or(|next| next.at > self.now), "due again at once: {next:?}");
            self.drain();
        }
        self.now = until;
    }

    /// Takes the requests for access to resources.
    pub(crate) fn take_requests(&mut self) -> Vec<(ResourceId, Vec<GatewayId>)> {
        let (requests, rest) = std::mem::take(&mut self.to_portal)
            .into_iter()
            .partition(|message| matches!(message, ToPortal::RequestAuthorization { .. }));
        self.to_portal = rest;
        requests
            .into_iter()
            .map(|message| match message {
                ToPortal::RequestAuthorization { resource, connected_gateways, device: None } => {
                    (resource, connected_gateways)
                }
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// Takes the requests for access to devices, each with its pool.
    pub(crate) fn take_device_requests(&mut self) -> Vec<(ResourceId, IpAddr)> {
        let mut requests = Vec::new();
        self.to_portal.retain(|message| match message {
            ToPortal::RequestAuthorization { resource, connected_gateways, device: Some(address) } => {
                assert_eq!(*connected_gateways, []);
                requests.push((*resource, *address));
                false
            }
            _ => true,
        });
        requests
    }

    /// The last published status of a resource.
    pub(crate) fn status(&self, resource: ResourceId) -> Option<Status> {
        self.lists.last()?.iter().find(|view| view.id == resource).map(|view| view.status)
    }

    /// The last published refusal of a resource.
    pub(crate) fn refusal(&self, resource: ResourceId) -> Option<Refusal> {
        self.lists.last()?.iter().find(|view| view.id == resource)?.refusal.clone()
    }

    pub(crate) fn drain(&mut self) {
        while let Some(event) = self.tunnel.poll_event() {
            match event {
                Event::Interface(interface) => self.interfaces.push(interface),
                Event::Resources(resources) => self.lists.push(resources),
                Event::Devices(devices) => self.devices.push(devices),
                Event::ToPortal(message) => self.to_portal.push(message),
                Event::Decided { id, decision } => self.decided.push((id, decision)),
                other @ (Event::GatewaysOffline(_)
                | Event::GatewayVersionMismatch(_)
                | Event::NewKeyNeeded
                | Event::NewPublicKey(_)) => {
                    self.others.push(other);
                }
            }
        }
        self.packets.extend(std::iter::from_fn(|| self.tunnel.poll_packet()));
    }
}

/// The beginning of virtual time.
#[allow(clippy::disallowed_methods, reason = "an Instant can only be made from the clock; tests count from there")]
pub(crate) fn start() -> Instant {
    Instant::now()
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn id(number: u128) -> ResourceId {
    ResourceId::from_u128(number)
}

pub(crate) fn interface() -> Interface {
    Interface {
        ipv4: CLIENT_V4.parse().unwrap(),
        ipv6: CLIENT_V6.parse().unwrap(),
        upstream_do53: vec!["1.1.1.1".parse().unwrap(), "2606:4700:4700::1111".parse().unwrap()],
        upstream_doh: Vec::new(),
        search_domain: None,
    }
}

pub(crate) fn site(number: u128) -> Site {
    Site { id: SiteId::from_u128(number), name: format!("site {number}") }
}

pub(crate) fn cidr(number: u128, address: &str) -> Resource {
    Resource::Cidr(network(number, address))
}

pub(crate) fn network(number: u128, address: &str) -> CidrResource {
    CidrResource {
        id: id(number),
        address: address.parse().unwrap(),
        name: format!("network {number}"),
        address_description: None,
        sites: vec![site(1)],
        filters: model::Filters::default(),
    }
}

pub(crate) fn names(number: u128, pattern: &str) -> DnsResource {
    DnsResource {
        id: id(number),
        address: pattern.to_owned(),
        name: format!("names {number}"),
        address_description: None,
        sites: vec![site(1)],
        ip_stack: IpStack::Dual,
        filters: model::Filters::default(),
    }
}

pub(crate) fn internet(number: u128) -> Resource {
    Resource::Internet(InternetResource { id: id(number), name: "Internet".to_owned(), sites: vec![site(1)] })
}

/// The device whose addresses end with its number.
pub(crate) fn device(number: u8) -> Device {
    Device {
        client_id: ClientId::from_u128(number.into()),
        ipv4: format!("100.64.1.{number}").parse().unwrap(),
        ipv6: format!("fd00:2021:1111::1:{number:x}").parse().unwrap(),
    }
}

/// A pool with these devices.
pub(crate) fn pool(number: u128, devices: &[u8]) -> Pool<Vec<Device>> {
    Pool {
        id: id(number),
        name: format!("pool {number}"),
        members: devices.iter().copied().map(device).collect(),
        filters: model::Filters::default(),
    }
}

/// The portal's authorization of a connection with this device. With a grant, the device is the initiator.
pub(crate) fn device_access(number: u8, key: PublicKey, grant: Option<DeviceGrant>) -> DeviceAccess {
    let ice = |side: &str| IceCredentials {
        username: format!("{side}-{number}-user"),
        password: format!("{side}-{number}-password-that-is-long-enough").into(),
    };
    let device = device(number);
    DeviceAccess {
        client_id: device.client_id,
        client_name: Some(format!("device {number}")),
        client_public_key: key,
        client_ipv4: device.ipv4,
        client_ipv6: device.ipv6,
        preshared_key: PresharedKey::from([9; 32]),
        local_ice_credentials: ice("client"),
        remote_ice_credentials: ice("gateway"),
        ice_role: if grant.is_some() { IceRole::Controlled } else { IceRole::Controlling },
        use_iceless: false,
        grant,
    }
}

/// A UDP datagram of a program; `number` makes it unique.
pub(crate) fn udp(destination: impl ToString, number: u16) -> IpPacket {
    let destination: SocketAddr = destination.to_string().parse().unwrap();
    let source = SocketAddr::new(if destination.is_ipv4() { CLIENT_V4 } else { CLIENT_V6 }.parse().unwrap(), 40_000);
    build::udp(source, destination, &number.to_be_bytes()).unwrap()
}

/// A datagram to the client's program.
pub(crate) fn answer(from: impl ToString) -> IpPacket {
    let from: SocketAddr = from.to_string().parse().unwrap();
    let us = if from.is_ipv4() { CLIENT_V4 } else { CLIENT_V6 }.parse().unwrap();
    build::udp(from, SocketAddr::new(us, 40_000), b"answer").unwrap()
}

/// The ICMP error of a gateway for an unauthorized packet.
pub(crate) fn prohibited_error(packet: &IpPacket) -> IpPacket {
    icmp::prohibited(packet).unwrap()
}

/// The same IPv4 packet from an ECN-capable sender.
pub(crate) fn ecn_capable(packet: &IpPacket) -> IpPacket {
    let mut bytes = packet.as_bytes().to_vec();
    bytes[1] |= Ecn::Ect0.bits();
    IpPacket::parse(&bytes).unwrap()
}

/// The authorization to use `resource` through the gateway with this number, which ends its addresses.
pub(crate) fn authorization(resource: ResourceId, gateway: u8, gateway_key: PublicKey) -> AuthorizationCreated {
    let ice = |side: &str| IceCredentials {
        username: format!("{side}-{gateway}-user"),
        password: format!("{side}-{gateway}-password-that-is-long-enough").into(),
    };
    AuthorizationCreated {
        resource_id: resource,
        gateway_id: GatewayId::from_u128(gateway.into()),
        gateway_public_key: gateway_key,
        gateway_ipv4: format!("100.64.1.{gateway}").parse().unwrap(),
        gateway_ipv6: format!("fd00:2021:1111::1:{gateway:x}").parse().unwrap(),
        site_id: SiteId::from_u128(1),
        preshared_key: PresharedKey::from([9; 32]),
        client_ice_credentials: ice("client"),
        gateway_ice_credentials: ice("gateway"),
        use_iceless: false,
    }
}
