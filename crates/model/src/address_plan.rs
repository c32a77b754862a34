//! The fixed address ranges of the tunnel, which portal, gateways and clients share.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Addresses of clients and gateways, IPv4.
pub const TUNNEL_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 11);
/// Addresses of clients and gateways, IPv6.
pub const TUNNEL_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x2021, 0x1111, 0, 0, 0, 0, 0), 107);
/// Proxy addresses for names of DNS resources, IPv4. Contains [`SENTINELS_V4`].
pub const PROXIES_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(100, 96, 0, 0), 11);
/// Proxy addresses for names of DNS resources, IPv6.
pub const PROXIES_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x2021, 0x1111, 0x8000, 0, 0, 0, 0), 107);
/// Addresses of the stub resolver, IPv4.
pub const SENTINELS_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(100, 100, 111, 0), 24);
/// Addresses of the stub resolver, IPv6. Not contained in [`PROXIES_V6`], so it requires a separate route.
pub const SENTINELS_V6: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x2021, 0x1111, 0x8000, 0x100, 0x100, 0x111, 0), 120);

/// The six ranges that are always routed into the tunnel.
#[must_use]
pub fn ranges() -> [IpNet; 6] {
    [
        IpNet::V4(TUNNEL_V4),
        IpNet::V4(PROXIES_V4),
        IpNet::V4(SENTINELS_V4),
        IpNet::V6(TUNNEL_V6),
        IpNet::V6(PROXIES_V6),
        IpNet::V6(SENTINELS_V6),
    ]
}

/// Whether `ip` is in the range of clients and gateways. Such an address is never part of the Internet resource.
#[must_use]
pub fn is_peer(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => TUNNEL_V4.contains(&ip),
        IpAddr::V6(ip) => TUNNEL_V6.contains(&ip),
    }
}

/// Whether `ip` is in the range of the stub resolver.
#[must_use]
pub fn is_sentinel(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => SENTINELS_V4.contains(&ip),
        IpAddr::V6(ip) => SENTINELS_V6.contains(&ip),
    }
}
