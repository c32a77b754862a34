//! From the portal's name to its addresses, past the tunnel.
//!
//! What `/etc/hosts` says and what the host's own resolvers say counts; addresses in place of names count too. Each address
//! is told as soon as it is known: one resolver that is dead must not keep the answers of the others waiting.

use std::{net::IpAddr, path::Path};

use portal::DialError;
use tls::Roots;
use tokio::io::AsyncReadExt as _;

use resolver as dns;

/// A portal has a handful of addresses.
const MOST_ADDRESSES: usize = 32;
/// Nobody edits larger files by hand.
const LARGEST_HOSTS: u64 = 1 << 20;

/// Whom to ask.
pub(super) struct Resolver<'a> {
    pub(super) servers: &'a [model::Resolver],
    pub(super) hosts: &'a Path,
    pub(super) mark: u32,
    pub(super) roots: &'a Roots,
}

/// The addresses that were found so far, each once.
struct Found<'a> {
    addresses: Vec<IpAddr>,
    tell: &'a mut (dyn FnMut(IpAddr) + Send),
}

/// Finds all addresses of `host`, which may be one itself, and tells each as soon as it is known.
pub(super) async fn resolve(
    resolver: &Resolver<'_>,
    host: &str,
    tell: &mut (dyn FnMut(IpAddr) + Send),
) -> Result<(), DialError> {
    let mut found = Found { addresses: Vec::new(), tell };
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
        if !self.addresses.contains(&ip) && self.addresses.len() < MOST_ADDRESSES {
            self.addresses.push(ip);
            (self.tell)(ip);
        }
    }
}

/// The addresses that the file gives `host`.
async fn hosts(path: &Path, host: &str) -> Vec<IpAddr> {
    let mut text = String::new();
    let Ok(file) = tokio::fs::File::open(path).await else { return Vec::new() };
    if file.take(LARGEST_HOSTS).read_to_string(&mut text).await.is_err() {
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
