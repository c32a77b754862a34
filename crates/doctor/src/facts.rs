//! What is found on this machine. Reading only, and nothing that asks anybody for a password.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::SystemTime,
};

use dbus_api::{Permission, Status};

use crate::{containers::Bridge, portal::Knock};

/// Sentinels, to which the host's resolvers point while there is a tunnel.
pub(crate) const SENTINELS: [&str; 2] = ["100.100.111.", "fd00:2021:1111:8000:"];

/// The daemon's interface.
pub const INTERFACE: &str = "firezone0";

/// Where a daemon was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Whereabouts {
    /// It serves the system bus.
    Bus,
    /// It serves its private socket, because there is no system bus.
    Socket,
    /// It serves nobody: service mode. It has left a file.
    File,
    /// It is there, but not for this caller.
    Forbidden,
    /// It does not run.
    #[default]
    Nowhere,
}

/// Everything that the checks look at.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Whether there is a system bus.
    pub has_bus: bool,
    /// Whether polkit is there or can be started; `None` without a bus.
    pub has_polkit: Option<bool>,
    /// Where the daemon was found.
    pub daemon: Whereabouts,
    /// What the caller may do.
    pub permissions: Option<BTreeMap<String, Permission>>,
    /// The private part of the state.
    pub status: Option<Status>,
    /// Whether NetworkManager says that a page wants to be visited first.
    pub captive: Option<bool>,
    /// Our routing rules that are there, per family; `None` if the kernel does not tell.
    pub rules: Option<usize>,

    /// Who is in the group `firezone`, from the file; `None` without such a group.
    pub members: Option<Vec<String>>,
    /// Whether this process is in the group `firezone`.
    pub is_member: bool,
    /// Whether a file with a token of this machine is there.
    pub has_token_file: bool,
    /// Whether the kernel offers tunnels.
    pub has_tun: bool,
    /// The daemon's effective capabilities, if it runs.
    pub capabilities: Option<u64>,
    /// The MTU of the daemon's interface, if that is there.
    pub tunnel_mtu: Option<u32>,
    /// Whether somebody listens on port 53 of all addresses.
    pub wildcard_53: Option<&'static str>,
    /// On which port the daemon answers names, if it does.
    pub names_port: Option<u16>,
    /// Whom programs ask for names.
    pub nameservers: Vec<String>,
    /// Whom systemd-resolved asks.
    pub upstream: Vec<String>,
    /// Whether something keeps the clock right.
    pub clock_is_kept: bool,
    /// Unix seconds.
    pub now: u64,
    /// The interface of the IPv4 default route, and its MTU.
    pub way_out: Option<(String, u32)>,
    /// Whether there is a default route for IPv6; `None` if IPv6 is switched off.
    pub ipv6: Option<bool>,
    /// Interfaces of other tunnels.
    pub others: Vec<String>,
    /// Networks of containers.
    pub bridges: Vec<Bridge>,
    /// Whether the portal answers a knock; only without a daemon that knows.
    pub knock: Option<Knock>,
}

impl Facts {
    /// Adds what files say, and what the clock says. `root` is `/`, except in tests.
    pub fn read(&mut self, root: &Path, now: SystemTime) {
        let at = |path: &str| root.join(path);
        let text = |path: &str| fs::read_to_string(at(path)).unwrap_or_default();
        let group = text("etc/group");
        let group = group.lines().find_map(|line| line.strip_prefix("firezone:"));
        self.members = group.map(|line| {
            let members = line.rsplit(':').next().unwrap_or_default();
            members.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect()
        });
        let gid = group.and_then(|line| line.split(':').nth(1)?.parse().ok());
        let ours = rustix::process::getgroups().unwrap_or_default();
        self.is_member = gid.is_some_and(|gid: u32| ours.iter().any(|it| it.as_raw() == gid));
        self.has_token_file = at("etc/dev.firezone.client/token").exists();
        self.has_tun = at("dev/net/tun").exists();
        self.capabilities = capabilities(&at("proc"));
        self.tunnel_mtu = mtu(root, INTERFACE);
        self.wildcard_53 = wildcard_53(root);
        self.names_port = ["udp", "udp6"].iter().find_map(|table| names_port(&text(&format!("proc/net/{table}"))));
        self.nameservers = nameservers(&text("etc/resolv.conf"));
        self.upstream = nameservers(&text("run/systemd/resolve/resolv.conf"));
        self.clock_is_kept = at("run/systemd/timesync/synchronized").exists() || at("run/chrony").exists();
        self.now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.way_out = default_route(&text("proc/net/route")).map(|name| {
            let mtu = mtu(root, &name).unwrap_or_default();
            (name, mtu)
        });
        let is_off = text("proc/sys/net/ipv6/conf/all/disable_ipv6").trim() != "0";
        self.ipv6 = (!is_off).then(|| has_ipv6_route(&text("proc/net/ipv6_route")));
        self.others = other_tunnels(&at("sys/class/net"));
    }
}

/// What the daemon's process may do.
fn capabilities(proc: &Path) -> Option<u64> {
    let processes = fs::read_dir(proc).ok()?.flatten().map(|it| it.path());
    let daemon = |it: &PathBuf| fs::read_to_string(it.join("comm")).is_ok_and(|name| name.trim() == "firezoned");
    let status = fs::read_to_string(processes.into_iter().find(daemon)?.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn mtu(root: &Path, interface: &str) -> Option<u32> {
    fs::read_to_string(root.join("sys/class/net").join(interface).join("mtu")).ok()?.trim().parse().ok()
}

/// Port 53 is 0035 there; a TCP socket that listens is in state 0A.
fn wildcard_53(root: &Path) -> Option<&'static str> {
    [("udp", ""), ("udp6", ""), ("tcp", "0A"), ("tcp6", "0A")].into_iter().find_map(|(table, state)| {
        let text = fs::read_to_string(root.join("proc/net").join(table)).ok()?;
        text.lines()
            .filter_map(|line| {
                let mut fields = line.split_whitespace().skip(1);
                let (local, _remote, is) = (fields.next()?, fields.next()?, fields.next()?);
                let (address, port) = local.split_once(':')?;
                Some((address.bytes().all(|it| it == b'0') && port == "0035", state.is_empty() || is == state))
            })
            .any(|it| it == (true, true))
            .then_some(table)
    })
}

/// The port of a socket on a sentinel. The kernel writes addresses as words in its own byte order.
fn names_port(table: &str) -> Option<u16> {
    table.lines().find_map(|line| {
        let (address, port) = line.split_whitespace().nth(1)?.split_once(':')?;
        let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
        let ip = match address.len() {
            8 => IpAddr::from(word(0)?),
            32 => {
                let mut bytes = [0; 16];
                for (index, place) in bytes.chunks_exact_mut(4).enumerate() {
                    place.copy_from_slice(&word(index * 8)?);
                }
                IpAddr::from(bytes)
            }
            _ => return None,
        };
        let is_sentinel = SENTINELS.iter().any(|it| ip.to_string().starts_with(it));
        is_sentinel.then(|| u16::from_str_radix(port, 16).ok())?
    })
}

fn nameservers(text: &str) -> Vec<String> {
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    servers.filter_map(|rest| rest.split_whitespace().next()).map(str::to_owned).collect()
}

fn default_route(table: &str) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_default = fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000");
        is_default.then(|| fields.first().map(|name| (*name).to_owned()))?
    })
}

fn has_ipv6_route(table: &str) -> bool {
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_default = fields.first().is_some_and(|it| it.bytes().all(|b| b == b'0')) && fields.get(1) == Some(&"00");
        is_default && fields.last().is_some_and(|name| *name != "lo" && *name != INTERFACE)
    })
}

fn other_tunnels(interfaces: &Path) -> Vec<String> {
    let all = fs::read_dir(interfaces).into_iter().flatten().flatten();
    let tunnel = |path: &Path| {
        let is_wireguard = fs::read_to_string(path.join("uevent")).is_ok_and(|text| text.contains("DEVTYPE=wireguard"));
        is_wireguard || path.join("tun_flags").exists()
    };
    let mut names: Vec<String> = all
        .filter(|it| tunnel(&it.path()))
        .map(|it| it.file_name().to_string_lossy().into_owned())
        .filter(|name| name != INTERFACE)
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_a_sentinel_is_found_in_both_families() {
        let words = |bytes: [u8; 16]| -> String {
            let word = |it: &[u8]| format!("{:08X}", u32::from_ne_bytes(it.try_into().unwrap()));
            bytes.chunks_exact(4).map(word).collect()
        };
        let line = |ip: &str| {
            let ip: std::net::Ipv6Addr = ip.parse().unwrap();
            format!("  sl  local rem st\n 7: {}:0035 0:0 07 0\n", words(ip.octets()))
        };
        assert_eq!(names_port(&line("fd00:2021:1111:8000:100:100:111:0")), Some(53));
        assert_eq!(names_port(&line("fd00:2021:1111::7")), None);
        assert_eq!(names_port("  sl  local rem st\n 1: 6464:0035\n 2: zzzzzzzz:0035\n 3: \n"), None);
    }

    #[test]
    fn files_become_facts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("etc/group", "root:x:0:\nfirezone:x:995:anna,ben\n");
        write("etc/resolv.conf", "# x\nnameserver 100.100.111.1\nsearch a\nnameserver\t1.1.1.1\n");
        write("dev/net/tun", "");
        write("proc/42/comm", "firezoned\n");
        write("proc/42/status", "Name:\tfirezoned\nCapEff:\t0000000000001400\n");
        let sentinel = u32::from_ne_bytes([100, 100, 111, 1]);
        write(
            "proc/net/udp",
            &format!(
                "  sl  local rem st\n 1: 00000000:0035 00000000:0000 07 0\n 2: {sentinel:08X}:13BD 00000000:0000 07 0\n"
            ),
        );
        write(
            "proc/net/route",
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\neth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\n",
        );
        write("proc/sys/net/ipv6/conf/all/disable_ipv6", "0\n");
        write("sys/class/net/eth0/mtu", "1500\n");
        write("sys/class/net/firezone0/mtu", "1280\n");
        write("sys/class/net/firezone0/tun_flags", "0x1\n");
        write("sys/class/net/wg0/uevent", "DEVTYPE=wireguard\nINTERFACE=wg0\n");

        let mut facts = Facts::default();
        facts.read(root.path(), SystemTime::UNIX_EPOCH);
        assert_eq!(facts.members, Some(vec!["anna".to_owned(), "ben".to_owned()]));
        assert_eq!(facts.nameservers, ["100.100.111.1", "1.1.1.1"]);
        assert!(facts.has_tun && !facts.has_token_file);
        assert_eq!(facts.capabilities, Some(0x1400));
        assert_eq!(facts.wildcard_53, Some("udp"));
        assert_eq!(facts.names_port, Some(5053));
        assert_eq!(facts.way_out, Some(("eth0".to_owned(), 1500)));
        assert_eq!(facts.ipv6, Some(false));
        assert_eq!(facts.tunnel_mtu, Some(1280));
        assert_eq!(facts.others, ["wg0"]);
    }
}
