//! The protocol of the helper that writes `/etc/resolv.conf`, and the daemon's side of it.
//!
//! A request is lines of text: `revert`, or `configure`, `server ADDRESS` for each sentinel and `search DOMAIN`. The reply is
//! one line: `unchanged`, `written`, `backup-missing`, `read-only`, or `failed` and a sentence.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{IpAddr, Shutdown},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use model::address_plan;
use session::DnsConfig;

use super::outcome::{FileError, Outcome};

/// The helper's socket.
pub(super) const SOCKET: &str = "/run/firezone-client-dns.sock";

/// The helper's backup of the original. The helper may write nothing else in `/etc`.
pub(super) const BACKUP: &str = "/var/lib/dev.firezone.client-dns/resolv.conf";

/// Limit for a request or a reply, in bytes.
const MAX_MESSAGE: u64 = 4096;

/// Time limit for each step of a request. Includes the start of the helper by the service manager.
const HELPER_TIMEOUT: Duration = Duration::from_secs(5);

/// A request to the helper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HelperRequest {
    /// Make these the nameservers.
    Configure(DnsConfig),
    /// Restore the original.
    Revert,
}

/// Why a request is rejected. An intact daemon sends no such request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidRequest {
    #[error("the order is not text, or too long")]
    NotText,
    #[error("no such order")]
    Unknown,
    #[error("not a sentinel")]
    NotASentinel,
    #[error("not a domain")]
    NotADomain,
}

impl HelperRequest {
    /// Reads and checks a request.
    pub(super) fn read(input: impl Read) -> Result<Self, InvalidRequest> {
        let mut text = String::new();
        input.take(MAX_MESSAGE + 1).read_to_string(&mut text).map_err(|_| InvalidRequest::NotText)?;
        if text.len() as u64 > MAX_MESSAGE {
            return Err(InvalidRequest::NotText);
        }
        let mut lines = text.lines();
        match lines.next() {
            Some("revert") if lines.next().is_none() => Ok(Self::Revert),
            Some("configure") => {
                let mut dns = DnsConfig::default();
                for line in lines {
                    match line.split_once(' ') {
                        Some(("server", address)) => dns.servers.push(sentinel(address)?),
                        Some(("search", name)) if dns.search_domain.is_none() => {
                            dns.search_domain = Some(domain(name)?);
                        }
                        _ => return Err(InvalidRequest::Unknown),
                    }
                }
                if dns.servers.is_empty() { Err(InvalidRequest::NotASentinel) } else { Ok(Self::Configure(dns)) }
            }
            _ => Err(InvalidRequest::Unknown),
        }
    }
}

impl fmt::Display for HelperRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revert => writeln!(f, "revert"),
            Self::Configure(dns) => {
                writeln!(f, "configure")?;
                for server in &dns.servers {
                    writeln!(f, "server {server}")?;
                }
                dns.search_domain.iter().try_for_each(|domain| writeln!(f, "search {domain}"))
            }
        }
    }
}

/// Sends a request to the helper at `socket` and waits for its reply.
pub(super) fn send(socket: &Path, request: &HelperRequest) -> Result<Outcome, FileError> {
    let reply = exchange(socket, request).map_err(FileError::Helper)?;
    match reply.trim_end() {
        "unchanged" => Ok(Outcome::Unchanged),
        "written" => Ok(Outcome::Written),
        "backup-missing" => Ok(Outcome::BackupMissing),
        "read-only" => Err(FileError::ReadOnly),
        "" => Err(FileError::Helper(io::ErrorKind::UnexpectedEof.into())),
        other => Err(FileError::HelperRefused(other.strip_prefix("failed ").unwrap_or(other).to_owned())),
    }
}

fn exchange(socket: &Path, request: &HelperRequest) -> io::Result<String> {
    let mut connection = UnixStream::connect(socket)?;
    connection.set_read_timeout(Some(HELPER_TIMEOUT))?;
    connection.set_write_timeout(Some(HELPER_TIMEOUT))?;
    connection.write_all(request.to_string().as_bytes())?;
    connection.shutdown(Shutdown::Write)?;
    let mut reply = String::new();
    connection.take(MAX_MESSAGE).read_to_string(&mut reply)?;
    Ok(reply)
}

fn sentinel(address: &str) -> Result<IpAddr, InvalidRequest> {
    address.parse().ok().filter(|address| address_plan::is_sentinel(*address)).ok_or(InvalidRequest::NotASentinel)
}

/// Accepts only characters that cannot end a line or start another word.
fn domain(name: &str) -> Result<String, InvalidRequest> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_domain = (1..=253).contains(&name.len()) && name.bytes().all(is_plain);
    if is_domain { Ok(name.to_owned()) } else { Err(InvalidRequest::NotADomain) }
}
