//! Conversations with another client, and who began them.
//!
//! A client that was granted access to us may begin conversations as its grant allows. Apart from that it may only answer
//! to ours, so we have to remember which ones there are.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use ip_packet::{
    IpPacket, Transport,
    icmp::{Quoted, QuotedTransport},
};

/// An idle TCP connection; keep-alives come every two hours.
const TCP_IDLE: Duration = Duration::from_secs(2 * 60 * 60 + 4 * 60);
/// Idle UDP and pings.
const OTHER_IDLE: Duration = Duration::from_secs(2 * 60);
/// How often what is over is looked for.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// How many conversations of one beginner are remembered. Beyond that new ones are refused: an old one is worth more than
/// the next of somebody who scans ports.
const FLOWS: usize = 16_384;

/// A conversation, seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flow {
    protocol: Protocol,
    /// Our port, or the identifier of the ping.
    our_port: u16,
    /// Their port, or the identifier of the ping.
    their_port: u16,
    our_ip: IpAddr,
    their_ip: IpAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Protocol {
    Tcp,
    Udp,
    Ping,
}

/// There are too many conversations already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

/// All conversations with one client.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    /// Those that we began, and when we last said something.
    ours: Began,
    /// Those that they began, and when they last said something.
    theirs: Began,
    tidy_at: Option<Instant>,
}

/// Conversations with the same beginner.
#[derive(Debug, Default)]
struct Began(BTreeMap<Flow, Instant>);

impl Flow {
    /// The conversation that a packet of ours belongs to.
    pub(crate) fn of_ours(packet: &IpPacket) -> Option<Self> {
        let (protocol, our_port, their_port) = ends(packet.transport())?;
        Some(Self { protocol, our_port, their_port, our_ip: packet.source(), their_ip: packet.destination() })
    }

    /// The conversation that a packet of theirs belongs to.
    pub(crate) fn of_theirs(packet: &IpPacket) -> Option<Self> {
        let (protocol, their_port, our_port) = ends(packet.transport())?;
        Some(Self { protocol, our_port, their_port, our_ip: packet.destination(), their_ip: packet.source() })
    }

    /// The conversation that a packet of ours belongs to which is quoted in an error.
    pub(crate) fn of_our_quoted(quoted: &Quoted) -> Self {
        let (protocol, our_port, their_port) = quoted_ends(quoted.transport);
        Self { protocol, our_port, their_port, our_ip: quoted.source, their_ip: quoted.destination }
    }

    /// The conversation that a packet of theirs belongs to which is quoted in an error.
    pub(crate) fn of_their_quoted(quoted: &Quoted) -> Self {
        let (protocol, their_port, our_port) = quoted_ends(quoted.transport);
        Self { protocol, our_port, their_port, our_ip: quoted.destination, their_ip: quoted.source }
    }

    fn idle(&self) -> Duration {
        match self.protocol {
            Protocol::Tcp => TCP_IDLE,
            Protocol::Udp | Protocol::Ping => OTHER_IDLE,
        }
    }
}

impl Flows {
    /// We say something in a conversation that is ours.
    pub(crate) fn note_ours(&mut self, flow: Flow, now: Instant) -> Result<(), TooMany> {
        self.tidy_at.get_or_insert(now + TIDY_EVERY);
        self.ours.note(flow, now)
    }

    /// They say something in a conversation that is theirs.
    pub(crate) fn note_theirs(&mut self, flow: Flow, now: Instant) -> Result<(), TooMany> {
        self.tidy_at.get_or_insert(now + TIDY_EVERY);
        self.theirs.note(flow, now)
    }

    /// Whether we began this conversation.
    pub(crate) fn is_ours(&self, flow: &Flow, now: Instant) -> bool {
        self.ours.has(flow, now)
    }

    /// Whether they began this conversation.
    pub(crate) fn is_theirs(&self, flow: &Flow, now: Instant) -> bool {
        self.theirs.has(flow, now)
    }

    /// Whether there is such a conversation, whoever began it.
    pub(crate) fn is_known(&self, flow: &Flow, now: Instant) -> bool {
        self.is_ours(flow, now) || self.is_theirs(flow, now)
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets what is over.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.tidy_at.is_none_or(|at| now < at) {
            return;
        }
        self.ours.tidy(now);
        self.theirs.tidy(now);
        let is_empty = self.ours.0.is_empty() && self.theirs.0.is_empty();
        self.tidy_at = (!is_empty).then(|| now + TIDY_EVERY);
    }

    /// When to look for what is over.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.tidy_at
    }
}

impl Began {
    fn note(&mut self, flow: Flow, now: Instant) -> Result<(), TooMany> {
        if let Some(last) = self.0.get_mut(&flow) {
            *last = now;
            return Ok(());
        }
        if self.0.len() >= FLOWS {
            return Err(TooMany);
        }
        self.0.insert(flow, now);
        Ok(())
    }

    fn has(&self, flow: &Flow, now: Instant) -> bool {
        self.0.get(flow).is_some_and(|last| now < *last + flow.idle())
    }

    fn tidy(&mut self, now: Instant) {
        self.0.retain(|flow, last| now < *last + flow.idle());
    }
}

/// Protocol, source and destination port.
fn ends(transport: Transport) -> Option<(Protocol, u16, u16)> {
    match transport {
        Transport::Tcp { source, destination } => Some((Protocol::Tcp, source, destination)),
        Transport::Udp { source, destination } => Some((Protocol::Udp, source, destination)),
        Transport::Echo { id, .. } => Some((Protocol::Ping, id, id)),
        Transport::IcmpError(_) | Transport::OtherIcmp | Transport::Other(_) => None,
    }
}

fn quoted_ends(transport: QuotedTransport) -> (Protocol, u16, u16) {
    match transport {
        QuotedTransport::Tcp { source, destination } => (Protocol::Tcp, source, destination),
        QuotedTransport::Udp { source, destination } => (Protocol::Udp, source, destination),
        QuotedTransport::Echo { id } => (Protocol::Ping, id, id),
    }
}

#[cfg(test)]
mod tests {
    use ip_packet::build;

    use super::*;
    use crate::testing::{start, udp_to};

    const SECOND: Duration = Duration::from_secs(1);

    fn flow(destination: &str) -> Flow {
        Flow::of_ours(&udp_to(destination)).unwrap()
    }

    #[test]
    fn an_answer_belongs_to_the_same_conversation() {
        let answer = build::udp("100.64.0.8:53".parse().unwrap(), "100.64.0.7:40000".parse().unwrap(), b"").unwrap();
        assert_eq!(Flow::of_theirs(&answer), Some(flow("100.64.0.8:53")));
        assert_ne!(Flow::of_ours(&answer), Some(flow("100.64.0.8:53")));
    }

    #[test]
    fn silence_for_two_minutes_ends_it_and_traffic_keeps_it() {
        let (mut flows, now) = (Flows::default(), start());
        let flow = flow("100.64.0.8:53");
        flows.note_ours(flow, now).unwrap();
        assert!(flows.is_ours(&flow, now + 119 * SECOND));
        assert!(!flows.is_ours(&flow, now + 120 * SECOND));
        assert!(!flows.is_theirs(&flow, now));

        flows.note_ours(flow, now + 100 * SECOND).unwrap();
        assert!(flows.is_ours(&flow, now + 219 * SECOND));

        let mut last = now;
        while let Some(due) = flows.poll_timeout() {
            assert!(due > last);
            last = due;
            flows.handle_timeout(due);
        }
        assert_eq!(last, now + 240 * SECOND, "nothing is remembered, and nothing is due any more");
    }

    #[test]
    fn a_tcp_connection_may_be_silent_between_two_keep_alives() {
        let (mut flows, now) = (Flows::default(), start());
        let segment = build::tcp(
            "100.64.0.7:40000".parse().unwrap(),
            "100.64.0.8:22".parse().unwrap(),
            build::TcpHeader::default(),
            b"",
        );
        let flow = Flow::of_ours(&segment.unwrap()).unwrap();
        flows.note_theirs(flow, now).unwrap();
        assert!(flows.is_theirs(&flow, now + Duration::from_secs(7439)));
        assert!(!flows.is_theirs(&flow, now + Duration::from_secs(7440)));
    }

    #[test]
    fn families_with_equal_ports_are_distinct() {
        let (mut flows, now) = (Flows::default(), start());
        flows.note_ours(flow("100.64.0.8:53"), now).unwrap();
        assert!(!flows.is_known(&flow("[fd00:2021:1111::8]:53"), now));
    }

    #[test]
    fn a_port_scan_does_not_make_us_remember_everything() {
        let (mut flows, now) = (Flows::default(), start());
        for port in 0..FLOWS {
            flows.note_theirs(flow(&format!("100.64.0.8:{port}")), now).unwrap();
        }
        assert_eq!(flows.note_theirs(flow("100.64.0.8:60000"), now), Err(TooMany));
        assert_eq!(flows.note_theirs(flow("100.64.0.8:1"), now), Ok(()), "an old one goes on");
        assert_eq!(flows.note_ours(flow("100.64.0.8:60000"), now), Ok(()));
    }
}
