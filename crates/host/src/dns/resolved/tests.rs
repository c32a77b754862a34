//! Tests against a fake systemd-resolved, over a socket pair.

use std::sync::{Arc, Mutex};

use zbus::{fdo, zvariant::ObjectPath};

use super::*;

const OURS: u32 = 7;
const LINK_PATH: &str = "/org/freedesktop/resolve1/link/_37";
/// A link with the default route, and one without.
const UPLINK_PATH: &str = "/org/freedesktop/resolve1/link/_32";
const OTHER_PATH: &str = "/org/freedesktop/resolve1/link/_33";

/// The calls in order, and the resulting settings.
#[derive(Debug, Default)]
struct State {
    calls: Vec<String>,
    link: Settings,
    servers: Vec<(i32, IpAddr, u16, &'static str)>,
    fallback: Vec<IpAddr>,
    /// The call that fails, and its error.
    fails: Option<(&'static str, fdo::Error)>,
    hangs: bool,
    over_tls: &'static str,
}

#[derive(Debug)]
struct Settings {
    servers: Vec<Server>,
    domains: Vec<(String, bool)>,
    default_route: bool,
    modes: [&'static str; 4],
}

impl Default for Settings {
    fn default() -> Self {
        Self { servers: vec![], domains: vec![], default_route: false, modes: ["yes", "yes", "opportunistic", "no"] }
    }
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

impl Fake {
    async fn record(&self, call: &str, arguments: String) -> fdo::Result<()> {
        if self.0.lock().unwrap().hangs {
            std::future::pending::<()>().await;
        }
        let mut state = self.0.lock().unwrap();
        state.calls.push(format!("{call} {arguments}").trim().to_owned());
        match &state.fails {
            Some((failing, error)) if *failing == call => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().calls)
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap());
    }
}

struct FakeManager(Fake);

#[zbus::interface(name = "org.freedesktop.resolve1.Manager")]
impl FakeManager {
    fn get_link(&self, index: i32) -> fdo::Result<ObjectPath<'static>> {
        match index {
            2 => Ok(ObjectPath::from_static_str_unchecked(UPLINK_PATH)),
            3 => Ok(ObjectPath::from_static_str_unchecked(OTHER_PATH)),
            7 => Ok(ObjectPath::from_static_str_unchecked(LINK_PATH)),
            _ => Err(fdo::Error::Failed("no such link".to_owned())),
        }
    }

    #[zbus(name = "SetLinkDNSEx")]
    async fn set_link_dns_ex(&self, index: i32, servers: Vec<Server>) -> fdo::Result<()> {
        let addresses: Vec<IpAddr> = servers.iter().filter_map(|(_, bytes, _, _)| address_of(bytes)).collect();
        self.0.record("SetLinkDNSEx", format!("{index} {addresses:?}")).await?;
        self.0.set(|state| state.link.servers = servers);
        Ok(())
    }

    #[zbus(name = "SetLinkDNS")]
    async fn set_link_dns(&self, index: i32, servers: Vec<LegacyServer>) -> fdo::Result<()> {
        let addresses: Vec<IpAddr> = servers.iter().filter_map(|(_, bytes)| address_of(bytes)).collect();
        self.0.record("SetLinkDNS", format!("{index} {addresses:?}")).await?;
        self.0.set(|state| {
            state.link.servers = servers.into_iter().map(|(family, bytes)| (family, bytes, 0, String::new())).collect();
        });
        Ok(())
    }

    async fn set_link_domains(&self, index: i32, domains: Vec<(String, bool)>) -> fdo::Result<()> {
        self.0.record("SetLinkDomains", format!("{index} {domains:?}")).await?;
        self.0.set(|state| state.link.domains = domains);
        Ok(())
    }

    async fn set_link_default_route(&self, index: i32, on: bool) -> fdo::Result<()> {
        self.0.record("SetLinkDefaultRoute", format!("{index} {on}")).await?;
        self.0.set(|state| state.link.default_route = on);
        Ok(())
    }

    #[zbus(name = "SetLinkLLMNR")]
    async fn set_link_llmnr(&self, index: i32, mode: &str) -> fdo::Result<()> {
        self.0.record("SetLinkLLMNR", format!("{index} {mode}")).await?;
        self.0.set(|state| state.link.modes[0] = "no");
        Ok(())
    }

    #[zbus(name = "SetLinkMulticastDNS")]
    async fn set_link_multicast_dns(&self, index: i32, mode: &str) -> fdo::Result<()> {
        self.0.record("SetLinkMulticastDNS", format!("{index} {mode}")).await?;
        self.0.set(|state| state.link.modes[1] = "no");
        Ok(())
    }

    #[zbus(name = "SetLinkDNSOverTLS")]
    async fn set_link_dns_over_tls(&self, index: i32, mode: &str) -> fdo::Result<()> {
        self.0.record("SetLinkDNSOverTLS", format!("{index} {mode}")).await?;
        self.0.set(|state| state.link.modes[2] = "no");
        Ok(())
    }

    #[zbus(name = "SetLinkDNSSEC")]
    async fn set_link_dnssec(&self, index: i32, mode: &str) -> fdo::Result<()> {
        self.0.record("SetLinkDNSSEC", format!("{index} {mode}")).await?;
        self.0.set(|state| state.link.modes[3] = "no");
        Ok(())
    }

    async fn flush_caches(&self) -> fdo::Result<()> {
        self.0.record("FlushCaches", String::new()).await
    }

    async fn revert_link(&self, index: i32) -> fdo::Result<()> {
        self.0.record("RevertLink", index.to_string()).await?;
        self.0.set(|state| state.link = Settings::default());
        Ok(())
    }

    #[zbus(property, name = "DNSEx")]
    fn dns_ex(&self) -> Vec<ServerOfLink> {
        let state = self.0.0.lock().unwrap();
        let full = |(link, address, port, name): &(i32, IpAddr, u16, &str)| {
            (*link, family(*address), bytes(*address), *port, (*name).to_owned())
        };
        state.servers.iter().map(full).collect()
    }

    #[zbus(property, name = "DNSOverTLS")]
    fn dns_over_tls(&self) -> String {
        self.0.0.lock().unwrap().over_tls.to_owned()
    }

    #[zbus(property, name = "FallbackDNSEx")]
    fn fallback_dns_ex(&self) -> Vec<ServerOfLink> {
        let state = self.0.0.lock().unwrap();
        state.fallback.iter().map(|address| (0, family(*address), bytes(*address), 0, String::new())).collect()
    }
}

/// Our link, or another one that has the default route or not.
struct FakeLink(Result<Fake, bool>);

impl FakeLink {
    fn mode(&self, number: usize) -> String {
        self.0.as_ref().map_or("no", |fake| fake.0.lock().unwrap().link.modes[number]).to_owned()
    }
}

#[zbus::interface(name = "org.freedesktop.resolve1.Link")]
impl FakeLink {
    #[zbus(property, name = "DNSEx")]
    fn dns_ex(&self) -> Vec<Server> {
        self.0.as_ref().map(|fake| fake.0.lock().unwrap().link.servers.clone()).unwrap_or_default()
    }

    #[zbus(property)]
    fn domains(&self) -> Vec<(String, bool)> {
        self.0.as_ref().map(|fake| fake.0.lock().unwrap().link.domains.clone()).unwrap_or_default()
    }

    #[zbus(property)]
    fn default_route(&self) -> bool {
        match &self.0 {
            Ok(fake) => fake.0.lock().unwrap().link.default_route,
            Err(is_default) => *is_default,
        }
    }

    #[zbus(property, name = "LLMNR")]
    fn llmnr(&self) -> String {
        self.mode(0)
    }

    #[zbus(property, name = "MulticastDNS")]
    fn multicast_dns(&self) -> String {
        self.mode(1)
    }

    #[zbus(property, name = "DNSOverTLS")]
    fn dns_over_tls(&self) -> String {
        self.mode(2)
    }

    #[zbus(property, name = "DNSSEC")]
    fn dnssec(&self) -> String {
        self.mode(3)
    }
}

/// The fake, its end of the connection, and a client.
async fn fake_resolved() -> (Fake, Connection, Resolved) {
    let fake = Fake::default();
    let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
    let guid = zbus::Guid::generate();
    let server = zbus::connection::Builder::unix_stream(theirs).server(guid).unwrap().p2p();
    let server = server.serve_at(MANAGER_PATH, FakeManager(fake.clone())).unwrap();
    let server = server.serve_at(LINK_PATH, FakeLink(Ok(fake.clone()))).unwrap();
    let server = server.serve_at(UPLINK_PATH, FakeLink(Err(true))).unwrap();
    let server = server.serve_at(OTHER_PATH, FakeLink(Err(false))).unwrap();
    let client = zbus::connection::Builder::unix_stream(ours).p2p();
    let (server, client) = tokio::join!(server.build(), client.build());
    (fake, server.unwrap(), Resolved { bus: Some(client.unwrap()) })
}

fn desired() -> DnsConfig {
    let servers = ["100.100.111.1", "fd00:2021:1111:8000:100:100:111:0"].map(|it| it.parse().unwrap()).to_vec();
    DnsConfig { servers, port: None, search_domain: Some("corp.example".to_owned()) }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn link_is_configured_for_all_names_over_plain_dns() {
    let (fake, _server, mut resolved) = fake_resolved().await;
    assert_eq!(resolved.configure(OURS, &desired()).await.unwrap(), 6);
    assert_eq!(
        fake.calls(),
        [
            "SetLinkLLMNR 7 no",
            "SetLinkMulticastDNS 7 no",
            "SetLinkDNSOverTLS 7 no",
            "SetLinkDNSEx 7 [100.100.111.1, fd00:2021:1111:8000:100:100:111:0]",
            "SetLinkDomains 7 [(\"corp.example\", false), (\".\", true)]",
            "SetLinkDefaultRoute 7 true",
            "FlushCaches",
        ]
    );
}

#[tokio::test]
async fn old_resolved_is_configured_by_its_old_call() {
    let (fake, _server, mut resolved) = fake_resolved().await;
    let unknown = fdo::Error::UnknownMethod("what is that".to_owned());
    fake.set(|state| state.fails = Some(("SetLinkDNSEx", unknown)));
    assert_eq!(resolved.configure(OURS, &desired()).await.unwrap(), 6);
    let call = "SetLinkDNS 7 [100.100.111.1, fd00:2021:1111:8000:100:100:111:0]";
    assert!(fake.calls().contains(&call.to_owned()));
    assert_eq!(resolved.configure(OURS, &desired()).await.unwrap(), 0, "and is not set again");

    let server = ip("192.0.2.1");
    let old = LinkProperties { dns: Some(vec![(family(server), bytes(server))]), ..LinkProperties::default() };
    assert_eq!(LinkSettings::from_properties(old).servers, [(family(server), bytes(server), 0, String::new())]);
    let old = upgrade_legacy(Some(vec![(2, family(server), bytes(server))]));
    assert_eq!(resolver(&old[0], Encryption::None), Some(Resolver::plain(server)));
}

#[tokio::test]
async fn custom_port_is_configured() {
    let (fake, _server, mut resolved) = fake_resolved().await;
    let desired = DnsConfig { port: Some(5053), ..desired() };
    resolved.configure(OURS, &desired).await.unwrap();
    let ports: Vec<u16> = fake.0.lock().unwrap().link.servers.iter().map(|server| server.2).collect();
    assert_eq!(ports, [5053, 5053]);
    fake.calls();
    assert_eq!(resolved.configure(OURS, &desired).await.unwrap(), 0, "what is read back is what was set");

    // The old call would direct programs to the default port.
    let unknown = fdo::Error::UnknownMethod("what is that".to_owned());
    fake.set(|state| state.fails = Some(("SetLinkDNSEx", unknown)));
    let other = DnsConfig { port: Some(10_053), ..desired };
    assert!(resolved.configure(OURS, &other).await.is_err());
}

#[tokio::test]
async fn unchanged_settings_are_not_set_again() {
    let (fake, _server, mut resolved) = fake_resolved().await;
    resolved.configure(OURS, &desired()).await.unwrap();
    fake.calls();
    assert_eq!(resolved.configure(OURS, &desired()).await.unwrap(), 0);
    assert_eq!(fake.calls(), [""; 0]);

    // Another program changes a setting.
    fake.set(|state| state.link.domains.clear());
    assert_eq!(resolved.configure(OURS, &desired()).await.unwrap(), 1);
    assert_eq!(fake.calls(), ["SetLinkDomains 7 [(\"corp.example\", false), (\".\", true)]", "FlushCaches"]);
}

#[tokio::test]
async fn link_is_reverted_once() {
    let (fake, _server, mut resolved) = fake_resolved().await;
    resolved.configure(OURS, &desired()).await.unwrap();
    fake.calls();
    assert!(resolved.revert(OURS).await.unwrap());
    assert!(!resolved.revert(OURS).await.unwrap());
    assert_eq!(fake.calls(), ["RevertLink 7", "FlushCaches"]);
}

#[tokio::test]
async fn refusals_are_classified() {
    let (fake, _server, mut resolved) = fake_resolved().await;
    fake.set(|state| state.fails = Some(("SetLinkDomains", fdo::Error::AccessDenied("no".to_owned()))));
    let error = resolved.configure(OURS, &desired()).await.unwrap_err();
    assert!(matches!(error, ResolvedError::Denied), "{error:?}");
    assert!(!error.is_transient());

    fake.set(|state| state.fails = Some(("SetLinkDomains", fdo::Error::ServiceUnknown("gone".to_owned()))));
    assert!(resolved.configure(OURS, &desired()).await.unwrap_err().is_transient());
}

#[tokio::test(start_paused = true)]
async fn call_without_reply_times_out() {
    let (fake, _server, mut resolved) = fake_resolved().await;
    fake.set(|state| state.hangs = true);
    let error = resolved.flush().await.unwrap_err();
    assert!(matches!(error, ResolvedError::NoReply), "{error:?}");
    assert!(resolved.bus.is_none(), "the next call makes a new connection");
}

#[tokio::test]
async fn servers_are_those_of_default_route_links_without_ours() {
    let (fake, _server, mut resolved) = fake_resolved().await;
    fake.set(|state| {
        state.servers = vec![
            (0, ip("192.0.2.1"), 0, ""),
            (0, ip("100.100.111.9"), 0, ""),
            (2, ip("192.0.2.2"), 853, "dns.example"),
            (2, ip("192.0.2.1"), 0, ""),
            (2, ip("fe80::1"), 0, ""),
            (2, ip("2001:db8::53"), 5353, ""),
            (3, ip("192.0.2.3"), 0, ""),
            (7, ip("192.0.2.7"), 0, ""),
            (9, ip("192.0.2.9"), 0, ""),
        ];
        state.fallback = vec![ip("192.0.2.99")];
    });
    let servers = resolved.servers(Some(OURS)).await.unwrap();
    let odd = |address: &str, name: Option<&str>| Resolver {
        address: address.parse().unwrap(),
        encryption: Encryption::None,
        server_name: name.map(Into::into),
    };
    assert_eq!(
        servers,
        [
            Resolver::plain(ip("192.0.2.1")),
            odd("192.0.2.2:853", Some("dns.example")),
            odd("[fe80::1%2]:53", None),
            odd("[2001:db8::53]:5353", None),
        ]
    );
}

#[tokio::test]
async fn fallback_servers_are_used_if_there_are_no_others() {
    let (fake, _server, mut resolved) = fake_resolved().await;
    fake.set(|state| {
        state.servers = vec![(0, ip("127.0.0.53"), 0, ""), (7, ip("100.100.111.1"), 0, "")];
        state.fallback = vec![ip("192.0.2.99")];
    });
    assert_eq!(resolved.servers(Some(OURS)).await.unwrap(), [Resolver::plain(ip("192.0.2.99"))]);

    fake.set(|state| state.over_tls = "yes");
    assert_eq!(resolved.servers(Some(OURS)).await.unwrap(), [Resolver::over_tls(ip("192.0.2.99"), None)]);
}
