//! Codes, sizes and times, as people say them.

use dbus_api::{Condition, Mode, Phase, Reason, Refusal};

/// What a reason means. Codes of a newer daemon are shown as they are.
#[must_use]
pub fn reason(reason: &Reason) -> &str {
    match reason {
        Reason::InvalidToken => "the portal does not accept the token",
        Reason::MissingToken => "the portal saw no token",
        Reason::TokenExpired => "the session has expired, or another device with the same identity has connected",
        Reason::PortalRejected => "the portal, or something before it, refuses the connection",
        Reason::PortalTls => "the portal's certificate is not trusted",
        Reason::PortalUnreachable => "the portal does not answer",
        Reason::NoNetwork => "this machine has no network",
        Reason::CaptivePortal => "this network wants somebody to sign in first",
        Reason::Suspended => "this machine sleeps, or has just woken up",
        Reason::TunBusy => "another program holds the network interface",
        Reason::TunUnavailable => "the network interface cannot be made",
        Reason::TunnelFailed => "the tunnel broke",
        Reason::CannotMark => "the daemon lacks the capability CAP_NET_ADMIN",
        Reason::Other(code) => code,
    }
}

/// What to do about it, if there is something to do.
#[must_use]
pub fn remedy(phase: &Phase, mode: &Mode) -> Option<&'static str> {
    let reason = phase.reason();
    if *mode == Mode::Service && reason.as_ref().is_some_and(Reason::condemns_token) {
        return Some("ask an administrator for a new token, then: systemctl restart firezone-client");
    }
    if matches!(phase, Phase::SignedOut(_)) {
        return Some("firezonectl sign-in");
    }
    match reason? {
        Reason::PortalTls => Some("check this machine's clock and certificates (ca-certificates)"),
        Reason::PortalRejected => Some("a network that asks to sign in in a browser looks like this"),
        Reason::CaptivePortal => Some("open any page in a browser, and sign in to the network there"),
        Reason::TunBusy => Some("stop the other program"),
        Reason::TunUnavailable | Reason::TunnelFailed | Reason::CannotMark => {
            Some("look why: journalctl --unit firezone-client")
        }
        Reason::InvalidToken
        | Reason::MissingToken
        | Reason::TokenExpired
        | Reason::PortalUnreachable
        | Reason::NoNetwork
        | Reason::Suspended
        | Reason::Other(_) => None,
    }
}

/// Why the portal refused access to a resource. Codes of a newer daemon are shown as they are.
#[must_use]
pub fn refusal(refusal: &Refusal) -> &str {
    match refusal {
        Refusal::Forbidden => "no policy permits it now",
        Refusal::VersionMismatch => "its gateways and this client are of versions that do not go together",
        Refusal::NotFound => "the portal does not know it any more",
        Refusal::Offline => "offline",
        Refusal::Unspecified => "the portal does not say why",
        Refusal::Other(code) => code,
    }
}

/// A condition of a policy that is not met. Words of a newer portal are shown as they are.
#[must_use]
pub fn condition(condition: &Condition) -> &str {
    match condition {
        Condition::RemoteIp => "the address that you come from",
        Condition::Region => "the region that you are in",
        Condition::AuthProvider | Condition::Provider => "the way that you signed in",
        Condition::Time => "the time",
        Condition::ClientVerified => "this device is not verified",
        Condition::Other(word) => word,
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
