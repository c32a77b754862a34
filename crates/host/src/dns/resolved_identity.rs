//! How to recognise systemd-resolved on a host: its bus name, its files and its addresses.

use std::net::IpAddr;

/// Its bus name.
pub(crate) const BUS_NAME: &str = "org.freedesktop.resolve1";

/// The path of its manager object; link objects are below it.
pub(crate) const MANAGER_PATH: &str = "/org/freedesktop/resolve1";

/// Exists once it has run since boot, and stays across restarts.
pub(super) const RUNTIME_DIRECTORY: &str = "/run/systemd/resolve";

/// The `resolv.conf` with its upstream servers, for programs that do not use its stub.
pub(super) const UPLINK_RESOLV_CONF: &str = "/run/systemd/resolve/resolv.conf";

/// Where `/etc/resolv.conf` points on hosts that use it.
pub(super) const LINK_TARGETS: [&str; 3] =
    ["systemd/resolve/stub-resolv.conf", "systemd/resolve/resolv.conf", "lib/systemd/resolv.conf"];

/// The stub address that the C library uses, and the one without search domains.
const STUB_ADDRESSES: [[u8; 4]; 2] = [[127, 0, 0, 53], [127, 0, 0, 54]];

/// Whether this is an address of its stub.
pub(super) fn is_stub(server: IpAddr) -> bool {
    matches!(server, IpAddr::V4(ip) if STUB_ADDRESSES.contains(&ip.octets()))
}
