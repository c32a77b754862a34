//! The connection to one peer and its life: connecting, connected, idle, failed.

mod news;
mod path;

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use ip_packet::{Ecn, IpPacket};
use model::{Deadline, RelayId, message::IceRole};
use rand::{Rng as _, rngs::StdRng};
use wireguard::{ConnectionId, Identity, MessageError, Opened, PeerSessions, ReceivedInitiation, TimerAction};

use crate::{
    Params, Path, Route, Sealed,
    doubt::Doubt,
    ice::{self, Agent, Announcement, Health, LocalCandidate, Message, Profile},
    limits::{EARLY_MESSAGES, TOLD_CANDIDATES, push_bounded},
    relay::Relays,
    way::{Post, Way},
};
pub use news::Failure;
pub(crate) use news::{News, Received};

/// Who does not know a single address of the peer, or of its own, after this time will not know one later.
const CANDIDATE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without packets for this long is idle. Longer than a dead path needs to be found while active.
const IDLE_AFTER: Duration = Duration::from_secs(20);
/// Handshakes that only refresh what already works are not repeated within this time.
const PROACTIVE_HANDSHAKE_PAUSE: Duration = Duration::from_secs(20);

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    params: Params,
    number: ConnectionId,
    profile: Profile,
    /// The relay that we use towards this peer; `None` while there is none to be had.
    relay: Option<RelayId>,
    agent: Agent,
    tunnel: PeerSessions,
    state: State,
    health: Health,
    doubt: Doubt,
    /// Until when we have to know an address of the peer and one of ours.
    candidates_due: Option<Instant>,
    /// Until when there has to be hope again.
    recovery_due: Option<Instant>,
    last_proactive_handshake: Option<Instant>,
    /// Whether there is a new path, for which a session has to be made.
    wants_handshake: bool,
    begun: Instant,
    established: bool,
    ready: bool,
    announce: BTreeSet<Announcement>,
    withdraw: BTreeSet<Announcement>,
    /// What the peer ever heard of us. Full: the oldest is forgotten.
    told: VecDeque<Announcement>,
}

#[derive(Debug)]
enum State {
    /// No path yet. WireGuard messages wait for one; full: the oldest is dropped.
    Connecting { early: VecDeque<Vec<u8>> },
    /// Packets travel, or did so recently.
    Connected { way: Way, last_use: Instant },
    /// There is a path, but nothing travels on it.
    Idle { way: Way },
}

impl Connection {
    pub(crate) fn new(
        params: Params,
        number: ConnectionId,
        relay: RelayId,
        profile: Profile,
        identity: &Identity,
        rng: &mut StdRng,
        now: Instant,
    ) -> Self {
        let agent = Agent::new(&params.local_ice, &params.remote_ice, params.role, rng.random(), profile.active, now);
        let tunnel = PeerSessions::new(identity, &params.public_key, &params.preshared_key, number, rng, now);
        Self {
            params,
            number,
            profile,
            relay: Some(relay),
            agent,
            tunnel,
            state: State::Connecting { early: VecDeque::new() },
            health: Health::Checking,
            doubt: Doubt::new(now),
            candidates_due: Some(now + CANDIDATE_TIMEOUT),
            recovery_due: None,
            last_proactive_handshake: None,
            wants_handshake: false,
            begun: now,
            established: false,
            ready: false,
            announce: BTreeSet::new(),
            withdraw: BTreeSet::new(),
            told: VecDeque::new(),
        }
    }

    pub(crate) fn params(&self) -> &Params {
        &self.params
    }

    pub(crate) fn number(&self) -> ConnectionId {
        self.number
    }

    pub(crate) fn relay(&self) -> Option<RelayId> {
        self.relay
    }

    /// The portal named this peer once more. It may have lost its side of the connection, so it hears everything again.
    pub(crate) fn refresh(&mut self, post: &mut Post<'_>, now: Instant) {
        self.wake(now);
        self.announce.extend(self.agent.announcements());
        self.handshake_proactively(post, now);
    }

    /// From now on `relay` is the one between us and the peer.
    pub(crate) fn use_relay(&mut self, relay: RelayId, candidates: &[LocalCandidate], now: Instant) {
        self.relay = Some(relay);
        for candidate in candidates {
            self.add_local(*candidate, now);
        }
    }

    /// The relay is gone.
    pub(crate) fn lose_relay(&mut self) {
        self.relay = None;
    }

    pub(crate) fn add_local(&mut self, candidate: LocalCandidate, now: Instant) {
        if self.doubt.keeps(candidate) {
            return;
        }
        if let Some(announcement) = self.agent.add_local(candidate) {
            self.withdraw.retain(|withdrawn| withdrawn.text != announcement.text);
            self.announce.insert(announcement);
            self.wake(now);
            self.expect_candidates();
        }
    }

    /// The peer may still believe in these addresses of ours, which it heard of on an earlier connection.
    pub(crate) fn take_back(&mut self, stale: Vec<Announcement>) {
        for announcement in stale.into_iter().filter(|announcement| !self.agent.is_ours(announcement)) {
            // It can only forget what it was told, and some addresses it found out by itself.
            if announcement.is_peer_reflexive() {
                self.announce.insert(announcement.clone());
            }
            self.withdraw.insert(announcement);
        }
    }

    /// What the peer may know of us.
    pub(crate) fn into_told(mut self) -> VecDeque<Announcement> {
        for announcement in self.agent.announcements() {
            remember(&mut self.told, announcement);
        }
        self.told
    }

    pub(crate) fn remove_local(&mut self, candidate: LocalCandidate, now: Instant) {
        if let Some(announcement) = self.agent.remove_local(candidate, now)
            && !self.announce.remove(&announcement)
        {
            self.withdraw.insert(announcement);
        }
    }

    pub(crate) fn add_remote(&mut self, texts: &[String], post: &mut Post<'_>, now: Instant) {
        for text in texts {
            let Some(channels) = self.agent.add_remote(text) else {
                tracing::debug!("Ignored a candidate of a peer");
                continue;
            };
            self.expect_candidates();
            self.wake(now);
            for address in channels {
                if let Some(relay) = self.relay {
                    post.bind_channel(relay, address, now);
                }
            }
        }
    }

    fn expect_candidates(&mut self) {
        if self.agent.has_local() && self.agent.has_remote() {
            self.candidates_due = None;
        }
    }

    pub(crate) fn remove_remote(&mut self, texts: &[String], now: Instant) {
        self.wake(now);
        for text in texts {
            self.agent.remove_remote(text, now);
        }
    }

    /// Encrypts a packet onto its way.
    pub(crate) fn seal(&mut self, packet: &IpPacket, post: &mut Post<'_>, now: Instant) -> Sealed {
        let Some(way) = self.way() else { return Sealed::NotYet };
        self.wake(now);
        if !self.tunnel.can_send(now) {
            self.ready = false;
            let may_initiate = self.params.role == IceRole::Controlling || self.tunnel.last_handshake().is_some();
            if may_initiate && let Some(initiation) = self.tunnel.initiate(post.identity, post.rng, now) {
                self.send_control(initiation, post, now);
            }
            return Sealed::NotYet;
        }
        post.write(way, packet.ecn(), now, |buffer| self.tunnel.seal(packet.as_bytes(), buffer, now));
        Sealed::Sent
    }

    /// Whether a check is for this connection.
    pub(crate) fn accepts(&self, message: &Message<'_>) -> bool {
        self.agent.accepts(message)
    }

    /// Handles a check that came on this way.
    pub(crate) fn handle_check(&mut self, way: Way, message: Message<'_>, now: Instant) {
        let is_answer = message.is_answer();
        let (local, remote) = way.ends();
        self.agent.handle_message(local, remote, message, now);
        if is_answer {
            self.heard(way, now);
        }
    }

    /// Handles a WireGuard message with an index of this connection. Decrypts it where it lies.
    pub(crate) fn open(
        &mut self,
        ecn: Ecn,
        message: &mut [u8],
        post: &mut Post<'_>,
        now: Instant,
    ) -> Result<Received, MessageError> {
        match self.tunnel.open(message, post.identity, post.rng, now)? {
            Opened::Control => Ok(Received::Control),
            Opened::Reply(reply) => {
                if let Some(Way::Direct { .. }) = self.way() {
                    self.doubt.hope_for_direct_paths();
                }
                self.send_control(reply, post, now);
                Ok(Received::Control)
            }
            Opened::Packet(bytes) => {
                let mut packet = IpPacket::parse_padded(bytes).map_err(|_invalid| MessageError::Malformed)?;
                if ecn == Ecn::Ce {
                    packet.mark_congested();
                }
                self.wake(now);
                Ok(Received::Packet(packet))
            }
        }
    }

    /// Handles an initiation from this peer.
    pub(crate) fn answer(
        &mut self,
        initiation: ReceivedInitiation,
        post: &mut Post<'_>,
        now: Instant,
    ) -> Result<Received, MessageError> {
        let response = self.tunnel.handle_initiation(initiation, post.rng, now)?;
        self.send_control(response, post, now);
        Ok(Received::Control)
    }

    /// Does what is due, and sends what the checks have to say.
    pub(crate) fn drive(&mut self, post: &mut Post<'_>, now: Instant) -> Vec<News> {
        let offers = self.doubt.handle_timeout(&mut self.agent, now);
        self.announce.extend(offers);
        self.check_connectivity(post, now);
        // Another patience may mean that something is due at once.
        if self.fall_asleep(now) {
            self.check_connectivity(post, now);
        }
        if self.drive_tunnel(post, now) == TimerAction::GiveUp {
            return vec![News::Failed(Failure::Unresponsive)];
        }
        while let Some(check) = self.agent.poll_transmit() {
            let way = self.way_between(check.local, check.remote, post.relays);
            post.send(way, &check.payload, now);
        }
        // Behind the check that tells the peer of the path, so that it answers on that one.
        if std::mem::take(&mut self.wants_handshake) {
            self.handshake_proactively(post, now);
        }
        let passed = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        if passed(self.candidates_due) {
            let why = if self.agent.has_remote() { Failure::Nowhere } else { Failure::Silent };
            return vec![News::Failed(why)];
        }
        if passed(self.recovery_due) {
            return vec![News::Failed(Failure::Unreachable)];
        }
        self.news(now)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        let due = |reason| move |at| Deadline { at, reason };
        [
            self.agent.poll_timeout().map(due("connectivity check")),
            self.tunnel.poll_timeout(),
            self.doubt.poll_timeout(),
            self.candidates_due.map(due("connection without candidates")),
            self.recovery_due.map(due("peer without a path")),
            self.idle_due().map(due("idle connection")),
        ]
        .into_iter()
        .fold(None, Deadline::earliest)
    }

    /// What the peer has to hear of our candidates since the last time, best first: new ones, and ones that are gone.
    pub(crate) fn take_signals(&mut self) -> (Vec<String>, Vec<String>) {
        for announcement in &self.announce {
            remember(&mut self.told, announcement.clone());
        }
        let texts = |set: &mut BTreeSet<Announcement>| {
            std::mem::take(set).into_iter().rev().map(|announcement| announcement.text).collect()
        };
        (texts(&mut self.announce), texts(&mut self.withdraw))
    }

    /// How the peer is reached at present.
    pub(crate) fn path(&self) -> Option<Path> {
        let way = self.way()?;
        let route = match way {
            Way::Relayed { relay, .. } => Route::Relay(relay),
            Way::Direct { remote, .. } if self.agent.is_on_relay(remote) => Route::PeerRelay,
            Way::Direct { .. } => Route::Direct,
        };
        let (local, remote) = way.ends();
        let (sent, received) = self.tunnel.traffic();
        let (last_handshake, round_trip) = (self.tunnel.last_handshake(), self.agent.round_trip());
        Some(Path { route, local, remote, last_handshake, round_trip, sent, received })
    }

    fn way(&self) -> Option<Way> {
        match &self.state {
            State::Connecting { .. } => None,
            State::Connected { way, .. } | State::Idle { way } => Some(*way),
        }
    }

    fn way_between(&self, local: SocketAddr, remote: SocketAddr, relays: &Relays) -> Way {
        match self.relay {
            Some(relay) if relays.lends(relay, local) => Way::Relayed { relay, local, remote },
            Some(_) | None => Way::Direct { local, remote },
        }
    }

    fn check_connectivity(&mut self, post: &mut Post<'_>, now: Instant) {
        if self.agent.poll_timeout().is_none_or(|due| due <= now) {
            self.agent.handle_timeout(now);
        }
        while let Some(event) = self.agent.poll_event() {
            match event {
                ice::Event::Nominated { local, remote } => self.handle_nomination(local, remote, post, now),
                ice::Event::Health(health) => self.handle_health(health, now),
            }
        }
    }

    /// Does what the tunnel has to do by itself.
    fn drive_tunnel(&mut self, post: &mut Post<'_>, now: Instant) -> TimerAction {
        loop {
            let unanswered = self.tunnel.unanswered_handshake(now);
            let (attempt, message) = self.tunnel.handle_timeout(post.identity, post.rng, now);
            if let Some((age, silence)) = unanswered.filter(|_| attempt == TimerAction::Initiate) {
                self.miss_answer(age, silence, post, now);
            }
            if let Some(message) = message {
                self.send_control(message, post, now);
            }
            if matches!(attempt, TimerAction::Wait | TimerAction::GiveUp) {
                return attempt;
            }
        }
    }

    /// The side that chooses the path also makes sure that there is a session on it.
    fn handshake_proactively(&mut self, post: &mut Post<'_>, now: Instant) {
        let recently =
            self.last_proactive_handshake.is_some_and(|at| now.duration_since(at) < PROACTIVE_HANDSHAKE_PAUSE);
        if self.params.role != IceRole::Controlling || self.way().is_none() || recently {
            return;
        }
        if let Some(initiation) = self.tunnel.initiate(post.identity, post.rng, now) {
            self.last_proactive_handshake = Some(now);
            self.send_control(initiation, post, now);
        }
    }

    /// Handshakes and signs of life go the same way as packets, or wait until there is one.
    fn send_control(&mut self, message: Vec<u8>, post: &mut Post<'_>, now: Instant) {
        match &mut self.state {
            State::Connecting { early } => push_bounded(early, message, EARLY_MESSAGES),
            State::Connected { way, .. } | State::Idle { way } => post.send(*way, &message, now),
        }
    }

    fn wake(&mut self, now: Instant) {
        match &mut self.state {
            State::Connecting { .. } => {}
            State::Connected { last_use, .. } => *last_use = now,
            State::Idle { way } => {
                self.state = State::Connected { way: *way, last_use: now };
                self.agent.set_patience(self.profile.active);
                self.doubt.begin(now);
            }
        }
    }

    /// Becomes idle if it is time. Returns whether it did.
    fn fall_asleep(&mut self, now: Instant) -> bool {
        let Some(way) = self.way().filter(|_| self.idle_due().is_some_and(|due| due <= now)) else { return false };
        self.state = State::Idle { way };
        self.agent.set_patience(self.profile.idle);
        true
    }

    fn idle_due(&self) -> Option<Instant> {
        match &self.state {
            State::Connected { last_use, .. } if self.health == Health::Connected => Some(*last_use + IDLE_AFTER),
            State::Connecting { .. } | State::Connected { .. } | State::Idle { .. } => None,
        }
    }

    /// Since when it is undecided whether this connection can be used.
    pub(crate) fn undecided_since(&self) -> Option<Instant> {
        (!self.established).then_some(self.begun)
    }

    /// What must never be the case between two calls, if it is.
    pub(crate) fn broken_invariant(&self) -> Option<&'static str> {
        let too_many_wait = matches!(&self.state, State::Connecting { early } if early.len() > EARLY_MESSAGES);
        if too_many_wait || self.told.len() > TOLD_CANDIDATES {
            return Some("a queue of a connection is too long");
        }
        if !self.announce.is_empty() || !self.withdraw.is_empty() || self.wants_handshake {
            return Some("something was left undone");
        }
        self.agent.broken_invariant().or_else(|| self.doubt.broken_invariant())
    }

    /// Whether one more packet changes nothing but counters, so that nobody else has to be asked.
    pub(crate) fn is_calm(&self) -> bool {
        self.ready && matches!(self.state, State::Connected { .. })
    }

    fn news(&mut self, now: Instant) -> Vec<News> {
        let mut news = Vec::new();
        if self.way().is_none() || self.tunnel.last_handshake().is_none() {
            return news;
        }
        if !self.established {
            self.established = true;
            news.push(News::Established);
        }
        if !self.ready && self.tunnel.can_send(now) {
            self.ready = true;
            news.push(News::Ready);
        }
        news
    }
}

fn remember(told: &mut VecDeque<Announcement>, announcement: Announcement) {
    if !told.iter().any(|known| known.text == announcement.text) {
        push_bounded(told, announcement, TOLD_CANDIDATES);
    }
}
