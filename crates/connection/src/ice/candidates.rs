//! Candidates of this node, and those of peers as text (RFC 8839, section 5.1).

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use is::{Candidate, CandidateKind, Protocol};

/// Maximum number of candidates that one call of [`optimistic`] returns.
pub(super) const OPTIMISTIC_LIMIT: usize = 2;

/// An address of this node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum LocalCandidate {
    /// An address of this host.
    Host(SocketAddr),
    /// The address that a relay observed for messages from `base`.
    ServerReflexive {
        /// The observed address.
        address: SocketAddr,
        /// The local address.
        base: SocketAddr,
    },
    /// An address allocated on a relay that is reached from `local`.
    Relayed {
        /// The allocated address.
        address: SocketAddr,
        /// The local address.
        local: SocketAddr,
    },
}

impl LocalCandidate {
    /// Whether `ip` can be the destination of a datagram.
    pub(crate) fn is_usable(ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => !(ip.is_link_local() || ip.is_broadcast() || ip.is_multicast() || ip.is_unspecified()),
            IpAddr::V6(ip) => !(ip.is_multicast() || ip.is_unspecified()),
        }
    }

    /// The candidate in the form of the agent; `None` if it cannot be a destination.
    pub(crate) fn to_candidate(self) -> Option<Candidate> {
        match self {
            Self::Host(address) => Candidate::host(address, Protocol::Udp),
            Self::ServerReflexive { address, base } => Candidate::server_reflexive(address, base, Protocol::Udp),
            Self::Relayed { address, local } => Candidate::relayed(address, local, Protocol::Udp),
        }
        .ok()
    }
}

/// Parses a candidate of a peer. `None` if it is malformed or of an unsupported kind.
///
/// Unknown extensions are skipped with their values. Host names are not supported.
pub(crate) fn parse(text: &str) -> Option<Candidate> {
    let mut words = text.strip_prefix("candidate:")?.split_whitespace();
    let foundation = words.next()?.to_owned();
    let component: u16 = words.next()?.parse().ok()?;
    let protocol = words.next()?;
    let priority = words.next()?.parse().ok()?;
    let ip: IpAddr = words.next()?.parse().ok()?;
    let port = words.next()?.parse().ok()?;
    if component != 1 || !protocol.eq_ignore_ascii_case("udp") || words.next()? != "typ" {
        return None;
    }
    let kind = match words.next()? {
        "host" => CandidateKind::Host,
        "srflx" => CandidateKind::ServerReflexive,
        "prflx" => CandidateKind::PeerReflexive,
        "relay" => CandidateKind::Relayed,
        _ => return None,
    };
    let (mut related_ip, mut related_port, mut ufrag) = (None, None, None);
    while let Some(key) = words.next() {
        let value = words.next();
        match key {
            "raddr" => related_ip = Some(value?.parse::<IpAddr>().ok()?),
            "rport" => related_port = Some(value?.parse::<u16>().ok()?),
            "ufrag" => ufrag = Some(value?.to_owned()),
            _ => {}
        }
    }
    if !LocalCandidate::is_usable(ip) || port == 0 {
        return None;
    }
    let related = related_ip.zip(related_port).map(SocketAddr::from);
    let address = SocketAddr::new(ip, port);
    Some(Candidate::from_parts(foundation, 1, Protocol::Udp, priority, address, kind, related, None, ufrag))
}

/// Guessed candidates of the peer that work if its port is forwarded on its NAT: the NAT's address with the peer's local
/// port.
pub(crate) fn optimistic(remote: &[Candidate]) -> Vec<Candidate> {
    let mut known: BTreeSet<_> = remote.iter().map(Candidate::addr).collect();
    let of_kind = |kind| remote.iter().filter(move |it| it.kind() == kind && it.addr().is_ipv4());
    let mut guesses = Vec::new();
    for reflexive in of_kind(CandidateKind::ServerReflexive) {
        for host in of_kind(CandidateKind::Host) {
            let address = SocketAddr::new(reflexive.addr().ip(), host.addr().port());
            if guesses.len() < OPTIMISTIC_LIMIT && known.insert(address) {
                guesses.push(guess(address, reflexive.prio()));
            }
        }
    }
    guesses
}

fn guess(address: SocketAddr, priority: u32) -> Candidate {
    let kind = CandidateKind::ServerReflexive;
    let related = Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    Candidate::from_parts("guess".to_owned(), 1, Protocol::Udp, priority, address, kind, related, None, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn remote_candidates_are_parsed() {
        let host = parse("candidate:fffeff7e9c0d 1 udp 2130706175 192.0.2.10 52625 typ host ufrag orrr").unwrap();
        assert_eq!(host.kind(), CandidateKind::Host);
        assert_eq!((host.addr(), host.prio()), (address("192.0.2.10:52625"), 2_130_706_175));
        assert_eq!(host.ufrag(), Some("orrr"));
        let text = "candidate:ff7e7f640001 1 udp 1686109951 198.51.100.7 61000 typ srflx raddr 0.0.0.0 rport 0";
        assert_eq!(parse(text).unwrap().to_sdp_string(), text);
        let without_base = "candidate:1 1 UDP 37748735 2001:db8::9 51234 typ relay generation 0 network-cost 10";
        assert_eq!(parse(without_base).unwrap().addr(), address("[2001:db8::9]:51234"));
    }

    #[test]
    fn malformed_and_unusable_candidates_are_rejected() {
        for text in [
            "",
            "candidate:",
            "a=candidate:1 1 udp 1 192.0.2.10 1 typ host",
            "1 1 udp 1 192.0.2.10 1 typ host",
            "candidate:1 2 udp 1 192.0.2.10 1 typ host",
            "candidate:1 1 tcp 1 192.0.2.10 1 typ host",
            "candidate:1 1 udp x 192.0.2.10 1 typ host",
            "candidate:1 1 udp 1 relay.example 1 typ host",
            "candidate:1 1 udp 1 192.0.2.10 70000 typ host",
            "candidate:1 1 udp 1 192.0.2.10 0 typ host",
            "candidate:1 1 udp 1 0.0.0.0 1 typ host",
            "candidate:1 1 udp 1 192.0.2.10 1 typ carrier-pigeon",
            "candidate:1 1 udp 1 192.0.2.10 1 host",
            "candidate:1 1 udp 1 192.0.2.10 1 typ srflx raddr nowhere rport 0",
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn forwarded_port_on_the_peers_nat_is_guessed_once() {
        let texts =
            ["candidate:1 1 udp 9 192.168.1.2 52625 typ host", "candidate:1 1 udp 8 198.51.100.7 61000 typ srflx"];
        let remote = texts.map(|text| parse(text).unwrap());
        let guesses = optimistic(&remote);
        assert_eq!(guesses.iter().map(Candidate::addr).collect::<Vec<_>>(), [address("198.51.100.7:52625")]);
        assert!(optimistic(&[remote.as_slice(), &guesses].concat()).is_empty());
    }

    #[test]
    fn number_of_guesses_is_bounded_and_ipv6_has_none() {
        let remote = |host: &str, reflexive: &str| -> Vec<_> {
            let one = |n: usize| {
                let host = format!("candidate:1 1 udp 9 {host}{n} {} typ host", 1000 + n);
                let reflexive = format!("candidate:1 1 udp 8 {reflexive}{n} 61000 typ srflx");
                [host, reflexive].map(|text| parse(&text).unwrap())
            };
            (1..50).flat_map(one).collect()
        };
        assert!(optimistic(&remote("2001:db8::", "2001:db8:1::")).is_empty());
        assert_eq!(optimistic(&remote("192.168.1.", "198.51.100.")).len(), 2);
    }
}
