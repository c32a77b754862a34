//! Tests in a network namespace of their own, against the real kernel. They need root, and print a note if they are skipped.
//!
//! * [`configuring`] – desired states in sequence
//! * [`obstacles`]   – conflicts with other programs, and refusals of the kernel
//! * [`watching`]    – events

mod configuring;
mod obstacles;
mod watching;

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use session::{Addresses, DnsConfig};

use super::*;

const MARK: u32 = 0xfd00_2021;

/// Runs `test` on a thread in a fresh network namespace, which ends with the thread.
fn in_namespace<F: Future<Output = ()> + 'static>(test: fn() -> F) {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root for a network namespace");
        return;
    }
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        ip("link set lo up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn plain(address: &str) -> Resolver {
    Resolver::plain(address.parse().unwrap())
}

/// Runs `ip` with these arguments and returns its output.
fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A host with one local network and a default route in it.
fn laptop() {
    ethernet("lan0");
    std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "2").unwrap();
    ip("addr add 192.168.50.2/24 dev lan0");
    ip("addr add 2001:db8:50::2/64 dev lan0 nodad");
    ip("route add default via 192.168.50.1");
    ip("route add default via 2001:db8:50::1");
}

/// A pair of connected interfaces.
fn ethernet(name: &str) {
    ip(&format!("link add {name} type veth peer name {name}-peer"));
    for end in [name.to_owned(), format!("{name}-peer")] {
        ip(&format!("link set {end} addrgenmode none"));
        ip(&format!("link set {end} up"));
    }
}

fn tunnel_interface() {
    ip("tuntap add dev firezone0 mode tun");
}

struct Etc(tempfile::TempDir);

impl Etc {
    fn new() -> Self {
        let etc = Self(tempfile::tempdir().unwrap());
        std::fs::write(etc.resolv_conf(), "nameserver 192.168.50.1\n").unwrap();
        etc
    }

    fn resolv_conf(&self) -> std::path::PathBuf {
        self.0.path().join("resolv.conf")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.resolv_conf()).unwrap()
    }
}

async fn host(resolv_conf: &Path) -> Host {
    Host::with_dns(INTERFACE, Dns::with_file(DnsControl::EtcResolvConf, resolv_conf), MARK).unwrap()
}

fn desired(routes: &[&str]) -> HostConfig {
    let sentinels: Vec<IpAddr> =
        vec!["100.100.111.1".parse().unwrap(), "fd00:2021:1111:8000:100:100:111:0".parse().unwrap()];
    HostConfig {
        addresses: Some(Addresses {
            v4: "100.64.0.5".parse().unwrap(),
            v6: "fd00:2021:1111::5".parse().unwrap(),
            sentinels: sentinels.clone(),
        }),
        routes: routes.iter().map(|route| route.parse().unwrap()).collect(),
        dns: Some(DnsConfig { servers: sentinels, port: None, search_domain: None }),
    }
}

const RANGES: [&str; 6] = [
    "100.64.0.0/11",
    "100.96.0.0/11",
    "100.100.111.0/24",
    "fd00:2021:1111::/107",
    "fd00:2021:1111:8000::/107",
    "fd00:2021:1111:8000:100:100:111:0/120",
];

fn with_ranges(more: &[&'static str]) -> Vec<&'static str> {
    RANGES.iter().chain(more).copied().collect()
}

/// The network configuration, which must be as before after the clean-up.
fn network_state() -> [String; 5] {
    [
        ip("rule"),
        ip("-6 rule"),
        ip("route show table all"),
        ip("-6 route show table all"),
        // Without the counters and timers of the links.
        ip("-o addr")
            .lines()
            .map(|line| line.split("valid_lft").next().unwrap_or_default().to_owned() + "\n")
            .collect(),
    ]
}

/// The output interface of a packet to `destination`; `options` as for `ip route get`.
fn output_interface(destination: &str, options: &str) -> String {
    let answer = ip(&format!("route get {destination} {options}"));
    let mut words = answer.split_whitespace();
    words.find(|word| *word == "dev");
    words.next().unwrap_or_default().to_owned()
}
