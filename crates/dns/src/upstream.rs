//! The upstream resolvers, and how they are reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use model::{DohUrl, Encryption, Resolver, address_plan};

/// A resolver.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Upstream {
    /// Plain DNS over UDP and TCP.
    Do53(SocketAddr),
    /// DNS over TLS (RFC 7858): a resolver of the host that is configured so.
    Dot(Resolver),
    /// DNS over HTTPS (RFC 8484).
    Doh(DohUrl),
}

/// How a resolver is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Via {
    /// Outside the tunnel, from the host.
    Host,
    /// Through the tunnel: the host's routes lead into it.
    Tunnel,
}

/// Which kinds of resources cover an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Coverage {
    /// Whether a CIDR resource covers it, regardless of its filters.
    pub cidr: bool,
    /// Whether the Internet resource is active.
    pub internet: bool,
}

/// The resolvers in use, in order of preference.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resolvers {
    list: Vec<Upstream>,
    origin: Origin,
}

/// Where the resolvers come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Origin {
    /// The portal's configuration.
    Portal,
    /// The host's own configuration.
    #[default]
    Host,
}

impl Resolvers {
    /// The portal's plain resolvers if it lists any, else its DoH resolvers, else the host's own. Duplicates and
    /// sentinels are left out; forwarding to a sentinel would be a loop.
    #[must_use]
    pub fn choose(do53: &[IpAddr], doh: &[DohUrl], system: &[Resolver]) -> Self {
        let do53 = do53.iter().map(|ip| Resolver::plain(*ip));
        let portal: Vec<_> = usable(do53).chain(doh.iter().cloned().map(Upstream::Doh)).collect();
        // If the portal lists both, only the plain ones are used.
        let plain_first = portal.iter().any(|upstream| matches!(upstream, Upstream::Do53(_)));
        let portal = portal.into_iter().filter(|upstream| !plain_first || !matches!(upstream, Upstream::Doh(_)));
        let portal = distinct(portal);
        if portal.is_empty() {
            Self { list: distinct(usable(system.iter().cloned())), origin: Origin::Host }
        } else {
            Self { list: portal, origin: Origin::Portal }
        }
    }

    /// The resolvers.
    #[must_use]
    pub fn as_slice(&self) -> &[Upstream] {
        &self.list
    }

    /// Where they come from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// How `upstream` is reached; `coverage` returns which resources cover its address.
    ///
    /// The host's own resolvers are always reached outside the tunnel, because a gateway cannot reach a home router. So
    /// are DoH servers. A private resolver of the portal is reached through the tunnel only if a CIDR resource covers it;
    /// gateways reject private addresses as part of the Internet resource.
    #[must_use]
    pub fn via(&self, upstream: &Upstream, coverage: impl FnOnce(IpAddr) -> Coverage) -> Via {
        let Upstream::Do53(address) = upstream else { return Via::Host };
        if self.origin == Origin::Host {
            return Via::Host;
        }
        let ip = address.ip();
        let coverage = coverage(ip);
        if coverage.cidr || (coverage.internet && is_public(ip)) { Via::Tunnel } else { Via::Host }
    }
}

fn usable(resolvers: impl Iterator<Item = Resolver>) -> impl Iterator<Item = Upstream> {
    resolvers
        .filter(|resolver| {
            let ip = resolver.address.ip();
            !address_plan::is_sentinel(ip) && !ip.is_unspecified()
        })
        .map(|resolver| match resolver.encryption {
            Encryption::None => Upstream::Do53(resolver.address),
            Encryption::Opportunistic | Encryption::Required => Upstream::Dot(resolver),
        })
}

fn distinct(upstreams: impl Iterator<Item = Upstream>) -> Vec<Upstream> {
    let mut list = Vec::new();
    for upstream in upstreams {
        if !list.contains(&upstream) {
            list.push(upstream);
        }
    }
    list
}

/// Whether an address may belong to the public Internet (the registries of RFC 6890, limited to networks that are used
/// locally).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or_else(|| is_public_v6(ip), is_public_v4),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    let shared = first == 100 && (second & 0xc0) == 64;
    let benchmark = first == 198 && (second & 0xfe) == 18;
    let special = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_documentation();
    !(special || shared || benchmark || first == 0 || first >= 224)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let local = ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback();
    !(local || ip.is_unspecified() || ip.is_multicast())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| ip(text)).collect()
    }

    fn system(texts: &[&str]) -> Vec<Resolver> {
        texts.iter().map(|text| Resolver::plain(ip(text))).collect()
    }

    fn doh(url: &str) -> DohUrl {
        DohUrl::new(url.parse().expect("a URL")).expect("a DoH URL")
    }

    fn do53(text: &str) -> Upstream {
        Upstream::Do53(SocketAddr::new(ip(text), 53))
    }

    #[test]
    fn portal_do53_precedes_portal_doh_precedes_host_resolvers() {
        let url = doh("https://dns.quad9.net/dns-query");
        let chosen = Resolvers::choose(&ips(&["10.0.0.1"]), std::slice::from_ref(&url), &system(&["192.168.1.1"]));
        assert_eq!((chosen.as_slice(), chosen.origin()), (&[do53("10.0.0.1")][..], Origin::Portal));

        let chosen = Resolvers::choose(&[], std::slice::from_ref(&url), &system(&["192.168.1.1"]));
        assert_eq!((chosen.as_slice(), chosen.origin()), (&[Upstream::Doh(url)][..], Origin::Portal));

        let chosen = Resolvers::choose(&[], &[], &system(&["192.168.1.1"]));
        assert_eq!((chosen.as_slice(), chosen.origin()), (&[do53("192.168.1.1")][..], Origin::Host));

        assert_eq!(Resolvers::choose(&[], &[], &[]).as_slice(), []);
    }

    #[test]
    fn host_dot_resolver_is_reached_over_tls_outside_the_tunnel() {
        let strict = Resolver::over_tls(ip("9.9.9.9"), Some("dns.quad9.net"));
        let perhaps = Resolver { encryption: Encryption::Opportunistic, ..Resolver::plain(ip("192.168.1.1")) };
        let chosen = Resolvers::choose(&[], &[], &[strict.clone(), perhaps.clone()]);
        assert_eq!(chosen.as_slice(), [Upstream::Dot(strict.clone()), Upstream::Dot(perhaps)]);
        let everything = Coverage { cidr: true, internet: true };
        assert_eq!(chosen.via(&Upstream::Dot(strict), |_| everything), Via::Host);
    }

    #[test]
    fn sentinels_and_duplicates_are_left_out_and_order_is_kept() {
        let system = system(&["9.9.9.9", "100.100.111.1", "1.1.1.1", "9.9.9.9", "fd00:2021:1111:8000:100:100:111:0"]);
        let chosen = Resolvers::choose(&[], &[], &system);
        assert_eq!(chosen.as_slice(), [do53("9.9.9.9"), do53("1.1.1.1")]);

        let chosen = Resolvers::choose(&ips(&["100.100.111.7"]), &[], &system);
        assert_eq!(chosen.origin(), Origin::Host, "a sentinel is no resolver of the portal");
    }

    #[test]
    fn host_resolvers_are_always_reached_outside_the_tunnel() {
        let system = Resolvers::choose(&[], &[], &system(&["10.0.0.53"]));
        let via = system.via(&do53("10.0.0.53"), |_| Coverage { cidr: true, internet: true });
        assert_eq!(via, Via::Host);
    }

    #[test]
    fn portal_resolvers_use_the_tunnel_where_a_resource_covers_them() {
        let nothing = Coverage::default();
        let cidr = Coverage { cidr: true, internet: false };
        let internet = Coverage { cidr: false, internet: true };
        for (resolver, coverage, expected) in [
            ("10.0.0.53", nothing, Via::Host),
            ("10.0.0.53", cidr, Via::Tunnel),
            ("10.0.0.53", internet, Via::Host),
            ("fd12::53", internet, Via::Host),
            ("100.64.0.1", internet, Via::Host),
            ("1.1.1.1", nothing, Via::Host),
            ("1.1.1.1", internet, Via::Tunnel),
            ("2606:4700:4700::1111", internet, Via::Tunnel),
        ] {
            let custom = Resolvers::choose(&ips(&[resolver]), &[], &[]);
            assert_eq!(custom.via(&do53(resolver), |_| coverage), expected, "{resolver} {coverage:?}");
        }
    }

    #[test]
    fn doh_is_always_reached_outside_the_tunnel() {
        let url = doh("https://dns.google/dns-query");
        let custom = Resolvers::choose(&[], std::slice::from_ref(&url), &[]);
        let via = custom.via(&Upstream::Doh(url), |_| Coverage { cidr: true, internet: true });
        assert_eq!(via, Via::Host);
    }
}
