//! The connectivity checks of one connection, on the agent of the crate `is`.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use is::{
    Candidate, CandidateKind, DefaultSha1HmacProvider, IceAgent, IceAgentEvent, IceConnectionState, IceCreds, Protocol,
    default_local_preference,
    stun::{StunMessage, StunPacket},
};
use model::{IceCredentials, message::IceRole};

use crate::{
    ice::{
        candidates::{self, LocalCandidate},
        timing::StunTiming,
    },
    limits::{MAX_CANDIDATE_PAIRS, MAX_REMOTE_CANDIDATES},
};

/// Candidates announced by the peer, plus those guessed from the last one.
const MAX_AGENT_REMOTE_CANDIDATES: usize = MAX_REMOTE_CANDIDATES + candidates::OPTIMISTIC_LIMIT;

/// The agent of the crate `is` asks to be woken after this time even if no pair exists.
const IDLE_WAKEUP: Duration = Duration::from_secs(3);

/// The connectivity checks of one connection.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(super) agent: IceAgent,
    checks: VecDeque<Check>,
    due: Option<Instant>,
    last_run: Instant,
}

/// A result of the checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// Send data on this path from now on.
    Nominated { local: SocketAddr, remote: SocketAddr },
    /// Whether a path exists.
    Connectivity(Connectivity),
}

/// Whether a path to the peer exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Connectivity {
    /// Not at present, but pairs are being checked.
    Checking,
    /// Yes.
    Connected,
    /// No, and no pair is left to check.
    Disconnected,
}

/// A check or response to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    /// Our address, possibly on a relay.
    pub(crate) local: SocketAddr,
    /// The peer's address.
    pub(crate) remote: SocketAddr,
    /// The message.
    pub(crate) payload: Vec<u8>,
}

/// A candidate of ours in the form in which it is announced.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Announcement {
    /// Sorts the best candidate last in an ordered set.
    pub(crate) priority: u32,
    /// The candidate as text.
    pub(crate) text: String,
}

/// A received connectivity check or response.
#[derive(Debug)]
pub(crate) struct Message<'a>(StunMessage<'a>);

impl Agent {
    pub(crate) fn new(
        local: &IceCredentials,
        remote: &IceCredentials,
        role: IceRole,
        tie_breaker: u64,
        timing: StunTiming,
        now: Instant,
    ) -> Self {
        let mut agent = IceAgent::with_hmac(credentials(local), &DefaultSha1HmacProvider);
        agent.set_remote_credentials(credentials(remote));
        agent.set_controlling(role == IceRole::Controlling);
        agent.set_control_tie_breaker(tie_breaker);
        agent.set_timing_advance(Duration::ZERO);
        agent.set_max_candidate_pairs(MAX_CANDIDATE_PAIRS);
        agent.set_local_preference(local_preference);
        let mut this = Self { agent, checks: VecDeque::new(), due: None, last_run: now };
        this.set_timing(timing);
        this.handle_timeout(now);
        this
    }

    /// Sets how often paths are checked and when they are given up, effective at once.
    pub(crate) fn set_timing(&mut self, timing: StunTiming) {
        self.agent.set_initial_stun_rto(timing.initial_interval);
        self.agent.set_max_stun_rto(timing.max_interval);
        self.agent.set_max_stun_retransmits(timing.max_attempts);
        self.collect_checks();
    }

    /// Adds a candidate of ours. Returns its announcement; `None` if it was known.
    pub(crate) fn add_local(&mut self, candidate: LocalCandidate) -> Option<Announcement> {
        let added = self.agent.add_local_candidate(candidate.to_candidate()?)?;
        let announcement = Announcement::of(added);
        self.collect_checks();
        Some(announcement)
    }

    /// Removes a candidate of ours. Returns its announcement; `None` if it was not known.
    pub(crate) fn remove_local(&mut self, candidate: LocalCandidate, now: Instant) -> Option<Announcement> {
        let wanted = candidate.to_candidate()?;
        let same = |known: &Candidate| known.addr() == wanted.addr() && known.kind() == wanted.kind();
        let announcement = Announcement::of(&self.agent.local_candidates().find(same)?);
        self.agent.invalidate_candidate(&wanted);
        self.handle_timeout(now);
        Some(announcement)
    }

    /// The announcements of all our candidates.
    pub(crate) fn announcements(&self) -> impl Iterator<Item = Announcement> + '_ {
        self.agent.local_candidates().map(|candidate| Announcement::of(&candidate))
    }

    /// Adds a candidate of the peer, and those guessed from it. Returns the addresses that relays need a channel to; `None` if
    /// the candidate is not accepted.
    pub(crate) fn add_remote(&mut self, text: &str) -> Option<Vec<SocketAddr>> {
        let candidate = candidates::parse(text)?;
        let remote_ufrag = self.agent.remote_credentials().map(|it| it.ufrag.as_str());
        if candidate.ufrag().is_some() && candidate.ufrag() != remote_ufrag {
            return None;
        }
        if self.agent.remote_candidates().count() >= MAX_REMOTE_CANDIDATES {
            tracing::debug!("Ignored a candidate because the peer has too many");
            return None;
        }
        let needs_channel = candidate.kind() != CandidateKind::Host;
        let mut channels: Vec<_> = needs_channel.then_some(candidate.addr()).into_iter().collect();
        self.agent.add_remote_candidate(candidate);
        let remote: Vec<_> = self.agent.remote_candidates().collect();
        for guess in candidates::optimistic(&remote) {
            channels.push(guess.addr());
            self.agent.add_remote_candidate(guess);
        }
        self.collect_checks();
        Some(channels)
    }

    /// Removes a candidate of the peer with all its pairs.
    pub(crate) fn remove_remote(&mut self, text: &str, now: Instant) {
        let Some(candidate) = candidates::parse(text) else { return };
        // The agent searches our own candidates first, which a peer must not remove.
        let is_ours = self.agent.local_candidates().any(|it| it.addr() == candidate.addr());
        if !is_ours && self.agent.invalidate_candidate(&candidate) {
            self.handle_timeout(now);
        }
    }

    /// The first invariant that is broken between two calls.
    pub(crate) fn broken_invariant(&self) -> Option<&'static str> {
        if self.agent.remote_candidates().count() > MAX_AGENT_REMOTE_CANDIDATES {
            return Some("a peer has too many candidates");
        }
        (!self.checks.is_empty()).then_some("a check was not sent")
    }

    /// Whether a candidate of ours is known.
    pub(crate) fn has_local(&self) -> bool {
        self.agent.local_candidates().next().is_some()
    }

    /// Whether a candidate of the peer is known.
    pub(crate) fn has_remote(&self) -> bool {
        self.agent.remote_candidates().next().is_some()
    }

    /// Whether the announced address is still one of ours.
    pub(crate) fn is_ours(&self, announcement: &Announcement) -> bool {
        let address = candidates::parse(&announcement.text).map(|candidate| candidate.addr());
        self.agent.local_candidates().any(|known| Some(known.addr()) == address)
    }

    /// The local addresses that checks are sent from.
    pub(crate) fn bases(&self) -> BTreeSet<SocketAddr> {
        let own = |it: &Candidate| it.kind() != CandidateKind::Relayed;
        self.agent.local_candidates().filter(own).map(|it| it.local()).collect()
    }

    /// Whether the peer announced `address` as one on a relay.
    pub(crate) fn is_on_relay(&self, address: SocketAddr) -> bool {
        self.agent.remote_candidates().any(|it| it.addr() == address && it.kind() == CandidateKind::Relayed)
    }

    /// Round-trip time of the last answered check on the selected path.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.agent.nominated_pair_rtt()
    }

    /// Whether `message` is for this agent and authentic.
    pub(crate) fn accepts(&self, message: &Message<'_>) -> bool {
        self.agent.accepts_message(&message.0)
    }

    /// Handles a message that this agent [accepts](Self::accepts).
    pub(crate) fn handle_message(&mut self, local: SocketAddr, from: SocketAddr, message: Message<'_>, now: Instant) {
        if self.agent.remote_candidates().count() >= MAX_AGENT_REMOTE_CANDIDATES
            && !self.agent.remote_candidates().any(|it| it.addr() == from)
        {
            tracing::debug!("Ignored a check because the peer has too many addresses");
            return;
        }
        let packet = StunPacket { proto: Protocol::Udp, source: from, destination: local, message: message.0 };
        self.agent.handle_packet(now, packet);
        self.handle_timeout(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.last_run = now;
        // The agent sends one check per call, so each pair may need one.
        for _ in 0..=2 * MAX_CANDIDATE_PAIRS {
            self.agent.handle_timeout(now);
            self.collect_checks();
            if self.due.is_none_or(|due| due > now) {
                break;
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Check> {
        self.checks.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        loop {
            match self.agent.poll_event()? {
                IceAgentEvent::NominatedSend { source: local, destination: remote, .. } => {
                    return Some(Event::Nominated { local, remote });
                }
                IceAgentEvent::IceConnectionStateChange(state) => return Some(Event::Connectivity(state.into())),
                IceAgentEvent::IceRestart(_) | IceAgentEvent::DiscoveredRecv { .. } => {}
            }
        }
    }
}

impl Agent {
    /// Collects the messages of the inner agent, which has no deadline before that, and updates the deadline.
    pub(super) fn collect_checks(&mut self) {
        while let Some(transmit) = self.agent.poll_transmit() {
            let (local, remote) = (transmit.source, transmit.destination);
            self.checks.push_back(Check { local, remote, payload: transmit.contents.into() });
        }
        let due = self.agent.poll_timeout();
        // Without pairs the inner agent still asks to be woken.
        self.due = due.filter(|due| *due != self.last_run + IDLE_WAKEUP || self.has_pairs());
    }

    /// Whether both sides have a candidate of the same family.
    fn has_pairs(&self) -> bool {
        let has = |is_v4: bool| {
            self.agent.local_candidates().any(|it| it.addr().is_ipv4() == is_v4)
                && self.agent.remote_candidates().any(|it| it.addr().is_ipv4() == is_v4)
        };
        has(true) || has(false)
    }
}

impl<'a> Message<'a> {
    /// Whether this is a response to a check of ours, which proves that the path works in both directions.
    pub(crate) fn is_response(&self) -> bool {
        self.0.is_successful_binding_response()
    }

    /// Parses a binding request or a successful response; other messages are not checks.
    pub(crate) fn parse(datagram: &'a [u8]) -> Option<Self> {
        let message = StunMessage::parse(datagram).ok()?;
        (message.is_binding_request() || message.is_successful_binding_response()).then_some(Self(message))
    }
}

impl Announcement {
    /// Whether the peer discovered the address itself.
    pub(crate) fn is_peer_reflexive(&self) -> bool {
        candidates::parse(&self.text).is_some_and(|candidate| candidate.kind() == CandidateKind::PeerReflexive)
    }

    pub(super) fn of(candidate: &Candidate) -> Self {
        Self { priority: candidate.prio(), text: candidate.to_sdp_string() }
    }
}

impl From<IceConnectionState> for Connectivity {
    fn from(state: IceConnectionState) -> Self {
        match state {
            IceConnectionState::New | IceConnectionState::Checking => Self::Checking,
            IceConnectionState::Connected | IceConnectionState::Completed => Self::Connected,
            IceConnectionState::Disconnected => Self::Disconnected,
        }
    }
}

fn credentials(from: &IceCredentials) -> IceCreds {
    IceCreds { ufrag: from.username.clone(), pass: from.password.expose().to_owned() }
}

/// The default preference, limited to the number of candidates for which it is defined.
fn local_preference(candidate: &Candidate, same_kind_count: usize) -> u32 {
    default_local_preference(candidate, same_kind_count.min(7_000))
}
