//! The definition of each setting, from which parser, `--help`, manual page and bus are derived.

use std::{str::FromStr as _, time::Duration};

use portal::{ApiUrl, sign_in::AuthUrl};

use session::DnsControl;

/// The default path of the machine's token.
pub const TOKEN_PATH: &str = "/etc/dev.firezone.client/token";

/// The definition of a setting.
#[derive(Debug)]
pub struct Setting {
    /// Key in files and on the bus.
    pub key: &'static str,
    /// Flag on the command line.
    pub flag: &'static str,
    /// Environment variable. The names are those of the official headless client, so that its unit and compose files keep
    /// working.
    pub variable: &'static str,
    /// Type of the value.
    pub kind: Kind,
    /// Default value; empty if there is no fixed one.
    pub default: &'static str,
    /// Description for the manual, in plain sentences.
    pub doc: &'static str,
    /// Whether it can be changed over the bus, and when a change takes effect.
    pub change: Change,
}

/// The type of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// True or false.
    Bool,
    /// URL of a portal.
    ApiUrl,
    /// URL of the sign-in page.
    AuthUrl,
    /// DNS control of this host.
    DnsControl,
    /// Log filter.
    LogFilter,
    /// Absolute path.
    Path,
    /// Duration with units.
    Duration,
}

/// Whether a setting can be changed over the bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// No: a user who could change it could redirect the next sign-in to another server, or change the identity of this
    /// machine.
    Never,
    /// Yes; a change takes effect at the next start.
    NextStart,
    /// Yes; a change takes effect at once.
    AtOnce,
}

/// All settings, in the order of the manual.
pub const SETTINGS: [Setting; 10] = [
    Setting {
        key: "api-url",
        flag: "--api-url",
        variable: "FIREZONE_API_URL",
        kind: Kind::ApiUrl,
        default: ApiUrl::DEFAULT,
        doc: "Where the portal is.",
        change: Change::Never,
    },
    Setting {
        key: "auth-url",
        flag: "--auth-base-url",
        variable: "FIREZONE_AUTH_BASE_URL",
        kind: Kind::AuthUrl,
        default: "https://app.firezone.dev/",
        doc: "Where people sign in with their browser. It belongs to the same portal as api-url.",
        change: Change::Never,
    },
    Setting {
        key: "account-slug",
        flag: "--account-slug",
        variable: "FIREZONE_ACCOUNT_SLUG",
        kind: Kind::Text,
        default: "",
        doc: "The account at which people sign in. By default they choose it.",
        change: Change::Never,
    },
    Setting {
        key: "token-path",
        flag: "--token-path",
        variable: "FIREZONE_TOKEN_PATH",
        kind: Kind::Path,
        default: TOKEN_PATH,
        doc: "The file with the token of this machine. The token itself has no place in a configuration file.",
        change: Change::Never,
    },
    Setting {
        key: "id",
        flag: "--firezone-id",
        variable: "FIREZONE_ID",
        kind: Kind::Text,
        default: "",
        doc: "What identifies this device to the portal. By default it is derived from the id of the machine, so machines \
              that are copies of each other need one each.",
        change: Change::Never,
    },
    Setting {
        key: "name",
        flag: "--firezone-name",
        variable: "FIREZONE_NAME",
        kind: Kind::Text,
        default: "",
        doc: "What this device is called. By default it is the host's name. The portal takes it only from a device that it \
              does not know yet.",
        change: Change::NextStart,
    },
    Setting {
        key: "dns-control",
        flag: "--dns-control",
        variable: "FIREZONE_DNS_CONTROL",
        kind: Kind::DnsControl,
        default: "auto",
        doc: "How this machine learns names: auto chooses what fits this machine; systemd-resolved sets the servers of our \
              link; etc-resolv-conf writes /etc/resolv.conf and restores it afterwards; disabled leaves names alone.",
        change: Change::NextStart,
    },
    Setting {
        key: "internet-resource",
        flag: "--activate-internet-resource",
        variable: "FIREZONE_ACTIVATE_INTERNET_RESOURCE",
        kind: Kind::Bool,
        default: "false",
        doc: "Whether the Internet resource is switched on at the start: if the portal grants it, all traffic goes through \
              the tunnel.",
        change: Change::AtOnce,
    },
    Setting {
        key: "log-filter",
        flag: "--log-filter",
        variable: "RUST_LOG",
        kind: Kind::LogFilter,
        default: "info",
        doc: "What is logged, for example debug or info,tunnel=trace. Levels below info may name people, names and \
              addresses.",
        change: Change::AtOnce,
    },
    Setting {
        key: "max-partition-time",
        flag: "--max-partition-time",
        variable: "MAX_PARTITION_TIME",
        kind: Kind::Duration,
        default: "",
        doc: "How long the tunnel is kept while the portal cannot be reached, for example 5m, 1h or 30d. By default there is \
              no limit. Afterwards the tunnel is taken down until the portal is back; the token is kept.",
        change: Change::NextStart,
    },
];

/// The setting with this key.
#[must_use]
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

impl Kind {
    /// Checks a text.
    ///
    /// # Errors
    /// The text is invalid; the message follows the name of the setting in a sentence.
    pub fn check(self, text: &str) -> Result<(), String> {
        if text.chars().any(char::is_control) {
            return Err("must not have control characters".to_owned());
        }
        match self {
            Self::Text => Ok(()),
            Self::Path if text.starts_with('/') => Ok(()),
            Self::Path => Err("must be a path that begins with /".to_owned()),
            Self::Bool => parse_bool(text).map(|_| ()).ok_or_else(|| "must be true or false".to_owned()),
            Self::ApiUrl => match ApiUrl::from_str(text) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("is not the address of a portal: {error}")),
            },
            Self::AuthUrl => match AuthUrl::from_str(text) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("is not the address of a sign-in page: {error}")),
            },
            Self::DnsControl => DnsControl::from_str(text).map(|_| ()).map_err(|error| error.to_string()),
            Self::LogFilter => logging::Filter::from_str(text).map(|_| ()).map_err(|error| error.to_string()),
            Self::Duration => parse_duration(text)
                .map(|_| ())
                .ok_or_else(|| "must be a time with a unit, as 90s, 5m, 1h or 30d".to_owned()),
        }
    }
}

/// Parses the accepted spellings of true and false.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Parses a sum of numbers with units, such as `1h 30m`; `None` if it is invalid, zero or too long.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut seconds: u64 = 0;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let tail = tail.trim_start();
        let (unit, tail) = tail.split_at(tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len()));
        let unit = match unit {
            "s" | "sec" | "secs" | "second" | "seconds" => 1,
            "m" | "min" | "mins" | "minute" | "minutes" => 60,
            "h" | "hr" | "hrs" | "hour" | "hours" => 60 * 60,
            "d" | "day" | "days" => 24 * 60 * 60,
            "w" | "week" | "weeks" => 7 * 24 * 60 * 60,
            _ => return None,
        };
        seconds = number.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(seconds)?;
        rest = tail.trim_start();
    }
    /// Long enough for "never", short enough to be added to any clock.
    const MAX_SECONDS: u64 = 100 * 365 * 24 * 60 * 60;
    (1..=MAX_SECONDS).contains(&seconds).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_defined_completely() {
        for setting in &SETTINGS {
            assert!(setting.flag.starts_with("--") && !setting.doc.is_empty(), "{setting:?}");
            assert!(setting.default.is_empty() || setting.kind.check(setting.default).is_ok(), "{setting:?}");
            assert_eq!(SETTINGS.iter().filter(|other| other.key == setting.key).count(), 1);
        }
    }

    #[test]
    fn durations_are_parsed() {
        for (text, seconds) in [
            ("90s", Some(90)),
            ("5m", Some(300)),
            ("1h", Some(3600)),
            ("30d", Some(30 * 86_400)),
            ("1h 30m", Some(5400)),
            ("2 hours 3 min", Some(7380)),
            ("1w", Some(7 * 86_400)),
            ("0s", None),
            ("5", None),
            ("m", None),
            ("-5m", None),
            ("1.5h", None),
            ("5 parsecs", None),
            ("99999999999999999999d", None),
            ("999999999999999d", None),
            ("", None),
        ] {
            assert_eq!(parse_duration(text), seconds.map(Duration::from_secs), "{text:?}");
        }
    }
}
