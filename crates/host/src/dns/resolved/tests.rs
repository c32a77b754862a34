//! Against an object that answers as systemd-resolved does, over a socket pair.

use std::sync::{Arc, Mutex};

use zbus::{fdo, zvariant::ObjectPath};

use super::*;

const OURS: u32 = 7;
const LINK_PATH: &str = "/org/freedesktop/resolve1/link/_37";
/// The link of the network, which leads outside, and one that does not.
const OUTSIDE_PATH: &str = "/org/freedesktop/resolve1/link/_32";
const ASIDE_PATH: &str = "/org/freedesktop/resolve1/link/_33";

/// What it was told, in order, and what it has come to.
#[derive(Debug, Default)]
struct State {
    calls: Vec<String>,
    link: Settings,
    servers: Vec<(i32, IpAddr, u16, &'static str)>,
    fallback: Vec<IpAddr>,
    /// The call that it refuses, and how.
    refuses: Option<(&'static str, fdo::Error)>,
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
    async fn told(&self, call: &str, arguments: String) -> fdo::Result<()> {
        if self.0.lock().unwrap().hangs {
            std::future::pending::<()>().await;
        }
        let mut state = self.0.lock().unwrap();
        state.calls.push(format!("{call} {arguments}").trim().to_owned());
        match &state.refuses {
            Some((refused, error)) if *refused == call => Err(error.clone()),
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
            2 => Ok(ObjectPath::from_static_str_unchecked(OUTSIDE_PATH)),
            3 => Ok(ObjectPath::from_static_str_unchecked(ASIDE_PATH)),
            7 => Ok(ObjectPath::from_static_str_unchecked(LINK_PATH)),
            _ => Err(fdo::Error::Failed("no such link".to_owned())),
        }
    }

    #[zbus(name = "SetLinkDNSEx")]
    async fn set_link_dns_ex(&self, index: i32, servers: Vec<Server>) -> fdo::Result<()> {
        let addresses: Vec<IpAddr> = servers.iter().filter_map(|(_, bytes, _, _)| address_of(bytes)).collect();
        self.0.told("SetLinkDNSEx", format!("{index} {addresses:?}")).await?;
        self.0.set(|state| state.link.servers = servers);
        Ok(())
    }

    #[zbus(name = "SetLinkDNS")]
    async fn set_link_dns(&self, index: i32, servers: Vec<OldServer>) -> fdo::Result<()> {
        let addresses: Vec<IpAddr> = servers.iter().filter_map(|(_, bytes)| address_of(bytes)).collect();
        self.0.told("SetLinkDNS", format!("{index} {addresses:?}")).await?;
        self.0.set(|state| {
            state.link.servers = servers.into_iter().map(|(family, bytes)| (family, bytes, 0, String::new())).collect();
        });
        Ok(())
    }

    async fn set_link_domains(&self, index: i32, domains: Vec<(String, bool)>) -> fdo::Result<()> {
        self.0.told("SetLinkDomains", format!("{index} {domains:?}")).await?;
        self.0.set(|state| state.link.domains = domains);
        Ok(())
    }

    async fn set_link_default_route(&self, index: i32, on: bool) -> fdo::Result<()> {
        self.0.told("SetLinkDefaultRoute", format!("{index} {on}")).await?;
        self.0.set(|state| state.link.default_route = on);
        Ok(())
    }

    #[zbus(name = "SetLinkLLMNR")]
    async fn set_link_llmnr(&self, index: i32, mode: &str) -> fdo::Result<()> {
        self.0.told("SetLinkLLMNR", format!("{index} {mode}")).await?;
        self.0.set(|state| state.link.modes[0] = "no");
        Ok(())
    }

    #[zbus(name = "SetLinkMulticastDNS")]
    async fn set_link_multicast_dns(&self, index: i32, mode: &str) -> fdo::Result<()> {
        self.0.told("SetLinkMulticastDNS", format!("{index} {mode}")).await?;
        self.0.set(|state| state.link.modes[1] = "no");
        Ok(())
    }

    #[zbus(name = "SetLinkDNSOverTLS")]
    async fn set_link_dns_over_tls(&self, index: i32, mode: &str) -> fdo::Result<()> {
        self.0.told("SetLinkDNSOverTLS", format!("{index} {mode}")).await?;
        self.0.set(|state| state.link.modes[2] = "no");
        Ok(())
    }

    #[zbus(name = "SetLinkDNSSEC")]
    async fn set_link_dnssec(&self, index: i32, mode: &str) -> fdo::Result<()> {
        self.0.told("SetLinkDNSSEC", format!("{index} {mode}")).await?;
        self.0.set(|state| state.link.modes[3] = "no");
        Ok(())
    }

    async fn flush_caches(&self) -> fdo::Result<()> {
        self.0.told("FlushCaches", String::new()).await
    }

    async fn revert_link(&self, index: i32) -> fdo::Result<()> {
        self.0.told("RevertLink", index.to_string()).await?;
        self.0.set(|state| state.link = Settings::default());
        Ok(())
    }

    #[zbus(property, name = "DNSEx")]
    fn dns_ex(&self) -> Vec<NumberedServer> {
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
    fn fallback_dns_ex(&self) -> Vec<NumberedServer> {
        let state = self.0.0.lock().unwrap();
        state.fallback.iter().map(|address| (0, family(*address), bytes(*address), 0, String::new())).collect()
    }
}

/// Ours, or one that is only default route or not.
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

/// The fake, its end of the connection, and who speaks to it.
async fn world() -> (Fake, Connection, Resolved) {
    let fake = Fake::default();
    let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
    let guid = zbus::Guid::generate();
    let server = zbus::connection::Builder::unix_stream(theirs).server(guid).unwrap().p2p();
    let server = server.serve_at(PATH, FakeManager(fake.clone())).unwrap();
    let server = server.serve_at(LINK_PATH, FakeLink(Ok(fake.clone()))).unwrap();
    let server = server.serve_at(OUTSIDE_PATH, FakeLink(Err(true))).unwrap();
    let server = server.serve_at(ASIDE_PATH, FakeLink(Err(false))).unwrap();
    let client = zbus::connection::Builder::unix_stream(ours).p2p();
    let (server, client) = tokio::join!(server.build(), client.build());
    (fake, server.unwrap(), Resolved { bus: Some(client.unwrap()) })
}

fn wish() -> DnsConfig {
    let servers = ["100.100.111.1", "fd00:2021:1111:8000:100:100:111:0"].map(|it| it.parse().unwrap()).to_vec();
    DnsConfig { servers, port: None, search_domain: Some("corp.example".to_owned()) }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn the_link_gets_all_names_and_nothing_but_plain_dns() {
    let (fake, _server, mut resolved) = world().await;
    assert_eq!(resolved.configure(OURS, &wish()).await.unwrap(), 6);
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
async fn one_that_is_older_is_told_as_it_understands() {
    let (fake, _server, mut resolved) = world().await;
    let unknown = fdo::Error::UnknownMethod("what is that".to_owned());
    fake.set(|state| state.refuses = Some(("SetLinkDNSEx", unknown)));
    assert_eq!(resolved.configure(OURS, &wish()).await.unwrap(), 6);
    let told = "SetLinkDNS 7 [100.100.111.1, fd00:2021:1111:8000:100:100:111:0]";
    assert!(fake.calls().contains(&told.to_owned()));
    assert_eq!(resolved.configure(OURS, &wish()).await.unwrap(), 0, "and is not told again");

    let server = ip("192.0.2.1");
    let old = LinkProperties { dns: Some(vec![(family(server), bytes(server))]), ..LinkProperties::default() };
    assert_eq!(Link::read(old).servers, [(family(server), bytes(server), 0, String::new())]);
    let old = numbered(Some(vec![(2, family(server), bytes(server))]));
    assert_eq!(resolver(&old[0], Encryption::None), Some(Resolver::plain(server)));
}

#[tokio::test]
async fn another_port_than_the_usual_one_is_told() {
    let (fake, _server, mut resolved) = world().await;
    let wish = DnsConfig { port: Some(5053), ..wish() };
    resolved.configure(OURS, &wish).await.unwrap();
    let ports: Vec<u16> = fake.0.lock().unwrap().link.servers.iter().map(|server| server.2).collect();
    assert_eq!(ports, [5053, 5053]);
    fake.calls();
    assert_eq!(resolved.configure(OURS, &wish).await.unwrap(), 0, "what is read back is what was set");

    // An older one would send everybody to the usual port.
    let unknown = fdo::Error::UnknownMethod("what is that".to_owned());
    fake.set(|state| state.refuses = Some(("SetLinkDNSEx", unknown)));
    let other = DnsConfig { port: Some(10_053), ..wish };
    assert!(resolved.configure(OURS, &other).await.is_err());
}

#[tokio::test]
async fn what_is_so_already_is_not_set_again() {
    let (fake, _server, mut resolved) = world().await;
    resolved.configure(OURS, &wish()).await.unwrap();
    fake.calls();
    assert_eq!(resolved.configure(OURS, &wish()).await.unwrap(), 0);
    assert_eq!(fake.calls(), [""; 0]);

    // Somebody else was busy.
    fake.set(|state| state.link.domains.clear());
    assert_eq!(resolved.configure(OURS, &wish()).await.unwrap(), 1);
    assert_eq!(fake.calls(), ["SetLinkDomains 7 [(\"corp.example\", false), (\".\", true)]", "FlushCaches"]);
}

#[tokio::test]
async fn a_link_is_given_back_once() {
    let (fake, _server, mut resolved) = world().await;
    resolved.configure(OURS, &wish()).await.unwrap();
    fake.calls();
    assert!(resolved.revert(OURS).await.unwrap());
    assert!(!resolved.revert(OURS).await.unwrap());
    assert_eq!(fake.calls(), ["RevertLink 7", "FlushCaches"]);
}

#[tokio::test]
async fn a_refusal_is_told_by_its_kind() {
    let (fake, _server, mut resolved) = world().await;
    fake.set(|state| state.refuses = Some(("SetLinkDomains", fdo::Error::AccessDenied("no".to_owned()))));
    let error = resolved.configure(OURS, &wish()).await.unwrap_err();
    assert!(matches!(error, ResolvedError::Denied), "{error:?}");
    assert!(!error.is_passing());

    fake.set(|state| state.refuses = Some(("SetLinkDomains", fdo::Error::ServiceUnknown("gone".to_owned()))));
    assert!(resolved.configure(OURS, &wish()).await.unwrap_err().is_passing());
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_answer_is_not_waited_for() {
    let (fake, _server, mut resolved) = world().await;
    fake.set(|state| state.hangs = true);
    let error = resolved.flush().await.unwrap_err();
    assert!(matches!(error, ResolvedError::Silent), "{error:?}");
    assert!(resolved.bus.is_none(), "the next one is asked by another connection");
}

#[tokio::test]
async fn its_servers_are_those_of_links_that_lead_outside_without_ours() {
    let (fake, _server, mut resolved) = world().await;
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
async fn without_any_server_its_last_resort_is_asked() {
    let (fake, _server, mut resolved) = world().await;
    fake.set(|state| {
        state.servers = vec![(0, ip("127.0.0.53"), 0, ""), (7, ip("100.100.111.1"), 0, "")];
        state.fallback = vec![ip("192.0.2.99")];
    });
    assert_eq!(resolved.servers(Some(OURS)).await.unwrap(), [Resolver::plain(ip("192.0.2.99"))]);

    fake.set(|state| state.over_tls = "yes");
    assert_eq!(resolved.servers(Some(OURS)).await.unwrap(), [Resolver::over_tls(ip("192.0.2.99"), None)]);
}
