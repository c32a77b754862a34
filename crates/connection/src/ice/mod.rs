//! Connectivity checks (RFC 8445) of one connection, around the agent of the crate `is`.

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

mod candidates;
mod suspension;
mod timing;

pub(crate) use candidates::LocalCandidate;
pub(crate) use suspension::{Suspension, Withdrawal};
pub(crate) use timing::{Patience, Profile};

use crate::limits::{CANDIDATE_PAIRS, REMOTE_CANDIDATES};

/// Those that the peer told us, and what was guessed from the last one.
const MOST_REMOTE: usize = REMOTE_CANDIDATES + candidates::OPTIMISTIC_LIMIT;

/// When the agent of the crate `is` wants to be woken if there is nothing to be checked.
const NOTHING_TO_CHECK: Duration = Duration::from_secs(3);

/// The checks of one connection.
///
/// Driving it is like driving any machine here; deadlines are in [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub(crate) struct Agent {
    agent: IceAgent,
    checks: VecDeque<Check>,
    due: Option<Instant>,
    last_run: Instant,
}

/// What the checks found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// Data is to be sent this way from now on.
    Nominated { local: SocketAddr, remote: SocketAddr },
    /// Whether there is hope.
    Health(Health),
}

/// Whether there is a way to the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Health {
    /// Not yet, or not any more, but something is still being tried.
    Checking,
    /// Yes.
    Connected,
    /// No, and nothing is left to be tried.
    Disconnected,
}

/// A message that the checks want to send.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    /// From which of our addresses; perhaps one on a relay.
    pub(crate) local: SocketAddr,
    /// To which of the peer's.
    pub(crate) remote: SocketAddr,
    /// The message.
    pub(crate) payload: Vec<u8>,
}

/// A candidate of ours as the peer has to hear of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Announcement {
    /// Makes the best come last in an ordered set.
    pub(crate) priority: u32,
    /// The candidate as text.
    pub(crate) text: String,
}

/// A received message that parses as one of these checks.
#[derive(Debug)]
pub(crate) struct Message<'a>(StunMessage<'a>);

impl Agent {
    pub(crate) fn new(
        local: &IceCredentials,
        remote: &IceCredentials,
        role: IceRole,
        tie_breaker: u64,
        patience: Patience,
        now: Instant,
    ) -> Self {
        let mut agent = IceAgent::with_hmac(credentials(local), &DefaultSha1HmacProvider);
        agent.set_remote_credentials(credentials(remote));
        agent.set_controlling(role == IceRole::Controlling);
        agent.set_control_tie_breaker(tie_breaker);
        agent.set_timing_advance(Duration::ZERO);
        agent.set_max_candidate_pairs(CANDIDATE_PAIRS);
        agent.set_local_preference(local_preference);
        let mut this = Self { agent, checks: VecDeque::new(), due: None, last_run: now };
        this.set_patience(patience);
        this.handle_timeout(now);
        this
    }

    /// How often paths are checked, and when they are given up. Takes effect at once.
    pub(crate) fn set_patience(&mut self, patience: Patience) {
        self.agent.set_initial_stun_rto(patience.first_interval);
        self.agent.set_max_stun_rto(patience.longest_interval);
        self.agent.set_max_stun_retransmits(patience.attempts);
        self.settle();
    }

    /// Adds an address of ours. Returns what the peer has to hear of it; nothing if it was known.
    pub(crate) fn add_local(&mut self, candidate: LocalCandidate) -> Option<Announcement> {
        let added = self.agent.add_local_candidate(candidate.to_candidate()?)?;
        let announcement = Announcement::of(added);
        self.settle();
        Some(announcement)
    }

    /// Removes an address of ours. Returns what the peer has to hear of it; nothing if it was not known.
    pub(crate) fn remove_local(&mut self, candidate: LocalCandidate, now: Instant) -> Option<Announcement> {
        let wanted = candidate.to_candidate()?;
        let same = |known: &Candidate| known.addr() == wanted.addr() && known.kind() == wanted.kind();
        let announcement = Announcement::of(&self.agent.local_candidates().find(same)?);
        self.agent.invalidate_candidate(&wanted);
        self.handle_timeout(now);
        Some(announcement)
    }

    /// All addresses at which we can be reached, for a peer that may have forgotten them.
    pub(crate) fn announcements(&self) -> impl Iterator<Item = Announcement> + '_ {
        self.agent.local_candidates().map(|candidate| Announcement::of(&candidate))
    }

    /// Adds an address of the peer, and those that follow from it. Returns the ones to which relays need a channel at once;
    /// `None` if the candidate is not one of the peer's.
    pub(crate) fn add_remote(&mut self, text: &str) -> Option<Vec<SocketAddr>> {
        let candidate = candidates::parse(text)?;
        let remote_ufrag = self.agent.remote_credentials().map(|it| it.ufrag.as_str());
        if candidate.ufrag().is_some() && candidate.ufrag() != remote_ufrag {
            return None;
        }
        if self.agent.remote_candidates().count() >= REMOTE_CANDIDATES {
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
        self.settle();
        Some(channels)
    }

    /// Removes an address of the peer, and everything that leads there.
    pub(crate) fn remove_remote(&mut self, text: &str, now: Instant) {
        let Some(candidate) = candidates::parse(text) else { return };
        // The agent looks among our own candidates first, and those are none of the peer's business.
        let is_ours = self.agent.local_candidates().any(|it| it.addr() == candidate.addr());
        if !is_ours && self.agent.invalidate_candidate(&candidate) {
            self.handle_timeout(now);
        }
    }

    /// What must never be the case between two calls, if it is.
    pub(crate) fn broken_invariant(&self) -> Option<&'static str> {
        if self.agent.remote_candidates().count() > MOST_REMOTE {
            return Some("a peer has too many candidates");
        }
        (!self.checks.is_empty()).then_some("a check was not sent")
    }

    /// Whether an address of ours is known.
    pub(crate) fn has_local(&self) -> bool {
        self.agent.local_candidates().next().is_some()
    }

    /// Whether an address of the peer is known.
    pub(crate) fn has_remote(&self) -> bool {
        self.agent.remote_candidates().next().is_some()
    }

    /// Whether we can be reached where the announcement says.
    pub(crate) fn is_ours(&self, announcement: &Announcement) -> bool {
        let address = candidates::parse(&announcement.text).map(|candidate| candidate.addr());
        self.agent.local_candidates().any(|known| Some(known.addr()) == address)
    }

    /// The addresses of this host from which something is sent to the peer.
    pub(crate) fn bases(&self) -> BTreeSet<SocketAddr> {
        let own = |it: &Candidate| it.kind() != CandidateKind::Relayed;
        self.agent.local_candidates().filter(own).map(|it| it.local()).collect()
    }

    /// Whether the peer told us that `address` is one that a relay lends it.
    pub(crate) fn is_on_relay(&self, address: SocketAddr) -> bool {
        self.agent.remote_candidates().any(|it| it.addr() == address && it.kind() == CandidateKind::Relayed)
    }

    /// How long the last answered check of the chosen path took there and back.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.agent.nominated_pair_rtt()
    }

    /// Whether `message` is for us and made by somebody who knows the credentials.
    pub(crate) fn accepts(&self, message: &Message<'_>) -> bool {
        self.agent.accepts_message(&message.0)
    }

    /// Handles a message that this agent [accepts](Self::accepts).
    pub(crate) fn handle_message(&mut self, local: SocketAddr, from: SocketAddr, message: Message<'_>, now: Instant) {
        if self.agent.remote_candidates().count() >= MOST_REMOTE
            && !self.agent.remote_candidates().any(|it| it.addr() == from)
        {
            tracing::debug!("Ignored a check from yet another address of the peer");
            return;
        }
        let packet = StunPacket { proto: Protocol::Udp, source: from, destination: local, message: message.0 };
        self.agent.handle_packet(now, packet);
        self.handle_timeout(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.last_run = now;
        // The agent sends one check per call, so each pair may need one.
        for _ in 0..=2 * CANDIDATE_PAIRS {
            self.agent.handle_timeout(now);
            self.settle();
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
                IceAgentEvent::IceConnectionStateChange(state) => return Some(Event::Health(state.into())),
                IceAgentEvent::IceRestart(_) | IceAgentEvent::DiscoveredRecv { .. } => {}
            }
        }
    }
}

impl Agent {
    /// Takes over what the agent wants to send, because it has no deadline of its own before that is done.
    fn settle(&mut self) {
        while let Some(transmit) = self.agent.poll_transmit() {
            let (local, remote) = (transmit.source, transmit.destination);
            self.checks.push_back(Check { local, remote, payload: transmit.contents.into() });
        }
        let due = self.agent.poll_timeout();
        // Without anything to be checked it wants to be woken all the same.
        self.due = due.filter(|due| *due != self.last_run + NOTHING_TO_CHECK || self.has_pairs());
    }

    /// Whether some address of ours and some of the peer's could make a path.
    fn has_pairs(&self) -> bool {
        let has = |is_v4: bool| {
            self.agent.local_candidates().any(|it| it.addr().is_ipv4() == is_v4)
                && self.agent.remote_candidates().any(|it| it.addr().is_ipv4() == is_v4)
        };
        has(true) || has(false)
    }
}

impl<'a> Message<'a> {
    /// Whether this is an answer to a check of ours, and so the proof that a path works both ways.
    pub(crate) fn is_answer(&self) -> bool {
        self.0.is_successful_binding_response()
    }

    /// Parses a binding request or a successful answer to one; nothing else is a check.
    pub(crate) fn parse(datagram: &'a [u8]) -> Option<Self> {
        let message = StunMessage::parse(datagram).ok()?;
        (message.is_binding_request() || message.is_successful_binding_response()).then_some(Self(message))
    }
}

impl Announcement {
    /// Whether the peer has found out about the address by itself.
    pub(crate) fn is_peer_reflexive(&self) -> bool {
        candidates::parse(&self.text).is_some_and(|candidate| candidate.kind() == CandidateKind::PeerReflexive)
    }

    fn of(candidate: &Candidate) -> Self {
        Self { priority: candidate.prio(), text: candidate.to_sdp_string() }
    }
}

impl From<IceConnectionState> for Health {
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

/// The usual preference, which however is only defined for a reasonable number of candidates.
fn local_preference(candidate: &Candidate, of_same_kind: usize) -> u32 {
    default_local_preference(candidate, of_same_kind.min(7_000))
}

#[cfg(test)]
mod tests;
