//! The connection to one peer, from the first candidates to its failure.

mod event;
mod path_selection;

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
    direct_path_monitor::DirectPathMonitor,
    event::Failure,
    ice::{self, Agent, Announcement, Connectivity, LocalCandidate, Message, Profile},
    limits::{MAX_ANNOUNCED_CANDIDATES, MAX_EARLY_MESSAGES, push_bounded},
    params::{Params, Sealed},
    path::{Path, SendContext},
    path_info::{PathInfo, PathKind},
    relay::Relays,
};
pub(crate) use event::{ConnectionEvent, Received};

/// A connection without a candidate of either side after this time fails.
const CANDIDATE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without packets for this time is idle. Longer than the detection of a dead path while active.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Minimum time between handshakes that only refresh a working session.
const PROACTIVE_HANDSHAKE_INTERVAL: Duration = Duration::from_secs(20);

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    params: Params,
    id: ConnectionId,
    profile: Profile,
    /// The relay used for this peer; `None` while none is available.
    relay: Option<RelayId>,
    agent: Agent,
    sessions: PeerSessions,
    state: State,
    connectivity: Connectivity,
    monitor: DirectPathMonitor,
    /// Until when candidates of both sides have to be known.
    candidates_deadline: Option<Instant>,
    /// Until when a path has to be possible again.
    recovery_deadline: Option<Instant>,
    last_proactive_handshake: Option<Instant>,
    /// Whether a new path was selected, for which a handshake is needed.
    wants_handshake: bool,
    created_at: Instant,
    established: bool,
    ready: bool,
    announce: BTreeSet<Announcement>,
    withdraw: BTreeSet<Announcement>,
    /// All candidates announced to the peer. Full: the oldest is forgotten.
    announced: VecDeque<Announcement>,
}

#[derive(Debug)]
enum State {
    /// No path yet. WireGuard messages wait for one. Full: the oldest is dropped.
    Connecting { early: VecDeque<Vec<u8>> },
    /// Packets are or recently were exchanged.
    Connected { path: Path, last_use: Instant },
    /// There is a path, but no packets.
    Idle { path: Path },
}

impl Connection {
    pub(crate) fn new(
        params: Params,
        id: ConnectionId,
        relay: RelayId,
        profile: Profile,
        identity: &Identity,
        rng: &mut StdRng,
        now: Instant,
    ) -> Self {
        let agent = Agent::new(&params.local_ice, &params.remote_ice, params.role, rng.random(), profile.active, now);
        let sessions = PeerSessions::new(identity, &params.public_key, &params.preshared_key, id, rng, now);
        Self {
            params,
            id,
            profile,
            relay: Some(relay),
            agent,
            sessions,
            state: State::Connecting { early: VecDeque::new() },
            connectivity: Connectivity::Checking,
            monitor: DirectPathMonitor::new(now),
            candidates_deadline: Some(now + CANDIDATE_TIMEOUT),
            recovery_deadline: None,
            last_proactive_handshake: None,
            wants_handshake: false,
            created_at: now,
            established: false,
            ready: false,
            announce: BTreeSet::new(),
            withdraw: BTreeSet::new(),
            announced: VecDeque::new(),
        }
    }

    pub(crate) fn params(&self) -> &Params {
        &self.params
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(crate) fn relay(&self) -> Option<RelayId> {
        self.relay
    }

    /// The portal authorized this connection again. The peer may have lost its side, so everything is announced again.
    pub(crate) fn refresh(&mut self, cx: &mut SendContext<'_>, now: Instant) {
        self.mark_active(now);
        self.announce.extend(self.agent.announcements());
        self.initiate_proactively(cx, now);
    }

    /// Uses `relay` for this peer.
    pub(crate) fn set_relay(&mut self, relay: RelayId, candidates: &[LocalCandidate], now: Instant) {
        self.relay = Some(relay);
        for candidate in candidates {
            self.add_local(*candidate, now);
        }
    }

    /// The relay no longer exists.
    pub(crate) fn detach_relay(&mut self) {
        self.relay = None;
    }

    pub(crate) fn add_local(&mut self, candidate: LocalCandidate, now: Instant) {
        if self.monitor.absorb(candidate) {
            return;
        }
        if let Some(announcement) = self.agent.add_local(candidate) {
            self.withdraw.retain(|withdrawn| withdrawn.text != announcement.text);
            self.announce.insert(announcement);
            self.mark_active(now);
            self.check_candidates_known();
        }
    }

    /// Withdraws those candidates of an earlier connection that are no longer valid.
    pub(crate) fn withdraw_stale(&mut self, stale: Vec<Announcement>) {
        for announcement in stale.into_iter().filter(|announcement| !self.agent.is_ours(announcement)) {
            // A withdrawal matches announced candidates only, and the peer discovered this one itself.
            if announcement.is_peer_reflexive() {
                self.announce.insert(announcement.clone());
            }
            self.withdraw.insert(announcement);
        }
    }

    /// The candidates that the peer may know.
    pub(crate) fn into_announced(mut self) -> VecDeque<Announcement> {
        for announcement in self.agent.announcements() {
            record_announcement(&mut self.announced, announcement);
        }
        self.announced
    }

    pub(crate) fn remove_local(&mut self, candidate: LocalCandidate, now: Instant) {
        if let Some(announcement) = self.agent.remove_local(candidate, now)
            && !self.announce.remove(&announcement)
        {
            self.withdraw.insert(announcement);
        }
    }

    pub(crate) fn add_remote(&mut self, texts: &[String], cx: &mut SendContext<'_>, now: Instant) {
        for text in texts {
            let Some(channels) = self.agent.add_remote(text) else {
                tracing::debug!("Ignored a candidate of a peer");
                continue;
            };
            self.check_candidates_known();
            self.mark_active(now);
            for address in channels {
                if let Some(relay) = self.relay {
                    cx.bind_channel(relay, address, now);
                }
            }
        }
    }

    fn check_candidates_known(&mut self) {
        if self.agent.has_local() && self.agent.has_remote() {
            self.candidates_deadline = None;
        }
    }

    pub(crate) fn remove_remote(&mut self, texts: &[String], now: Instant) {
        self.mark_active(now);
        for text in texts {
            self.agent.remove_remote(text, now);
        }
    }

    /// Encrypts and sends a packet.
    pub(crate) fn seal(&mut self, packet: &IpPacket, cx: &mut SendContext<'_>, now: Instant) -> Sealed {
        let Some(path) = self.path() else { return Sealed::NotYet };
        self.mark_active(now);
        if !self.sessions.can_send(now) {
            self.ready = false;
            let may_initiate = self.params.role == IceRole::Controlling || self.sessions.last_handshake().is_some();
            if may_initiate && let Some(initiation) = self.sessions.initiate(cx.identity, cx.rng, now) {
                self.send_control(initiation, cx, now);
            }
            return Sealed::NotYet;
        }
        cx.write(path, packet.ecn(), now, |buffer| self.sessions.seal(packet.as_bytes(), buffer, now));
        Sealed::Sent
    }

    /// Whether a connectivity check belongs to this connection.
    pub(crate) fn accepts(&self, message: &Message<'_>) -> bool {
        self.agent.accepts(message)
    }

    /// Handles a connectivity check that arrived on this path.
    pub(crate) fn handle_check(&mut self, path: Path, message: Message<'_>, now: Instant) {
        let is_response = message.is_response();
        let (local, remote) = path.ends();
        self.agent.handle_message(local, remote, message, now);
        if is_response {
            self.note_answer(path, now);
        }
    }

    /// Handles a WireGuard message with a session index of this connection. Decrypts it in place.
    pub(crate) fn open(
        &mut self,
        ecn: Ecn,
        message: &mut [u8],
        cx: &mut SendContext<'_>,
        now: Instant,
    ) -> Result<Received, MessageError> {
        match self.sessions.open(message, cx.identity, cx.rng, now)? {
            Opened::Control => Ok(Received::Control),
            Opened::Reply(reply) => {
                if let Some(Path::Direct { .. }) = self.path() {
                    self.monitor.note_completed_handshake();
                }
                self.send_control(reply, cx, now);
                Ok(Received::Control)
            }
            Opened::Packet(bytes) => {
                let mut packet = IpPacket::parse_padded(bytes).map_err(|_invalid| MessageError::Malformed)?;
                if ecn == Ecn::Ce {
                    packet.mark_congested();
                }
                self.mark_active(now);
                Ok(Received::Packet(packet))
            }
        }
    }

    /// Handles an initiation from this peer.
    pub(crate) fn handle_initiation(
        &mut self,
        initiation: ReceivedInitiation,
        cx: &mut SendContext<'_>,
        now: Instant,
    ) -> Result<Received, MessageError> {
        let response = self.sessions.handle_initiation(initiation, cx.rng, now)?;
        self.send_control(response, cx, now);
        Ok(Received::Control)
    }

    /// Performs everything that is due, and sends connectivity checks.
    pub(crate) fn advance(&mut self, cx: &mut SendContext<'_>, now: Instant) -> Vec<ConnectionEvent> {
        let offers = self.monitor.handle_timeout(&mut self.agent, now);
        self.announce.extend(offers);
        self.check_connectivity(cx, now);
        // With other timing, a check may be due at once.
        if self.become_idle_if_due(now) {
            self.check_connectivity(cx, now);
        }
        if self.advance_sessions(cx, now) == TimerAction::GiveUp {
            return vec![ConnectionEvent::Failed(Failure::HandshakeTimeout)];
        }
        while let Some(check) = self.agent.poll_transmit() {
            let path = self.path_between(check.local, check.remote, cx.relays);
            cx.send(path, &check.payload, now);
        }
        // After the check that nominates the path, so that the peer responds on that path.
        if std::mem::take(&mut self.wants_handshake) {
            self.initiate_proactively(cx, now);
        }
        let passed = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        if passed(self.candidates_deadline) {
            let failure =
                if self.agent.has_remote() { Failure::NoLocalCandidates } else { Failure::NoRemoteCandidates };
            return vec![ConnectionEvent::Failed(failure)];
        }
        if passed(self.recovery_deadline) {
            return vec![ConnectionEvent::Failed(Failure::NoPath)];
        }
        self.collect_events(now)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        let deadline = |reason| move |at| Deadline { at, reason };
        [
            self.agent.poll_timeout().map(deadline("connectivity check")),
            self.sessions.poll_timeout(),
            self.monitor.poll_timeout(),
            self.candidates_deadline.map(deadline("connection without candidates")),
            self.recovery_deadline.map(deadline("peer without a path")),
            self.idle_deadline().map(deadline("idle connection")),
        ]
        .into_iter()
        .fold(None, Deadline::earliest)
    }

    /// Changes of our candidates since the last call, best first: new ones and withdrawn ones.
    pub(crate) fn take_candidate_changes(&mut self) -> (Vec<String>, Vec<String>) {
        for announcement in &self.announce {
            record_announcement(&mut self.announced, announcement.clone());
        }
        let texts = |set: &mut BTreeSet<Announcement>| {
            std::mem::take(set).into_iter().rev().map(|announcement| announcement.text).collect()
        };
        (texts(&mut self.announce), texts(&mut self.withdraw))
    }

    /// The present path.
    pub(crate) fn path_info(&self) -> Option<PathInfo> {
        let path = self.path()?;
        let kind = match path {
            Path::Relayed { relay, .. } => PathKind::Relay(relay),
            Path::Direct { remote, .. } if self.agent.is_on_relay(remote) => PathKind::PeerRelay,
            Path::Direct { .. } => PathKind::Direct,
        };
        let (local, remote) = path.ends();
        let (sent, received) = self.sessions.traffic();
        let (last_handshake, round_trip) = (self.sessions.last_handshake(), self.agent.round_trip());
        Some(PathInfo { kind, local, remote, last_handshake, round_trip, sent, received })
    }

    fn path(&self) -> Option<Path> {
        match &self.state {
            State::Connecting { .. } => None,
            State::Connected { path, .. } | State::Idle { path } => Some(*path),
        }
    }

    fn path_between(&self, local: SocketAddr, remote: SocketAddr, relays: &Relays) -> Path {
        match self.relay {
            Some(relay) if relays.owns_relayed_address(relay, local) => Path::Relayed { relay, local, remote },
            Some(_) | None => Path::Direct { local, remote },
        }
    }

    fn check_connectivity(&mut self, cx: &mut SendContext<'_>, now: Instant) {
        if self.agent.poll_timeout().is_none_or(|due| due <= now) {
            self.agent.handle_timeout(now);
        }
        while let Some(event) = self.agent.poll_event() {
            match event {
                ice::Event::Nominated { local, remote } => self.handle_nomination(local, remote, cx, now),
                ice::Event::Connectivity(connectivity) => self.handle_connectivity(connectivity, now),
            }
        }
    }

    /// Performs the actions of the WireGuard timers that are due.
    fn advance_sessions(&mut self, cx: &mut SendContext<'_>, now: Instant) -> TimerAction {
        loop {
            let unanswered = self.sessions.unanswered_handshake(now);
            let (action, message) = self.sessions.handle_timeout(cx.identity, cx.rng, now);
            if let Some((age, silence)) = unanswered.filter(|_| action == TimerAction::Initiate) {
                self.handle_missing_response(age, silence, cx, now);
            }
            if let Some(message) = message {
                self.send_control(message, cx, now);
            }
            if matches!(action, TimerAction::Wait | TimerAction::GiveUp) {
                return action;
            }
        }
    }

    /// Starts a handshake on a new path. Only the controlling side does.
    fn initiate_proactively(&mut self, cx: &mut SendContext<'_>, now: Instant) {
        let recently =
            self.last_proactive_handshake.is_some_and(|at| now.duration_since(at) < PROACTIVE_HANDSHAKE_INTERVAL);
        if self.params.role != IceRole::Controlling || self.path().is_none() || recently {
            return;
        }
        if let Some(initiation) = self.sessions.initiate(cx.identity, cx.rng, now) {
            self.last_proactive_handshake = Some(now);
            self.send_control(initiation, cx, now);
        }
    }

    /// Sends a handshake message or keepalive on the present path, or queues it until there is one.
    fn send_control(&mut self, message: Vec<u8>, cx: &mut SendContext<'_>, now: Instant) {
        match &mut self.state {
            State::Connecting { early } => push_bounded(early, message, MAX_EARLY_MESSAGES),
            State::Connected { path, .. } | State::Idle { path } => cx.send(*path, &message, now),
        }
    }

    fn mark_active(&mut self, now: Instant) {
        match &mut self.state {
            State::Connecting { .. } => {}
            State::Connected { last_use, .. } => *last_use = now,
            State::Idle { path } => {
                self.state = State::Connected { path: *path, last_use: now };
                self.agent.set_timing(self.profile.active);
                self.monitor.restart(now);
            }
        }
    }

    /// Becomes idle if no packet was exchanged for long enough. Returns whether it did.
    fn become_idle_if_due(&mut self, now: Instant) -> bool {
        let Some(path) = self.path().filter(|_| self.idle_deadline().is_some_and(|due| due <= now)) else {
            return false;
        };
        self.state = State::Idle { path };
        self.agent.set_timing(self.profile.idle);
        true
    }

    fn idle_deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Connected { last_use, .. } if self.connectivity == Connectivity::Connected => {
                Some(*last_use + IDLE_TIMEOUT)
            }
            State::Connecting { .. } | State::Connected { .. } | State::Idle { .. } => None,
        }
    }

    /// When the connection was created, if it is not established yet.
    pub(crate) fn pending_since(&self) -> Option<Instant> {
        (!self.established).then_some(self.created_at)
    }

    /// The first invariant that is broken between two calls.
    pub(crate) fn broken_invariant(&self) -> Option<&'static str> {
        let has_too_many_early_messages =
            matches!(&self.state, State::Connecting { early } if early.len() > MAX_EARLY_MESSAGES);
        if has_too_many_early_messages || self.announced.len() > MAX_ANNOUNCED_CANDIDATES {
            return Some("a queue of a connection exceeds its limit");
        }
        if !self.announce.is_empty() || !self.withdraw.is_empty() || self.wants_handshake {
            return Some("a change was not passed on");
        }
        self.agent.broken_invariant().or_else(|| self.monitor.broken_invariant())
    }

    /// Whether one more packet changes only counters, so that nothing has to be passed on.
    pub(crate) fn is_steady(&self) -> bool {
        self.ready && matches!(self.state, State::Connected { .. })
    }

    fn collect_events(&mut self, now: Instant) -> Vec<ConnectionEvent> {
        let mut events = Vec::new();
        if self.path().is_none() || self.sessions.last_handshake().is_none() {
            return events;
        }
        if !self.established {
            self.established = true;
            events.push(ConnectionEvent::Established);
        }
        if !self.ready && self.sessions.can_send(now) {
            self.ready = true;
            events.push(ConnectionEvent::Ready);
        }
        events
    }
}

fn record_announcement(announced: &mut VecDeque<Announcement>, announcement: Announcement) {
    if !announced.iter().any(|known| known.text == announcement.text) {
        push_bounded(announced, announcement, MAX_ANNOUNCED_CANDIDATES);
    }
}
