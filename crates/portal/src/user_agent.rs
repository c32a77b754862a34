//! The `User-Agent` header.

use std::fmt;

/// The protocol version, as a release of the official headless client. The portal decides by it which messages and
/// resources it sends, so it follows that numbering and not the version of this program.
pub const PROTOCOL: &str = "headless-client/1.5.12";

/// The portal takes the first word with one of these prefixes for the component.
const RESERVED: [&str; 7] =
    ["relay", "connlib", "headless-client", "gui-client", "apple-client", "android-client", "gateway"];

/// For each value. The portal keeps at most 255 characters in total.
const MAX_VALUE_CHARS: usize = 48;

/// The value of the `User-Agent` header: ASCII, at most 255 characters, in the format that the portal parses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserAgent(String);

/// Properties of the machine, as far as they are known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SystemInfo<'a> {
    /// The name of the distribution.
    pub os: Option<&'a str>,
    /// Its version; `None` for rolling releases.
    pub os_version: Option<&'a str>,
    /// The architecture in the notation of `uname`.
    pub architecture: Option<&'a str>,
    /// The kernel release.
    pub kernel: Option<&'a str>,
}

impl UserAgent {
    /// Builds the value. `product` is the version of this program.
    #[must_use]
    pub fn new(system: &SystemInfo<'_>, product: &str) -> Self {
        let os = system.os.map(os_name).filter(|name| !name.is_empty()).unwrap_or_else(|| "Linux".to_owned());
        let version = match system.os_version.map(os_version).filter(|version| !version.is_empty()) {
            Some(version) => version,
            None if system.os.is_some() => "Rolling Release".to_owned(),
            None => "Unknown".to_owned(),
        };
        let machine: Vec<_> =
            [system.architecture, system.kernel].into_iter().flatten().map(plain).filter(|it| !it.is_empty()).collect();
        let machine = if machine.is_empty() { String::new() } else { format!(" ({})", machine.join("; ")) };
        Self(format!("{os}/{version} {PROTOCOL} firezoned/{}{machine}", plain(product)))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn os_name(name: &str) -> String {
    let name = plain(name).replace('/', "-");
    // "Our gateway" followed by "/12" would make the portal take this client for a gateway.
    match name.rsplit(' ').next() {
        Some(last) if RESERVED.contains(&last) => format!("{name}-os"),
        _ => name,
    }
}

/// "24.04" becomes "24.4.0", the format of the official clients, so that the portal shows both clients alike.
fn os_version(version: &str) -> String {
    let version = plain(version).replace('/', "-");
    let parts: Option<Vec<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
    match parts.as_deref() {
        Some([major]) => format!("{major}.0.0"),
        Some([major, minor]) => format!("{major}.{minor}.0"),
        Some([major, minor, patch]) => format!("{major}.{minor}.{patch}"),
        _ => version,
    }
}

/// Printable ASCII of bounded length with single spaces. The portal rejects other characters in the header.
fn plain(text: &str) -> String {
    let ascii: String = text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(MAX_VALUE_CHARS).collect();
    ascii.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(os: Option<&str>, version: Option<&str>, architecture: Option<&str>, kernel: Option<&str>) -> String {
        UserAgent::new(&SystemInfo { os, os_version: version, architecture, kernel }, "0.3.0").to_string()
    }

    /// The portal's rule: the first word with a reserved prefix is the component.
    fn component(agent: &str) -> Option<&str> {
        agent
            .split(' ')
            .find(|word| RESERVED.iter().any(|name| word.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))))
    }

    #[test]
    fn typical_user_agent() {
        assert_eq!(
            agent(Some("Debian"), Some("12"), Some("x86_64"), Some("6.1.0-30-amd64")),
            "Debian/12.0.0 headless-client/1.5.12 firezoned/0.3.0 (x86_64; 6.1.0-30-amd64)"
        );
    }

    #[test]
    fn missing_values_leave_no_empty_parenthesis() {
        assert_eq!(agent(None, None, None, None), "Linux/Unknown headless-client/1.5.12 firezoned/0.3.0");
        assert!(agent(Some("Debian"), Some("12"), Some("x86_64"), None).ends_with(" (x86_64)"));
        assert!(agent(Some("Debian"), Some("12"), None, Some("6.1.0")).ends_with(" (6.1.0)"));
    }

    #[test]
    fn portal_finds_the_component_for_any_distribution_name() {
        for (name, version) in [
            ("Ubuntu", Some("24.04")),
            ("Arch Linux", None),
            ("GNU/Linux", Some("1")),
            ("Our gateway", Some("12")),
            ("relay", Some("0.1.0")),
            ("Linux gui-client/9.9.9", Some("x")),
            ("Ünïcode ☃", Some("1/2")),
            ("", Some("")),
        ] {
            let agent = agent(Some(name), version, Some("x86_64"), Some("6.1.0-☃"));
            assert_eq!(component(&agent), Some(PROTOCOL), "{agent}");
            assert!(agent.is_ascii() && agent.len() <= 255);
        }
    }

    #[test]
    fn os_versions_have_the_format_of_the_official_clients() {
        assert!(agent(Some("Ubuntu"), Some("24.04"), None, None).starts_with("Ubuntu/24.4.0 "));
        assert!(agent(Some("Arch Linux"), None, None, None).starts_with("Arch Linux/Rolling Release "));
        assert!(agent(Some("Fedora"), Some("42"), None, None).starts_with("Fedora/42.0.0 "));
    }

    #[test]
    fn long_values_are_truncated() {
        let long = "x".repeat(1000);
        assert!(agent(Some(&long), Some(&long), Some(&long), Some(&long)).len() <= 255);
    }
}
