//! One node: the relays, the peers, and one deadline for all of them.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use ip_packet::{Ecn, IpPacket};
use model::{Deadline, IceCredentials, PeerId, PresharedKey, PublicKey, Relay, RelayId, message::IceRole};
use rand::{SeedableRng as _, rngs::StdRng};
use wireguard::{ConnectionId, Dispatch, Identity, MessageError};

use crate::{
    Event, Path, Transmit, demux,
    early::EarlyCandidates,
    ice::{Message, Profile},
    limits::{DATAGRAM, RETIRED_NUMBERS, RETIRED_NUMBERS_LIFETIME, push_bounded},
    outbox::Outbox,
    past::Past,
    peer::{self, Connection, News},
    relay::{self, Relays, channel_data},
    way::{Post, Way},
};

/// Everything that one process needs to talk to its peers over one pair of UDP sockets.
///
/// Driving it: give it every received datagram ([`open`](Self::open)) and every packet to be sent ([`seal`](Self::seal)),
/// and call [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) is due. After each call
/// drain [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event).
#[derive(Debug)]
pub struct Node {
    rng: StdRng,
    identity: Identity,
    profile: Option<Profile>,
    relays: Relays,
    peers: BTreeMap<PeerId, Connection>,
    by_number: BTreeMap<ConnectionId, PeerId>,
    early: EarlyCandidates,
    past: Past,
    /// Numbers of connections that are gone, so that their late messages reach nobody else.
    retired: VecDeque<(ConnectionId, Instant)>,
    outbox: Outbox,
    events: VecDeque<Event>,
    drops: Drops,
}

/// What the portal says about a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Params {
    /// The peer's WireGuard key.
    pub public_key: PublicKey,
    /// Mixed into the WireGuard handshake.
    pub preshared_key: PresharedKey,
    /// Our ICE credentials.
    pub local_ice: IceCredentials,
    /// The peer's ICE credentials.
    pub remote_ice: IceCredentials,
    /// Which side we are.
    pub role: IceRole,
}

/// A connection cannot be made because no relay has answered yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no relay has answered")]
pub struct NoRelays;

/// What became of a packet.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sealed {
    /// It is on its way.
    Sent,
    /// There is no path or no session yet. The caller keeps the packet until [`Event::SessionReady`].
    NotYet,
    /// There is no connection to this peer.
    Unknown,
}

/// Received datagrams that were of no use, counted by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Drops {
    /// Longer than any peer may send.
    pub too_long: u64,
    /// Nothing that we understand.
    pub unknown: u64,
    /// Connectivity checks or WireGuard messages of nobody that we know.
    pub stray: u64,
    /// Not made by the peer, or not for us: wrong key, changed on the way.
    pub forged: u64,
    /// Seen before, or so late that nobody can tell.
    pub replayed: u64,
    /// For a session that is gone.
    pub expired: u64,
    /// Answers to nothing that we asked.
    pub unasked: u64,
    /// Authentic, but inside is no packet that we accept.
    pub malformed: u64,
    /// Handshakes that were not looked at for now because there were too many.
    pub busy: u64,
}

impl Drops {
    fn count(&mut self, refused: MessageError) {
        let counter = match refused {
            MessageError::UnknownSession => &mut self.expired,
            MessageError::Forged => &mut self.forged,
            MessageError::Replayed => &mut self.replayed,
            MessageError::Unsolicited => &mut self.unasked,
            MessageError::Malformed => &mut self.malformed,
        };
        *counter += 1;
    }
}

impl Node {
    /// A node with a fresh key.
    ///
    /// `seed` is the source of everything random, the key included. `unix_now` is the time since the Unix epoch at `now`;
    /// from there on only `now` counts, so nothing happens when the wall clock is set.
    #[must_use]
    pub fn new(now: Instant, unix_now: Duration, seed: [u8; 32]) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let identity = Identity::new(&mut rng, now, unix_now);
        Self {
            rng,
            identity,
            profile: None,
            relays: Relays::default(),
            peers: BTreeMap::new(),
            by_number: BTreeMap::new(),
            early: EarlyCandidates::default(),
            past: Past::default(),
            retired: VecDeque::new(),
            outbox: Outbox::default(),
            events: VecDeque::new(),
            drops: Drops::default(),
        }
    }

    /// Uses the patience of a gateway in connectivity checks.
    #[must_use]
    pub fn with_gateway_timing(mut self) -> Self {
        self.profile = Some(Profile::GATEWAY);
        self
    }

    /// Our WireGuard key. It changes with [`reset`](Self::reset).
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.identity.public_key()
    }

    /// Takes over what the portal says about relays: `remove` are gone, `add` are new, changed or simply still there.
    pub fn update_relays(&mut self, remove: &[RelayId], add: &[Relay], now: Instant) {
        let gone = self.relays.update(remove, add, &mut self.rng, now);
        self.lose_relays(&gone);
        self.settle(now);
    }

    /// Creates a connection to `peer`, or refreshes the one that exists with the same parameters.
    ///
    /// # Errors
    ///
    /// When no relay has answered yet; then nothing has changed.
    pub fn upsert(&mut self, peer: PeerId, params: Params, now: Instant) -> Result<(), NoRelays> {
        if self.peers.get(&peer).is_some_and(|connection| *connection.params() == params) {
            self.with_peer(peer, |connection, post| connection.refresh(post, now));
        } else {
            self.create(peer, params, now)?;
        }
        let early = self.early.take(peer);
        self.with_peer(peer, |connection, post| connection.add_remote(&early, post, now));
        self.settle(now);
        Ok(())
    }

    /// The peer can be reached at these candidates. Those of an unknown peer are kept for a few seconds.
    pub fn add_remote_candidates(&mut self, peer: PeerId, candidates: &[String], now: Instant) {
        if self.with_peer(peer, |connection, post| connection.add_remote(candidates, post, now)).is_none() {
            self.early.keep(peer, candidates, now);
        }
        self.settle(now);
    }

    /// The peer can no longer be reached at these candidates.
    pub fn remove_remote_candidates(&mut self, peer: PeerId, candidates: &[String], now: Instant) {
        if self.with_peer(peer, |connection, _| connection.remove_remote(candidates, now)).is_none() {
            self.early.withdraw(peer, candidates);
        }
        self.settle(now);
    }

    /// Encrypts `packet` and queues it for sending.
    pub fn seal(&mut self, peer: PeerId, packet: &IpPacket, now: Instant) -> Sealed {
        self.with_peer(peer, |connection, post| connection.seal(packet, post, now)).unwrap_or(Sealed::Unknown)
    }

    /// Takes one received datagram. Returns the IP packet inside, if there is one.
    ///
    /// `local` is the address at which it arrived. `payload` is decrypted where it lies.
    pub fn open(
        &mut self,
        local: SocketAddr,
        from: SocketAddr,
        ecn: Ecn,
        payload: &mut [u8],
        now: Instant,
    ) -> Option<(PeerId, IpPacket)> {
        if payload.len() > DATAGRAM {
            self.drops.too_long += 1;
            return None;
        }
        let (way, message) = self.unwrap_relay(local, from, payload, now)?;
        if let Some(check) = Message::parse(message) {
            self.handle_check(way, check, now);
            return None;
        }
        if wireguard::is_message(message) {
            return self.handle_wireguard(way, ecn, message, now);
        }
        let counter = if demux::is_stun(message) { &mut self.drops.stray } else { &mut self.drops.unknown };
        *counter += 1;
        None
    }

    /// Says `goodbye` through the tunnel if there is one, and drops the connection.
    pub fn close(&mut self, peer: PeerId, goodbye: &IpPacket, now: Instant) {
        let said = self.with_peer(peer, |connection, post| connection.seal(goodbye, post, now));
        if said.is_some() {
            self.forget(peer, now);
            self.events.push_back(Event::Closed(peer));
        }
        self.settle(now);
    }

    /// Drops the connection without a word.
    pub fn remove(&mut self, peer: PeerId, now: Instant) {
        self.forget(peer, now);
        self.settle(now);
    }

    /// Nobody will use this node any more: gives back what relays lend us. Call it after the connections are closed, and
    /// drain [`poll_transmit`](Self::poll_transmit) once more.
    ///
    /// The rules leave it open whether a client does so (RFC 8656, section 7, has the means). It spares the relay an
    /// address, and the next start of ours an answer that the address is still lent.
    pub fn give_back_relays(&mut self, now: Instant) {
        for transmit in self.relays.give_back(&mut self.rng, now) {
            self.outbox.push(transmit);
        }
    }

    /// We are in a new network: drops all connections without a word, takes a new key, and starts all relays anew.
    pub fn reset(&mut self, now: Instant) {
        self.outbox.clear();
        self.events.retain(|event| matches!(event, Event::Closed(_) | Event::Failed(..)));
        self.early.clear();
        self.past.clear();
        self.by_number.clear();
        self.events.extend(std::mem::take(&mut self.peers).into_keys().map(Event::Closed));
        self.identity = self.identity.renewed(&mut self.rng);
        self.relays.restart(&mut self.rng, now);
        self.settle(now);
    }

    /// How `peer` is reached at present.
    #[must_use]
    pub fn path(&self, peer: PeerId) -> Option<Path> {
        self.peers.get(&peer)?.path()
    }

    /// Received datagrams that were of no use.
    #[must_use]
    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// Does what is due. Calling early is harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.relays.handle_timeout(&mut self.rng, now);
        self.early.handle_timeout(now);
        self.settle(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let peers = self.peers.values().map(Connection::poll_timeout);
        peers.chain([self.relays.poll_timeout(), self.early.poll_timeout()]).fold(None, Deadline::earliest)
    }

    /// The next datagram to send. Drain after each call of another method.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop()
    }

    /// The next thing to know. Drain after each call of another method.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What must never be the case between two calls, if it is. Costly, so for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn broken_invariant(&self) -> Option<&'static str> {
        let numbers_match = self.by_number.len() == self.peers.len()
            && self.peers.iter().all(|(peer, it)| self.by_number.get(&it.number()) == Some(peer));
        if !numbers_match {
            return Some("connections and their numbers do not match");
        }
        if self.retired.len() > RETIRED_NUMBERS {
            return Some("too many numbers of former connections");
        }
        let rooms = [self.relays.broken_invariant(), self.past.broken_invariant(), self.early.broken_invariant()];
        rooms.into_iter().flatten().next().or_else(|| self.peers.values().find_map(Connection::broken_invariant))
    }

    /// Since when the connections are undecided that are neither established nor failed.
    #[doc(hidden)]
    pub fn undecided(&self) -> impl Iterator<Item = (PeerId, Instant)> + '_ {
        self.peers.iter().filter_map(|(peer, connection)| Some((*peer, connection.undecided_since()?)))
    }

    fn with_peer<T>(&mut self, peer: PeerId, act: impl FnOnce(&mut Connection, &mut Post<'_>) -> T) -> Option<T> {
        let Self { peers, relays, outbox, rng, identity, .. } = self;
        peers.get_mut(&peer).map(|connection| act(connection, &mut Post { relays, outbox, rng, identity }))
    }

    fn post(&mut self) -> Post<'_> {
        let Self { relays, outbox, rng, identity, .. } = self;
        Post { relays, outbox, rng, identity }
    }

    fn create(&mut self, peer: PeerId, params: Params, now: Instant) -> Result<(), NoRelays> {
        let relay = self.relays.choose(&mut self.rng).ok_or(NoRelays)?;
        self.forget(peer, now);
        let Self { by_number, retired, rng, identity, .. } = self;
        let number = ConnectionId::random(rng, |number| {
            by_number.contains_key(&number) || retired.iter().any(|(retired, _)| *retired == number)
        });
        let profile = self.profile.unwrap_or(match peer {
            PeerId::Gateway(_) => Profile::CLIENT,
            PeerId::Client(_) => Profile::PEER,
        });
        tracing::debug!(%peer, %relay, "New connection");
        let mut connection = Connection::new(params, number, relay, profile, identity, rng, now);
        connection.use_relay(relay, &self.relays.candidates(relay), now);
        connection.take_back(self.past.told(peer, connection.params()));
        self.by_number.insert(number, peer);
        self.peers.insert(peer, connection);
        Ok(())
    }

    fn forget(&mut self, peer: PeerId, now: Instant) {
        if let Some(connection) = self.peers.remove(&peer) {
            self.by_number.remove(&connection.number());
            push_bounded(&mut self.retired, (connection.number(), now), RETIRED_NUMBERS);
            let params = connection.params().clone();
            self.past.left(peer, &params, connection.into_told());
        }
    }

    fn lose_relays(&mut self, gone: &[RelayId]) {
        for connection in self.peers.values_mut() {
            if connection.relay().is_some_and(|relay| gone.contains(&relay)) {
                connection.lose_relay();
            }
        }
    }

    /// Lets the relays have their own messages, and takes the envelope off those that they forward. Returns the way on
    /// which the message really came.
    fn unwrap_relay<'a>(
        &mut self,
        local: SocketAddr,
        from: SocketAddr,
        datagram: &'a mut [u8],
        now: Instant,
    ) -> Option<(Way, &'a mut [u8])> {
        let direct = Way::Direct { local, remote: from };
        if !self.relays.may_be(from) {
            return Some((direct, datagram));
        }
        let (received, message) = if demux::is_stun(datagram) {
            (self.relays.handle_stun(local, from, datagram, &mut self.rng, now), datagram)
        } else if let Some((number, _)) = channel_data::parse(datagram) {
            let received = self.relays.handle_channel_data(from, number, now);
            let is_relayed = matches!(received, relay::Received::Relayed { .. });
            let skipped = if is_relayed { channel_data::HEADER } else { 0 };
            (received, datagram.get_mut(skipped..).unwrap_or_default())
        } else {
            (relay::Received::Foreign, datagram)
        };
        match received {
            relay::Received::Own => {
                self.settle(now);
                None
            }
            relay::Received::Foreign => Some((direct, message)),
            relay::Received::Relayed { relay, peer, relayed } => {
                Some((Way::Relayed { relay, local: relayed, remote: peer }, message))
            }
        }
    }

    fn handle_check(&mut self, way: Way, check: Message<'_>, now: Instant) {
        let Some(connection) = self.peers.values_mut().find(|connection| connection.accepts(&check)) else {
            self.drops.stray += 1;
            return;
        };
        connection.handle_check(way, check, now);
        self.settle(now);
    }

    fn handle_wireguard(&mut self, way: Way, ecn: Ecn, message: &mut [u8], now: Instant) -> Option<(PeerId, IpPacket)> {
        let received = match self.identity.dispatch(way.ends().1.ip(), message, &mut self.rng, now) {
            Ok(Dispatch::Connection(number)) => self.by_number.get(&number).copied().and_then(|peer| {
                self.with_peer(peer, |connection, post| {
                    let was_calm = connection.is_calm();
                    (peer, was_calm, connection.open(ecn, message, post, now))
                })
            }),
            Ok(Dispatch::Initiation(initiation)) => self.peer_with_key(initiation.peer()).and_then(|peer| {
                self.with_peer(peer, |connection, post| (peer, false, connection.answer(*initiation, post, now)))
            }),
            Ok(Dispatch::SendCookieReply(reply)) => {
                self.drops.busy += 1;
                self.post().send(way, &reply, now);
                return None;
            }
            Err(refused) => {
                self.drops.count(refused);
                return None;
            }
        };
        match received {
            Some((peer, was_calm, Ok(peer::Received::Packet(packet)))) => {
                if !was_calm {
                    self.settle(now);
                }
                return Some((peer, packet));
            }
            Some((_, _, Ok(peer::Received::Control))) => self.settle(now),
            Some((_, _, Err(refused))) => self.drops.count(refused),
            None => self.drops.stray += 1,
        }
        None
    }

    fn peer_with_key(&self, key: &PublicKey) -> Option<PeerId> {
        self.peers.iter().find(|(_, connection)| connection.params().public_key == *key).map(|(peer, _)| *peer)
    }

    /// Carries everything that has happened to those whom it concerns, until nothing more follows from it.
    fn settle(&mut self, now: Instant) {
        self.retired.retain(|(_, since)| now.duration_since(*since) < RETIRED_NUMBERS_LIFETIME);
        loop {
            self.tell_candidates(now);
            self.replace_relays(now);
            self.drive_peers(now);
            self.signal_candidates();
            self.post().forward_relay_requests();
            if !self.drop_useless_relays() {
                break;
            }
        }
    }

    /// Parts with relays that are of no use. Returns whether there were any.
    fn drop_useless_relays(&mut self) -> bool {
        let useless = self.relays.remove_useless();
        self.lose_relays(&useless);
        if !useless.is_empty() && self.relays.is_empty() {
            self.events.push_back(Event::NoRelays);
        }
        !useless.is_empty()
    }

    /// Carries what relays found out to the connections that use them.
    fn tell_candidates(&mut self, now: Instant) {
        while let Some((relay, event)) = self.relays.poll_event() {
            for connection in self.peers.values_mut() {
                match event {
                    relay::Event::Found(candidate) if connection.relay() == Some(relay) => {
                        connection.add_local(candidate, now);
                    }
                    relay::Event::Found(_) => {}
                    relay::Event::Lost(candidate) => connection.remove_local(candidate, now),
                }
            }
        }
    }

    /// Gives another relay to connections that have lost theirs.
    fn replace_relays(&mut self, now: Instant) {
        for connection in self.peers.values_mut().filter(|connection| connection.relay().is_none()) {
            if let Some(relay) = self.relays.choose(&mut self.rng) {
                connection.use_relay(relay, &self.relays.candidates(relay), now);
            }
        }
    }

    fn drive_peers(&mut self, now: Instant) {
        let Self { peers, relays, outbox, rng, identity, events, past, .. } = self;
        let mut failed = Vec::new();
        for (peer, connection) in peers {
            for news in connection.drive(&mut Post { relays, outbox, rng, identity }, now) {
                match news {
                    News::Established => {
                        past.established(*peer);
                        events.push_back(Event::Established(*peer));
                    }
                    News::Ready => events.push_back(Event::SessionReady(*peer)),
                    News::Failed(why) => {
                        tracing::debug!(%peer, ?why, "Connection failed");
                        failed.push((*peer, why));
                    }
                }
            }
        }
        for (peer, why) in failed {
            self.forget(peer, now);
            self.events.push_back(Event::Failed(peer, why));
            if self.past.failed(peer, why, now) {
                tracing::info!(%peer, "A gateway cannot be reached again and again; only a new key can help");
                self.events.push_back(Event::NewKeyNeeded(peer));
            }
        }
    }

    fn signal_candidates(&mut self) {
        for (peer, connection) in &mut self.peers {
            let (new, gone) = connection.take_signals();
            if !new.is_empty() {
                self.events.push_back(Event::Candidates { peer: *peer, candidates: new });
            }
            if !gone.is_empty() {
                self.events.push_back(Event::InvalidateCandidates { peer: *peer, candidates: gone });
            }
        }
    }
}
