//! Each setting, defined once: parser, `--help`, manual page and the bus follow from it.

use std::{str::FromStr as _, time::Duration};

use portal::{ApiUrl, sign_in::AuthUrl};

use session::DnsControl;

/// One thing that an administrator can say.
#[derive(Debug)]
pub struct Setting {
    /// What it is called in files and on the bus.
    pub key: &'static str,
    /// What it is called on the command line.
    pub flag: &'static str,
    /// What it is called in the environment: the names of the official headless client, so that its unit and compose files
    /// keep working.
    pub variable: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// What it is if nobody says anything; empty if that is not a fixed value.
    pub default: &'static str,
    /// For the manual: plain sentences.
    pub doc: &'static str,
    /// Whether it can be changed over the bus, and when such a change shows.
    pub change: Change,
}

/// What a value looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// Yes or no.
    Truth,
    /// The address of a portal.
    ApiUrl,
    /// The address at which people sign in.
    AuthUrl,
    /// How this machine learns names.
    DnsControl,
    /// What is logged.
    LogFilter,
    /// A file.
    Path,
    /// A length of time with its unit.
    Duration,
}

/// Whether a setting can be changed over the bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It cannot: whoever could change it could point the next sign-in at a server of their own, or make this machine
    /// another one.
    Never,
    /// It can, and the daemon obeys from its next start on.
    NextStart,
    /// It can, and the daemon obeys at once.
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
        default: crate::TOKEN_PATH,
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
        kind: Kind::Truth,
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
    /// What is wrong with a text as a value of this kind, in words that follow the setting's name.
    pub fn check(self, text: &str) -> Result<(), String> {
        if text.chars().any(char::is_control) {
            return Err("must not have control characters".to_owned());
        }
        match self {
            Self::Text => Ok(()),
            Self::Path if text.starts_with('/') => Ok(()),
            Self::Path => Err("must be a path that begins with /".to_owned()),
            Self::Truth => truth(text).map(|_| ()).ok_or_else(|| "must be true or false".to_owned()),
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
            Self::Duration => {
                duration(text).map(|_| ()).ok_or_else(|| "must be a time with a unit, as 90s, 5m, 1h or 30d".to_owned())
            }
        }
    }
}

/// The words for yes and no.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// A sum of numbers with units, as `1h 30m`; `None` if it is none, is zero, or is more than anybody can mean.
pub(super) fn duration(text: &str) -> Option<Duration> {
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
    const LONGEST: u64 = 100 * 365 * 24 * 60 * 60;
    (1..=LONGEST).contains(&seconds).then(|| Duration::from_secs(seconds))
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
            assert_eq!(duration(text), seconds.map(Duration::from_secs), "{text:?}");
        }
    }
}
