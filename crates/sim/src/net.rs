//! The internet: cables, routers, relays, and datagrams under way.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use ip_packet::Ecn;
use rand::rngs::StdRng;

use crate::{Link, Machine, Nat, Relay};

/// Datagrams at one moment beyond which a machine is said to spin.
const TOO_MANY_AT_ONCE: u32 = 100_000;

/// By which STUN is known.
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

/// How long a datagram takes from one relay to another.
const BETWEEN_RELAYS: Duration = Duration::from_millis(2);

/// All that lies between the machines, and the only clock.
#[derive(Debug)]
pub struct Net {
    /// What time it is.
    pub now: Instant,
    /// How each machine is connected, in their order.
    pub sites: Vec<Site>,
    /// Routers that hide their hosts.
    pub nats: Vec<Nat>,
    /// Relays, each at the core of the net.
    pub relays: Vec<Relay>,
    /// Whether datagrams between two machines arrive, other than through a relay.
    pub direct: bool,
    /// From which machine, other than through a relay, nothing arrives.
    pub mute: Option<usize>,
    /// Whether nothing but connectivity checks arrives, other than through a relay.
    pub checks_only: bool,
    /// What somebody on the way does not let through, on all ways. Content is what was sent from one end to the other.
    pub forbidden: Option<fn(&[u8]) -> bool>,
    /// Whether nothing at all arrives.
    pub dark: bool,
    /// Datagrams that each machine sent.
    pub departed: Vec<u64>,
    /// Datagrams that arrived somewhere.
    pub delivered: u64,
    /// Datagrams that did not.
    pub losses: Losses,
    under_way: BTreeMap<(Instant, u64), Flight>,
    sent: u64,
    rng: StdRng,
}

/// How a machine is connected.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Site {
    /// Its cable.
    pub link: Link,
    /// Which of the routers hides its IPv4 address.
    pub nat: Option<usize>,
}

/// Why datagrams did not arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Losses {
    /// A cable lost them, or they were too long for it.
    pub link: u64,
    /// Nobody is there.
    pub nowhere: u64,
    /// The router in front of the receiver did not let them in.
    pub refused: u64,
    /// The direct way is closed.
    pub blocked: u64,
}

#[derive(Debug)]
struct Flight {
    from: SocketAddr,
    to: SocketAddr,
    ecn: Ecn,
    payload: Vec<u8>,
    origin: Origin,
}

/// Where a datagram began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Origin {
    Site(usize),
    Relay,
}

impl Net {
    /// Cables of 5 ms for `sites` machines, and nothing else.
    pub(crate) fn new(now: Instant, sites: usize, rng: StdRng) -> Self {
        let site = Site { link: Link::good(Duration::from_millis(5)), nat: None };
        Self {
            now,
            sites: vec![site; sites],
            nats: Vec::new(),
            relays: Vec::new(),
            direct: true,
            mute: None,
            checks_only: false,
            forbidden: None,
            dark: false,
            departed: vec![0; sites],
            delivered: 0,
            losses: Losses::default(),
            under_way: BTreeMap::new(),
            sent: 0,
            rng,
        }
    }

    /// Runs until a machine has something to say, or until `end`. Call it again after an event: machines may have been
    /// given something to do.
    pub fn advance<M: Machine>(&mut self, machines: &mut [M], end: Instant) -> Option<(usize, M::Event)> {
        let mut at_once = 0;
        loop {
            for (site, machine) in machines.iter_mut().enumerate() {
                self.collect(site, machine);
                if let Some(event) = machine.poll_event() {
                    return Some((site, event));
                }
            }
            let arrival = self.under_way.first_key_value().map(|((at, _), _)| *at);
            let due = machines.iter().filter_map(Machine::poll_timeout).map(|due| due.at).min();
            let Some(next) = [arrival, due].into_iter().flatten().min().filter(|next| *next <= end) else {
                self.now = self.now.max(end);
                return None;
            };
            at_once = if next > self.now { 0 } else { at_once + 1 };
            assert!(
                at_once < TOO_MANY_AT_ONCE,
                "something spins: {:?}",
                machines.iter().map(Machine::poll_timeout).max()
            );
            self.now = self.now.max(next);
            if arrival.is_some_and(|arrival| arrival <= self.now) {
                self.deliver(machines);
            } else {
                wake(machines, self.now);
            }
        }
    }

    /// Takes away what a machine has to send.
    fn collect<M: Machine>(&mut self, site: usize, machine: &mut M) {
        while let Some(transmit) = machine.poll_transmit() {
            let to = transmit.destination;
            let fits = |own: &&SocketAddr| {
                own.is_ipv4() == to.is_ipv4() && transmit.source.is_none_or(|wanted| wanted == own.ip())
            };
            // Like the kernel: who has no address of the family, or not the wanted one, cannot send.
            let Some(from) = machine.addresses().iter().find(fits).copied() else {
                self.losses.nowhere += 1;
                continue;
            };
            for segment in transmit.payload.chunks(transmit.segment) {
                self.leave(site, from, to, transmit.ecn, segment.to_vec());
            }
        }
    }

    /// A datagram leaves a machine.
    fn leave(&mut self, site: usize, from: SocketAddr, to: SocketAddr, ecn: Ecn, payload: Vec<u8>) {
        let Site { link, nat } = self.sites[site];
        self.departed[site] += 1;
        let Some(delay) = link.delay(length(to, &payload), &mut self.rng) else {
            self.losses.link += 1;
            return;
        };
        let nat = nat.filter(|_| from.is_ipv4() && !self.is_neighbour(site, to));
        let seen_from = nat.map_or(from, |nat| self.nats[nat].translate(from, to, self.now));
        self.launch(delay, Flight { from: seen_from, to, ecn, payload, origin: Origin::Site(site) });
    }

    /// Whether `to` is in the same private network as the machine at `site`.
    fn is_neighbour(&self, site: usize, to: SocketAddr) -> bool {
        let IpAddr::V4(to) = to.ip() else { return false };
        self.sites[site].nat.is_some() && to.is_private()
    }

    fn launch(&mut self, delay: Duration, flight: Flight) {
        self.sent += 1;
        self.under_way.insert((self.now + delay, self.sent), flight);
    }

    /// Everything that has arrived by now.
    fn deliver<M: Machine>(&mut self, machines: &mut [M]) {
        while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let mut flight = entry.remove();
            if self.dark || self.forbidden.is_some_and(|is_forbidden| is_forbidden(content(&flight.payload))) {
                self.losses.blocked += 1;
                continue;
            }
            if let Some(relay) = self.relays.iter_mut().find(|relay| relay.owns(flight.to.ip())) {
                self.delivered += 1;
                let answers = relay.handle(flight.from, flight.to, &flight.payload, self.now);
                for (from, to, payload) in answers {
                    self.leave_relay(self.site_at(machines, to), from, to, flight.ecn, payload);
                }
                continue;
            }
            let Some((site, local)) = self.receiver(machines, &flight) else { continue };
            let is_mute = matches!(flight.origin, Origin::Site(site) if self.mute == Some(site));
            let is_refused = self.checks_only && flight.payload.get(4..8) != Some(&MAGIC_COOKIE);
            if flight.origin != Origin::Relay && (is_mute || is_refused || !self.direct) {
                self.losses.blocked += 1;
                continue;
            }
            self.delivered += 1;
            machines[site].handle_datagram(local, flight.from, flight.ecn, &mut flight.payload, self.now);
            // It is asked for news before anything else happens.
            self.collect(site, &mut machines[site]);
        }
    }

    /// A datagram leaves a relay. Relays are in the core of the net: the only cable is that of the receiver.
    fn leave_relay(&mut self, site: Option<usize>, from: SocketAddr, to: SocketAddr, ecn: Ecn, payload: Vec<u8>) {
        let link = site.map_or(Link::good(BETWEEN_RELAYS), |site| self.sites[site].link);
        match link.delay(length(to, &payload), &mut self.rng) {
            Some(delay) => self.launch(delay, Flight { from, to, ecn, payload, origin: Origin::Relay }),
            None => self.losses.link += 1,
        }
    }

    /// Whose cable leads to this public address.
    fn site_at<M: Machine>(&self, machines: &[M], address: SocketAddr) -> Option<usize> {
        let nat = self.nats.iter().position(|nat| IpAddr::from(nat.public) == address.ip());
        match nat {
            Some(nat) => self.sites.iter().position(|site| site.nat == Some(nat)),
            None => self.site_of(machines, address, None),
        }
    }

    /// Who gets a datagram, and at which of its addresses.
    fn receiver<M: Machine>(&mut self, machines: &[M], flight: &Flight) -> Option<(usize, SocketAddr)> {
        let from_nat = match flight.origin {
            Origin::Site(site) => self.sites[site].nat,
            Origin::Relay => None,
        };
        if let Some(nat) = self.nats.iter().position(|nat| IpAddr::from(nat.public) == flight.to.ip()) {
            let router = &mut self.nats[nat];
            let is_hairpin = from_nat == Some(nat);
            let inside = if is_hairpin && !router.hairpin {
                None
            } else {
                router.admit(flight.from, flight.to.port(), self.now)
            };
            let site = inside.and_then(|inside| self.site_of(machines, inside, Some(nat)));
            if site.is_none() {
                self.losses.refused += 1;
            }
            return site.zip(inside);
        }
        let same_network = flight.to.is_ipv4().then_some(from_nat).flatten();
        let site = self
            .site_of(machines, flight.to, None)
            .or_else(|| same_network.and_then(|nat| self.site_of(machines, flight.to, Some(nat))));
        if site.is_none() {
            self.losses.nowhere += 1;
        }
        Some((site?, flight.to))
    }

    /// The machine with this address behind this router, or on the open internet.
    fn site_of<M: Machine>(&self, machines: &[M], address: SocketAddr, nat: Option<usize>) -> Option<usize> {
        let lives_there = |site: &usize| address.is_ipv6() || self.sites[*site].nat == nat;
        (0..machines.len()).find(|site| lives_there(site) && machines[*site].addresses().contains(&address))
    }
}

/// Wakes those whose time has come, and looks at what they want then.
fn wake<M: Machine>(machines: &mut [M], now: Instant) {
    for machine in machines {
        if machine.poll_timeout().is_some_and(|due| due.at <= now) {
            machine.handle_timeout(now);
            let due = machine.poll_timeout();
            assert!(due.is_none_or(|due| due.at > now), "a deadline that has passed: {due:?}, now {now:?}");
        }
    }
}

/// What is inside a relay's envelope, or the datagram itself.
fn content(datagram: &[u8]) -> &[u8] {
    match datagram {
        [0x40..=0x4F, _, _, _, inner @ ..] => inner,
        bare => bare,
    }
}

/// The length of the IP packet around a datagram.
fn length(to: SocketAddr, payload: &[u8]) -> usize {
    payload.len() + if to.is_ipv4() { 28 } else { 48 }
}
