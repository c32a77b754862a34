//! The owner of the relays and connections.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use ip_packet::{Ecn, IpPacket};
use model::{Deadline, PeerId, PublicKey, Relay, RelayId};
use rand::{SeedableRng as _, rngs::StdRng};
use wireguard::{ConnectionId, Dispatch, Identity};

use crate::{
    demux,
    drops::Drops,
    early_candidates::EarlyCandidates,
    event::Event,
    ice::{Message, Profile},
    limits::{MAX_DATAGRAM, MAX_RETIRED_IDS, RETIRED_ID_LIFETIME, push_bounded},
    outbox::Outbox,
    params::{NoRelays, Params, Sealed},
    path::{Path, SendContext},
    path_info::PathInfo,
    peer::{self, Connection, ConnectionEvent},
    peer_history::PeerHistory,
    relay::{self, Relays, channel_data},
    transmit::Transmit,
};

/// All connections over one pair of UDP sockets.
///
/// Pass it every received datagram ([`open`](Self::open)) and every packet to be sent ([`seal`](Self::seal)), and call [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) is due. After each call
/// drain [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event).
#[derive(Debug)]
pub struct Node {
    rng: StdRng,
    identity: Identity,
    profile: Option<Profile>,
    relays: Relays,
    peers: BTreeMap<PeerId, Connection>,
    by_id: BTreeMap<ConnectionId, PeerId>,
    early: EarlyCandidates,
    history: PeerHistory,
    /// Ids of removed connections, so that late messages for them do not reach other connections.
    retired: VecDeque<(ConnectionId, Instant)>,
    outbox: Outbox,
    events: VecDeque<Event>,
    drops: Drops,
}

impl Node {
    /// A node with a fresh key.
    ///
    /// `seed` determines everything random, including the key. `unix_now` is the time since the Unix epoch at `now`; later
    /// changes of the wall clock have no effect.
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
            by_id: BTreeMap::new(),
            early: EarlyCandidates::default(),
            history: PeerHistory::default(),
            retired: VecDeque::new(),
            outbox: Outbox::default(),
            events: VecDeque::new(),
            drops: Drops::default(),
        }
    }

    /// Uses a gateway's timing of connectivity checks.
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

    /// Applies the portal's list of relays: `remove` no longer exist, `add` are new, changed or unchanged.
    pub fn update_relays(&mut self, remove: &[RelayId], add: &[Relay], now: Instant) {
        let removed = self.relays.update(remove, add, &mut self.rng, now);
        self.detach_relays(&removed);
        self.propagate(now);
    }

    /// Creates a connection to `peer`, or refreshes the one that exists with the same parameters.
    ///
    /// # Errors
    ///
    /// When no relay has answered yet; then nothing has changed.
    pub fn upsert(&mut self, peer: PeerId, params: Params, now: Instant) -> Result<(), NoRelays> {
        if self.peers.get(&peer).is_some_and(|connection| *connection.params() == params) {
            self.with_peer(peer, |connection, cx| connection.refresh(cx, now));
        } else {
            self.create(peer, params, now)?;
        }
        let early = self.early.take(peer);
        self.with_peer(peer, |connection, cx| connection.add_remote(&early, cx, now));
        self.propagate(now);
        Ok(())
    }

    /// Adds candidates of a peer. Those of a peer without a connection are kept for a few seconds.
    pub fn add_remote_candidates(&mut self, peer: PeerId, candidates: &[String], now: Instant) {
        if self.with_peer(peer, |connection, cx| connection.add_remote(candidates, cx, now)).is_none() {
            self.early.keep(peer, candidates, now);
        }
        self.propagate(now);
    }

    /// Removes candidates of a peer.
    pub fn remove_remote_candidates(&mut self, peer: PeerId, candidates: &[String], now: Instant) {
        if self.with_peer(peer, |connection, _| connection.remove_remote(candidates, now)).is_none() {
            self.early.withdraw(peer, candidates);
        }
        self.propagate(now);
    }

    /// Encrypts `packet` and queues it for sending.
    pub fn seal(&mut self, peer: PeerId, packet: &IpPacket, now: Instant) -> Sealed {
        self.with_peer(peer, |connection, cx| connection.seal(packet, cx, now)).unwrap_or(Sealed::Unknown)
    }

    /// Handles a received datagram. Returns the IP packet inside, if it contains one.
    ///
    /// `local` is the address at which it arrived. `payload` is decrypted in place.
    pub fn open(
        &mut self,
        local: SocketAddr,
        from: SocketAddr,
        ecn: Ecn,
        payload: &mut [u8],
        now: Instant,
    ) -> Option<(PeerId, IpPacket)> {
        if payload.len() > MAX_DATAGRAM {
            self.drops.too_long += 1;
            return None;
        }
        let (path, message) = self.unwrap_relayed(local, from, payload, now)?;
        if let Some(check) = Message::parse(message) {
            self.handle_check(path, check, now);
            return None;
        }
        if wireguard::is_message(message) {
            return self.handle_wireguard(path, ecn, message, now);
        }
        let counter = if demux::is_stun(message) { &mut self.drops.unknown_peer } else { &mut self.drops.unrecognized };
        *counter += 1;
        None
    }

    /// Sends `goodbye` to the peer if possible, and removes the connection.
    pub fn close(&mut self, peer: PeerId, goodbye: &IpPacket, now: Instant) {
        let is_known = self.with_peer(peer, |connection, cx| connection.seal(goodbye, cx, now));
        if is_known.is_some() {
            self.forget(peer, now);
            self.events.push_back(Event::Closed(peer));
        }
        self.propagate(now);
    }

    /// Removes the connection without notifying the peer.
    pub fn remove(&mut self, peer: PeerId, now: Instant) {
        self.forget(peer, now);
        self.propagate(now);
    }

    /// Deletes the allocations on all relays, before the node is dropped. Call it after the connections are closed, and
    /// drain [`poll_transmit`](Self::poll_transmit) once more.
    ///
    /// RFC 8656, section 7, permits this, but does not require it. It frees addresses on the relay, and the next start does
    /// not meet an existing allocation.
    pub fn release_relays(&mut self, now: Instant) {
        for transmit in self.relays.release(&mut self.rng, now) {
            self.outbox.push(transmit);
        }
    }

    /// Starts over in a new network: removes all connections without notifying the peers, creates a new key, and contacts all
    /// relays again.
    pub fn reset(&mut self, now: Instant) {
        self.outbox.clear();
        self.events.retain(|event| matches!(event, Event::Closed(_) | Event::Failed(..)));
        self.early.clear();
        self.history.clear();
        self.by_id.clear();
        self.events.extend(std::mem::take(&mut self.peers).into_keys().map(Event::Closed));
        self.identity = self.identity.renewed(&mut self.rng);
        self.relays.restart(&mut self.rng, now);
        self.propagate(now);
    }

    /// The present path to `peer`; `None` without a connection or path.
    #[must_use]
    pub fn path(&self, peer: PeerId) -> Option<PathInfo> {
        self.peers.get(&peer)?.path_info()
    }

    /// Received datagrams that were dropped.
    #[must_use]
    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// Performs everything that is due. Calling it early has no effect.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.relays.handle_timeout(&mut self.rng, now);
        self.early.handle_timeout(now);
        self.propagate(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let peers = self.peers.values().map(Connection::poll_timeout);
        peers.chain([self.relays.poll_timeout(), self.early.poll_timeout()]).fold(None, Deadline::earliest)
    }

    /// The next datagram to send. Drain after each call of another method.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop()
    }

    /// The next event. Drain after each call of another method.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The first invariant that is broken between two calls. Expensive; for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn broken_invariant(&self) -> Option<&'static str> {
        let ids_match = self.by_id.len() == self.peers.len()
            && self.peers.iter().all(|(peer, it)| self.by_id.get(&it.id()) == Some(peer));
        if !ids_match {
            return Some("connections and their ids do not match");
        }
        if self.retired.len() > MAX_RETIRED_IDS {
            return Some("too many retired connection ids");
        }
        let parts = [self.relays.broken_invariant(), self.history.broken_invariant(), self.early.broken_invariant()];
        parts.into_iter().flatten().next().or_else(|| self.peers.values().find_map(Connection::broken_invariant))
    }

    /// The connections that are neither established nor failed, with their creation times. For tests.
    #[doc(hidden)]
    pub fn pending_connections(&self) -> impl Iterator<Item = (PeerId, Instant)> + '_ {
        self.peers.iter().filter_map(|(peer, connection)| Some((*peer, connection.pending_since()?)))
    }

    fn with_peer<T>(
        &mut self,
        peer: PeerId,
        act: impl FnOnce(&mut Connection, &mut SendContext<'_>) -> T,
    ) -> Option<T> {
        let Self { peers, relays, outbox, rng, identity, .. } = self;
        peers.get_mut(&peer).map(|connection| act(connection, &mut SendContext { relays, outbox, rng, identity }))
    }

    fn cx(&mut self) -> SendContext<'_> {
        let Self { relays, outbox, rng, identity, .. } = self;
        SendContext { relays, outbox, rng, identity }
    }

    fn create(&mut self, peer: PeerId, params: Params, now: Instant) -> Result<(), NoRelays> {
        let relay = self.relays.select(&mut self.rng).ok_or(NoRelays)?;
        self.forget(peer, now);
        let Self { by_id, retired, rng, identity, .. } = self;
        let id = ConnectionId::random(rng, |id| {
            by_id.contains_key(&id) || retired.iter().any(|(retired, _)| *retired == id)
        });
        let profile = self.profile.unwrap_or(match peer {
            PeerId::Gateway(_) => Profile::CLIENT,
            PeerId::Client(_) => Profile::PEER,
        });
        tracing::debug!(%peer, %relay, "New connection");
        let mut connection = Connection::new(params, id, relay, profile, identity, rng, now);
        connection.set_relay(relay, &self.relays.candidates(relay), now);
        connection.withdraw_stale(self.history.announced(peer, connection.params()));
        self.by_id.insert(id, peer);
        self.peers.insert(peer, connection);
        Ok(())
    }

    fn forget(&mut self, peer: PeerId, now: Instant) {
        if let Some(connection) = self.peers.remove(&peer) {
            self.by_id.remove(&connection.id());
            push_bounded(&mut self.retired, (connection.id(), now), MAX_RETIRED_IDS);
            let params = connection.params().clone();
            self.history.connection_ended(peer, &params, connection.into_announced());
        }
    }

    fn detach_relays(&mut self, removed: &[RelayId]) {
        for connection in self.peers.values_mut() {
            if connection.relay().is_some_and(|relay| removed.contains(&relay)) {
                connection.detach_relay();
            }
        }
    }

    /// Passes messages of relays to them, and removes the header of forwarded messages. Returns a message of a peer with the
    /// path that it arrived on.
    fn unwrap_relayed<'a>(
        &mut self,
        local: SocketAddr,
        from: SocketAddr,
        datagram: &'a mut [u8],
        now: Instant,
    ) -> Option<(Path, &'a mut [u8])> {
        let direct = Path::Direct { local, remote: from };
        if !self.relays.is_relay_address(from) {
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
            (relay::Received::NotFromRelay, datagram)
        };
        match received {
            relay::Received::Consumed => {
                self.propagate(now);
                None
            }
            relay::Received::NotFromRelay => Some((direct, message)),
            relay::Received::Relayed { relay, peer, relayed } => {
                Some((Path::Relayed { relay, local: relayed, remote: peer }, message))
            }
        }
    }

    fn handle_check(&mut self, path: Path, check: Message<'_>, now: Instant) {
        let Some(connection) = self.peers.values_mut().find(|connection| connection.accepts(&check)) else {
            self.drops.unknown_peer += 1;
            return;
        };
        connection.handle_check(path, check, now);
        self.propagate(now);
    }

    fn handle_wireguard(
        &mut self,
        path: Path,
        ecn: Ecn,
        message: &mut [u8],
        now: Instant,
    ) -> Option<(PeerId, IpPacket)> {
        let received = match self.identity.dispatch(path.ends().1.ip(), message, &mut self.rng, now) {
            Ok(Dispatch::Connection(id)) => self.by_id.get(&id).copied().and_then(|peer| {
                self.with_peer(peer, |connection, cx| {
                    let was_steady = connection.is_steady();
                    (peer, was_steady, connection.open(ecn, message, cx, now))
                })
            }),
            Ok(Dispatch::Initiation(initiation)) => self.peer_with_key(initiation.peer()).and_then(|peer| {
                self.with_peer(peer, |connection, cx| (peer, false, connection.handle_initiation(*initiation, cx, now)))
            }),
            Ok(Dispatch::SendCookieReply(reply)) => {
                self.drops.rate_limited += 1;
                self.cx().send(path, &reply, now);
                return None;
            }
            Err(error) => {
                self.drops.count(error);
                return None;
            }
        };
        match received {
            Some((peer, was_steady, Ok(peer::Received::Packet(packet)))) => {
                if !was_steady {
                    self.propagate(now);
                }
                return Some((peer, packet));
            }
            Some((_, _, Ok(peer::Received::Control))) => self.propagate(now),
            Some((_, _, Err(error))) => self.drops.count(error),
            None => self.drops.unknown_peer += 1,
        }
        None
    }

    fn peer_with_key(&self, key: &PublicKey) -> Option<PeerId> {
        self.peers.iter().find(|(_, connection)| connection.params().public_key == *key).map(|(peer, _)| *peer)
    }

    /// Passes all changes on between relays, connections and the owner, until there are no further ones.
    fn propagate(&mut self, now: Instant) {
        self.retired.retain(|(_, since)| now.duration_since(*since) < RETIRED_ID_LIFETIME);
        loop {
            self.distribute_local_candidates(now);
            self.replace_relays(now);
            self.advance_peers(now);
            self.emit_candidate_events();
            self.cx().queue_relay_requests();
            if !self.drop_unusable_relays() {
                break;
            }
        }
    }

    /// Removes unusable relays. Returns whether there were any.
    fn drop_unusable_relays(&mut self) -> bool {
        let unusable = self.relays.remove_unusable();
        self.detach_relays(&unusable);
        if !unusable.is_empty() && self.relays.is_empty() {
            self.events.push_back(Event::NoRelays);
        }
        !unusable.is_empty()
    }

    /// Adds candidates that relays reported to the connections that use these relays.
    fn distribute_local_candidates(&mut self, now: Instant) {
        while let Some((relay, event)) = self.relays.poll_event() {
            for connection in self.peers.values_mut() {
                match event {
                    relay::Event::CandidateFound(candidate) if connection.relay() == Some(relay) => {
                        connection.add_local(candidate, now);
                    }
                    relay::Event::CandidateFound(_) => {}
                    relay::Event::CandidateLost(candidate) => connection.remove_local(candidate, now),
                }
            }
        }
    }

    /// Assigns another relay to connections that lost theirs.
    fn replace_relays(&mut self, now: Instant) {
        for connection in self.peers.values_mut().filter(|connection| connection.relay().is_none()) {
            if let Some(relay) = self.relays.select(&mut self.rng) {
                connection.set_relay(relay, &self.relays.candidates(relay), now);
            }
        }
    }

    fn advance_peers(&mut self, now: Instant) {
        let Self { peers, relays, outbox, rng, identity, events, history, .. } = self;
        let mut failed = Vec::new();
        for (peer, connection) in peers {
            for event in connection.advance(&mut SendContext { relays, outbox, rng, identity }, now) {
                match event {
                    ConnectionEvent::Established => {
                        history.connection_established(*peer);
                        events.push_back(Event::Established(*peer));
                    }
                    ConnectionEvent::Ready => events.push_back(Event::SessionReady(*peer)),
                    ConnectionEvent::Failed(why) => {
                        tracing::debug!(%peer, ?why, "Connection failed");
                        failed.push((*peer, why));
                    }
                }
            }
        }
        for (peer, why) in failed {
            self.forget(peer, now);
            self.events.push_back(Event::Failed(peer, why));
            if self.history.connection_failed(peer, why, now) {
                tracing::info!(%peer, "Connections with a gateway keep failing; only a new key can help");
                self.events.push_back(Event::NewKeyNeeded(peer));
            }
        }
    }

    fn emit_candidate_events(&mut self) {
        for (peer, connection) in &mut self.peers {
            let (new, removed) = connection.take_candidate_changes();
            if !new.is_empty() {
                self.events.push_back(Event::Candidates { peer: *peer, candidates: new });
            }
            if !removed.is_empty() {
                self.events.push_back(Event::InvalidateCandidates { peer: *peer, candidates: removed });
            }
        }
    }
}
