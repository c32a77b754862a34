//! The network of the test stand: hosts, addresses and reachability.
//!
//! ```text
//!   client ──┐        ┌── gateway ── server
//!   portal ──┤ router ├── relay
//! resolver ──┘        
//! ```
//!
//! The router forwards between all its cables. It knows no route to the server, which knows no route to anywhere: only the
//! gateway can reach it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::{
    netns::{self, FILES, Host, Lab},
    process::wait_until,
};

/// The addresses of a host.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// On a network of 16 addresses whose first one is the router's.
    pub v4: Ipv4Addr,
    /// On a network of 64 bits whose first address is the router's.
    pub v6: Ipv6Addr,
}

/// The client, which is the host under test.
pub const CLIENT: Place = place(0);
/// The gateway.
pub const GATEWAY: Place = place(1);
/// The relay.
pub const RELAY: Place = place(2);
/// The control plane.
pub const PORTAL: Place = place(3);
/// The public resolver.
pub const RESOLVER: Place = place(4);

/// A second relay, offline at first.
pub const SPARE_RELAY: Place = place(5);

/// The private network behind the gateway.
pub const PRIVATE_V4: &str = "10.20.0.0/24";
/// The private network behind the gateway.
pub const PRIVATE_V6: &str = "fdcc:20::/64";
/// The private server.
pub const SERVER: Place = Place { v4: Ipv4Addr::new(10, 20, 0, 2), v6: Ipv6Addr::new(0xfdcc, 0x20, 0, 0, 0, 0, 0, 2) };
const GATEWAY_INSIDE: Place =
    Place { v4: Ipv4Addr::new(10, 20, 0, 1), v6: Ipv6Addr::new(0xfdcc, 0x20, 0, 0, 0, 0, 0, 1) };

/// Our own programs.
const PROGRAMS: [&str; 7] =
    ["firezoned", "firezonectl", "firezone-gtk", "dev-portal", "dev-gateway", "dev-server", "bus-caller"];

/// The hosts, cabled up.
#[derive(Debug)]
pub struct Topology {
    /// See [`CLIENT`].
    pub client: Host,
    /// See [`GATEWAY`].
    pub gateway: Host,
    /// See [`RELAY`].
    pub relay: Host,
    /// See [`SPARE_RELAY`].
    pub spare_relay: Host,
    /// See [`PORTAL`].
    pub portal: Host,
    /// See [`RESOLVER`].
    pub resolver: Host,
    /// See [`SERVER`].
    pub server: Host,
    /// In the middle.
    pub router: Host,
    /// Last, so that it outlives the hosts.
    pub lab: Lab,
}

/// Traffic between client and gateway that the router saw, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Traffic {
    /// UDP from one to the other that was forwarded.
    Direct,
    /// UDP from one to the other that was dropped.
    Blocked,
    /// UDP to and from the relay.
    Relayed,
}

impl Topology {
    /// Builds the network. All hosts can run the programs in `programs`.
    pub fn new(programs: &Path) -> anyhow::Result<Self> {
        let lab = Lab::new()?;
        write_system_files(&lab)?;
        bind_programs(&lab, programs)?;

        let topology = Self {
            client: lab.host("client")?,
            gateway: lab.host("gateway")?,
            relay: lab.host("relay")?,
            spare_relay: lab.host("relay2")?,
            portal: lab.host("portal")?,
            resolver: lab.host("resolver")?,
            server: lab.host("server")?,
            router: lab.host("router")?,
            lab,
        };
        topology.lay_cables()?;
        topology.set_up_router()?;
        topology.client.bind_file("/etc/resolv.conf", &resolv_conf(RESOLVER))?;
        topology.gateway.bind_file("/etc/resolv.conf", &resolv_conf(SERVER))?;
        Ok(topology)
    }

    /// From now on client and gateway cannot reach each other by UDP, only through the relay.
    pub fn block_direct(&self) -> anyhow::Result<()> {
        self.router.nft("add rule inet lab direct counter name blocked drop").map(drop)
    }

    /// Client and gateway can reach each other again.
    pub fn unblock_direct(&self) -> anyhow::Result<()> {
        self.router.nft("flush chain inet lab direct").map(drop)
    }

    /// Gives the client another host number in its network, as a new DHCP lease does.
    pub fn change_client_address(&self, number: u8) -> anyhow::Result<()> {
        let router = CLIENT.router();
        let [a, b, c, first] = router.v4.octets();
        let address = Ipv4Addr::new(a, b, c, first + number);
        self.client.ip(&[
            "-4 addr flush dev eth0",
            &format!("addr add {address}/28 dev eth0"),
            &format!("route add default via {}", router.v4),
        ])
    }

    /// Puts the client behind a symmetric NAT on the router and removes its IPv6 addresses.
    pub fn put_client_behind_symmetric_nat(&self) -> anyhow::Result<()> {
        self.client.ip(&["-6 addr flush dev eth0"])?;
        let rules = format!(
            "add table ip nat; add chain ip nat out {{ type nat hook postrouting priority 100; policy accept; }}; \
             add rule ip nat out ip saddr {} masquerade random,fully-random; \
             add chain inet lab hidden {{ type filter hook forward priority -10; policy accept; }}; \
             add rule inet lab hidden ip daddr {} ct state new drop",
            CLIENT.v4, CLIENT.v4
        );
        self.router.nft(&rules).map(drop)
    }

    /// Removes the client's addresses of the other family; `family` is 4 or 6.
    pub fn restrict_client_to_family(&self, family: u8) -> anyhow::Result<()> {
        if family == 4 {
            return self.client.ip(&["-6 addr flush dev eth0"]);
        }
        self.client.ip(&["-4 addr flush dev eth0"])?;
        let resolv_conf = format!("# written by the test stand\nnameserver {}\n", RESOLVER.v6);
        self.client.write("/etc/resolv.conf", &resolv_conf)
    }

    /// Bytes of IP packets that the router has seen.
    pub fn bytes(&self, traffic: Traffic) -> anyhow::Result<u64> {
        let name = match traffic {
            Traffic::Direct => "direct",
            Traffic::Blocked => "blocked",
            Traffic::Relayed => "relayed",
        };
        let listing: Value = serde_json::from_str(&self.router.nft("list counters table inet lab")?)?;
        let counters = listing["nftables"].as_array().context("no counters")?;
        let counter =
            counters.iter().map(|it| &it["counter"]).find(|it| it["name"] == name).context("no such counter")?;
        counter["bytes"].as_u64().context("a counter without bytes")
    }

    fn lay_cables(&self) -> anyhow::Result<()> {
        let places = [
            (&self.client, CLIENT),
            (&self.gateway, GATEWAY),
            (&self.relay, RELAY),
            (&self.spare_relay, SPARE_RELAY),
            (&self.portal, PORTAL),
            (&self.resolver, RESOLVER),
        ];
        for (host, place) in places {
            let router = place.router();
            self.router.cable(host.name(), host, "eth0")?;
            self.router.ip(&[
                &format!("addr add {}/28 dev {}", router.v4, host.name()),
                &format!("addr add {}/64 dev {} nodad", router.v6, host.name()),
            ])?;
            host.ip(&[
                &format!("addr add {}/28 dev eth0", place.v4),
                &format!("addr add {}/64 dev eth0 nodad", place.v6),
                &format!("route add default via {}", router.v4),
                &format!("-6 route add default via {}", router.v6),
            ])?;
        }

        self.gateway.cable("eth1", &self.server, "eth0")?;
        self.gateway.ip(&[
            &format!("addr add {}/24 dev eth1", GATEWAY_INSIDE.v4),
            &format!("addr add {}/64 dev eth1 nodad", GATEWAY_INSIDE.v6),
        ])?;
        self.server
            .ip(&[&format!("addr add {}/24 dev eth0", SERVER.v4), &format!("addr add {}/64 dev eth0 nodad", SERVER.v6)])
    }

    fn set_up_router(&self) -> anyhow::Result<()> {
        self.router.sysctl("net.ipv4.ip_forward", "1")?;
        self.router.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        let both_ways = |family: &str, a: IpAddr, b: IpAddr, what: &str| {
            format!(
                "add rule inet lab forward {family} saddr {a} {family} daddr {b} {what}; \
                 add rule inet lab forward {family} saddr {b} {family} daddr {a} {what};"
            )
        };
        let direct = "meta l4proto udp jump direct";
        let rules = [
            "add table inet lab; add counter inet lab direct; add counter inet lab blocked; add counter inet lab relayed;".to_owned(),
            "add chain inet lab direct; add chain inet lab forwarded;".to_owned(),
            "add chain inet lab forward { type filter hook forward priority 0; policy accept; };".to_owned(),
            both_ways("ip", CLIENT.v4.into(), GATEWAY.v4.into(), direct),
            both_ways("ip6", CLIENT.v6.into(), GATEWAY.v6.into(), direct),
            both_ways("ip", CLIENT.v4.into(), GATEWAY.v4.into(), "meta l4proto udp counter name direct"),
            both_ways("ip6", CLIENT.v6.into(), GATEWAY.v6.into(), "meta l4proto udp counter name direct"),
            format!("add rule inet lab forward ip saddr {} meta l4proto udp counter name relayed;", RELAY.v4),
            format!("add rule inet lab forward ip daddr {} meta l4proto udp counter name relayed;", RELAY.v4),
            format!("add rule inet lab forward ip6 saddr {} meta l4proto udp counter name relayed;", RELAY.v6),
            format!("add rule inet lab forward ip6 daddr {} meta l4proto udp counter name relayed", RELAY.v6),
        ];
        self.router.nft(&rules.concat()).map(drop)
    }
}

impl Place {
    /// The router's address in the same network.
    #[must_use]
    pub fn router(self) -> Self {
        let v6 = Ipv6Addr::from(u128::from(self.v6) - 1);
        Self { v4: Ipv4Addr::from(u32::from(self.v4) - 1), v6 }
    }
}

impl Host {
    /// Waits until something listens on a port.
    pub fn wait_for_port(&self, protocol: &str, port: u16) -> anyhow::Result<()> {
        let what = format!("{} listens on {protocol} port {port}", self.name());
        wait_until(&what, Duration::from_secs(15), || self.listens(protocol, port))
    }
}

const fn place(number: u8) -> Place {
    Place {
        v4: Ipv4Addr::new(203, 0, 113, 16 * (number + 1) + 2),
        v6: Ipv6Addr::new(0x2001, 0xdb8, 0x10 * (number as u16 + 1), 0, 0, 0, 0, 2),
    }
}

fn resolv_conf(resolver: Place) -> String {
    format!("# written by the test stand\nnameserver {}\n", resolver.v4)
}

/// Binds our programs into a directory of `PATH`: other users may have no access to their own directory.
fn bind_programs(lab: &Lab, directory: &Path) -> anyhow::Result<()> {
    lab.inside(|| -> anyhow::Result<()> {
        let bin = Path::new(FILES).join("bin");
        std::fs::create_dir(&bin)?;
        for program in PROGRAMS {
            let built = directory.join(program);
            if !built.exists() {
                bail!("{} is missing; run `cargo build --workspace` first", built.display());
            }
            let place = bin.join(program);
            std::fs::write(&place, "")?;
            netns::bind(&built, &place)?;
        }
        Ok(())
    })?
}

/// Names are resolved by files and DNS only, independent of this machine. Adds the users.
fn write_system_files(lab: &Lab) -> anyhow::Result<()> {
    lab.inside(|| -> anyhow::Result<()> {
        std::fs::write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n")?;
        std::fs::write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")?;
        // It may be a link to something that does not exist in here.
        if std::fs::symlink_metadata("/etc/resolv.conf").is_ok() {
            std::fs::remove_file("/etc/resolv.conf")?;
        }
        std::fs::write("/etc/resolv.conf", "")?;

        let (mut users, mut groups) = (std::fs::read_to_string("/etc/passwd")?, std::fs::read_to_string("/etc/group")?);
        for (number, user) in [(4001, "anna"), (4002, "bob"), (4003, "firezoned")] {
            users.push_str(&format!("{user}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin\n"));
            groups.push_str(&format!("{user}:x:{number}:\n"));
        }
        groups.push_str("firezone:x:4010:anna\n");
        // The user of a gateway, as its package makes it: its own group is ours.
        users.push_str("firezone:x:4010:4010::/nonexistent:/usr/sbin/nologin\n");
        std::fs::write("/etc/passwd", users)?;
        std::fs::write("/etc/group", groups)?;
        Ok(())
    })?
}
