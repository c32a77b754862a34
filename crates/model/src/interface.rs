//! What the portal says about our own end of the tunnel (`portal.md` 5.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::Url;

/// Our addresses and the resolvers to use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Our IPv4 address in the tunnel, used as /32.
    pub ipv4: Ipv4Addr,
    /// Our IPv6 address in the tunnel, used as /128.
    pub ipv6: Ipv6Addr,
    /// Plain DNS servers, port 53, in order of preference. Never non-empty together with `upstream_doh`.
    pub upstream_do53: Vec<IpAddr>,
    /// DNS-over-HTTPS servers.
    pub upstream_doh: Vec<DohUrl>,
    /// Domain that single-label names are completed with.
    pub search_domain: Option<String>,
}

/// The address of a DNS-over-HTTPS server: `https`, with a host, without a query (`tunnel.md` 8.1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DohUrl(Url);

impl DohUrl {
    /// Accepts `url` if it is one that a DoH server can have.
    #[must_use]
    pub fn new(url: Url) -> Option<Self> {
        (url.scheme() == "https" && url.has_host() && url.query().is_none()).then_some(Self(url))
    }

    /// The URL.
    #[must_use]
    pub fn as_url(&self) -> &Url {
        &self.0
    }
}
