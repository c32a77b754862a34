//! Flows with another client, by which side initiated them.
//!
//! A client with a grant may initiate flows that the grant permits. All other packets of a client have to be replies, so
//! the flows that this host initiated are tracked.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use ip_packet::{
    IpPacket, Transport,
    icmp::{Quoted, QuotedTransport},
};

/// Idle timeout of TCP connections; keep-alives arrive every two hours.
const TCP_IDLE_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60 + 4 * 60);
/// Idle timeout of UDP and ICMP echo.
const UDP_IDLE_TIMEOUT: Duration = Duration::from_secs(2 * 60);
/// Interval of removing expired flows.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum number of flows per initiator. Beyond that new ones are rejected, so that a port scan cannot displace existing
/// flows.
const MAX_FLOWS: usize = 16_384;

/// A flow, from this host's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flow {
    protocol: Protocol,
    /// The local port, or the identifier of the ICMP echo.
    local_port: u16,
    /// The remote port, or the identifier of the ICMP echo.
    remote_port: u16,
    local_ip: IpAddr,
    remote_ip: IpAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Protocol {
    Tcp,
    Udp,
    Echo,
}

/// The maximum number of flows is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManyFlows;

/// All flows with one client.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    /// Flows that this host initiated.
    ours: FlowSet,
    /// Flows that the client initiated.
    theirs: FlowSet,
    cleanup_at: Option<Instant>,
}

/// Flows of one initiator, with the time of the initiator's last packet.
#[derive(Debug, Default)]
struct FlowSet(BTreeMap<Flow, Instant>);

impl Flow {
    /// The flow of an outgoing packet.
    pub(crate) fn of_outgoing(packet: &IpPacket) -> Option<Self> {
        let (protocol, local_port, remote_port) = ports(packet.transport())?;
        Some(Self { protocol, local_port, remote_port, local_ip: packet.source(), remote_ip: packet.destination() })
    }

    /// The flow of an incoming packet.
    pub(crate) fn of_incoming(packet: &IpPacket) -> Option<Self> {
        let (protocol, remote_port, local_port) = ports(packet.transport())?;
        Some(Self { protocol, local_port, remote_port, local_ip: packet.destination(), remote_ip: packet.source() })
    }

    /// The flow of an outgoing packet that an ICMP error quotes.
    pub(crate) fn of_quoted_outgoing(quoted: &Quoted) -> Self {
        let (protocol, local_port, remote_port) = quoted_ports(quoted.transport);
        Self { protocol, local_port, remote_port, local_ip: quoted.source, remote_ip: quoted.destination }
    }

    /// The flow of an incoming packet that an ICMP error quotes.
    pub(crate) fn of_quoted_incoming(quoted: &Quoted) -> Self {
        let (protocol, remote_port, local_port) = quoted_ports(quoted.transport);
        Self { protocol, local_port, remote_port, local_ip: quoted.destination, remote_ip: quoted.source }
    }

    fn idle_timeout(&self) -> Duration {
        match self.protocol {
            Protocol::Tcp => TCP_IDLE_TIMEOUT,
            Protocol::Udp | Protocol::Echo => UDP_IDLE_TIMEOUT,
        }
    }
}

impl Flows {
    /// Records an outgoing packet of a flow that this host initiated.
    pub(crate) fn record_ours(&mut self, flow: Flow, now: Instant) -> Result<(), TooManyFlows> {
        self.cleanup_at.get_or_insert(now + CLEANUP_INTERVAL);
        self.ours.record(flow, now)
    }

    /// Records an incoming packet of a flow that the client initiated.
    pub(crate) fn record_theirs(&mut self, flow: Flow, now: Instant) -> Result<(), TooManyFlows> {
        self.cleanup_at.get_or_insert(now + CLEANUP_INTERVAL);
        self.theirs.record(flow, now)
    }

    /// Whether this host initiated the flow.
    pub(crate) fn is_ours(&self, flow: &Flow, now: Instant) -> bool {
        self.ours.contains(flow, now)
    }

    /// Whether the client initiated the flow.
    pub(crate) fn is_theirs(&self, flow: &Flow, now: Instant) -> bool {
        self.theirs.contains(flow, now)
    }

    /// Whether the flow is known, regardless of its initiator.
    pub(crate) fn is_known(&self, flow: &Flow, now: Instant) -> bool {
        self.is_ours(flow, now) || self.is_theirs(flow, now)
    }

    /// Removes all flows.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Removes expired flows.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.cleanup_at.is_none_or(|at| now < at) {
            return;
        }
        self.ours.remove_expired(now);
        self.theirs.remove_expired(now);
        let is_empty = self.ours.0.is_empty() && self.theirs.0.is_empty();
        self.cleanup_at = (!is_empty).then(|| now + CLEANUP_INTERVAL);
    }

    /// When expired flows are removed next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.cleanup_at
    }
}

impl FlowSet {
    fn record(&mut self, flow: Flow, now: Instant) -> Result<(), TooManyFlows> {
        if let Some(last) = self.0.get_mut(&flow) {
            *last = now;
            return Ok(());
        }
        if self.0.len() >= MAX_FLOWS {
            return Err(TooManyFlows);
        }
        self.0.insert(flow, now);
        Ok(())
    }

    fn contains(&self, flow: &Flow, now: Instant) -> bool {
        self.0.get(flow).is_some_and(|last| now < *last + flow.idle_timeout())
    }

    fn remove_expired(&mut self, now: Instant) {
        self.0.retain(|flow, last| now < *last + flow.idle_timeout());
    }
}

/// Protocol, source port and destination port.
fn ports(transport: Transport) -> Option<(Protocol, u16, u16)> {
    match transport {
        Transport::Tcp { source, destination } => Some((Protocol::Tcp, source, destination)),
        Transport::Udp { source, destination } => Some((Protocol::Udp, source, destination)),
        Transport::Echo { id, .. } => Some((Protocol::Echo, id, id)),
        Transport::IcmpError(_) | Transport::OtherIcmp | Transport::Other(_) => None,
    }
}

fn quoted_ports(transport: QuotedTransport) -> (Protocol, u16, u16) {
    match transport {
        QuotedTransport::Tcp { source, destination } => (Protocol::Tcp, source, destination),
        QuotedTransport::Udp { source, destination } => (Protocol::Udp, source, destination),
        QuotedTransport::Echo { id } => (Protocol::Echo, id, id),
    }
}

#[cfg(test)]
mod tests {
    use ip_packet::build;

    use super::*;
    use crate::testing::{start, udp_to};

    const SECOND: Duration = Duration::from_secs(1);

    fn flow(destination: &str) -> Flow {
        Flow::of_outgoing(&udp_to(destination)).unwrap()
    }

    #[test]
    fn reply_belongs_to_the_same_flow() {
        let answer = build::udp("100.64.0.8:53".parse().unwrap(), "100.64.0.7:40000".parse().unwrap(), b"").unwrap();
        assert_eq!(Flow::of_incoming(&answer), Some(flow("100.64.0.8:53")));
        assert_ne!(Flow::of_outgoing(&answer), Some(flow("100.64.0.8:53")));
    }

    #[test]
    fn idle_udp_flow_expires_after_two_minutes() {
        let (mut flows, now) = (Flows::default(), start());
        let flow = flow("100.64.0.8:53");
        flows.record_ours(flow, now).unwrap();
        assert!(flows.is_ours(&flow, now + 119 * SECOND));
        assert!(!flows.is_ours(&flow, now + 120 * SECOND));
        assert!(!flows.is_theirs(&flow, now));

        flows.record_ours(flow, now + 100 * SECOND).unwrap();
        assert!(flows.is_ours(&flow, now + 219 * SECOND));

        let mut last = now;
        while let Some(due) = flows.poll_timeout() {
            assert!(due > last);
            last = due;
            flows.handle_timeout(due);
        }
        assert_eq!(last, now + 240 * SECOND, "no flow and no deadline is left");
    }

    #[test]
    fn tcp_flow_outlives_the_keepalive_interval() {
        let (mut flows, now) = (Flows::default(), start());
        let segment = build::tcp(
            "100.64.0.7:40000".parse().unwrap(),
            "100.64.0.8:22".parse().unwrap(),
            build::TcpHeader::default(),
            b"",
        );
        let flow = Flow::of_outgoing(&segment.unwrap()).unwrap();
        flows.record_theirs(flow, now).unwrap();
        assert!(flows.is_theirs(&flow, now + Duration::from_secs(7439)));
        assert!(!flows.is_theirs(&flow, now + Duration::from_secs(7440)));
    }

    #[test]
    fn flows_of_both_address_families_are_distinct() {
        let (mut flows, now) = (Flows::default(), start());
        flows.record_ours(flow("100.64.0.8:53"), now).unwrap();
        assert!(!flows.is_known(&flow("[fd00:2021:1111::8]:53"), now));
    }

    #[test]
    fn number_of_flows_is_bounded() {
        let (mut flows, now) = (Flows::default(), start());
        for port in 0..MAX_FLOWS {
            flows.record_theirs(flow(&format!("100.64.0.8:{port}")), now).unwrap();
        }
        assert_eq!(flows.record_theirs(flow("100.64.0.8:60000"), now), Err(TooManyFlows));
        assert_eq!(flows.record_theirs(flow("100.64.0.8:1"), now), Ok(()), "an existing flow continues");
        assert_eq!(flows.record_ours(flow("100.64.0.8:60000"), now), Ok(()));
    }
}
