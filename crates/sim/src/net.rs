//! The network between the hosts: links, NATs, relays, and datagrams in flight.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use ip_packet::Ecn;
use rand::rngs::StdRng;

use crate::{host::Machine, link::Link, nat::Nat, relay::Relay};

/// Events at one instant after which a busy loop is assumed.
const MAX_EVENTS_PER_INSTANT: u32 = 100_000;

/// The fixed value in the header of STUN messages.
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

/// Latency between relays.
const RELAY_LATENCY: Duration = Duration::from_millis(2);

/// The network, and the only clock.
#[derive(Debug)]
pub struct Net {
    /// The present time.
    pub now: Instant,
    /// The attachment of each machine, in their order.
    pub sites: Vec<Site>,
    /// The NATs.
    pub nats: Vec<Nat>,
    /// The relays, which have no link of their own.
    pub relays: Vec<Relay>,
    /// Whether datagrams arrive that are not relayed.
    pub direct: bool,
    /// A machine whose datagrams arrive only through relays.
    pub mute: Option<usize>,
    /// Whether only connectivity checks arrive without a relay.
    pub checks_only: bool,
    /// A filter for all paths; it receives the datagram without a relay's header and returns whether to drop it.
    pub forbidden: Option<fn(&[u8]) -> bool>,
    /// Whether all datagrams are dropped.
    pub dark: bool,
    /// Number of datagrams that each machine sent.
    pub departed: Vec<u64>,
    /// Number of datagrams that arrived.
    pub delivered: u64,
    /// Numbers of datagrams that were lost.
    pub losses: Losses,
    in_flight: BTreeMap<(Instant, u64), InFlight>,
    sent: u64,
    rng: StdRng,
}

/// The attachment of a machine.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Site {
    /// Its link.
    pub link: Link,
    /// The index of the NAT in front of its IPv4 address.
    pub nat: Option<usize>,
}

/// Numbers of lost datagrams by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Losses {
    /// Lost on a link, or longer than its MTU.
    pub link: u64,
    /// No machine has the destination address.
    pub nowhere: u64,
    /// Not admitted by the NAT of the recipient.
    pub refused: u64,
    /// Dropped by one of the filters.
    pub blocked: u64,
}

#[derive(Debug)]
struct InFlight {
    from: SocketAddr,
    to: SocketAddr,
    ecn: Ecn,
    payload: Vec<u8>,
    origin: Origin,
}

/// The sender of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Origin {
    Site(usize),
    Relay,
}

impl Net {
    /// Links of 5 ms for `sites` machines, without NATs and relays.
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
            in_flight: BTreeMap::new(),
            sent: 0,
            rng,
        }
    }

    /// Runs until a machine reports an event, or until `end`. Call it again after an event.
    pub fn advance<M: Machine>(&mut self, machines: &mut [M], end: Instant) -> Option<(usize, M::Event)> {
        let mut events_now = 0;
        loop {
            for (site, machine) in machines.iter_mut().enumerate() {
                self.collect(site, machine);
                if let Some(event) = machine.poll_event() {
                    return Some((site, event));
                }
            }
            let arrival = self.in_flight.first_key_value().map(|((at, _), _)| *at);
            let due = machines.iter().filter_map(Machine::poll_timeout).map(|due| due.at).min();
            let Some(next) = [arrival, due].into_iter().flatten().min().filter(|next| *next <= end) else {
                self.now = self.now.max(end);
                return None;
            };
            events_now = if next > self.now { 0 } else { events_now + 1 };
            assert!(
                events_now < MAX_EVENTS_PER_INSTANT,
                "a busy loop: {:?}",
                machines.iter().map(Machine::poll_timeout).max()
            );
            self.now = self.now.max(next);
            if arrival.is_some_and(|arrival| arrival <= self.now) {
                self.deliver(machines);
            } else {
                call_due(machines, self.now);
            }
        }
    }

    /// Collects the datagrams of a machine.
    fn collect<M: Machine>(&mut self, site: usize, machine: &mut M) {
        while let Some(transmit) = machine.poll_transmit() {
            let to = transmit.destination;
            let fits = |own: &&SocketAddr| {
                own.is_ipv4() == to.is_ipv4() && transmit.source.is_none_or(|wanted| wanted == own.ip())
            };
            // As in the kernel, sending requires an address of the family, and the requested one.
            let Some(from) = machine.addresses().iter().find(fits).copied() else {
                self.losses.nowhere += 1;
                continue;
            };
            for segment in transmit.payload.chunks(transmit.segment) {
                self.send(site, from, to, transmit.ecn, segment.to_vec());
            }
        }
    }

    /// Sends a datagram of a machine.
    fn send(&mut self, site: usize, from: SocketAddr, to: SocketAddr, ecn: Ecn, payload: Vec<u8>) {
        let Site { link, nat } = self.sites[site];
        self.departed[site] += 1;
        let Some(delay) = link.delay(length(to, &payload), &mut self.rng) else {
            self.losses.link += 1;
            return;
        };
        let nat = nat.filter(|_| from.is_ipv4() && !self.is_neighbour(site, to));
        let seen_from = nat.map_or(from, |nat| self.nats[nat].translate(from, to, self.now));
        self.schedule(delay, InFlight { from: seen_from, to, ecn, payload, origin: Origin::Site(site) });
    }

    /// Whether `to` is in the same private network as the machine at `site`.
    fn is_neighbour(&self, site: usize, to: SocketAddr) -> bool {
        let IpAddr::V4(to) = to.ip() else { return false };
        self.sites[site].nat.is_some() && to.is_private()
    }

    fn schedule(&mut self, delay: Duration, flight: InFlight) {
        self.sent += 1;
        self.in_flight.insert((self.now + delay, self.sent), flight);
    }

    /// Delivers everything that arrives by now.
    fn deliver<M: Machine>(&mut self, machines: &mut [M]) {
        while let Some(entry) = self.in_flight.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let mut flight = entry.remove();
            if self.dark || self.forbidden.is_some_and(|is_forbidden| is_forbidden(content(&flight.payload))) {
                self.losses.blocked += 1;
                continue;
            }
            if let Some(relay) = self.relays.iter_mut().find(|relay| relay.owns(flight.to.ip())) {
                self.delivered += 1;
                let answers = relay.handle(flight.from, flight.to, &flight.payload, self.now);
                for (from, to, payload) in answers {
                    self.send_from_relay(self.site_at(machines, to), from, to, flight.ecn, payload);
                }
                continue;
            }
            let Some((site, local)) = self.receiver(machines, &flight) else { continue };
            let is_muted = matches!(flight.origin, Origin::Site(site) if self.mute == Some(site));
            let is_refused = self.checks_only && flight.payload.get(4..8) != Some(&MAGIC_COOKIE);
            if flight.origin != Origin::Relay && (is_muted || is_refused || !self.direct) {
                self.losses.blocked += 1;
                continue;
            }
            self.delivered += 1;
            machines[site].handle_datagram(local, flight.from, flight.ecn, &mut flight.payload, self.now);
            // Its reaction is collected before anything else happens.
            self.collect(site, &mut machines[site]);
        }
    }

    /// Sends a datagram of a relay. The only link is that of the recipient.
    fn send_from_relay(&mut self, site: Option<usize>, from: SocketAddr, to: SocketAddr, ecn: Ecn, payload: Vec<u8>) {
        let link = site.map_or(Link::good(RELAY_LATENCY), |site| self.sites[site].link);
        match link.delay(length(to, &payload), &mut self.rng) {
            Some(delay) => self.schedule(delay, InFlight { from, to, ecn, payload, origin: Origin::Relay }),
            None => self.losses.link += 1,
        }
    }

    /// The machine behind this public address.
    fn site_at<M: Machine>(&self, machines: &[M], address: SocketAddr) -> Option<usize> {
        let nat = self.nats.iter().position(|nat| IpAddr::from(nat.public) == address.ip());
        match nat {
            Some(nat) => self.sites.iter().position(|site| site.nat == Some(nat)),
            None => self.site_of(machines, address, None),
        }
    }

    /// The recipient of a datagram, and the address at which it arrives.
    fn receiver<M: Machine>(&mut self, machines: &[M], flight: &InFlight) -> Option<(usize, SocketAddr)> {
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

    /// The machine with this address behind this NAT, or without NAT.
    fn site_of<M: Machine>(&self, machines: &[M], address: SocketAddr, nat: Option<usize>) -> Option<usize> {
        let is_there = |site: &usize| address.is_ipv6() || self.sites[*site].nat == nat;
        (0..machines.len()).find(|site| is_there(site) && machines[*site].addresses().contains(&address))
    }
}

/// Calls the machines whose deadline has passed, and checks their next deadline.
fn call_due<M: Machine>(machines: &mut [M], now: Instant) {
    for machine in machines {
        if machine.poll_timeout().is_some_and(|due| due.at <= now) {
            machine.handle_timeout(now);
            let due = machine.poll_timeout();
            assert!(due.is_none_or(|due| due.at > now), "a deadline in the past: {due:?}, now {now:?}");
        }
    }
}

/// The datagram without the header of a relay.
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
