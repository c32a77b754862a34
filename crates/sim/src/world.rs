//! Two nodes, relays, and a portal between them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use connection::{Event, Failure, Node, Params, Path, Route, Sealed};
use ip_packet::IpPacket;
use model::{ClientId, GatewayId, IceCredentials, PeerId, PresharedKey, PublicKey, RelayId, message::IceRole};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::{Host, Link, Machine, Nat, NatKind, Net, Portal, Relay, portal::Signal};

/// Which of the two hosts.
pub type Side = usize;
/// The one that asks for the connection.
pub const CLIENT: Side = 0;
/// The one that is asked.
pub const GATEWAY: Side = 1;

/// A tunnel without any session is given up after this, so a connection that is not established has failed by then.
const LONGEST_INDECISION: Duration = secs(540);

/// Where most stories begin.
#[derive(Debug)]
pub struct World {
    /// When it began.
    pub start: Instant,
    /// What lies between the hosts, and the time.
    pub net: Net,
    /// [`CLIENT`] and [`GATEWAY`].
    pub hosts: Vec<Host>,
    /// What carries candidates.
    pub portal: Portal,
}

/// A span of time.
#[must_use]
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A short span of time.
#[must_use]
pub const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
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

/// An address that is written down correctly.
#[must_use]
pub fn address(text: &str) -> SocketAddr {
    text.parse().expect("a socket address")
}

/// Some moment, long enough after the beginning of time.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "some instant has to be the first")]
pub fn epoch() -> Instant {
    Instant::now() + secs(1_000_000)
}

/// What the portal tells one side about a connection between these keys. As with the real one, equal keys make equal
/// credentials.
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

    /// Everything also has IPv6.
    #[must_use]
    pub fn dual_stack(mut self) -> Self {
        self.hosts[CLIENT].addresses.push(address("[2001:db8::10]:52625"));
        self.hosts[GATEWAY].addresses.push(address("[2001:db8::20]:52625"));
        self.net.relays[0].addresses.push(address("[2001:db8:1::1]:3478"));
        self
    }

    /// The hosts cannot reach each other but through relays.
    #[must_use]
    pub fn relay_only(mut self) -> Self {
        self.net.direct = false;
        self
    }

    /// Puts a router of this kind in front of a host.
    #[must_use]
    pub fn behind(mut self, side: Side, kind: NatKind) -> Self {
        self.put_behind(side, kind);
        self
    }

    /// Puts a router of this kind in front of a host.
    pub fn put_behind(&mut self, side: Side, kind: NatKind) {
        let number = u8::try_from(self.net.nats.len() + 1).expect("few routers");
        self.net.nats.push(Nat::new(kind, Ipv4Addr::new(198, 51, 100, number)));
        self.net.sites[side].nat = Some(self.net.nats.len() - 1);
        let inside = SocketAddr::from(([192, 168, number, 2], 52625));
        self.hosts[side].addresses.retain(SocketAddr::is_ipv6);
        self.hosts[side].addresses.insert(0, inside);
    }

    /// Gives a host another cable.
    #[must_use]
    pub fn over(mut self, side: Side, link: Link) -> Self {
        self.net.sites[side].link = link;
        self
    }

    /// The client is somewhere else, and knows it.
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

    /// What the portal says about relays to this side.
    #[must_use]
    pub fn relay_entries(&self, side: Side) -> Vec<model::Relay> {
        let key = self.hosts[side].node.public_key();
        self.net.relays.iter().map(|relay| relay.entry(key)).collect()
    }

    /// Tells both hosts about all relays and waits until they are ready.
    #[must_use]
    pub fn with_relays(mut self) -> Self {
        self.introduce_relays(&[]);
        self.run_for(secs(1));
        self
    }

    /// Tells both hosts about all relays, and which are `gone`.
    pub fn introduce_relays(&mut self, gone: &[RelayId]) {
        for side in [CLIENT, GATEWAY] {
            let entries = self.relay_entries(side);
            self.hosts[side].node.update_relays(gone, &entries, self.net.now);
        }
    }

    /// What the portal tells one side about the connection.
    #[must_use]
    pub fn params(&self, of: Side) -> Params {
        credentials_of(of, self.hosts[of].node.public_key(), self.hosts[1 - of].node.public_key())
    }

    /// Authorises the connection on both sides, the gateway first, as the portal does. Returns whether both could.
    pub fn try_to_authorize(&mut self) -> bool {
        [GATEWAY, CLIENT].into_iter().all(|side| {
            let (peer, params) = (self.hosts[side].peer, self.params(side));
            self.hosts[side].node.upsert(peer, params, self.net.now).is_ok()
        })
    }

    /// Authorises the connection on both sides.
    pub fn authorize(&mut self) {
        assert!(self.try_to_authorize(), "no relay has answered");
    }

    /// Authorises the connection and waits until it is established.
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

    /// Whether a host's node has said this.
    #[must_use]
    pub fn has(&self, side: Side, event: &Event) -> bool {
        self.hosts[side].events.contains(event)
    }

    /// How a host reaches the other.
    #[must_use]
    pub fn path(&self, side: Side) -> Option<Path> {
        self.hosts[side].node.path(self.hosts[side].peer)
    }

    /// Why a host's node said that the connection is gone, each time that it did.
    #[must_use]
    pub fn failures(&self, side: Side) -> Vec<Failure> {
        let why = |event: &Event| if let Event::Failed(_, why) = event { Some(*why) } else { None };
        self.hosts[side].events.iter().filter_map(why).collect()
    }

    /// Whether a host reaches the other without any relay.
    #[must_use]
    pub fn is_direct(&self, side: Side) -> bool {
        self.path(side).is_some_and(|path| path.route == Route::Direct)
    }

    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.net.now + duration;
        loop {
            if self.portal.up {
                self.portal.release(self.net.now);
            }
            let until = self.portal.due().map_or(end, |due| due.min(end)).max(self.net.now);
            if let Some((side, event)) = self.net.advance(&mut self.hosts, until) {
                self.hear(side, event);
                continue;
            }
            let mut was_quiet = true;
            while let Some((from, signal)) = self.portal.arrived(self.net.now) {
                self.carry(from, signal);
                was_quiet = false;
            }
            if was_quiet && until == end {
                break;
            }
        }
    }

    /// Lets time pass until something is the case, at most for `limit`. Returns how long it took.
    pub fn run_until(&mut self, limit: Duration, is_so: impl Fn(&Self) -> bool) -> Duration {
        let begin = self.net.now;
        while !is_so(self) {
            assert!(self.net.now < begin + limit, "not within {limit:?}");
            self.run_for(ms(10));
        }
        self.net.now - begin
    }

    /// What must never be the case, if it is. Deadlines are looked at whenever a machine has been woken.
    #[must_use]
    pub fn broken_invariant(&self) -> Option<String> {
        let is_overdue = |since: &(PeerId, Instant)| self.net.now - since.1 > LONGEST_INDECISION;
        let overdue = self.hosts.iter().find_map(|host| host.node.undecided().find(is_overdue));
        let overdue = overdue.map(|(peer, _)| format!("the connection with {peer} neither is established nor fails"));
        overdue.or_else(|| self.hosts.iter().find_map(Machine::broken_invariant))
    }

    /// What the portal and the layer above do with an event.
    fn hear(&mut self, side: Side, event: Event) {
        match &event {
            Event::Candidates { candidates, .. } => {
                self.portal.tell(side, Signal::Add(candidates.clone()), self.net.now);
            }
            Event::InvalidateCandidates { candidates, .. } => {
                self.portal.tell(side, Signal::Withdraw(candidates.clone()), self.net.now);
            }
            Event::SessionReady(_) => {
                for packet in std::mem::take(&mut self.hosts[side].kept) {
                    // Something may have happened to the connection since; then it is kept, or lost with it.
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

    fn carry(&mut self, from: Side, signal: Signal) {
        let now = self.net.now;
        let host = &mut self.hosts[1 - from];
        match signal {
            Signal::Add(candidates) => host.node.add_remote_candidates(host.peer, &candidates, now),
            Signal::Withdraw(candidates) => host.node.remove_remote_candidates(host.peer, &candidates, now),
        }
    }
}
