//! The TUN device, and what makes the kernel forward between it and the world.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, bail};
use ip_packet::{IpPacket, MAX_IP_SIZE};
use model::address_plan::{TUNNEL_V4, TUNNEL_V6};
use tokio::process::Command;
use tun::{AbstractDevice as _, AsyncDevice};

/// Name of the device, and of the table of the packet filter.
const NAME: &str = "tun-dev-gateway";

/// Our end of the tunnels, as the kernel sees it.
pub(super) struct Tun {
    device: AsyncDevice,
}

impl Tun {
    pub(super) fn open() -> anyhow::Result<Self> {
        let mut configuration = tun::Configuration::default();
        configuration.tun_name(NAME).mtu(MAX_IP_SIZE as u16).up();
        let device = tun::create_as_async(&configuration).context("cannot open a TUN device")?;
        tracing::info!(name = device.tun_name()?, "tunnel device");
        Ok(Self { device })
    }

    /// Makes the kernel forward what comes out of the tunnel under our own address.
    pub(super) async fn forward(&self) -> anyhow::Result<()> {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot forward IPv4")?;
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").context("cannot forward IPv6")?;

        // The first command makes the second work whether or not the table exists.
        let rules = format!(
            "add table inet {NAME}; delete table inet {NAME}; add table inet {NAME}; \
             add chain inet {NAME} postrouting {{ type nat hook postrouting priority 100; }}; \
             add rule inet {NAME} postrouting oifname != \"{NAME}\" ip saddr {TUNNEL_V4} masquerade; \
             add rule inet {NAME} postrouting oifname != \"{NAME}\" ip6 saddr {TUNNEL_V6} masquerade"
        );
        run("nft", &[&rules]).await
    }

    /// Gives the device addresses, and sends the ranges of clients to it.
    pub(super) async fn assign(&self, ipv4: Ipv4Addr, ipv6: Ipv6Addr) -> anyhow::Result<()> {
        for command in [
            format!("addr flush dev {NAME}"),
            format!("addr add {ipv4}/32 dev {NAME}"),
            format!("addr add {ipv6}/128 dev {NAME} nodad"),
            format!("route replace {TUNNEL_V4} dev {NAME}"),
            format!("-6 route replace {TUNNEL_V6} dev {NAME}"),
        ] {
            run("ip", &command.split(' ').collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    /// The next packet from the kernel that is one we carry.
    pub(super) async fn receive(&self) -> anyhow::Result<IpPacket> {
        let mut buffer = [0; 1 << 16];
        loop {
            let length = self.device.recv(&mut buffer).await?;
            match IpPacket::parse(&buffer[..length]) {
                Ok(packet) => return Ok(packet),
                Err(error) => tracing::debug!(%error, "a packet that we do not carry"),
            }
        }
    }

    /// Hands a packet to the kernel.
    pub(super) async fn send(&self, packet: &IpPacket) {
        if let Err(error) = self.device.send(packet.as_bytes()).await {
            tracing::debug!(%error, "the kernel does not take a packet");
        }
    }
}

async fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output =
        Command::new(program).args(arguments).output().await.with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
