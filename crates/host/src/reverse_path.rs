//! The strict reverse path filter (RFC 3704), which does not get along with a full tunnel: the answer to one of our own
//! marked packets has no mark, so the way back to its sender seems to lead into the tunnel, and the kernel drops it.

use std::collections::BTreeSet;
use std::fs;

use super::plan::Have;

const STRICT: u8 = 1;

/// Whether answers to our own packets would be dropped, were `0.0.0.0/0` ours. IPv6 has no such filter.
pub(super) fn is_strict(have: &Have) -> bool {
    let uplinks: BTreeSet<&str> = have
        .routes
        .iter()
        .filter(|found| found.is_main() && found.route.destination.addr().is_ipv4())
        .filter(|found| found.route.destination.prefix_len() == 0)
        .filter_map(|found| have.usable.get(&found.route.interface).map(String::as_str))
        .collect();
    let all = filter("all");
    // The stricter of both is in force, and 2 (loose) is larger than 1.
    uplinks.into_iter().any(|uplink| all.max(filter(uplink)) == STRICT)
}

/// 0 is off, 1 strict, 2 loose; off if it cannot be read.
fn filter(interface: &str) -> u8 {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/rp_filter");
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
}
