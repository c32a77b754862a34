//! What happens to a packet that wants to leave.

use std::{net::IpAddr, time::Instant};

use dns::Assignments;
use ip_packet::{IpPacket, Transport};
use model::{ClientId, GatewayId, Interface, address_plan};

use crate::{
    access::{Access, Target},
    counters::Reason,
    nat,
    peers::{Clients, Flow, Peers},
    pools::Pools,
    resources::Resources,
    routing::{self, Routing},
};

/// Everything that the decision depends on.
#[derive(Debug)]
pub(crate) struct Outbound<'a> {
    pub(crate) interface: Option<&'a Interface>,
    pub(crate) resources: &'a Resources,
    pub(crate) routing: &'a Routing,
    pub(crate) names: &'a Assignments,
    pub(crate) pools: &'a Pools,
    pub(crate) access: &'a Access,
    pub(crate) peers: &'a Peers,
    pub(crate) clients: &'a Clients,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes to this gateway.
    Send(GatewayId),
    /// It goes to the gateway in the key as soon as that knows the name.
    SendToName(nat::Key),
    /// It goes to another client, and begins or continues this conversation of ours.
    SendToClient(ClientId, Flow),
    /// It goes to another client, and answers something that it said.
    AnswerClient(ClientId),
    /// It waits until we may use this resource or reach this device.
    Ask(Target),
    /// The sender is told that it is forbidden.
    Refuse,
    /// It goes nowhere.
    Drop(Reason),
}

impl Outbound<'_> {
    /// Decides; the first rule that applies wins.
    pub(crate) fn decide(&self, packet: &IpPacket, now: Instant) -> Verdict {
        let destination = packet.destination();
        if destination.is_multicast() {
            return Verdict::Drop(Reason::Multicast);
        }
        let Some(interface) = self.interface else {
            return Verdict::Drop(Reason::NoInterface);
        };
        if !is_ours(interface, packet.source()) {
            return Verdict::Drop(Reason::ForeignSource);
        }
        if is_ours(interface, destination) {
            return Verdict::Drop(Reason::OwnAddress);
        }
        // The sentinels that are in use are addresses of the host, so what comes here missed them.
        if address_plan::is_sentinel(destination) {
            return Verdict::Drop(Reason::Resolver);
        }
        let transport = packet.transport();
        let Some(protocol) = routing::protocol(transport) else {
            let client = self.client_concerned(transport, destination, now);
            return client.map_or(Verdict::Drop(Reason::Protocol), Verdict::AnswerClient);
        };
        if let Some(gateway) = self.peers.with_address(destination) {
            return Verdict::Send(gateway);
        }
        if let Some((id, client)) = self.clients.with_address(destination)
            && Flow::of_ours(packet).is_some_and(|flow| client.flows.is_theirs(&flow, now))
        {
            return Verdict::AnswerClient(id);
        }
        if let Some(member) = self.pools.route(destination, protocol) {
            return match Flow::of_ours(packet) {
                Some(_) if !member.is_permitted => Verdict::Refuse,
                Some(flow) if self.access.reaches(member.pool, member.client) => {
                    Verdict::SendToClient(member.client, flow)
                }
                Some(_) | None => Verdict::Ask(Target::Device { pool: member.pool, address: destination }),
            };
        }
        let Some(route) = self.routing.route(self.resources, self.names, destination, protocol) else {
            return Verdict::Drop(Reason::NoResource);
        };
        if !route.is_permitted {
            return Verdict::Refuse;
        }
        match (self.access.gateway(route.resource), route.name) {
            (None, _) => Verdict::Ask(Target::Resource(route.resource)),
            (Some(gateway), None) => Verdict::Send(gateway),
            (Some(gateway), Some(name)) => Verdict::SendToName(nat::Key { name, gateway, resource: route.resource }),
        }
    }

    /// The client that has to hear of an error: the one at `destination`, if the error is about a packet that it sent us in
    /// a conversation that we know.
    fn client_concerned(&self, transport: Transport, destination: IpAddr, now: Instant) -> Option<ClientId> {
        let Transport::IcmpError(quoted) = transport else { return None };
        let (id, client) = self.clients.with_address(destination)?;
        let is_meant = client.owns(quoted.source) && client.flows.is_known(&Flow::of_their_quoted(&quoted), now);
        is_meant.then_some(id)
    }
}

/// Whether `ip` is our own address in the tunnel.
pub(crate) fn is_ours(interface: &Interface, ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip == interface.ipv4,
        IpAddr::V6(ip) => ip == interface.ipv6,
    }
}

#[cfg(test)]
mod tests {
    use ip_packet::{Ecn, build, icmp};
    use model::{
        Filter, GatewayId, IceCredentials, PresharedKey, PublicKey, Resource, ResourceId, SiteId,
        message::AuthorizationCreated,
    };

    use super::*;
    use crate::{
        peers::Identity,
        testing::{cidr, device, interface, internet, pool, start, udp_to},
    };

    /// 10.0.0.0/8 is permitted through a gateway at 100.64.0.9; 172.16.0.0/12 is not permitted yet; the Internet
    /// resource is wanted.
    struct World {
        interface: Option<Interface>,
        resources: Resources,
        routing: Routing,
        names: Assignments,
        pools: Pools,
        access: Access,
        peers: Peers,
        clients: Clients,
        now: Instant,
    }

    const RESOURCE: ResourceId = ResourceId::from_u128(1);
    const OTHER: ResourceId = ResourceId::from_u128(2);
    const INTERNET: ResourceId = ResourceId::from_u128(3);
    const GATEWAY: GatewayId = GatewayId::from_u128(1);

    impl World {
        fn new() -> Self {
            let mut world = Self {
                interface: Some(interface()),
                resources: Resources::default(),
                routing: Routing::default(),
                names: Assignments::default(),
                pools: Pools::default(),
                access: Access::default(),
                peers: Peers::default(),
                clients: Clients::default(),
                now: start(),
            };
            for resource in
                [cidr(1, "10.0.0.0/8", &[Filter::Udp(0..=65535), Filter::Icmp]), cidr(2, "172.16.0.0/12", &[])]
            {
                world.routing.insert(&resource);
                world.resources.insert(Resource::Cidr(resource));
            }
            world.resources.insert(internet(3));
            world.resources.switch_internet(true);
            world.access.grant(RESOURCE, GATEWAY, SiteId::from_u128(1));
            world.peers.upsert(GATEWAY, identity());
            world.pools.upsert(&pool(4, &[device(20)], &[Filter::Udp(0..=65535)]));
            world
        }

        fn decide(&self, packet: &IpPacket) -> Verdict {
            Outbound {
                interface: self.interface.as_ref(),
                resources: &self.resources,
                routing: &self.routing,
                names: &self.names,
                pools: &self.pools,
                access: &self.access,
                peers: &self.peers,
                clients: &self.clients,
            }
            .decide(packet, self.now)
        }
    }

    fn device_target(address: &str) -> Target {
        Target::Device { pool: ResourceId::from_u128(4), address: address.parse().unwrap() }
    }

    fn identity() -> Identity {
        let ice = || IceCredentials { username: "u".to_owned(), password: "p".into() };
        Identity::of(&AuthorizationCreated {
            resource_id: RESOURCE,
            gateway_id: GATEWAY,
            gateway_public_key: PublicKey([1; 32]),
            gateway_ipv4: "100.64.0.9".parse().unwrap(),
            gateway_ipv6: "fd00:2021:1111::9".parse().unwrap(),
            site_id: SiteId::from_u128(1),
            preshared_key: PresharedKey::from([0; 32]),
            client_ice_credentials: ice(),
            gateway_ice_credentials: ice(),
            use_iceless: false,
        })
    }

    #[test]
    fn the_decision_follows_the_destination() {
        let world = World::new();
        for (destination, verdict) in [
            ("10.1.2.3:53", Verdict::Send(GATEWAY)),
            ("172.16.0.1:53", Verdict::Ask(Target::Resource(OTHER))),
            ("9.9.9.9:53", Verdict::Ask(Target::Resource(INTERNET))),
            ("[2001:db8::1]:53", Verdict::Ask(Target::Resource(INTERNET))),
            ("100.64.0.9:53535", Verdict::Send(GATEWAY)),
            ("[fd00:2021:1111::9]:53535", Verdict::Send(GATEWAY)),
            ("100.64.0.10:80", Verdict::Drop(Reason::NoResource)),
            ("100.64.0.20:80", Verdict::Ask(device_target("100.64.0.20"))),
            ("[fd00:2021:1111::14]:80", Verdict::Ask(device_target("fd00:2021:1111::14"))),
            ("100.64.0.7:80", Verdict::Drop(Reason::OwnAddress)),
            ("[fd00:2021:1111::7]:80", Verdict::Drop(Reason::OwnAddress)),
            ("224.0.0.251:5353", Verdict::Drop(Reason::Multicast)),
            ("[ff02::fb]:5353", Verdict::Drop(Reason::Multicast)),
            ("100.100.111.200:53", Verdict::Drop(Reason::Resolver)),
            ("[fd00:2021:1111:8000:100:100:111:1]:53", Verdict::Drop(Reason::Resolver)),
        ] {
            assert_eq!(world.decide(&udp_to(destination)), verdict, "{destination}");
        }
    }

    #[test]
    fn what_the_filters_forbid_is_refused() {
        let world = World::new();
        let (source, destination) = ("100.64.0.7:40000".parse().unwrap(), "10.1.2.3:80".parse().unwrap());
        let packet = build::tcp(source, destination, build::TcpHeader::default(), b"").unwrap();

        assert_eq!(world.decide(&packet), Verdict::Refuse);
    }

    #[test]
    fn nothing_leaves_for_others_or_before_we_know_who_we_are() {
        let mut world = World::new();
        let foreign = build::udp("192.168.0.2:1".parse().unwrap(), "10.1.2.3:2".parse().unwrap(), b"").unwrap();
        assert_eq!(world.decide(&foreign), Verdict::Drop(Reason::ForeignSource));
        assert_eq!(world.decide(&ip_packet::control::goodbye()), Verdict::Drop(Reason::ForeignSource));

        world.interface = None;
        assert_eq!(world.decide(&udp_to("10.1.2.3:53")), Verdict::Drop(Reason::NoInterface));
    }

    #[test]
    fn what_gateways_cannot_route_stays_here() {
        let world = World::new();
        let (us, them) = ("100.64.0.7".parse().unwrap(), "10.1.2.3".parse().unwrap());
        let gre = build::other(us, them, 47, b"1234").unwrap();
        let from_them = build::udp("10.1.2.3:1".parse().unwrap(), "100.64.0.7:2".parse().unwrap(), b"").unwrap();
        let error = icmp::unreachable(&from_them).unwrap();

        assert_eq!(world.decide(&gre), Verdict::Drop(Reason::Protocol));
        assert_eq!(world.decide(&error), Verdict::Drop(Reason::Protocol));
        assert_eq!(world.decide(&build::echo_request(us, them, 7, 1, b"").unwrap()), Verdict::Send(GATEWAY));
    }

    #[test]
    fn any_mangled_packet_gets_a_verdict() {
        let world = World::new();
        let mut packet = udp_to("10.1.2.3:53");
        packet.mark_congested();
        assert_eq!(packet.ecn(), Ecn::NotEct);
        let bytes = packet.as_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(packet) = IpPacket::parse(&flipped) {
                let _ = world.decide(&packet);
            }
        }
        for length in 0..bytes.len() {
            assert!(IpPacket::parse(&bytes[..length]).is_err());
        }
    }
}
