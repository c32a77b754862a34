//! What one client may do.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use ip_packet::{IpPacket, Transport, icmp};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::{Filters, ResourceId, address_plan, filter};

use super::{
    nat::{Inbound, Nat, Outbound},
    pattern,
};

/// A client that has been granted something.
#[derive(Debug)]
pub(super) struct Client {
    ipv4: Ipv4Addr,
    ipv6: Ipv6Addr,
    grants: BTreeMap<ResourceId, Grant>,
    nat: Nat,
}

/// One thing that it has been granted.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) what: What,
    pub(super) filters: Filters,
    /// For ever if absent.
    pub(super) until: Option<Instant>,
}

/// What a resource is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// Names of a pattern.
    Dns(String),
    /// A network.
    Cidr(IpNet),
    /// Everything that is public.
    Internet,
}

/// What becomes of a packet from the client.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It goes on.
    Forward(IpPacket),
    /// The client is told that it does not.
    Refuse(Option<IpPacket>),
    /// Nothing.
    Drop(&'static str),
}

/// Why addresses were not assigned to a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NotAllowed;

impl Client {
    pub(super) fn new(ipv4: Ipv4Addr, ipv6: Ipv6Addr) -> Self {
        Self { ipv4, ipv6, grants: BTreeMap::new(), nat: Nat::default() }
    }

    pub(super) fn has_addresses(&self, ipv4: Ipv4Addr, ipv6: Ipv6Addr) -> bool {
        (self.ipv4, self.ipv6) == (ipv4, ipv6)
    }

    pub(super) fn owns(&self, ip: IpAddr) -> bool {
        ip == self.ipv4 || ip == self.ipv6
    }

    pub(super) fn grant(&mut self, resource: ResourceId, grant: Grant) {
        self.grants.insert(resource, grant);
    }

    pub(super) fn grant_mut(&mut self, resource: ResourceId) -> Option<&mut Grant> {
        self.grants.get_mut(&resource)
    }

    pub(super) fn revoke(&mut self, resource: ResourceId) {
        self.grants.remove(&resource);
        self.nat.forget_resource(resource);
    }

    /// Revokes everything that does not satisfy `keep`.
    pub(super) fn revoke_unless(&mut self, keep: impl Fn(ResourceId, &Grant) -> bool) {
        let gone: Vec<_> = self.grants.iter().filter(|(id, it)| !keep(**id, it)).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.revoke(id));
    }

    pub(super) fn has_nothing(&self) -> bool {
        self.grants.is_empty()
    }

    /// Whether the client may use `name` as part of `resource`.
    pub(super) fn may_resolve(&self, resource: ResourceId, name: &str) -> bool {
        matches!(self.grants.get(&resource), Some(Grant { what: What::Dns(it), .. }) if pattern::matches(it, name))
    }

    /// Lets addresses that the client invented stand for a name.
    pub(super) fn assign(
        &mut self,
        name: &str,
        resource: ResourceId,
        resolved: &[IpAddr],
        proxies: &[IpAddr],
    ) -> Result<(), NotAllowed> {
        if !self.may_resolve(resource, name) {
            return Err(NotAllowed);
        }
        self.nat.assign(name, resource, resolved, proxies);
        Ok(())
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Instant) {
        self.revoke_unless(|_, grant| grant.until.is_none_or(|until| now < until));
        self.nat.tick(now);
    }

    /// Decides about a packet from the client. `own` tells our own addresses in the tunnel.
    pub(super) fn outbound(&mut self, packet: IpPacket, own: impl Fn(IpAddr) -> bool, now: Instant) -> Verdict {
        let (source, destination) = (packet.source(), packet.destination());
        if destination.is_multicast() {
            return Verdict::Drop("multicast");
        }
        if matches!(packet.transport(), Transport::IcmpError(_)) {
            return Verdict::Drop("an error of the client");
        }
        if !self.owns(source) {
            return Verdict::Refuse(icmp::prohibited(&packet));
        }
        if own(destination) {
            return Verdict::Forward(packet);
        }
        if address_plan::is_peer(destination) {
            return Verdict::Refuse(icmp::prohibited(&packet));
        }

        let is_invented = is_proxy(destination);
        if !is_invented && self.grants.values().any(|it| it.what == What::Internet) {
            return if is_public(destination) {
                Verdict::Forward(packet)
            } else {
                Verdict::Refuse(icmp::unreachable(&packet))
            };
        }
        if !self.permits(destination, protocol(packet.transport(), Direction::ToServer)) {
            return Verdict::Refuse(icmp::prohibited(&packet));
        }
        if !is_invented {
            return Verdict::Forward(packet);
        }
        let answer = icmp::unreachable(&packet);
        match self.nat.outbound(packet, now) {
            Outbound::Forward(packet) => Verdict::Forward(packet),
            Outbound::NoTarget => Verdict::Refuse(answer),
            Outbound::Drop => Verdict::Drop("cannot be translated"),
        }
    }

    /// Decides about a packet to the client. `None` drops it.
    pub(super) fn inbound(&mut self, packet: IpPacket, own: impl Fn(IpAddr) -> bool, now: Instant) -> Option<IpPacket> {
        if own(packet.source()) {
            return Some(packet);
        }
        let client = packet.destination();
        let packet = match self.nat.inbound(packet, client, now) {
            Inbound::Translated(packet) | Inbound::Untouched(packet) => packet,
            Inbound::Drop => return None,
        };
        if address_plan::is_peer(packet.source()) {
            return None;
        }
        if matches!(packet.transport(), Transport::IcmpError(_)) {
            return Some(packet);
        }
        let has_internet = self.grants.values().any(|it| it.what == What::Internet);
        let permitted = self.permits(packet.source(), protocol(packet.transport(), Direction::ToClient))
            || has_internet && is_public(packet.source());
        permitted.then_some(packet)
    }

    /// Among the grants that contain `ip`: one that permits, then the smallest network, then the greatest id.
    fn permits(&self, ip: IpAddr, protocol: filter::Protocol) -> bool {
        let translated = self.nat.translation(ip);
        self.grants
            .iter()
            .filter_map(|(id, grant)| {
                let prefix = match &grant.what {
                    What::Cidr(network) => network.contains(&ip).then(|| network.prefix_len())?,
                    What::Dns(_) => translated?.resources.contains(id).then_some(128)?,
                    What::Internet => return None,
                };
                Some((grant.filters.permit(protocol), prefix, *id))
            })
            .max()
            .is_some_and(|(permitted, _, _)| permitted)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

/// What filters look at: the server's port, whoever sends.
fn protocol(transport: Transport, direction: Direction) -> filter::Protocol {
    let server = |source, destination| if direction == Direction::ToServer { destination } else { source };
    match transport {
        Transport::Tcp { source, destination } => filter::Protocol::Tcp(server(source, destination)),
        Transport::Udp { source, destination } => filter::Protocol::Udp(server(source, destination)),
        Transport::Echo { .. } | Transport::IcmpError(_) | Transport::OtherIcmp => filter::Protocol::Icmp,
        Transport::Other(_) => filter::Protocol::Other,
    }
}

fn is_proxy(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => address_plan::PROXIES_V4.contains(&ip),
        IpAddr::V6(ip) => address_plan::PROXIES_V6.contains(&ip),
    }
}

/// Whether the Internet resource reaches it.
fn is_public(ip: IpAddr) -> bool {
    const CARRIER_GRADE_NAT: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10);
    const RESERVED: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 4);
    const UNIQUE_LOCAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7);
    const LINK_LOCAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);

    match ip {
        IpAddr::V4(ip) => {
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || CARRIER_GRADE_NAT.contains(&ip)
                || RESERVED.contains(&ip))
        }
        IpAddr::V6(ip) => {
            !(ip.is_multicast()
                || ip.is_loopback()
                || ip.to_ipv4_mapped().is_some()
                || UNIQUE_LOCAL.contains(&ip)
                || LINK_LOCAL.contains(&ip))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use ip_packet::build;
    use model::Filter;

    use super::*;

    const OWN: &str = "100.64.0.1";

    fn client() -> Client {
        Client::new("100.64.0.9".parse().unwrap(), "fd00:2021:1111::9".parse().unwrap())
    }

    fn grant(what: What, filters: &[Filter]) -> Grant {
        Grant { what, filters: filters.iter().cloned().collect(), until: None }
    }

    fn lab(filters: &[Filter]) -> Grant {
        grant(What::Cidr("10.20.0.0/24".parse().unwrap()), filters)
    }

    fn id(number: u128) -> ResourceId {
        ResourceId::from_u128(number)
    }

    fn udp(from: &str, to: &str) -> IpPacket {
        build::udp(from.parse::<SocketAddr>().unwrap(), to.parse::<SocketAddr>().unwrap(), b"x").unwrap()
    }

    fn send(client: &mut Client, packet: IpPacket) -> Verdict {
        client.outbound(packet, |ip| ip.to_string() == OWN, Instant::now())
    }

    fn is_prohibited(verdict: &Verdict) -> bool {
        let Verdict::Refuse(Some(answer)) = verdict else { return false };
        matches!(answer.transport(), Transport::IcmpError(quoted) if quoted.is_prohibited())
    }

    #[test]
    fn what_is_granted_is_forwarded_and_nothing_else() {
        let mut client = client();
        client.grant(id(1), lab(&[Filter::Udp(53..=53)]));

        assert!(matches!(send(&mut client, udp("100.64.0.9:1", "10.20.0.2:53")), Verdict::Forward(_)));
        assert!(is_prohibited(&send(&mut client, udp("100.64.0.9:1", "10.20.0.2:54"))));
        assert!(is_prohibited(&send(&mut client, udp("100.64.0.9:1", "10.21.0.2:53"))));
        assert!(is_prohibited(&send(&mut client, udp("100.64.0.8:1", "10.20.0.2:53"))));
        assert!(is_prohibited(&send(&mut client, udp("100.64.0.9:1", "100.64.0.7:53"))));
        assert!(matches!(send(&mut client, udp("100.64.0.9:1", "100.64.0.1:53535")), Verdict::Forward(_)));
    }

    #[test]
    fn a_wider_network_that_permits_beats_a_smaller_one_that_does_not() {
        let mut client = client();
        client.grant(id(2), grant(What::Cidr("10.20.0.2/32".parse().unwrap()), &[Filter::Icmp]));
        client.grant(id(1), lab(&[]));

        assert!(matches!(send(&mut client, udp("100.64.0.9:1", "10.20.0.2:53")), Verdict::Forward(_)));
    }

    #[test]
    fn a_grant_that_is_over_is_refused() {
        let (mut client, now) = (client(), Instant::now());
        client.grant(id(1), Grant { until: Some(now), ..lab(&[]) });

        client.tick(now);

        assert!(client.has_nothing());
        assert!(is_prohibited(&send(&mut client, udp("100.64.0.9:1", "10.20.0.2:53"))));
    }

    #[test]
    fn answers_have_to_come_from_what_is_granted() {
        let mut client = client();
        client.grant(id(1), lab(&[Filter::Udp(53..=53)]));
        let mut receive = |packet| client.inbound(packet, |_| false, Instant::now());

        assert!(receive(udp("10.20.0.2:53", "100.64.0.9:1")).is_some());
        assert!(receive(udp("10.20.0.2:54", "100.64.0.9:1")).is_none());
        assert!(receive(udp("10.21.0.2:53", "100.64.0.9:1")).is_none());
    }

    #[test]
    fn two_resources_of_one_name_let_through_what_each_permits() {
        let mut client = client();
        client.grant(id(1), grant(What::Dns("*.example".into()), &[Filter::Udp(80..=80)]));
        client.grant(id(2), grant(What::Dns("a.example".into()), &[Filter::Udp(443..=443)]));
        let (server, proxy) = (["10.0.0.5".parse().unwrap()], ["100.96.0.1".parse().unwrap()]);
        client.assign("a.example", id(1), &server, &proxy).unwrap();
        client.assign("a.example", id(2), &server, &proxy).unwrap();

        for port in [80, 443] {
            assert!(matches!(
                send(&mut client, udp("100.64.0.9:1", &format!("100.96.0.1:{port}"))),
                Verdict::Forward(_)
            ));
        }
        assert!(is_prohibited(&send(&mut client, udp("100.64.0.9:1", "100.96.0.1:81"))));
        assert_eq!(client.assign("a.other", id(1), &server, &proxy), Err(NotAllowed));
    }

    #[test]
    fn the_internet_is_what_is_public() {
        let mut client = client();
        client.grant(id(1), grant(What::Internet, &[]));

        assert!(matches!(send(&mut client, udp("100.64.0.9:1", "192.0.2.1:53")), Verdict::Forward(_)));
        let private = send(&mut client, udp("100.64.0.9:1", "10.0.0.1:53"));
        assert!(matches!(private, Verdict::Refuse(Some(_))) && !is_prohibited(&private));
        assert!(is_prohibited(&send(&mut client, udp("100.64.0.9:1", "100.64.0.3:53"))));
    }
}
