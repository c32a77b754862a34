//! The grants of one client.

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

/// A client with grants.
#[derive(Debug)]
pub(super) struct Client {
    ipv4: Ipv4Addr,
    ipv6: Ipv6Addr,
    grants: BTreeMap<ResourceId, Grant>,
    nat: Nat,
}

/// Access to one resource.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) what: What,
    pub(super) filters: Filters,
    /// None: without expiry.
    pub(super) until: Option<Instant>,
}

/// The destinations of a resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// Names that match a pattern.
    Dns(String),
    /// A network.
    Cidr(IpNet),
    /// All public addresses.
    Internet,
}

/// The decision about a packet from the client.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Forward it.
    Forward(IpPacket),
    /// Reject it with an ICMP error.
    Refuse(Option<IpPacket>),
    /// Drop it.
    Drop(&'static str),
}

/// Why proxy addresses were not assigned to a name.
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

    /// Assigns the client's proxy addresses to a name.
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

    /// Removes expired grants and flows.
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

/// The port that filters match: the server's, in both directions.
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

/// Whether the Internet resource covers the address.
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
mod tests;
