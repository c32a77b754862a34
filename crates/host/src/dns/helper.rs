//! The one who writes `/etc/resolv.conf` for a daemon that is not root.
//!
//! A program of its own, `firezone-resolv-conf`, and not a mode of the daemon: what runs as root should not contain, not
//! even unused, what speaks TLS, D-Bus and WireGuard to strangers. It is started by the service manager for each
//! connection to [`SOCKET`], which the daemon's user alone can open, reads one order, carries it out by the same code with
//! which a daemon that is root does it itself, says what came of it, and ends. It knows no file names from outside: its
//! orders are sentinels and a search domain, so whoever takes over the daemon can send names to the daemon, and no more.
//! Its unit lets it write that one file and the place of its backup, and gives it no network and no capability.
//!
//! While the machine goes down the service manager starts nothing any more. So the daemon's unit runs the same program once
//! more when it stops, with an order in place of a connection: revert.
//!
//! An order is lines of text: `revert`, or `configure`, `server ADDRESS` for each sentinel and `search DOMAIN`. The answer is
//! one line: `unchanged`, `written`, `backup-missing`, `read-only`, or `failed` and a sentence.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Write},
    net::{IpAddr, Shutdown},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use model::address_plan;

use super::{
    ResolvConf,
    file::{FileError, Outcome},
};
use session::DnsConfig;

/// Where it listens.
pub(super) const SOCKET: &str = "/run/firezone-client-dns.sock";

/// Where it keeps the original, because it may write nothing else in `/etc`.
pub(super) const BACKUP: &str = "/var/lib/dev.firezone.client-dns/resolv.conf";

/// More than any order or answer.
const LIMIT: u64 = 4096;

/// How long the daemon waits for it, at each step. The service manager has to start it first.
const PATIENCE: Duration = Duration::from_secs(5);

/// What it is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// Make these the nameservers.
    Configure(DnsConfig),
    /// Put the original back.
    Revert,
}

/// An order that is not obeyed, because no honest daemon gives it.
#[derive(Debug, thiserror::Error)]
enum Nonsense {
    #[error("the order is not text, or too long")]
    NotText,
    #[error("no such order")]
    Unknown,
    #[error("not a sentinel")]
    NotASentinel,
    #[error("not a domain")]
    NotADomain,
}

/// Reads one order, carries it out, and answers: what the program does. The files are those of this host.
///
/// # Errors
///
/// If there is no order or nobody to answer. What goes wrong with the files is part of the answer.
pub fn serve(order: impl Read, mut answer: impl Write) -> io::Result<()> {
    let files = ResolvConf::of_the_helper();
    // Two at once would take each other's text for the original.
    let lock = Path::new(BACKUP).parent().map(File::open).transpose()?;
    if let Some(lock) = &lock {
        lock.lock()?;
    }
    writeln!(answer, "{}", obey(order, &files))
}

fn obey(order: impl Read, files: &ResolvConf) -> String {
    let order = match read(order) {
        Ok(order) => order,
        Err(nonsense) => return format!("failed {nonsense}"),
    };
    let outcome = match order {
        Order::Configure(dns) => files.configure(&dns),
        Order::Revert => files.revert(),
    };
    match outcome {
        Ok(Outcome::Unchanged) => "unchanged".to_owned(),
        Ok(Outcome::Written) => "written".to_owned(),
        Ok(Outcome::BackupMissing) => "backup-missing".to_owned(),
        Err(error) if error.is_read_only() => "read-only".to_owned(),
        Err(error) => format!("failed {error}"),
    }
}

/// Has an order carried out by whoever listens at `socket`.
pub(super) fn ask(socket: &Path, order: &Order) -> Result<Outcome, FileError> {
    let answer = converse(socket, order).map_err(FileError::Helper)?;
    match answer.trim_end() {
        "unchanged" => Ok(Outcome::Unchanged),
        "written" => Ok(Outcome::Written),
        "backup-missing" => Ok(Outcome::BackupMissing),
        "read-only" => Err(FileError::ReadOnly),
        "" => Err(FileError::Helper(io::ErrorKind::UnexpectedEof.into())),
        other => Err(FileError::HelperRefused(other.strip_prefix("failed ").unwrap_or(other).to_owned())),
    }
}

fn converse(socket: &Path, order: &Order) -> io::Result<String> {
    let mut connection = UnixStream::connect(socket)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    connection.write_all(order.to_string().as_bytes())?;
    connection.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    connection.take(LIMIT).read_to_string(&mut answer)?;
    Ok(answer)
}

impl fmt::Display for Order {
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

fn read(order: impl Read) -> Result<Order, Nonsense> {
    let mut text = String::new();
    order.take(LIMIT + 1).read_to_string(&mut text).map_err(|_| Nonsense::NotText)?;
    if text.len() as u64 > LIMIT {
        return Err(Nonsense::NotText);
    }
    let mut lines = text.lines();
    match lines.next() {
        Some("revert") if lines.next().is_none() => Ok(Order::Revert),
        Some("configure") => {
            let mut dns = DnsConfig::default();
            for line in lines {
                match line.split_once(' ') {
                    Some(("server", address)) => dns.servers.push(sentinel(address)?),
                    Some(("search", name)) if dns.search_domain.is_none() => dns.search_domain = Some(domain(name)?),
                    _ => return Err(Nonsense::Unknown),
                }
            }
            if dns.servers.is_empty() { Err(Nonsense::NotASentinel) } else { Ok(Order::Configure(dns)) }
        }
        _ => Err(Nonsense::Unknown),
    }
}

fn sentinel(address: &str) -> Result<IpAddr, Nonsense> {
    address.parse().ok().filter(|address| address_plan::is_sentinel(*address)).ok_or(Nonsense::NotASentinel)
}

/// Letters that cannot end a line or begin another word.
fn domain(name: &str) -> Result<String, Nonsense> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_domain = (1..=253).contains(&name.len()) && name.bytes().all(is_plain);
    if is_domain { Ok(name.to_owned()) } else { Err(Nonsense::NotADomain) }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::net::UnixListener, path::PathBuf, thread};

    use super::*;

    const LAN: &str = "search home.lan\nnameserver 192.168.1.1\n";

    fn wish() -> DnsConfig {
        let servers = ["100.100.111.1", "fd00:2021:1111:8000:100:100:111:0"].map(|it| it.parse().unwrap()).to_vec();
        DnsConfig { servers, port: None, search_domain: Some("corp.example".to_owned()) }
    }

    #[test]
    fn orders_survive_the_way() {
        for order in [Order::Revert, Order::Configure(wish())] {
            assert_eq!(read(order.to_string().as_bytes()).unwrap(), order);
        }
    }

    #[test]
    fn only_sentinels_and_plain_domains_are_written() {
        for order in [
            "",
            "revert\nconfigure\n",
            "configure\n",
            "configure\nserver 192.0.2.1\n",
            "configure\nserver 100.100.111.1 # 192.0.2.1\n",
            "configure\nserver 100.100.111.1\nsearch a b\n",
            "configure\nserver 100.100.111.1\nsearch a\rnameserver\n",
            "configure\nserver 100.100.111.1\nsearch a\nsearch b\n",
            "configure\nserver 100.100.111.1\nbackup /etc/shadow\n",
            "write /etc/passwd\n",
        ] {
            assert!(read(order.as_bytes()).is_err(), "{order:?}");
        }
        assert!(read(&b"revert\xff"[..]).is_err());
        assert!(read(io::repeat(b'r')).is_err());
        let longest = format!("configure\nserver 100.100.111.1\nsearch {}\n", "x".repeat(254));
        assert!(read(longest.as_bytes()).is_err());
    }

    /// A directory with a file, a helper for it, and the daemon's view of both.
    fn etc(connections: usize) -> (tempfile::TempDir, PathBuf, ResolvConf, thread::JoinHandle<()>) {
        let directory = tempfile::tempdir().unwrap();
        let live = directory.path().join("resolv.conf");
        fs::write(&live, LAN).unwrap();
        let files = ResolvConf::at(&live);
        let socket = directory.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let of_the_helper = files.clone();
        let helper = thread::spawn(move || {
            for connection in listener.incoming().take(connections) {
                let connection = connection.unwrap();
                let answer = obey(&connection, &of_the_helper);
                writeln!(&connection, "{answer}").unwrap();
            }
        });
        (directory, live, files.written_by(socket), helper)
    }

    #[test]
    fn the_helper_writes_and_puts_back_what_the_daemon_wishes() {
        let (directory, live, files, helper) = etc(2);
        assert_eq!(files.configure(&wish()).unwrap(), Outcome::Written);
        assert!(fs::read_to_string(&live).unwrap().contains("nameserver 100.100.111.1\n"));
        // Nobody is asked for what is so already.
        assert_eq!(files.configure(&wish()).unwrap(), Outcome::Unchanged);
        assert_eq!(files.system_resolvers(), ["192.168.1.1".parse::<IpAddr>().unwrap()]);

        assert_eq!(files.revert().unwrap(), Outcome::Written);
        assert_eq!(fs::read_to_string(&live).unwrap(), LAN);
        assert_eq!(files.revert().unwrap(), Outcome::Unchanged);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        helper.join().unwrap();
    }

    #[test]
    fn what_the_helper_refuses_is_told() {
        let (_directory, live, files, helper) = etc(1);
        let foreign = DnsConfig { servers: vec!["192.0.2.1".parse().unwrap()], port: None, search_domain: None };
        let error = files.configure(&foreign).unwrap_err();
        assert!(error.to_string().ends_with("not a sentinel"), "{error}");
        assert_eq!(fs::read_to_string(&live).unwrap(), LAN);
        helper.join().unwrap();
    }

    #[test]
    fn without_a_helper_the_file_stays() {
        let directory = tempfile::tempdir().unwrap();
        let live = directory.path().join("resolv.conf");
        fs::write(&live, LAN).unwrap();
        let files = ResolvConf::at(&live).written_by(directory.path().join("nobody"));
        assert!(matches!(files.configure(&wish()), Err(FileError::Helper(_))));
        assert_eq!(fs::read_to_string(&live).unwrap(), LAN);
    }
}
