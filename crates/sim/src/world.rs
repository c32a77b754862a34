//! Two nodes, relays, and a portal between them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use connection::{Event, Failure, Node, Params, PathInfo, PathKind, Sealed};
use ip_packet::IpPacket;
use model::{ClientId, GatewayId, IceCredentials, PeerId, PresharedKey, PublicKey, RelayId, message::IceRole};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::{
    host::{Host, Machine},
    link::Link,
    nat::{Kind as NatKind, Nat},
    net::Net,
    portal::{Portal, Signal},
    relay::Relay,
    units::{address, epoch, ms, secs},
};

/// The index of a host.
pub type Side = usize;
/// The host that requests the connection.
pub const CLIENT: Side = 0;
/// The host that accepts the connection.
pub const GATEWAY: Side = 1;

/// WireGuard gives up a peer after this time without a session, so a connection is established or has failed by then.
const MAX_PENDING_TIME: Duration = secs(540);

/// Two hosts, relays and a portal.
#[derive(Debug)]
pub struct World {
    /// The time at which it started.
    pub start: Instant,
    /// The network between the hosts, and the time.
    pub net: Net,
    /// [`CLIENT`] and [`GATEWAY`].
    pub hosts: Vec<Host>,
    /// The transport of candidates.
    pub portal: Portal,
}

/// The gateway, as the client knows it.
#[must_use]
pub fn gateway() -> PeerId {
    PeerId::Gateway(GatewayId::from_u128(7))
}

/// The client, as the gateway knows it.
#[must_use]
pub fn client() -> PeerId {
    PeerId::Client(ClientId::from_u128(8))
}

/// The portal's parameters for one side of a connection between these keys. As with the real portal, equal keys result in
/// equal credentials.
#[must_use]
pub fn credentials_of(side: Side, own: PublicKey, peer: PublicKey) -> Params {
    let (client, gateway) = if side == CLIENT { (own, peer) } else { (peer, own) };
    let digest: u64 = client.0.iter().chain(&gateway.0).fold(7, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
    let credentials = |name: &str| IceCredentials {
        username: name.to_owned(),
        password: format!("{name}-password-{digest:016x}").as_str().into(),
    };
    let (local, remote, role) = match side {
        CLIENT => ("orrr", "lesk", IceRole::Controlling),
        _ => ("lesk", "orrr", IceRole::Controlled),
    };
    let mut preshared_key = [7; 32];
    preshared_key[..8].copy_from_slice(&digest.to_be_bytes());
    Params {
        public_key: peer,
        preshared_key: PresharedKey::from(preshared_key),
        local_ice: credentials(local),
        remote_ice: credentials(remote),
        role,
    }
}

impl World {
    /// A client and a gateway on the open internet, and one relay.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let start = epoch();
        let unix = secs(1_800_000_000);
        let seed_of = |n: u64| {
            std::array::from_fn(|at| (seed ^ n << 56).to_be_bytes()[at % 8] ^ u8::try_from(at).expect("small"))
        };
        let node = |n| Node::new(start, unix, seed_of(n));
        let hosts = vec![
            Host::new(node(10), vec![address("192.0.2.10:52625")], gateway()),
            Host::new(node(20).with_gateway_timing(), vec![address("192.0.2.20:52625")], client()),
        ];
        let mut net = Net::new(start, hosts.len(), StdRng::from_seed(seed_of(30)));
        net.relays.push(Relay::new(1, vec![address("203.0.113.1:3478")], start));
        Self { start, net, hosts, portal: Portal::new() }
    }

    /// Adds IPv6 addresses to the hosts and the relay.
    #[must_use]
    pub fn dual_stack(mut self) -> Self {
        self.hosts[CLIENT].addresses.push(address("[2001:db8::10]:52625"));
        self.hosts[GATEWAY].addresses.push(address("[2001:db8::20]:52625"));
        self.net.relays[0].addresses.push(address("[2001:db8:1::1]:3478"));
        self
    }

    /// The hosts reach each other through relays only.
    #[must_use]
    pub fn relay_only(mut self) -> Self {
        self.net.direct = false;
        self
    }

    /// Places a host behind a NAT of this kind.
    #[must_use]
    pub fn behind(mut self, side: Side, kind: NatKind) -> Self {
        self.put_behind(side, kind);
        self
    }

    /// Places a host behind a NAT of this kind.
    pub fn put_behind(&mut self, side: Side, kind: NatKind) {
        let number = u8::try_from(self.net.nats.len() + 1).expect("few routers");
        self.net.nats.push(Nat::new(kind, Ipv4Addr::new(198, 51, 100, number)));
        self.net.sites[side].nat = Some(self.net.nats.len() - 1);
        let inside = SocketAddr::from(([192, 168, number, 2], 52625));
        self.hosts[side].addresses.retain(SocketAddr::is_ipv6);
        self.hosts[side].addresses.insert(0, inside);
    }

    /// Replaces the link of a host.
    #[must_use]
    pub fn over(mut self, side: Side, link: Link) -> Self {
        self.net.sites[side].link = link;
        self
    }

    /// Moves the client to another network, and resets its node.
    pub fn client_moves_to(&mut self, addresses: Vec<SocketAddr>) {
        self.net.sites[CLIENT].nat = None;
        self.hosts[CLIENT].addresses = addresses;
        let now = self.net.now;
        self.hosts[CLIENT].node.reset(now);
    }

    /// Adds a relay.
    pub fn add_relay(&mut self, id: u128, addresses: &[&str]) {
        let addresses = addresses.iter().map(|it| address(it)).collect();
        self.net.relays.push(Relay::new(id, addresses, self.start));
    }

    /// The portal's list of relays for this side.
    #[must_use]
    pub fn relay_entries(&self, side: Side) -> Vec<model::Relay> {
        let key = self.hosts[side].node.public_key();
        self.net.relays.iter().map(|relay| relay.entry(key)).collect()
    }

    /// Sends all relays to both hosts, and waits until they are ready.
    #[must_use]
    pub fn with_relays(mut self) -> Self {
        self.introduce_relays(&[]);
        self.run_for(secs(1));
        self
    }

    /// Sends all relays to both hosts, and removes those that are `gone`.
    pub fn introduce_relays(&mut self, gone: &[RelayId]) {
        for side in [CLIENT, GATEWAY] {
            let entries = self.relay_entries(side);
            self.hosts[side].node.update_relays(gone, &entries, self.net.now);
        }
    }

    /// The portal's parameters for one side of the connection.
    #[must_use]
    pub fn params(&self, of: Side) -> Params {
        credentials_of(of, self.hosts[of].node.public_key(), self.hosts[1 - of].node.public_key())
    }

    /// Authorizes the connection on both sides, the gateway first, as the portal does. Returns whether both succeeded.
    pub(crate) fn try_to_authorize(&mut self) -> bool {
        [GATEWAY, CLIENT].into_iter().all(|side| {
            let (peer, params) = (self.hosts[side].peer, self.params(side));
            self.hosts[side].node.upsert(peer, params, self.net.now).is_ok()
        })
    }

    /// Authorizes the connection on both sides.
    pub fn authorize(&mut self) {
        assert!(self.try_to_authorize(), "no relay has answered");
    }

    /// Authorizes the connection and waits until it is established.
    #[must_use]
    pub fn connected(mut self) -> Self {
        self.authorize();
        self.run_for(secs(3));
        for side in [CLIENT, GATEWAY] {
            assert!(self.has(side, &Event::Established(self.hosts[side].peer)), "{:?}", self.hosts[side].events);
        }
        self
    }

    /// Sends a packet from one host to the other, or keeps it for later.
    pub fn send(&mut self, side: Side, packet: IpPacket) -> Sealed {
        self.hosts[side].send(packet, self.net.now)
    }

    /// Whether a host's node has reported this event.
    #[must_use]
    pub fn has(&self, side: Side, event: &Event) -> bool {
        self.hosts[side].events.contains(event)
    }

    /// The present path of a host to the other.
    #[must_use]
    pub fn path(&self, side: Side) -> Option<PathInfo> {
        self.hosts[side].node.path(self.hosts[side].peer)
    }

    /// All failures of the connection that a host's node reported.
    #[must_use]
    pub fn failures(&self, side: Side) -> Vec<Failure> {
        let failure = |event: &Event| if let Event::Failed(_, failure) = event { Some(*failure) } else { None };
        self.hosts[side].events.iter().filter_map(failure).collect()
    }

    /// Whether a host reaches the other without a relay.
    #[must_use]
    pub fn is_direct(&self, side: Side) -> bool {
        self.path(side).is_some_and(|path| path.kind == PathKind::Direct)
    }

    /// Advances the time by `duration`.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.net.now + duration;
        loop {
            if self.portal.up {
                self.portal.release(self.net.now);
            }
            let until = self.portal.due().map_or(end, |due| due.min(end)).max(self.net.now);
            if let Some((side, event)) = self.net.advance(&mut self.hosts, until) {
                self.handle_event(side, event);
                continue;
            }
            let mut was_quiet = true;
            while let Some((from, signal)) = self.portal.arrived(self.net.now) {
                self.deliver_signal(from, signal);
                was_quiet = false;
            }
            if was_quiet && until == end {
                break;
            }
        }
    }

    /// Advances the time until a condition holds, at most by `limit`. Returns the elapsed time.
    pub fn run_until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> Duration {
        let begin = self.net.now;
        while !holds(self) {
            assert!(self.net.now < begin + limit, "not within {limit:?}");
            self.run_for(ms(10));
        }
        self.net.now - begin
    }

    /// The first broken invariant. Deadlines are checked whenever a machine was called.
    #[must_use]
    pub fn broken_invariant(&self) -> Option<String> {
        let is_overdue = |since: &(PeerId, Instant)| self.net.now - since.1 > MAX_PENDING_TIME;
        let overdue = self.hosts.iter().find_map(|host| host.node.pending_connections().find(is_overdue));
        let overdue = overdue.map(|(peer, _)| format!("the connection with {peer} is neither established nor failed"));
        overdue.or_else(|| self.hosts.iter().find_map(Machine::broken_invariant))
    }

    /// Handles an event as the portal and the layer above do.
    fn handle_event(&mut self, side: Side, event: Event) {
        match &event {
            Event::Candidates { candidates, .. } => {
                self.portal.send(side, Signal::Add(candidates.clone()), self.net.now);
            }
            Event::InvalidateCandidates { candidates, .. } => {
                self.portal.send(side, Signal::Withdraw(candidates.clone()), self.net.now);
            }
            Event::SessionReady(_) => {
                for packet in std::mem::take(&mut self.hosts[side].kept) {
                    // The connection may have changed since; then the packet is kept again or lost.
                    let _outcome = self.send(side, packet);
                }
            }
            Event::Failed(..) | Event::Closed(_) => {
                self.portal.forget(side);
                self.hosts[side].kept.clear();
            }
            Event::NewKeyNeeded(_) => {
                let now = self.net.now;
                self.hosts[side].node.reset(now);
            }
            _ => {}
        }
        self.hosts[side].events.push(event);
    }

    fn deliver_signal(&mut self, from: Side, signal: Signal) {
        let now = self.net.now;
        let host = &mut self.hosts[1 - from];
        match signal {
            Signal::Add(candidates) => host.node.add_remote_candidates(host.peer, &candidates, now),
            Signal::Withdraw(candidates) => host.node.remove_remote_candidates(host.peer, &candidates, now),
        }
    }
}
