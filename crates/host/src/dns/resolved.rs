//! systemd-resolved, through its bus interface (org.freedesktop.resolve1(5)): the settings of our link, and the servers that it
//! would use without us.
//!
//! The settings of a link are read first, and only those that differ are set. So applying the same settings twice changes
//! nothing, and the signals that our own changes cause have no further effect.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    net::{IpAddr, SocketAddr, SocketAddrV6},
    time::Duration,
};

use model::{Encryption, Resolver, address_plan};
use zbus::{
    Connection, Message,
    zvariant::{DeserializeDict, DynamicType, OwnedObjectPath, Type},
};

use super::resolv_conf;
use super::resolved_identity::{BUS_NAME, MANAGER_PATH, UPLINK_RESOLV_CONF, is_stub};
use session::DnsConfig;

const MANAGER: &str = "org.freedesktop.resolve1.Manager";
const LINK: &str = "org.freedesktop.resolve1.Link";

/// Time limit for a call to a service on this machine.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// The root domain, for routing only: the link resolves all names and is no search domain.
const ROUTE_ALL_NAMES: (&str, bool) = (".", true);

/// Address family, address bytes, port (0 means default) and TLS server name.
type Server = (i32, Vec<u8>, u16, String);

/// Interface index (0 means none), then as [`Server`].
type ServerOfLink = (i32, i32, Vec<u8>, u16, String);

/// Address family and address bytes: the form before version 246.
type LegacyServer = (i32, Vec<u8>);

/// Interface index (0 means none), then as [`LegacyServer`].
type LegacyServerOfLink = (i32, i32, Vec<u8>);

/// A client of systemd-resolved. Connects at the first call.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    bus: Option<Connection>,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolvedError {
    #[error("the system bus cannot be reached: {0}")]
    NoBus(#[source] zbus::Error),
    #[error("it is not running and cannot be started")]
    NotRunning,
    #[error("it does not answer")]
    NoReply,
    #[error("access denied")]
    Denied,
    #[error("another program manages the link")]
    LinkManaged,
    #[error("{0}")]
    Failed(#[source] zbus::Error),
}

impl ResolvedError {
    /// Whether a later attempt may succeed without intervention.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::NoBus(_) | Self::NotRunning | Self::NoReply)
    }
}

/// Properties of a link object.
#[derive(Debug, Default, DeserializeDict, Type)]
#[zvariant(signature = "dict", rename_all = "PascalCase")]
struct LinkProperties {
    #[zvariant(rename = "DNSEx")]
    dns_ex: Option<Vec<Server>>,
    #[zvariant(rename = "DNS")]
    dns: Option<Vec<LegacyServer>>,
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

/// Properties of the manager object.
#[derive(Debug, Default, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
struct ManagerProperties {
    #[zvariant(rename = "DNSEx")]
    dns_ex: Option<Vec<ServerOfLink>>,
    #[zvariant(rename = "DNS")]
    dns: Option<Vec<LegacyServerOfLink>>,
    #[zvariant(rename = "FallbackDNSEx")]
    fallback_dns_ex: Option<Vec<ServerOfLink>>,
    #[zvariant(rename = "FallbackDNS")]
    fallback_dns: Option<Vec<LegacyServerOfLink>>,
    #[zvariant(rename = "DNSOverTLS")]
    dns_over_tls: Option<String>,
}

/// The settings of a link that we configure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct LinkSettings {
    servers: Vec<Server>,
    domains: Vec<(String, bool)>,
    default_route: bool,
    /// The calls that disable protocols which are enabled and which our stub resolver does not support.
    disabling_calls: Vec<&'static str>,
    /// How its servers are contacted.
    encryption: Encryption,
}

impl LinkSettings {
    /// The settings of our link: it resolves all names, before other links, by plain DNS.
    fn desired(dns: &DnsConfig) -> Self {
        let search = dns.search_domain.iter().map(|domain| (domain.clone(), false));
        let (everything, for_routing_only) = ROUTE_ALL_NAMES;
        let port = dns.port.unwrap_or_default();
        let server = |ip: &IpAddr| (family(*ip), bytes(*ip), port, String::new());
        Self {
            servers: dns.servers.iter().map(server).collect(),
            domains: search.chain([(everything.to_owned(), for_routing_only)]).collect(),
            default_route: true,
            disabling_calls: vec![],
            encryption: Encryption::None,
        }
    }

    fn from_properties(properties: LinkProperties) -> Self {
        let encryption = encryption(properties.dns_over_tls.as_deref());
        let protocols = [
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
            disabling_calls: protocols.into_iter().filter_map(|(call, value)| is_on(value).then_some(call)).collect(),
            encryption,
        }
    }

    /// Whether the link is configured.
    fn is_set(&self) -> bool {
        !self.servers.is_empty() || !self.domains.is_empty()
    }
}

impl Resolved {
    /// Configures `dns` on the link; returns the number of settings changed.
    pub(super) async fn configure(&mut self, link: u32, dns: &DnsConfig) -> Result<usize, ResolvedError> {
        let index = index(link);
        let (current, desired) = (self.link(index).await?, LinkSettings::desired(dns));
        let mut changes = 0;
        // First, so that no program uses another protocol on the link even for a moment.
        for call in current.disabling_calls {
            self.manager(call, &(index, "no")).await?;
            changes += 1;
        }
        if current.servers != desired.servers {
            self.set_servers(index, &desired.servers).await?;
            changes += 1;
        }
        if current.domains != desired.domains {
            self.manager("SetLinkDomains", &(index, &desired.domains)).await?;
            changes += 1;
        }
        if current.default_route != desired.default_route {
            self.manager("SetLinkDefaultRoute", &(index, desired.default_route)).await?;
            changes += 1;
        }
        if changes > 0 {
            // Cached answers of other servers may be wrong now.
            self.flush().await?;
        }
        Ok(changes)
    }

    async fn set_servers(&mut self, index: i32, servers: &[Server]) -> Result<(), ResolvedError> {
        match self.manager("SetLinkDNSEx", &(index, servers)).await {
            // The old call has no ports and server names; nothing is lost if all ports are the default.
            Err(ResolvedError::Failed(error))
                if is_unknown_method(&error) && servers.iter().all(|(_, _, port, _)| *port == 0) =>
            {
                let old: Vec<LegacyServer> =
                    servers.iter().map(|(family, bytes, ..)| (*family, bytes.clone())).collect();
                self.manager("SetLinkDNS", &(index, old)).await.map(drop)
            }
            outcome => outcome.map(drop),
        }
    }

    /// Reverts all settings of the link; returns whether there were any.
    pub(super) async fn revert(&mut self, link: u32) -> Result<bool, ResolvedError> {
        let index = index(link);
        let is_set = self.link(index).await?.is_set();
        if is_set {
            self.manager("RevertLink", &(index,)).await?;
            self.flush().await?;
        }
        Ok(is_set)
    }

    /// Flushes its cache.
    pub(super) async fn flush(&mut self) -> Result<(), ResolvedError> {
        self.manager("FlushCaches", &()).await.map(drop)
    }

    /// The resolvers that it would use without us: its global ones and those of default-route links, else its fallback
    /// servers. Never those of the link `ours`.
    pub(super) async fn servers(&mut self, ours: Option<u32>) -> Result<Vec<Resolver>, ResolvedError> {
        let answer = self.properties(MANAGER_PATH, MANAGER).await?;
        let properties: ManagerProperties = answer.body().deserialize().map_err(ResolvedError::Failed)?;
        let everywhere = encryption(properties.dns_over_tls.as_deref());
        // For each link: how its servers are contacted; `None` if they are not used.
        let mut links = HashMap::from([(0, Some(everywhere))]);
        if let Some(ours) = ours {
            links.insert(index(ours), None);
        }
        let mut servers = Vec::new();
        for server in properties.dns_ex.unwrap_or_else(|| upgrade_legacy(properties.dns)) {
            let link = server.0;
            let asked = match links.entry(link) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(unknown) => {
                    // A link deleted meanwhile has no usable servers.
                    let view = self.link(link).await.ok().filter(|link| link.default_route);
                    *unknown.insert(view.map(|link| link.encryption))
                }
            };
            servers.extend(asked.and_then(|encryption| resolver(&server, encryption)));
        }
        servers.retain(is_usable);
        if servers.is_empty() {
            let last = properties.fallback_dns_ex.unwrap_or_else(|| upgrade_legacy(properties.fallback_dns));
            servers.extend(last.iter().filter_map(|server| resolver(server, everywhere)).filter(is_usable));
        }
        let mut seen = HashSet::new();
        servers.retain(|server| seen.insert(server.clone()));
        Ok(servers)
    }

    async fn link(&mut self, index: i32) -> Result<LinkSettings, ResolvedError> {
        let answer = self.manager("GetLink", &(index,)).await?;
        let path: OwnedObjectPath = answer.body().deserialize().map_err(ResolvedError::Failed)?;
        let answer = self.properties(path.as_str(), LINK).await?;
        answer.body().deserialize().map(LinkSettings::from_properties).map_err(ResolvedError::Failed)
    }

    async fn properties(&mut self, path: &str, interface: &str) -> Result<Message, ResolvedError> {
        self.call(path, "org.freedesktop.DBus.Properties", "GetAll", &(interface,)).await
    }

    async fn manager(
        &mut self,
        call: &str,
        arguments: &(impl serde::Serialize + DynamicType + Sync),
    ) -> Result<Message, ResolvedError> {
        self.call(MANAGER_PATH, MANAGER, call, arguments).await
    }

    /// Makes one call, within the time limit.
    async fn call(
        &mut self,
        path: &str,
        interface: &str,
        call: &str,
        arguments: &(impl serde::Serialize + DynamicType + Sync),
    ) -> Result<Message, ResolvedError> {
        let asked = tokio::time::timeout(CALL_TIMEOUT, async {
            let bus = self.bus().await?;
            bus.call_method(Some(BUS_NAME), path, Some(interface), call, arguments).await.map_err(classify)
        });
        let answer = asked.await.unwrap_or(Err(ResolvedError::NoReply));
        if matches!(answer, Err(ResolvedError::NoBus(_) | ResolvedError::NoReply)) {
            // The next call makes a new connection.
            self.bus = None;
        }
        tracing::debug!(call, error = answer.as_ref().err().map(tracing::field::display), "called systemd-resolved");
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

/// The servers in the file that systemd-resolved last wrote for other programs. For times when it does not answer.
pub(super) fn servers_in_uplink_file() -> Vec<Resolver> {
    let servers = std::fs::read(UPLINK_RESOLV_CONF).map(|text| resolv_conf::nameservers(&text)).unwrap_or_default();
    servers.into_iter().map(Resolver::plain).filter(is_usable).collect()
}

fn classify(error: zbus::Error) -> ResolvedError {
    let zbus::Error::MethodError(name, _, _) = &error else {
        return ResolvedError::NoBus(error);
    };
    match name.as_str() {
        "org.freedesktop.DBus.Error.ServiceUnknown"
        | "org.freedesktop.DBus.Error.NameHasNoOwner"
        | "org.freedesktop.systemd1.NoSuchUnit"
        | "org.freedesktop.systemd1.UnitMasked"
        | "org.freedesktop.systemd1.ShuttingDown" => ResolvedError::NotRunning,
        "org.freedesktop.DBus.Error.NoReply" | "org.freedesktop.DBus.Error.TimedOut" => ResolvedError::NoReply,
        "org.freedesktop.DBus.Error.AccessDenied" | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" => {
            ResolvedError::Denied
        }
        "org.freedesktop.resolve1.LinkBusy" => ResolvedError::LinkManaged,
        _ => ResolvedError::Failed(error),
    }
}

/// Whether its version does not support the call.
fn is_unknown_method(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::MethodError(name, _, _) if name.as_str() == "org.freedesktop.DBus.Error.UnknownMethod")
}

/// Servers in the form of newer versions.
fn upgrade_legacy(old: Option<Vec<LegacyServerOfLink>>) -> Vec<ServerOfLink> {
    let old = old.unwrap_or_default().into_iter();
    old.map(|(link, family, bytes)| (link, family, bytes, 0, String::new())).collect()
}

/// Neither a sentinel nor systemd-resolved itself, which would query us.
fn is_usable(server: &Resolver) -> bool {
    !address_plan::is_sentinel(server.address.ip()) && !is_stub(server.address.ip())
}

/// The bus uses the kernel's interface indices as signed numbers.
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

/// `None` if the address family is unknown.
fn resolver((link, _, bytes, port, name): &ServerOfLink, encryption: Encryption) -> Option<Resolver> {
    let port = match (port, encryption) {
        (0, Encryption::Required) => Resolver::TLS_PORT,
        (0, _) => Resolver::PORT,
        (port, _) => *port,
    };
    let address = match address_of(bytes)? {
        // A link-local address needs its interface.
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
