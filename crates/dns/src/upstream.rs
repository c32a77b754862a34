//! Which resolvers answer what we do not answer ourselves, and how they are reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use model::{DohUrl, address_plan};

/// The port of plain DNS (RFC 1035 4.2).
pub const PORT: u16 = 53;

/// A resolver.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Upstream {
    /// Plain DNS over UDP and TCP.
    Do53(SocketAddr),
    /// DNS over HTTPS (RFC 8484).
    Doh(DohUrl),
}

/// How a resolver is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Via {
    /// From the host, past the tunnel.
    Host,
    /// Like any other traffic: the routes carry it into the tunnel.
    Tunnel,
}

/// What covers an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reach {
    /// A CIDR resource, whatever its filters.
    pub cidr: bool,
    /// The Internet resource, active.
    pub internet: bool,
}

/// The resolvers in use, in order of preference.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resolvers {
    list: Vec<Upstream>,
    custom: bool,
    instead_of_doh: bool,
}

impl Resolvers {
    /// The portal's plain resolvers if it names any, else the host's own. Duplicates and our own sentinels are left out;
    /// asking those would be asking ourselves.
    ///
    /// The portal's DoH resolvers cannot be asked yet. They are chosen only where there is nobody else: then all other
    /// questions fail, but names of resources work, because their asker finds us at a sentinel.
    #[must_use]
    pub fn choose(do53: &[IpAddr], doh: &[DohUrl], system: &[IpAddr]) -> Self {
        let (do53, system) = (plain(do53), plain(system));
        let custom = !do53.is_empty() || (system.is_empty() && !doh.is_empty());
        let instead_of_doh = !custom && !doh.is_empty();
        let doh: Vec<_> = doh.iter().cloned().map(Upstream::Doh).collect();
        let chosen = [do53, system, doh].into_iter().find(|list| !list.is_empty());
        let mut list = Vec::new();
        for upstream in chosen.unwrap_or_default() {
            if !list.contains(&upstream) {
                list.push(upstream);
            }
        }
        Self { list, custom, instead_of_doh }
    }

    /// The resolvers.
    #[must_use]
    pub fn as_slice(&self) -> &[Upstream] {
        &self.list
    }

    /// Whether the portal chose them.
    #[must_use]
    pub fn are_custom(&self) -> bool {
        self.custom
    }

    /// Whether the host's own resolvers stand in for DoH resolvers of the portal.
    #[must_use]
    pub fn are_instead_of_doh(&self) -> bool {
        self.instead_of_doh
    }

    /// How `upstream` is reached, if `reach` says what covers its address.
    ///
    /// The host's own resolvers are always asked past the tunnel: behind a gateway nobody knows the home router. So
    /// are DoH servers. A private resolver of the portal goes through the tunnel only for a CIDR resource; gateways
    /// refuse private addresses as part of the Internet resource.
    #[must_use]
    pub fn via(&self, upstream: &Upstream, reach: impl FnOnce(IpAddr) -> Reach) -> Via {
        let Upstream::Do53(address) = upstream else { return Via::Host };
        if !self.custom {
            return Via::Host;
        }
        let ip = address.ip();
        let reach = reach(ip);
        if reach.cidr || (reach.internet && is_public(ip)) { Via::Tunnel } else { Via::Host }
    }
}

fn plain(ips: &[IpAddr]) -> Vec<Upstream> {
    let usable = ips.iter().filter(|ip| !address_plan::is_sentinel(**ip) && !ip.is_unspecified());
    usable.map(|ip| Upstream::Do53(SocketAddr::new(*ip, PORT))).collect()
}

/// Whether an address may be one of the public Internet (the registries of RFC 6890, as far as they name networks that
/// somebody may have at home).
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

    fn doh(url: &str) -> DohUrl {
        DohUrl::new(url.parse().expect("a URL")).expect("a DoH URL")
    }

    fn do53(text: &str) -> Upstream {
        Upstream::Do53(SocketAddr::new(ip(text), 53))
    }

    #[test]
    fn the_portals_plain_resolvers_win_then_the_hosts() {
        let url = doh("https://dns.quad9.net/dns-query");
        let chosen = Resolvers::choose(&ips(&["10.0.0.1"]), std::slice::from_ref(&url), &ips(&["192.168.1.1"]));
        assert_eq!(chosen.as_slice(), [do53("10.0.0.1")]);
        assert!(chosen.are_custom() && !chosen.are_instead_of_doh());

        let chosen = Resolvers::choose(&[], &[], &ips(&["192.168.1.1"]));
        assert_eq!(chosen.as_slice(), [do53("192.168.1.1")]);
        assert!(!chosen.are_custom() && !chosen.are_instead_of_doh());
    }

    #[test]
    fn the_hosts_resolvers_stand_in_for_doh_and_are_still_the_hosts() {
        let url = doh("https://dns.quad9.net/dns-query");
        let chosen = Resolvers::choose(&[], std::slice::from_ref(&url), &ips(&["192.168.1.1"]));
        assert_eq!(chosen.as_slice(), [do53("192.168.1.1")]);
        assert!(!chosen.are_custom() && chosen.are_instead_of_doh());
        let everything = Reach { cidr: true, internet: true };
        assert_eq!(chosen.via(&do53("192.168.1.1"), |_| everything), Via::Host);
    }

    #[test]
    fn doh_without_anybody_to_stand_in_keeps_a_place_to_ask_for_resources() {
        let url = doh("https://dns.quad9.net/dns-query");
        let chosen = Resolvers::choose(&[], std::slice::from_ref(&url), &ips(&["100.100.111.1"]));
        assert_eq!(chosen.as_slice(), [Upstream::Doh(url)]);
        assert!(chosen.are_custom() && !chosen.are_instead_of_doh());
    }

    #[test]
    fn our_own_sentinels_and_duplicates_are_left_out_and_the_order_is_kept() {
        let system = ips(&["9.9.9.9", "100.100.111.1", "1.1.1.1", "9.9.9.9", "fd00:2021:1111:8000:100:100:111:0"]);
        let chosen = Resolvers::choose(&[], &[], &system);
        assert_eq!(chosen.as_slice(), [do53("9.9.9.9"), do53("1.1.1.1")]);

        let chosen = Resolvers::choose(&ips(&["100.100.111.7"]), &[], &system);
        assert!(!chosen.are_custom(), "a sentinel is no resolver of the portal");
    }

    #[test]
    fn resolvers_of_the_host_are_asked_past_the_tunnel_whatever_covers_them() {
        let system = Resolvers::choose(&[], &[], &ips(&["10.0.0.53"]));
        let via = system.via(&do53("10.0.0.53"), |_| Reach { cidr: true, internet: true });
        assert_eq!(via, Via::Host);
    }

    #[test]
    fn resolvers_of_the_portal_go_through_the_tunnel_where_something_covers_them() {
        let nothing = Reach::default();
        let cidr = Reach { cidr: true, internet: false };
        let internet = Reach { cidr: false, internet: true };
        for (resolver, reach, expected) in [
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
            assert_eq!(custom.via(&do53(resolver), |_| reach), expected, "{resolver} {reach:?}");
        }
    }

    #[test]
    fn doh_is_always_past_the_tunnel() {
        let url = doh("https://dns.google/dns-query");
        let custom = Resolvers::choose(&[], std::slice::from_ref(&url), &[]);
        let via = custom.via(&Upstream::Doh(url), |_| Reach { cidr: true, internet: true });
        assert_eq!(via, Via::Host);
    }
}
