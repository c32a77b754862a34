//! Routers that share one IPv4 address among the hosts behind them, with the behaviours of RFC 3489 and RFC 4787.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

/// What decides about the public port of a mapping, and about who may use it from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One port per socket inside; everybody may use it.
    FullCone,
    /// One port per socket inside; only addresses that were written to may use it.
    AddressRestricted,
    /// One port per socket inside; only sockets that were written to may use it.
    PortRestricted,
    /// One port per socket inside and socket outside; only the latter may use it.
    Symmetric,
}

/// One such router.
#[derive(Debug)]
pub struct Nat {
    /// How it behaves.
    pub kind: Kind,
    /// Its address on the internet.
    pub public: Ipv4Addr,
    /// How long it remembers a mapping that is not used from inside.
    pub patience: Duration,
    /// Whether hosts inside can reach each other by their public addresses.
    pub hairpin: bool,
    /// A port that an administrator has forwarded to a host inside, whatever the kind.
    pub forwarded: Option<(u16, SocketAddr)>,
    /// Who wrote to the forwarded port, and when last: answers leave through it as well.
    came_in: BTreeMap<SocketAddr, Instant>,
    mappings: BTreeMap<(SocketAddr, Option<SocketAddr>), Mapping>,
    next_port: u16,
}

#[derive(Debug)]
struct Mapping {
    port: u16,
    used: Instant,
    written_to: BTreeMap<SocketAddr, Instant>,
}

/// Ports that it hands out.
const PORTS: std::ops::RangeInclusive<u16> = 20_000..=40_000;

impl Nat {
    /// A router that remembers mappings for 30 s, as the worst ones do.
    #[must_use]
    pub fn new(kind: Kind, public: Ipv4Addr) -> Self {
        let patience = Duration::from_secs(30);
        let (mappings, next_port) = (BTreeMap::new(), *PORTS.start());
        let came_in = BTreeMap::new();
        Self { kind, public, patience, hairpin: false, forwarded: None, came_in, mappings, next_port }
    }

    /// It has lost its memory.
    pub fn reboot(&mut self) {
        self.mappings.clear();
        // Routers do not begin at the same port again.
        self.next_port += 101;
    }

    /// The public source of a datagram that goes out.
    pub(crate) fn translate(&mut self, from: SocketAddr, to: SocketAddr, now: Instant) -> SocketAddr {
        if let Some((port, inside)) = self.forwarded
            && inside == from
            && (self.kind != Kind::Symmetric || self.came_in.contains_key(&to))
        {
            return SocketAddr::from((self.public, port));
        }
        self.forget_old(now);
        let key = (from, (self.kind == Kind::Symmetric).then_some(to));
        if !self.mappings.contains_key(&key) {
            let port = self.free_port();
            self.mappings.insert(key, Mapping { port, used: now, written_to: BTreeMap::new() });
        }
        let mapping = self.mappings.get_mut(&key).expect("just inserted");
        mapping.used = now;
        mapping.written_to.insert(to, now);
        SocketAddr::from((self.public, mapping.port))
    }

    /// Whom inside a datagram from outside is for, if it may come in.
    pub(crate) fn admit(&mut self, from: SocketAddr, port: u16, now: Instant) -> Option<SocketAddr> {
        if let Some((forwarded, inside)) = self.forwarded
            && forwarded == port
        {
            self.came_in.insert(from, now);
            return Some(inside);
        }
        self.forget_old(now);
        let kind = self.kind;
        let admits = |mapping: &Mapping| match kind {
            Kind::FullCone => true,
            Kind::AddressRestricted => mapping.written_to.keys().any(|it| it.ip() == from.ip()),
            Kind::PortRestricted | Kind::Symmetric => mapping.written_to.contains_key(&from),
        };
        self.mappings.iter().find(|(_, it)| it.port == port && admits(it)).map(|((inside, _), _)| *inside)
    }

    fn forget_old(&mut self, now: Instant) {
        let patience = self.patience;
        let is_fresh = |since: Instant| now.duration_since(since) < patience;
        self.came_in.retain(|_, since| is_fresh(*since));
        self.mappings.retain(|_, mapping| is_fresh(mapping.used));
        for mapping in self.mappings.values_mut() {
            mapping.written_to.retain(|_, since| is_fresh(*since));
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
    use crate::{address, epoch, secs};

    const PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

    #[test]
    fn each_kind_admits_whom_it_should() {
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
    fn only_a_symmetric_one_has_a_port_per_destination() {
        let (inside, now) = (address("192.168.1.2:1"), epoch());
        for (kind, is_same) in [(Kind::PortRestricted, true), (Kind::Symmetric, false)] {
            let mut nat = Nat::new(kind, PUBLIC);
            let one = nat.translate(inside, address("192.0.2.1:1"), now);
            assert_eq!(one == nat.translate(inside, address("192.0.2.2:1"), now), is_same, "{kind:?}");
        }
    }

    #[test]
    fn an_unused_mapping_is_forgotten() {
        let (inside, friend, start) = (address("192.168.1.2:1"), address("192.0.2.1:1"), epoch());
        let mut nat = Nat::new(Kind::FullCone, PUBLIC);
        let port = nat.translate(inside, friend, start).port();
        assert_eq!(nat.admit(friend, port, start + secs(29)), Some(inside));
        assert_eq!(nat.admit(friend, port, start + secs(30)), None, "receiving does not keep it");
        assert_ne!(nat.translate(inside, friend, start + secs(31)).port(), port);
    }
}
