//! Finds the process that occupies a port.
//!
//! Best effort, for an error message: the kernel's socket tables contain the inode of the socket, and the descriptors of the
//! processes lead to the process. Without permission to inspect processes of other users it stays unknown.

use std::{
    fmt, fs,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use super::transport::Transport;

/// A running process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// The name of its program.
    pub name: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// The process whose socket prevents binding `address`.
pub(super) fn find(transport: Transport, address: SocketAddr) -> Option<Process> {
    let tables = match transport {
        Transport::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        Transport::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
    };
    tables
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| table.lines().filter_map(Entry::parse).find(|entry| entry.blocks(address)))
        .and_then(|entry| holder(entry.inode))
}

/// A line of a socket table of the kernel.
///
/// Not parsed by `procfs`: it discards the whole table for one unexpected line, where this skips the line.
#[derive(PartialEq, Debug)]
struct Entry {
    local: SocketAddr,
    /// An unconnected UDP socket or a TCP listener.
    passive: bool,
    inode: u64,
}

impl Entry {
    /// `None` for the header and for malformed lines.
    fn parse(line: &str) -> Option<Self> {
        const UDP_UNCONNECTED: &str = "07";
        const TCP_LISTEN: &str = "0A";
        let mut fields = line.split_ascii_whitespace();
        let (ip, port) = fields.nth(1)?.split_once(':')?;
        let local = SocketAddr::new(parse_ip(ip)?, u16::from_str_radix(port, 16).ok()?);
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        Some(Self { local, passive: matches!(state, UDP_UNCONNECTED | TCP_LISTEN), inode })
    }

    fn blocks(&self, address: SocketAddr) -> bool {
        let ip = self.local.ip();
        self.passive && self.local.port() == address.port() && (ip.is_unspecified() || ip == address.ip())
    }
}

/// The kernel prints each 32 bits of an address as a number in the machine's byte order.
fn parse_ip(text: &str) -> Option<IpAddr> {
    let words: Option<Vec<u8>> = (0..text.len())
        .step_by(8)
        .map(|at| u32::from_str_radix(text.get(at..at.checked_add(8)?)?, 16).ok())
        .collect::<Option<Vec<_>>>()
        .map(|words| words.into_iter().flat_map(u32::to_ne_bytes).collect());
    let bytes = words?;
    if let Ok(v4) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes.as_slice()).ok().map(IpAddr::from)
}

/// The process that has the socket open.
fn holder(inode: u64) -> Option<Process> {
    let link = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let holds = |fd: fs::DirEntry| fs::read_link(fd.path()).is_ok_and(|target| target == Path::new(&link));
        fs::read_dir(entry.path().join("fd")).ok()?.flatten().any(holds).then(|| {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            Process { pid, name: name.trim().to_owned() }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn kernel_socket_tables_are_parsed() {
        let wildcard =
            "  105: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0";
        let entry = Entry::parse(wildcard).expect("an entry");
        assert_eq!(entry, Entry { local: "0.0.0.0:53".parse().expect("ok"), passive: true, inode: 1 });
        assert!(entry.blocks("100.100.111.1:53".parse().expect("an address")));
        assert!(!entry.blocks("100.100.111.1:54".parse().expect("an address")));

        let loopback =
            "   0: 0100007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 23456 1";
        let entry = Entry::parse(loopback).expect("an entry");
        assert_eq!(entry.local, "127.0.0.1:53".parse().expect("ok"));
        assert_eq!(entry.inode, 23456);
        assert!(!entry.blocks("100.100.111.1:53".parse().expect("an address")));

        let v6 =
            "   0: 00000000000000000000000001000000:0035 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 77 1";
        assert_eq!(Entry::parse(v6).expect("an entry").local, "[::1]:53".parse().expect("ok"));
        let connected =
            "   1: 00000000:0035 0100007F:1234 01 00000000:00000000 00:00000000 00000000   101        0 5 1";
        assert!(!Entry::parse(connected).expect("an entry").blocks("127.0.0.1:53".parse().expect("ok")));
    }

    #[test]
    fn malformed_socket_table_line_is_skipped() {
        let headline =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        let full = "   0: 0100007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 23456";
        assert_eq!(Entry::parse(headline), None);
        for length in 0..full.len() - 5 {
            assert_eq!(Entry::parse(&full[..length]), None, "{length}");
        }
        assert_eq!(Entry::parse("0: 0100007:0035 0 0A 0 0 0 0 0 1"), None);
    }

    #[test]
    fn own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let process = find(Transport::Tcp, address).expect("found");
        assert_eq!(process.pid, std::process::id());
        assert!(!process.name.is_empty());
    }
}
