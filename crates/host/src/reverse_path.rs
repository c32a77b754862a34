//! The strict reverse path filter (RFC 3704), which is incompatible with a full tunnel: the reply to one of our own marked
//! packets has no mark, so the route back to its sender seems to lead into the tunnel, and the kernel drops the reply.

use std::collections::BTreeSet;
use std::fs;

use super::plan::KernelState;

const STRICT: u8 = 1;

/// Whether replies to our own packets are dropped while `0.0.0.0/0` leads into the tunnel. IPv6 has no such filter.
pub(super) fn is_strict(current: &KernelState) -> bool {
    let uplinks: BTreeSet<&str> = current
        .routes
        .iter()
        .filter(|found| found.is_main() && found.route.destination.addr().is_ipv4())
        .filter(|found| found.route.destination.prefix_len() == 0)
        .filter_map(|found| current.usable_interfaces.get(&found.route.interface).map(String::as_str))
        .collect();
    let all = rp_filter("all");
    // The stricter of both is in force, and 2 (loose) is larger than 1.
    uplinks.into_iter().any(|uplink| all.max(rp_filter(uplink)) == STRICT)
}

/// The sysctl of an interface: 0 is off, 1 strict, 2 loose; off if it cannot be read.
fn rp_filter(interface: &str) -> u8 {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/rp_filter");
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
}
