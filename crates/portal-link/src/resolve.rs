//! From the portal's name to its addresses, outside the tunnel.
//!
//! Uses `/etc/hosts` and the DNS servers of the host; the name may also be an address. Each address is reported as soon as
//! it is known, so an unresponsive server does not delay the answers of the others.

use std::{net::IpAddr, path::Path};

use portal::DialError;
use tls::Roots;
use tokio::io::AsyncReadExt as _;

use resolver as dns;

/// More than a portal has.
const MAX_ADDRESSES: usize = 32;
/// Larger than any hosts file.
const MAX_HOSTS_BYTES: u64 = 1 << 20;

/// The sources of addresses.
pub(super) struct Resolver<'a> {
    pub(super) servers: &'a [model::Resolver],
    pub(super) hosts: &'a Path,
    pub(super) mark: u32,
    pub(super) roots: &'a Roots,
}

/// The distinct addresses that were found so far.
struct Found<'a> {
    addresses: Vec<IpAddr>,
    report: &'a mut (dyn FnMut(IpAddr) + Send),
}

/// Resolves `host`, a name or an address, and calls `report` for each address as soon as it is known.
///
/// # Errors
/// No address was found, or sockets cannot be marked.
pub(super) async fn resolve(
    resolver: &Resolver<'_>,
    host: &str,
    report: &mut (dyn FnMut(IpAddr) + Send),
) -> Result<(), DialError> {
    let mut found = Found { addresses: Vec::new(), report };
    if let Ok(ip) = host.parse() {
        found.add(ip);
        return Ok(());
    }
    for ip in hosts(resolver.hosts, host).await {
        found.add(ip);
    }
    let asked = dns::look_up(resolver.mark, resolver.roots, resolver.servers, host, &mut |ip| found.add(ip)).await;
    asked.map_err(|dns::CannotMark| DialError::SocketMarkDenied)?;
    if found.addresses.is_empty() { Err(DialError::NameNotResolved) } else { Ok(()) }
}

impl Found<'_> {
    fn add(&mut self, ip: IpAddr) {
        if !self.addresses.contains(&ip) && self.addresses.len() < MAX_ADDRESSES {
            self.addresses.push(ip);
            (self.report)(ip);
        }
    }
}

/// The addresses of `host` in the hosts file.
async fn hosts(path: &Path, host: &str) -> Vec<IpAddr> {
    let mut text = String::new();
    let Ok(file) = tokio::fs::File::open(path).await else { return Vec::new() };
    if file.take(MAX_HOSTS_BYTES).read_to_string(&mut text).await.is_err() {
        tracing::debug!("cannot read the hosts file");
        return Vec::new();
    }
    text.lines().filter_map(|line| hosts_line(line, host)).collect()
}

fn hosts_line(line: &str, host: &str) -> Option<IpAddr> {
    let mut words = line.split('#').next()?.split_whitespace();
    let ip = words.next()?.parse().ok()?;
    words.any(|name| name.eq_ignore_ascii_case(host)).then_some(ip)
}
