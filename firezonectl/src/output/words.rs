//! Codes, sizes and times, as people say them.

use dbus_api::State;

/// What a reason code means. Codes of a newer daemon are shown as they are.
#[must_use]
pub fn reason(code: &str) -> &str {
    match code {
        "invalid_token" => "the portal does not accept the token",
        "missing_token" => "the portal saw no token",
        "token_expired" => "the session has expired, or another device with the same identity has connected",
        "portal_rejected" => "the portal, or something before it, refuses the connection",
        "portal_tls" => "the portal's certificate is not trusted",
        "portal_unreachable" => "the portal does not answer",
        "no_network" => "this machine has no network",
        "captive_portal" => "this network wants somebody to sign in first",
        "suspended" => "this machine sleeps, or has just woken up",
        "tun_busy" => "another program holds the network interface",
        "tun_unavailable" => "the network interface cannot be made",
        "tunnel_failed" => "the tunnel broke",
        "cannot_mark_sockets" => "the daemon lacks the capability CAP_NET_ADMIN",
        other => other,
    }
}

/// What to do about it, if there is something to do.
#[must_use]
pub fn remedy(state: &State, reason: &str, mode: &str) -> Option<&'static str> {
    match (state, reason, mode) {
        (_, "invalid_token" | "missing_token" | "token_expired", "service") => {
            Some("ask an administrator for a new token, then: systemctl restart firezone-client")
        }
        (State::SignedOut, ..) => Some("firezonectl sign-in"),
        (_, "portal_tls", _) => Some("check this machine's clock and certificates (ca-certificates)"),
        (_, "portal_rejected", _) => Some("a network that asks to sign in in a browser looks like this"),
        (_, "captive_portal", _) => Some("open any page in a browser, and sign in to the network there"),
        (_, "tun_busy", _) => Some("stop the other program"),
        (_, "tun_unavailable" | "tunnel_failed" | "cannot_mark_sockets", _) => {
            Some("look why: journalctl --unit firezone-client")
        }
        _ => None,
    }
}

/// Why the portal does not let us use a resource. Codes of a newer daemon are shown as they are.
#[must_use]
pub fn refusal(code: &str) -> &str {
    match code {
        "forbidden" => "no policy permits it now",
        "version-mismatch" => "its gateways and this client are of versions that do not go together",
        "not-found" => "the portal does not know it any more",
        "other" => "the portal does not say why",
        other => other,
    }
}

/// A condition of a policy that is not met, in the portal's word for it. Others are shown as they are.
#[must_use]
pub fn condition(code: &str) -> &str {
    match code {
        "remote_ip" => "the address that you come from",
        "remote_ip_location_region" => "the region that you are in",
        "auth_provider_id" | "provider_id" => "the way that you signed in",
        "current_utc_datetime" => "the time",
        "client_verified" => "this device is not verified",
        other => other,
    }
}

/// A size with at most three digits.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 || tenths >= 1000 {
        format!("{} {name}", tenths / 10)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

/// A time that is shorter than a second, or a little longer.
#[must_use]
pub fn short_time(microseconds: u64) -> String {
    let tenths = microseconds / 100;
    if tenths >= 1000 { format!("{} ms", tenths / 10) } else { format!("{}.{} ms", tenths / 10, tenths % 10) }
}

/// A time with one unit.
#[must_use]
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_500_000, "1.4 MiB"),
            (150_000_000, "143 MiB"),
            (u64::MAX, "16777215 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn short_times() {
        assert_eq!([0, 999, 12_345, 150_000].map(short_time), ["0.0 ms", "0.9 ms", "12.3 ms", "150 ms"]);
    }

    #[test]
    fn durations() {
        assert_eq!([0, 59, 60, 3599, 7200, 86_400].map(duration), ["0 s", "59 s", "1 min", "59 min", "2 h", "1 d"]);
    }
}
