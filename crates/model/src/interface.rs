//! The configuration of the tunnel interface, as the portal sends it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::Value;
use url::Url;

use crate::json::{FromJson, Malformed, Object};

/// The addresses of the tunnel interface and the DNS servers to use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// The IPv4 address, used as /32.
    pub ipv4: Ipv4Addr,
    /// The IPv6 address, used as /128.
    pub ipv6: Ipv6Addr,
    /// Plain DNS servers, port 53, in order of preference. Never non-empty together with `upstream_doh`.
    pub upstream_do53: Vec<IpAddr>,
    /// DNS-over-HTTPS servers.
    pub upstream_doh: Vec<DohUrl>,
    /// The search domain for single-label names.
    pub search_domain: Option<String>,
}

/// The URL of a DNS-over-HTTPS server: `https`, with a host, without a query.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DohUrl(Url);

impl DohUrl {
    /// Creates the URL; `None` if a DoH server cannot have it.
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

impl FromJson for Interface {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        let object = Object::of(value)?;
        let mut upstream_doh: Vec<DohUrl> = object.valid_entries("upstream_doh");
        let mut upstream_do53: Vec<IpAddr> =
            object.valid_entries("upstream_do53").into_iter().map(|Do53(ip)| ip).collect();
        if upstream_do53.is_empty() {
            upstream_do53 = object.valid_entries("upstream_dns").into_iter().map(|LegacyDns(ip)| ip).collect();
        }
        if !upstream_doh.is_empty() && !upstream_do53.is_empty() {
            tracing::warn!("ignoring DNS-over-HTTPS servers: plain servers are configured, too");
            upstream_doh.clear();
        }
        Ok(Self {
            ipv4: object.required("ipv4")?,
            ipv6: object.required("ipv6")?,
            upstream_do53,
            upstream_doh,
            search_domain: object.lenient("search_domain").map(|SearchDomain(domain)| domain),
        })
    }
}

impl FromJson for DohUrl {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        let text: String = Object::of(value)?.required("url")?;
        Url::parse(&text).ok().and_then(Self::new).ok_or(Malformed::expected("the URL of a DoH server").at("url"))
    }
}

/// A plain DNS server in the current format.
struct Do53(IpAddr);

impl FromJson for Do53 {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        Object::of(value)?.required("ip").map(Self)
    }
}

/// A plain DNS server in the older format, with a port that is always 53.
struct LegacyDns(IpAddr);

impl FromJson for LegacyDns {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        let address: String = Object::of(value)?.required("address")?;
        let address: SocketAddr =
            address.parse().map_err(|_| Malformed::expected("an IP address with port").at("address"))?;
        Ok(Self(address.ip()))
    }
}

/// A domain that is safe to write into a configuration file of the resolver.
struct SearchDomain(String);

impl FromJson for SearchDomain {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        let text = value.as_str().ok_or(Malformed::expected("a domain"))?;
        let domain = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if domain.len() > 253 || !domain.split('.').all(is_label) {
            return Err(Malformed::expected("a domain"));
        }
        Ok(Self(domain))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn interface(more: Value) -> Result<Interface, Malformed> {
        let mut value = json!({ "ipv4": "100.66.12.7", "ipv6": "fd00:2021:1111::3:9c1e" });
        for (key, member) in more.as_object().unwrap() {
            value[key] = member.clone();
        }
        Interface::from_json(&value)
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn interface_requires_only_its_two_addresses() {
        let it = interface(json!({})).unwrap();
        assert_eq!((it.ipv4.to_string(), it.ipv6.to_string()), ("100.66.12.7".into(), "fd00:2021:1111::3:9c1e".into()));
        assert!(it.upstream_do53.is_empty() && it.upstream_doh.is_empty() && it.search_domain.is_none());
        assert!(interface(json!({ "ipv4": null })).is_err());
        assert!(interface(json!({ "ipv6": "100.66.12.7" })).is_err());
    }

    #[test]
    fn malformed_servers_are_skipped_and_order_is_kept() {
        let it =
            interface(json!({ "upstream_do53": [{ "ip": "10.20.0.53" }, { "ip": "?" }, { "ip": "2001:db8::53" }] }));
        assert_eq!(it.unwrap().upstream_do53, ips(&["10.20.0.53", "2001:db8::53"]));
    }

    #[test]
    fn legacy_server_list_is_used_only_without_the_current_one() {
        let older = json!([{ "protocol": "ip_port", "address": "10.20.0.53:53" },
            { "protocol": "ip_port", "address": "[2001:db8::53]:53" }]);
        let it = interface(json!({ "upstream_dns": older })).unwrap();
        assert_eq!(it.upstream_do53, ips(&["10.20.0.53", "2001:db8::53"]));
        let it = interface(json!({ "upstream_dns": older, "upstream_do53": [{ "ip": "10.9.9.9" }] })).unwrap();
        assert_eq!(it.upstream_do53, ips(&["10.9.9.9"]));
    }

    #[test]
    fn doh_servers_are_used_only_without_plain_ones() {
        let it = interface(json!({
            "upstream_doh": [{ "url": "https://dns.quad9.net/dns-query" }, { "url": "http://plain.example" }, { "url": 7 }],
        }));
        let it = it.unwrap();
        assert_eq!(it.upstream_doh.len(), 1);
        assert_eq!(it.upstream_doh[0].as_url().as_str(), "https://dns.quad9.net/dns-query");
        let it = interface(json!({
            "upstream_doh": [{ "url": "https://dns.quad9.net/dns-query" }],
            "upstream_do53": [{ "ip": "10.9.9.9" }],
        }));
        let it = it.unwrap();
        assert_eq!((it.upstream_do53, it.upstream_doh), (ips(&["10.9.9.9"]), vec![]));
    }

    #[test]
    fn malformed_search_domain_is_ignored() {
        for (given, expected) in [
            (json!("corp.example.net"), Some("corp.example.net")),
            (json!("Corp.Example.Net."), Some("corp.example.net")),
            (json!("internal"), Some("internal")),
            (json!(null), None),
            (json!(""), None),
            (json!("."), None),
            (json!("a..b"), None),
            (json!("corp\nnameserver 192.0.2.66"), None),
            (json!("corp example"), None),
            (json!(["corp"]), None),
            (json!("x".repeat(64)), None),
        ] {
            assert_eq!(
                interface(json!({ "search_domain": given })).unwrap().search_domain.as_deref(),
                expected,
                "{given}"
            );
        }
    }
}
