//! systemd-resolved, by its bus interface (org.freedesktop.resolve1(5)): who answers names on our link, and who would
//! without us.
//!
//! What a link has is read first, and only what differs is set. So applying a wish twice is silent, and the signals that our
//! own changes cause lead to nothing more.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    net::{IpAddr, SocketAddr, SocketAddrV6},
    path::Path,
    time::Duration,
};

use model::{Encryption, Resolver, address_plan};
use zbus::{
    Connection, Message,
    zvariant::{DeserializeDict, DynamicType, OwnedObjectPath, Type},
};

use super::resolv_conf;
use session::DnsConfig;

/// Its name on the bus.
pub(crate) const NAME: &str = "org.freedesktop.resolve1";
/// Its main object; those of links are below.
pub(crate) const PATH: &str = "/org/freedesktop/resolve1";
const MANAGER: &str = "org.freedesktop.resolve1.Manager";
const LINK: &str = "org.freedesktop.resolve1.Link";

/// Is there once it has run since boot, and stays while it starts over.
pub(crate) const DIRECTORY: &str = "/run/systemd/resolve";
/// What it would write into `/etc/resolv.conf`, were it not to answer itself.
const UPLINKS: &str = "/run/systemd/resolve/resolv.conf";

/// For one answer. It is on this machine and has nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(2);

/// All names, for nothing but routing: the link is asked for them, and none is completed by it.
const EVERYTHING: (&str, bool) = (".", true);

/// A family and the bytes of an address, a port (0 is the usual one) and a name for TLS.
type Server = (i32, Vec<u8>, u16, String);

/// The same, with its link first, or 0.
type NumberedServer = (i32, i32, Vec<u8>, u16, String);

/// A family and the bytes of an address: all that systemd-resolved knew of a server before version 246.
type OldServer = (i32, Vec<u8>);

/// The same, with its link first, or 0.
type OldNumberedServer = (i32, i32, Vec<u8>);

/// systemd-resolved. Connects when there is something to say.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    bus: Option<Connection>,
}

/// Why it did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolvedError {
    #[error("the system bus cannot be reached: {0}")]
    NoBus(#[source] zbus::Error),
    #[error("it does not run, and cannot be started")]
    Missing,
    #[error("it does not answer")]
    Silent,
    #[error("it does not allow it")]
    Denied,
    #[error("another program manages the link")]
    Managed,
    #[error("{0}")]
    Refused(#[source] zbus::Error),
}

impl ResolvedError {
    /// Whether it may work later without anybody doing anything.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::NoBus(_) | Self::Missing | Self::Silent)
    }
}

/// What a link says about itself.
#[derive(Debug, Default, DeserializeDict, Type)]
#[zvariant(signature = "dict", rename_all = "PascalCase")]
struct LinkProperties {
    #[zvariant(rename = "DNSEx")]
    dns_ex: Option<Vec<Server>>,
    #[zvariant(rename = "DNS")]
    dns: Option<Vec<OldServer>>,
    domains: Option<Vec<(String, bool)>>,
    default_route: Option<bool>,
    #[zvariant(rename = "LLMNR")]
    llmnr: Option<String>,
    #[zvariant(rename = "MulticastDNS")]
    multicast_dns: Option<String>,
    #[zvariant(rename = "DNSOverTLS")]
    dns_over_tls: Option<String>,
    #[zvariant(rename = "DNSSEC")]
    dnssec: Option<String>,
}

/// What it says about all links.
#[derive(Debug, Default, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
struct ManagerProperties {
    #[zvariant(rename = "DNSEx")]
    dns_ex: Option<Vec<NumberedServer>>,
    #[zvariant(rename = "DNS")]
    dns: Option<Vec<OldNumberedServer>>,
    #[zvariant(rename = "FallbackDNSEx")]
    fallback_dns_ex: Option<Vec<NumberedServer>>,
    #[zvariant(rename = "FallbackDNS")]
    fallback_dns: Option<Vec<OldNumberedServer>>,
    #[zvariant(rename = "DNSOverTLS")]
    dns_over_tls: Option<String>,
}

/// Everything about a link that concerns us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Link {
    servers: Vec<Server>,
    domains: Vec<(String, bool)>,
    default_route: bool,
    /// The calls that switch off what is on of the ways of asking that our stub resolver does not speak.
    switches: Vec<&'static str>,
    /// How its servers are asked.
    encryption: Encryption,
}

impl Link {
    /// What we want of ours: asked for everything, first in line, by plain DNS.
    fn of(dns: &DnsConfig) -> Self {
        let search = dns.search_domain.iter().map(|domain| (domain.clone(), false));
        let (everything, for_routing_only) = EVERYTHING;
        let port = dns.port.unwrap_or_default();
        let server = |ip: &IpAddr| (family(*ip), bytes(*ip), port, String::new());
        Self {
            servers: dns.servers.iter().map(server).collect(),
            domains: search.chain([(everything.to_owned(), for_routing_only)]).collect(),
            default_route: true,
            switches: vec![],
            encryption: Encryption::None,
        }
    }

    fn read(properties: LinkProperties) -> Self {
        let encryption = encryption(properties.dns_over_tls.as_deref());
        let switches = [
            ("SetLinkLLMNR", properties.llmnr),
            ("SetLinkMulticastDNS", properties.multicast_dns),
            ("SetLinkDNSOverTLS", properties.dns_over_tls),
            ("SetLinkDNSSEC", properties.dnssec),
        ];
        let is_on = |value: Option<String>| value.is_some_and(|value| value != "no");
        Self {
            servers: properties.dns_ex.unwrap_or_else(|| {
                let old = properties.dns.unwrap_or_default();
                old.into_iter().map(|(family, bytes)| (family, bytes, 0, String::new())).collect()
            }),
            domains: properties.domains.unwrap_or_default(),
            default_route: properties.default_route.unwrap_or_default(),
            switches: switches.into_iter().filter_map(|(call, value)| is_on(value).then_some(call)).collect(),
            encryption,
        }
    }

    /// Whether somebody has told it anything.
    fn is_set(&self) -> bool {
        !self.servers.is_empty() || !self.domains.is_empty()
    }
}

impl Resolved {
    /// Has names asked of `dns` on the link; returns how many settings had to be changed.
    pub(super) async fn configure(&mut self, link: u32, dns: &DnsConfig) -> Result<usize, ResolvedError> {
        let index = index(link);
        let (have, want) = (self.link(index).await?, Link::of(dns));
        let mut changes = 0;
        // Nobody must ask there by other means, not for a moment; so these come first.
        for call in have.switches {
            self.manager(call, &(index, "no")).await?;
            changes += 1;
        }
        if have.servers != want.servers {
            self.set_servers(index, &want.servers).await?;
            changes += 1;
        }
        if have.domains != want.domains {
            self.manager("SetLinkDomains", &(index, &want.domains)).await?;
            changes += 1;
        }
        if have.default_route != want.default_route {
            self.manager("SetLinkDefaultRoute", &(index, want.default_route)).await?;
            changes += 1;
        }
        if changes > 0 {
            // What was found elsewhere may be ours to answer now.
            self.flush().await?;
        }
        Ok(changes)
    }

    async fn set_servers(&mut self, index: i32, servers: &[Server]) -> Result<(), ResolvedError> {
        match self.manager("SetLinkDNSEx", &(index, servers)).await {
            // Without ports of their own nothing is lost: ours have no names.
            Err(ResolvedError::Refused(error))
                if is_unknown(&error) && servers.iter().all(|(_, _, port, _)| *port == 0) =>
            {
                let old: Vec<OldServer> = servers.iter().map(|(family, bytes, ..)| (*family, bytes.clone())).collect();
                self.manager("SetLinkDNS", &(index, old)).await.map(drop)
            }
            outcome => outcome.map(drop),
        }
    }

    /// Takes everything back that is set on the link; returns whether something was.
    pub(super) async fn revert(&mut self, link: u32) -> Result<bool, ResolvedError> {
        let index = index(link);
        let is_set = self.link(index).await?.is_set();
        if is_set {
            self.manager("RevertLink", &(index,)).await?;
            self.flush().await?;
        }
        Ok(is_set)
    }

    /// Has it forget the answers that it knows.
    pub(super) async fn flush(&mut self) -> Result<(), ResolvedError> {
        self.manager("FlushCaches", &()).await.map(drop)
    }

    /// The resolvers that it would ask without us: those of links that lead outside and its own, else its last resort.
    /// Never those of `ours`.
    pub(super) async fn servers(&mut self, ours: Option<u32>) -> Result<Vec<Resolver>, ResolvedError> {
        let answer = self.properties(PATH, MANAGER).await?;
        let properties: ManagerProperties = answer.body().deserialize().map_err(ResolvedError::Refused)?;
        let everywhere = encryption(properties.dns_over_tls.as_deref());
        // For each link: how its servers are asked, if they are.
        let mut links = HashMap::from([(0, Some(everywhere))]);
        if let Some(ours) = ours {
            links.insert(index(ours), None);
        }
        let mut servers = Vec::new();
        for server in properties.dns_ex.unwrap_or_else(|| numbered(properties.dns)) {
            let link = server.0;
            let asked = match links.entry(link) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(unknown) => {
                    // A link that went away meanwhile leads nowhere.
                    let view = self.link(link).await.ok().filter(|link| link.default_route);
                    *unknown.insert(view.map(|link| link.encryption))
                }
            };
            servers.extend(asked.and_then(|encryption| resolver(&server, encryption)));
        }
        servers.retain(is_usable);
        if servers.is_empty() {
            let last = properties.fallback_dns_ex.unwrap_or_else(|| numbered(properties.fallback_dns));
            servers.extend(last.iter().filter_map(|server| resolver(server, everywhere)).filter(is_usable));
        }
        let mut seen = HashSet::new();
        servers.retain(|server| seen.insert(server.clone()));
        Ok(servers)
    }

    async fn link(&mut self, index: i32) -> Result<Link, ResolvedError> {
        let answer = self.manager("GetLink", &(index,)).await?;
        let path: OwnedObjectPath = answer.body().deserialize().map_err(ResolvedError::Refused)?;
        let answer = self.properties(path.as_str(), LINK).await?;
        answer.body().deserialize().map(Link::read).map_err(ResolvedError::Refused)
    }

    async fn properties(&mut self, path: &str, of: &str) -> Result<Message, ResolvedError> {
        self.call(path, "org.freedesktop.DBus.Properties", "GetAll", &(of,)).await
    }

    async fn manager(
        &mut self,
        call: &str,
        arguments: &(impl serde::Serialize + DynamicType + Sync),
    ) -> Result<Message, ResolvedError> {
        self.call(PATH, MANAGER, call, arguments).await
    }

    /// One call, which may take its time, but not ours.
    async fn call(
        &mut self,
        path: &str,
        interface: &str,
        call: &str,
        arguments: &(impl serde::Serialize + DynamicType + Sync),
    ) -> Result<Message, ResolvedError> {
        let asked = tokio::time::timeout(PATIENCE, async {
            let bus = self.bus().await?;
            bus.call_method(Some(NAME), path, Some(interface), call, arguments).await.map_err(understand)
        });
        let answer = asked.await.unwrap_or(Err(ResolvedError::Silent));
        if matches!(answer, Err(ResolvedError::NoBus(_) | ResolvedError::Silent)) {
            // Another connection may have more luck.
            self.bus = None;
        }
        tracing::debug!(call, error = answer.as_ref().err().map(tracing::field::display), "asked systemd-resolved");
        answer
    }

    async fn bus(&mut self) -> Result<Connection, ResolvedError> {
        if let Some(bus) = &self.bus {
            return Ok(bus.clone());
        }
        let bus = Connection::system().await.map_err(ResolvedError::NoBus)?;
        self.bus = Some(bus.clone());
        Ok(bus)
    }
}

/// The resolvers that systemd-resolved last wrote down for others, while it does not answer.
pub(super) fn written_servers() -> Vec<Resolver> {
    let servers = std::fs::read(Path::new(UPLINKS)).map(|text| resolv_conf::nameservers(&text)).unwrap_or_default();
    servers.into_iter().map(Resolver::plain).filter(is_usable).collect()
}

fn understand(error: zbus::Error) -> ResolvedError {
    let zbus::Error::MethodError(name, _, _) = &error else {
        return ResolvedError::NoBus(error);
    };
    match name.as_str() {
        "org.freedesktop.DBus.Error.ServiceUnknown"
        | "org.freedesktop.DBus.Error.NameHasNoOwner"
        | "org.freedesktop.systemd1.NoSuchUnit"
        | "org.freedesktop.systemd1.UnitMasked"
        | "org.freedesktop.systemd1.ShuttingDown" => ResolvedError::Missing,
        "org.freedesktop.DBus.Error.NoReply" | "org.freedesktop.DBus.Error.TimedOut" => ResolvedError::Silent,
        "org.freedesktop.DBus.Error.AccessDenied" | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" => {
            ResolvedError::Denied
        }
        "org.freedesktop.resolve1.LinkBusy" => ResolvedError::Managed,
        _ => ResolvedError::Refused(error),
    }
}

/// Whether it is too old for what it was asked.
fn is_unknown(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::MethodError(name, _, _) if name.as_str() == "org.freedesktop.DBus.Error.UnknownMethod")
}

/// What an old one says, as a newer one would.
fn numbered(old: Option<Vec<OldNumberedServer>>) -> Vec<NumberedServer> {
    let old = old.unwrap_or_default().into_iter();
    old.map(|(link, family, bytes)| (link, family, bytes, 0, String::new())).collect()
}

/// Not one of ours, and not systemd-resolved itself, which would ask us.
fn is_usable(server: &Resolver) -> bool {
    !address_plan::is_sentinel(server.address.ip()) && !super::facts::is_resolved(server.address.ip())
}

/// The bus counts interfaces as the kernel does, but with a sign.
fn index(link: u32) -> i32 {
    i32::try_from(link).unwrap_or_default()
}

fn family(address: IpAddr) -> i32 {
    match address {
        IpAddr::V4(_) => libc::AF_INET,
        IpAddr::V6(_) => libc::AF_INET6,
    }
}

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn encryption(mode: Option<&str>) -> Encryption {
    match mode {
        Some("yes") => Encryption::Required,
        Some("opportunistic") => Encryption::Opportunistic,
        _ => Encryption::None,
    }
}

/// None if it is of no family that we know.
fn resolver((link, _, bytes, port, name): &NumberedServer, encryption: Encryption) -> Option<Resolver> {
    let port = match (port, encryption) {
        (0, Encryption::Required) => Resolver::TLS_PORT,
        (0, _) => Resolver::PORT,
        (port, _) => *port,
    };
    let address = match address_of(bytes)? {
        // Such an address is nothing without its link.
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            SocketAddr::V6(SocketAddrV6::new(ip, port, 0, u32::try_from(*link).ok()?))
        }
        ip => SocketAddr::new(ip, port),
    };
    let server_name = (!name.is_empty()).then(|| name.as_str().into());
    Some(Resolver { address, encryption, server_name })
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
