//! NATs with the behaviours of RFC 3489 and RFC 4787.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

/// The mapping and filtering behaviour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One port per inside socket; all outside senders are admitted.
    FullCone,
    /// One port per inside socket; only addresses that it sent to are admitted.
    AddressRestricted,
    /// One port per inside socket; only address and port pairs that it sent to are admitted.
    PortRestricted,
    /// One port per pair of inside and outside socket; only that outside socket is admitted.
    Symmetric,
}

/// A NAT.
#[derive(Debug)]
pub struct Nat {
    /// Its behaviour.
    pub kind: Kind,
    /// Its public address.
    pub public: Ipv4Addr,
    /// Lifetime of a mapping without outgoing datagrams.
    pub mapping_lifetime: Duration,
    /// Whether inside hosts can reach each other by their public addresses.
    pub hairpin: bool,
    /// A port that is forwarded to an inside host, independent of the kind.
    pub forwarded: Option<(u16, SocketAddr)>,
    /// The senders to the forwarded port with the time of their last datagram: replies leave through that port.
    inbound_senders: BTreeMap<SocketAddr, Instant>,
    mappings: BTreeMap<(SocketAddr, Option<SocketAddr>), Mapping>,
    next_port: u16,
}

#[derive(Debug)]
struct Mapping {
    port: u16,
    used: Instant,
    sent_to: BTreeMap<SocketAddr, Instant>,
}

/// Ports that it assigns.
const PORTS: std::ops::RangeInclusive<u16> = 20_000..=40_000;

impl Nat {
    /// A NAT whose mappings live for 30 s, the shortest lifetime in practice.
    #[must_use]
    pub fn new(kind: Kind, public: Ipv4Addr) -> Self {
        let mapping_lifetime = Duration::from_secs(30);
        let (mappings, next_port) = (BTreeMap::new(), *PORTS.start());
        let inbound_senders = BTreeMap::new();
        Self { kind, public, mapping_lifetime, hairpin: false, forwarded: None, inbound_senders, mappings, next_port }
    }

    /// Loses all mappings.
    pub fn reboot(&mut self) {
        self.mappings.clear();
        // The next mappings use other ports.
        self.next_port += 101;
    }

    /// The public source address of an outgoing datagram.
    pub(crate) fn translate(&mut self, from: SocketAddr, to: SocketAddr, now: Instant) -> SocketAddr {
        if let Some((port, inside)) = self.forwarded
            && inside == from
            && (self.kind != Kind::Symmetric || self.inbound_senders.contains_key(&to))
        {
            return SocketAddr::from((self.public, port));
        }
        self.remove_expired(now);
        let key = (from, (self.kind == Kind::Symmetric).then_some(to));
        if !self.mappings.contains_key(&key) {
            let port = self.free_port();
            self.mappings.insert(key, Mapping { port, used: now, sent_to: BTreeMap::new() });
        }
        let mapping = self.mappings.get_mut(&key).expect("just inserted");
        mapping.used = now;
        mapping.sent_to.insert(to, now);
        SocketAddr::from((self.public, mapping.port))
    }

    /// The inside destination of an incoming datagram; `None` if it is not admitted.
    pub(crate) fn admit(&mut self, from: SocketAddr, port: u16, now: Instant) -> Option<SocketAddr> {
        if let Some((forwarded, inside)) = self.forwarded
            && forwarded == port
        {
            self.inbound_senders.insert(from, now);
            return Some(inside);
        }
        self.remove_expired(now);
        let kind = self.kind;
        let admits = |mapping: &Mapping| match kind {
            Kind::FullCone => true,
            Kind::AddressRestricted => mapping.sent_to.keys().any(|it| it.ip() == from.ip()),
            Kind::PortRestricted | Kind::Symmetric => mapping.sent_to.contains_key(&from),
        };
        self.mappings.iter().find(|(_, it)| it.port == port && admits(it)).map(|((inside, _), _)| *inside)
    }

    fn remove_expired(&mut self, now: Instant) {
        let mapping_lifetime = self.mapping_lifetime;
        let is_fresh = |since: Instant| now.duration_since(since) < mapping_lifetime;
        self.inbound_senders.retain(|_, since| is_fresh(*since));
        self.mappings.retain(|_, mapping| is_fresh(mapping.used));
        for mapping in self.mappings.values_mut() {
            mapping.sent_to.retain(|_, since| is_fresh(*since));
        }
    }

    fn free_port(&mut self) -> u16 {
        loop {
            let port = self.next_port;
            self.next_port = if port >= *PORTS.end() { *PORTS.start() } else { port + 1 };
            if !self.mappings.values().any(|mapping| mapping.port == port) {
                return port;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{address, epoch, secs};

    const PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

    #[test]
    fn each_nat_kind_admits_the_specified_senders() {
        let (inside, friend) = (address("192.168.1.2:1"), address("192.0.2.1:1"));
        let same_address = address("192.0.2.1:2");
        let stranger = address("192.0.2.2:1");
        for (kind, admitted) in [
            (Kind::FullCone, [true, true, true]),
            (Kind::AddressRestricted, [true, true, false]),
            (Kind::PortRestricted, [true, false, false]),
            (Kind::Symmetric, [true, false, false]),
        ] {
            let mut nat = Nat::new(kind, PUBLIC);
            let port = nat.translate(inside, friend, epoch()).port();
            let who = [friend, same_address, stranger].map(|from| nat.admit(from, port, epoch()) == Some(inside));
            assert_eq!(who, admitted, "{kind:?}");
        }
    }

    #[test]
    fn only_a_symmetric_nat_has_a_port_per_destination() {
        let (inside, now) = (address("192.168.1.2:1"), epoch());
        for (kind, is_same) in [(Kind::PortRestricted, true), (Kind::Symmetric, false)] {
            let mut nat = Nat::new(kind, PUBLIC);
            let one = nat.translate(inside, address("192.0.2.1:1"), now);
            assert_eq!(one == nat.translate(inside, address("192.0.2.2:1"), now), is_same, "{kind:?}");
        }
    }

    #[test]
    fn unused_mapping_is_forgotten() {
        let (inside, friend, start) = (address("192.168.1.2:1"), address("192.0.2.1:1"), epoch());
        let mut nat = Nat::new(Kind::FullCone, PUBLIC);
        let port = nat.translate(inside, friend, start).port();
        assert_eq!(nat.admit(friend, port, start + secs(29)), Some(inside));
        assert_eq!(nat.admit(friend, port, start + secs(30)), None, "received datagrams do not refresh it");
        assert_ne!(nat.translate(inside, friend, start + secs(31)).port(), port);
    }
}
