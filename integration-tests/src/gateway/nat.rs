//! Translation between the proxy addresses of a client and the servers behind its names.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use ip_packet::{IpPacket, Transport, icmp};
use model::ResourceId;

/// Timeout of a flow without a reply.
const UNCONFIRMED_TIMEOUT: Duration = Duration::from_secs(60);
/// Timeout of an idle TCP flow; keep-alives come every two hours.
const TCP_IDLE_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60 + 4 * 60);
/// Timeout of idle UDP flows and pings.
const UDP_IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// Timeout of a TCP flow that both ends have closed.
const TCP_CLOSED_TIMEOUT: Duration = Duration::from_secs(5);

/// The translations of one client.
#[derive(Debug, Default)]
pub(super) struct Nat {
    translations: BTreeMap<IpAddr, Translation>,
    sessions: BTreeMap<Inside, Session>,
    outsides: BTreeMap<Outside, Inside>,
    /// What late answers are recognised by.
    over: BTreeSet<Outside>,
}

/// What an invented address stands for.
#[derive(Debug)]
pub(super) struct Translation {
    domain: String,
    target: Option<IpAddr>,
    pub(super) resources: BTreeSet<ResourceId>,
}

/// A flow as the client sees it: from its port to an invented address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Inside {
    protocol: Protocol,
    port: u16,
    proxy: IpAddr,
}

/// The same flow as the server sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Outside {
    protocol: Protocol,
    port: u16,
    server: IpAddr,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Protocol {
    Tcp,
    Udp,
    Ping,
}

#[derive(Debug)]
struct Session {
    outside: Outside,
    last: Instant,
    answered: bool,
    closed_by_client: bool,
    closed_by_server: bool,
    reset: bool,
}

/// What becomes of a packet from a client to an invented address.
#[derive(Debug)]
pub(super) enum Outbound {
    Forward(IpPacket),
    NoTarget,
    Drop,
}

/// What becomes of a packet from a server to a client.
#[derive(Debug)]
pub(super) enum Inbound {
    /// It answers a translated flow; this is what the client must see.
    Translated(IpPacket),
    /// It has nothing to do with translations.
    Untouched(IpPacket),
    /// Its flow is over.
    Drop,
}

impl Nat {
    /// Lets `proxies` stand for `domain`, whose servers are `resolved`. Flows that exist stay where they are.
    pub(super) fn assign(&mut self, domain: &str, resource: ResourceId, resolved: &[IpAddr], proxies: &[IpAddr]) {
        let renumbered = |it: &Translation| !it.domain.eq_ignore_ascii_case(domain);
        if proxies.iter().filter_map(|proxy| self.translations.get(proxy)).any(renumbered) {
            *self = Self::default();
        }

        for is_family in [IpAddr::is_ipv4, IpAddr::is_ipv6] {
            let servers: BTreeSet<IpAddr> = resolved.iter().copied().filter(is_family).collect();
            let proxies: BTreeSet<IpAddr> = proxies.iter().copied().filter(is_family).collect();
            let mut targets = servers.iter().cycle();
            for proxy in proxies {
                let target = targets.next().copied();
                let translation = self.translations.entry(proxy).or_insert_with(|| Translation {
                    domain: domain.to_owned(),
                    target,
                    resources: BTreeSet::new(),
                });
                translation.target = target;
                translation.resources.insert(resource);
            }
        }
    }

    /// What an invented address stands for.
    pub(super) fn translation(&self, proxy: IpAddr) -> Option<&Translation> {
        self.translations.get(&proxy)
    }

    /// A resource is not allowed any more.
    pub(super) fn forget_resource(&mut self, resource: ResourceId) {
        for translation in self.translations.values_mut() {
            translation.resources.remove(&resource);
        }
    }

    /// Sends a packet on to the server that is meant.
    pub(super) fn outbound(&mut self, mut packet: IpPacket, now: Instant) -> Outbound {
        let proxy = packet.destination();
        let Some((protocol, port)) = source_of(packet.transport()) else { return Outbound::Drop };
        let inside = Inside { protocol, port, proxy };

        if !self.sessions.contains_key(&inside) {
            let Some(server) = self.translations.get(&proxy).and_then(|it| it.target) else {
                return Outbound::NoTarget;
            };
            let Some(outside) = self.free_outside(protocol, port, server) else { return Outbound::Drop };
            self.over.remove(&outside);
            self.outsides.insert(outside, inside);
            self.sessions.insert(inside, Session::new(outside, now));
        }
        let Some(session) = self.sessions.get_mut(&inside) else { return Outbound::Drop };
        session.last = now;
        session.note_flags(&packet, true);

        let outside = session.outside;
        match packet.set_destination(outside.server).and_then(|()| packet.set_source_port(outside.port)) {
            Ok(()) => Outbound::Forward(packet),
            Err(_) => Outbound::Drop,
        }
    }

    /// Translates a reply to `client`.
    pub(super) fn inbound(&mut self, mut packet: IpPacket, client: IpAddr, now: Instant) -> Inbound {
        if let Transport::IcmpError(quoted) = packet.transport() {
            let Some((protocol, port)) = quoted_source(quoted.transport) else { return Inbound::Drop };
            let outside = Outside { protocol, port, server: quoted.destination };
            let Some(inside) = self.outsides.get(&outside) else { return Inbound::Untouched(packet) };
            return match icmp::translated(&packet, inside.proxy, client, inside.port) {
                Some(translated) => Inbound::Translated(translated),
                None => Inbound::Drop,
            };
        }

        let Some((protocol, port)) = destination_of(packet.transport()) else { return Inbound::Untouched(packet) };
        let outside = Outside { protocol, port, server: packet.source() };
        if self.over.contains(&outside) {
            return Inbound::Drop;
        }
        let Some(inside) = self.outsides.get(&outside).copied() else { return Inbound::Untouched(packet) };
        if let Some(session) = self.sessions.get_mut(&inside) {
            session.last = now;
            session.answered = true;
            session.note_flags(&packet, false);
        }
        match packet.set_source(inside.proxy).and_then(|()| packet.set_destination_port(inside.port)) {
            Ok(()) => Inbound::Translated(packet),
            Err(_) => Inbound::Drop,
        }
    }

    /// Forgets flows that are over.
    pub(super) fn tick(&mut self, now: Instant) {
        let Self { sessions, outsides, over, .. } = self;
        sessions.retain(|_, session| {
            let alive = now.saturating_duration_since(session.last) < session.lifetime();
            if !alive {
                outsides.remove(&session.outside);
                over.insert(session.outside);
            }
            alive
        });
    }

    /// The client's own port if it is free, else the next free one.
    fn free_outside(&self, protocol: Protocol, port: u16, server: IpAddr) -> Option<Outside> {
        (port..=u16::MAX)
            .chain(1..port)
            .map(|port| Outside { protocol, port, server })
            .find(|outside| !self.outsides.contains_key(outside))
    }
}

impl Session {
    fn new(outside: Outside, now: Instant) -> Self {
        Self { outside, last: now, answered: false, closed_by_client: false, closed_by_server: false, reset: false }
    }

    fn lifetime(&self) -> Duration {
        match self.outside.protocol {
            Protocol::Tcp if self.reset => Duration::ZERO,
            Protocol::Tcp if self.closed_by_client && self.closed_by_server => TCP_CLOSED_TIMEOUT,
            _ if !self.answered => UNCONFIRMED_TIMEOUT,
            Protocol::Tcp => TCP_IDLE_TIMEOUT,
            Protocol::Udp | Protocol::Ping => UDP_IDLE_TIMEOUT,
        }
    }

    fn note_flags(&mut self, packet: &IpPacket, from_client: bool) {
        use ip_packet::build::tcp_flag::{FIN, RST};

        let flags = tcp_flags(packet).unwrap_or_default();
        self.reset |= flags & RST != 0;
        if flags & FIN != 0 {
            *(if from_client { &mut self.closed_by_client } else { &mut self.closed_by_server }) = true;
        }
    }
}

fn source_of(transport: Transport) -> Option<(Protocol, u16)> {
    match transport {
        Transport::Tcp { source, .. } => Some((Protocol::Tcp, source)),
        Transport::Udp { source, .. } => Some((Protocol::Udp, source)),
        Transport::Echo { id, .. } => Some((Protocol::Ping, id)),
        Transport::IcmpError(_) | Transport::OtherIcmp | Transport::Other(_) => None,
    }
}

fn destination_of(transport: Transport) -> Option<(Protocol, u16)> {
    match transport {
        Transport::Tcp { destination, .. } => Some((Protocol::Tcp, destination)),
        Transport::Udp { destination, .. } => Some((Protocol::Udp, destination)),
        Transport::Echo { id, .. } => Some((Protocol::Ping, id)),
        Transport::IcmpError(_) | Transport::OtherIcmp | Transport::Other(_) => None,
    }
}

fn quoted_source(transport: icmp::QuotedTransport) -> Option<(Protocol, u16)> {
    Some(match transport {
        icmp::QuotedTransport::Tcp { source, .. } => (Protocol::Tcp, source),
        icmp::QuotedTransport::Udp { source, .. } => (Protocol::Udp, source),
        icmp::QuotedTransport::Echo { id } => (Protocol::Ping, id),
    })
}

fn tcp_flags(packet: &IpPacket) -> Option<u8> {
    if !matches!(packet.transport(), Transport::Tcp { .. }) {
        return None;
    }
    let bytes = packet.as_bytes();
    let header = if packet.source().is_ipv4() { usize::from(bytes[0] & 0x0f) * 4 } else { 40 };
    bytes.get(header + 13).copied()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use ip_packet::build::{self, TcpHeader, tcp_flag};

    use super::*;

    const CLIENT: &str = "100.64.0.9";
    const PROXIES: [&str; 4] = ["100.96.0.1", "100.96.0.2", "fd00:2021:1111:8000::1", "fd00:2021:1111:8000::2"];

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn resource(number: u128) -> ResourceId {
        ResourceId::from_u128(number)
    }

    fn nat_for(domain: &str, servers: &[&str]) -> Nat {
        let mut nat = Nat::default();
        let servers: Vec<_> = servers.iter().map(|it| ip(it)).collect();
        nat.assign(domain, resource(1), &servers, &PROXIES.map(ip));
        nat
    }

    fn udp(from: &str, to: &str) -> IpPacket {
        build::udp(from.parse::<SocketAddr>().unwrap(), to.parse::<SocketAddr>().unwrap(), b"x").unwrap()
    }

    fn tcp(from: &str, to: &str, flags: u8) -> IpPacket {
        let header = TcpHeader { flags, ..TcpHeader::default() };
        build::tcp(from.parse().unwrap(), to.parse().unwrap(), header, b"").unwrap()
    }

    fn forwarded(outcome: Outbound) -> IpPacket {
        match outcome {
            Outbound::Forward(packet) => packet,
            other => panic!("not forwarded: {other:?}"),
        }
    }

    #[test]
    fn packet_is_translated_and_its_reply_comes_from_the_proxy_address() {
        let (mut nat, now) = (nat_for("wiki.example", &["10.0.0.5"]), Instant::now());

        let out = forwarded(nat.outbound(udp("100.64.0.9:4000", "100.96.0.1:53"), now));
        assert_eq!(out, udp("100.64.0.9:4000", "10.0.0.5:53"));

        let Inbound::Translated(back) = nat.inbound(udp("10.0.0.5:53", "100.64.0.9:4000"), ip(CLIENT), now) else {
            panic!("not translated")
        };
        assert_eq!(back, udp("100.96.0.1:53", "100.64.0.9:4000"));
    }

    #[test]
    fn flows_from_one_port_to_two_names_on_one_server_stay_separate() {
        let (mut nat, now) = (nat_for("wiki.example", &["10.0.0.5"]), Instant::now());

        let one = forwarded(nat.outbound(udp("100.64.0.9:4000", "100.96.0.1:53"), now));
        let other = forwarded(nat.outbound(udp("100.64.0.9:4000", "100.96.0.2:53"), now));

        assert_ne!(one, other);
        assert_eq!(other, udp("100.64.0.9:4001", "10.0.0.5:53"));
    }

    #[test]
    fn name_without_ipv6_has_no_ipv6_target() {
        let mut nat = nat_for("wiki.example", &["10.0.0.5"]);

        let outcome = nat.outbound(udp("[fd00:2021:1111::9]:1", "[fd00:2021:1111:8000::1]:2"), Instant::now());

        assert!(matches!(outcome, Outbound::NoTarget));
    }

    #[test]
    fn existing_flows_keep_their_server_when_the_name_resolves_elsewhere() {
        let (mut nat, now) = (nat_for("wiki.example", &["10.0.0.5"]), Instant::now());
        forwarded(nat.outbound(udp("100.64.0.9:4000", "100.96.0.1:53"), now));

        nat.assign("wiki.example", resource(1), &[ip("10.0.0.6")], &PROXIES.map(ip));

        let old = forwarded(nat.outbound(udp("100.64.0.9:4000", "100.96.0.1:53"), now));
        let new = forwarded(nat.outbound(udp("100.64.0.9:4001", "100.96.0.1:53"), now));
        assert_eq!(old.destination(), ip("10.0.0.5"));
        assert_eq!(new.destination(), ip("10.0.0.6"));
    }

    #[test]
    fn reassigned_proxy_addresses_start_with_new_flows() {
        let (mut nat, now) = (nat_for("wiki.example", &["10.0.0.5"]), Instant::now());
        forwarded(nat.outbound(udp("100.64.0.9:4000", "100.96.0.1:53"), now));

        nat.assign("mail.example", resource(1), &[ip("10.0.0.7")], &[ip("100.96.0.1")]);

        let packet = forwarded(nat.outbound(udp("100.64.0.9:4000", "100.96.0.1:53"), now));
        assert_eq!(packet.destination(), ip("10.0.0.7"));
        assert!(nat.translation(ip("100.96.0.2")).is_none());
    }

    #[test]
    fn idle_flow_expires_and_reset_flow_is_removed_at_once() {
        let (mut nat, now) = (nat_for("wiki.example", &["10.0.0.5"]), Instant::now());
        forwarded(nat.outbound(udp("100.64.0.9:4000", "100.96.0.1:53"), now));
        nat.inbound(udp("10.0.0.5:53", "100.64.0.9:4000"), ip(CLIENT), now);
        nat.tick(now + UDP_IDLE_TIMEOUT - Duration::from_millis(1));
        assert_eq!(nat.sessions.len(), 1, "an answer makes it last longer");
        nat.tick(now + UDP_IDLE_TIMEOUT);
        assert_eq!(nat.sessions.len(), 0);

        forwarded(nat.outbound(tcp("100.64.0.9:4000", "100.96.0.1:80", tcp_flag::SYN), now));
        nat.inbound(tcp("10.0.0.5:80", "100.64.0.9:4000", tcp_flag::RST), ip(CLIENT), now);
        nat.tick(now);
        assert_eq!(nat.sessions.len(), 0);
    }

    #[test]
    fn icmp_error_quotes_the_packet_as_the_client_sent_it() {
        let (mut nat, now) = (nat_for("wiki.example", &["10.0.0.5"]), Instant::now());
        forwarded(nat.outbound(udp("100.64.0.9:4000", "100.96.0.2:53"), now));
        let packet = forwarded(nat.outbound(udp("100.64.0.9:4000", "100.96.0.1:53"), now));
        let mut bytes = icmp::unreachable(&packet).unwrap().as_bytes().to_vec();
        bytes[20..24].copy_from_slice(&[11, 0, 0, 0]);
        let expired = IpPacket::parse(&bytes).unwrap();

        let Inbound::Translated(error) = nat.inbound(expired, ip(CLIENT), now) else { panic!("not translated") };

        let Transport::IcmpError(quoted) = error.transport() else { panic!("no error") };
        assert_eq!((quoted.icmp_type, error.source(), error.destination()), (11, ip("100.96.0.1"), ip(CLIENT)));
        assert_eq!(quoted_source(quoted.transport), Some((Protocol::Udp, 4000)), "not the port that was free");
    }

    #[test]
    fn reply_after_flow_expiry_is_dropped() {
        let (mut nat, now) = (nat_for("wiki.example", &["10.0.0.5"]), Instant::now());
        forwarded(nat.outbound(udp("100.64.0.9:4000", "100.96.0.1:53"), now));

        nat.tick(now + UNCONFIRMED_TIMEOUT);

        let late = nat.inbound(udp("10.0.0.5:53", "100.64.0.9:4000"), ip(CLIENT), now);
        assert!(matches!(late, Inbound::Drop));
    }

    #[test]
    fn tcp_flow_expires_soon_after_both_sides_close() {
        let (mut nat, now) = (nat_for("wiki.example", &["10.0.0.5"]), Instant::now());
        forwarded(nat.outbound(tcp("100.64.0.9:4000", "100.96.0.1:80", tcp_flag::FIN), now));
        nat.inbound(tcp("10.0.0.5:80", "100.64.0.9:4000", tcp_flag::FIN), ip(CLIENT), now);

        nat.tick(now + TCP_CLOSED_TIMEOUT - Duration::from_millis(1));
        assert_eq!(nat.sessions.len(), 1);
        nat.tick(now + TCP_CLOSED_TIMEOUT);
        assert_eq!(nat.sessions.len(), 0);
    }

    #[test]
    fn icmp_error_about_a_translated_flow_is_translated() {
        let (mut nat, now) = (nat_for("wiki.example", &["10.0.0.5"]), Instant::now());
        let packet = forwarded(nat.outbound(udp("100.64.0.9:4000", "100.96.0.1:53"), now));
        let error = icmp::unreachable(&packet).unwrap();

        let Inbound::Translated(error) = nat.inbound(error, ip(CLIENT), now) else { panic!("not translated") };

        assert_eq!(error.source(), ip("100.96.0.1"));
        let Transport::IcmpError(quoted) = error.transport() else { panic!("no error") };
        assert_eq!(quoted.destination, ip("100.96.0.1"));
    }
}
