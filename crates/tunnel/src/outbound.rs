//! The decision about a packet that the host sends into the tunnel.

use std::{net::IpAddr, time::Instant};

use dns::Assignments;
use ip_packet::{IpPacket, Transport};
use model::{ClientId, GatewayId, Interface, PeerId, address_plan};

use crate::{
    access::{Access, Target},
    announcements,
    counters::DropReason,
    peers::{Flow, PeerTable},
    pools::Pools,
    resources::Resources,
    routing::{self, Routing},
};

/// The state that the decision depends on.
#[derive(Debug)]
pub(crate) struct Outbound<'a> {
    pub(crate) interface: Option<&'a Interface>,
    pub(crate) resources: &'a Resources,
    pub(crate) routing: &'a Routing,
    pub(crate) names: &'a Assignments,
    pub(crate) pools: &'a Pools,
    pub(crate) access: &'a Access,
    pub(crate) peers: &'a PeerTable,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send it to this gateway.
    Send(GatewayId),
    /// Send it to the gateway in the key as soon as the name is announced there.
    SendToNamed(announcements::Key),
    /// Send it to another client as part of this flow that this host initiated.
    SendToClient(ClientId, Flow),
    /// Send it to another client as a reply in a flow that the client initiated.
    ReplyToClient(ClientId),
    /// Hold it until access to the target is granted.
    RequestAccess(Target),
    /// Reject it with an ICMP error.
    Reject,
    /// Drop it.
    Drop(DropReason),
}

impl Outbound<'_> {
    /// Decides about `packet`; the first rule that applies wins.
    pub(crate) fn decide(&self, packet: &IpPacket, now: Instant) -> Verdict {
        let destination = packet.destination();
        if destination.is_multicast() {
            return Verdict::Drop(DropReason::Multicast);
        }
        let Some(interface) = self.interface else {
            return Verdict::Drop(DropReason::NoInterface);
        };
        if !is_own_address(interface, packet.source()) {
            return Verdict::Drop(DropReason::ForeignSource);
        }
        if is_own_address(interface, destination) {
            return Verdict::Drop(DropReason::OwnAddress);
        }
        // Sentinels in use are local addresses of the host, so packets to them never arrive here.
        if address_plan::is_sentinel(destination) {
            return Verdict::Drop(DropReason::Resolver);
        }
        let transport = packet.transport();
        let Some(protocol) = routing::protocol(transport) else {
            let client = self.client_of_icmp_error(transport, destination, now);
            return client.map_or(Verdict::Drop(DropReason::Protocol), Verdict::ReplyToClient);
        };
        match self.peers.owner(destination) {
            Some(PeerId::Gateway(gateway)) => return Verdict::Send(gateway),
            Some(PeerId::Client(client)) if self.is_reply(client, packet, now) => {
                return Verdict::ReplyToClient(client);
            }
            Some(PeerId::Client(_)) | None => {}
        }
        if let Some(member) = self.pools.route(destination, protocol) {
            return match Flow::of_outgoing(packet) {
                Some(_) if !member.is_permitted => Verdict::Reject,
                Some(flow) if self.access.may_reach(member.pool, member.client) => {
                    Verdict::SendToClient(member.client, flow)
                }
                Some(_) | None => Verdict::RequestAccess(Target::Device { pool: member.pool, address: destination }),
            };
        }
        let Some(route) = self.routing.route(self.resources, self.names, destination, protocol) else {
            return Verdict::Drop(DropReason::NoResource);
        };
        if !route.is_permitted {
            return Verdict::Reject;
        }
        match (self.access.gateway(route.resource), route.name) {
            (None, _) => Verdict::RequestAccess(Target::Resource(route.resource)),
            (Some(gateway), None) => Verdict::Send(gateway),
            (Some(gateway), Some(name)) => {
                Verdict::SendToNamed(announcements::Key { name, gateway, resource: route.resource })
            }
        }
    }

    /// Whether a packet belongs to a flow that this client initiated.
    fn is_reply(&self, client: ClientId, packet: &IpPacket, now: Instant) -> bool {
        let (Some(client), Some(flow)) = (self.peers.client(client), Flow::of_outgoing(packet)) else { return false };
        client.flows.is_theirs(&flow, now)
    }

    /// The client that an ICMP error of this host is for: the one at `destination`, if the error quotes a packet of a known
    /// flow with it.
    fn client_of_icmp_error(&self, transport: Transport, destination: IpAddr, now: Instant) -> Option<ClientId> {
        let Transport::IcmpError(quoted) = transport else { return None };
        let Some(PeerId::Client(id)) = self.peers.owner(destination) else { return None };
        let is_own_packet = self.peers.get(PeerId::Client(id))?.addresses().contains(&quoted.source);
        let flows = &self.peers.client(id)?.flows;
        (is_own_packet && flows.is_known(&Flow::of_quoted_incoming(&quoted), now)).then_some(id)
    }
}

/// Whether `ip` is this client's own address in the tunnel.
pub(crate) fn is_own_address(interface: &Interface, ip: IpAddr) -> bool {
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

    /// Access to 10.0.0.0/8 is granted through a gateway at 100.64.0.9, access to 172.16.0.0/12 is not; the Internet
    /// resource is enabled.
    struct World {
        interface: Option<Interface>,
        resources: Resources,
        routing: Routing,
        names: Assignments,
        pools: Pools,
        access: Access,
        peers: PeerTable,
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
                peers: PeerTable::default(),
                now: start(),
            };
            for resource in
                [cidr(1, "10.0.0.0/8", &[Filter::Udp(0..=65535), Filter::Icmp]), cidr(2, "172.16.0.0/12", &[])]
            {
                world.routing.insert(&resource);
                world.resources.insert(Resource::Cidr(resource));
            }
            world.resources.insert(internet(3));
            world.resources.set_internet_enabled(true);
            world.access.grant(RESOURCE, GATEWAY, SiteId::from_u128(1));
            world.peers.upsert(PeerId::Gateway(GATEWAY), identity());
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
            }
            .decide(packet, self.now)
        }
    }

    fn device_target(address: &str) -> Target {
        Target::Device { pool: ResourceId::from_u128(4), address: address.parse().unwrap() }
    }

    fn identity() -> Identity {
        let ice = || IceCredentials { username: "u".to_owned(), password: "p".into() };
        Identity::of_gateway(&AuthorizationCreated {
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
    fn outbound_verdict_depends_on_the_destination() {
        let world = World::new();
        for (destination, verdict) in [
            ("10.1.2.3:53", Verdict::Send(GATEWAY)),
            ("172.16.0.1:53", Verdict::RequestAccess(Target::Resource(OTHER))),
            ("9.9.9.9:53", Verdict::RequestAccess(Target::Resource(INTERNET))),
            ("[2001:db8::1]:53", Verdict::RequestAccess(Target::Resource(INTERNET))),
            ("100.64.0.9:53535", Verdict::Send(GATEWAY)),
            ("[fd00:2021:1111::9]:53535", Verdict::Send(GATEWAY)),
            ("100.64.0.10:80", Verdict::Drop(DropReason::NoResource)),
            ("100.64.0.20:80", Verdict::RequestAccess(device_target("100.64.0.20"))),
            ("[fd00:2021:1111::14]:80", Verdict::RequestAccess(device_target("fd00:2021:1111::14"))),
            ("100.64.0.7:80", Verdict::Drop(DropReason::OwnAddress)),
            ("[fd00:2021:1111::7]:80", Verdict::Drop(DropReason::OwnAddress)),
            ("224.0.0.251:5353", Verdict::Drop(DropReason::Multicast)),
            ("[ff02::fb]:5353", Verdict::Drop(DropReason::Multicast)),
            ("100.100.111.200:53", Verdict::Drop(DropReason::Resolver)),
            ("[fd00:2021:1111:8000:100:100:111:1]:53", Verdict::Drop(DropReason::Resolver)),
        ] {
            assert_eq!(world.decide(&udp_to(destination)), verdict, "{destination}");
        }
    }

    #[test]
    fn packet_outside_the_filters_is_rejected() {
        let world = World::new();
        let (source, destination) = ("100.64.0.7:40000".parse().unwrap(), "10.1.2.3:80".parse().unwrap());
        let packet = build::tcp(source, destination, build::TcpHeader::default(), b"").unwrap();

        assert_eq!(world.decide(&packet), Verdict::Reject);
    }

    #[test]
    fn foreign_source_or_missing_interface_drops_the_packet() {
        let mut world = World::new();
        let foreign = build::udp("192.168.0.2:1".parse().unwrap(), "10.1.2.3:2".parse().unwrap(), b"").unwrap();
        assert_eq!(world.decide(&foreign), Verdict::Drop(DropReason::ForeignSource));
        assert_eq!(world.decide(&ip_packet::control::goodbye()), Verdict::Drop(DropReason::ForeignSource));

        world.interface = None;
        assert_eq!(world.decide(&udp_to("10.1.2.3:53")), Verdict::Drop(DropReason::NoInterface));
    }

    #[test]
    fn unsupported_protocols_are_dropped() {
        let world = World::new();
        let (us, them) = ("100.64.0.7".parse().unwrap(), "10.1.2.3".parse().unwrap());
        let gre = build::other(us, them, 47, b"1234").unwrap();
        let from_them = build::udp("10.1.2.3:1".parse().unwrap(), "100.64.0.7:2".parse().unwrap(), b"").unwrap();
        let error = icmp::unreachable(&from_them).unwrap();

        assert_eq!(world.decide(&gre), Verdict::Drop(DropReason::Protocol));
        assert_eq!(world.decide(&error), Verdict::Drop(DropReason::Protocol));
        assert_eq!(world.decide(&build::echo_request(us, them, 7, 1, b"").unwrap()), Verdict::Send(GATEWAY));
    }

    #[test]
    fn mangled_packets_get_a_verdict() {
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
