//! The API URL of the portal.

use std::{fmt, str::FromStr};

use ::url::Url;

/// The address of a portal's API: `ws` or `wss`, a host, perhaps a port and a path prefix, no query.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiUrl(Url);

/// The version of the portal's API for clients, which determines the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ApiVersion {
    /// `client/v2/websocket`: served by every current portal.
    #[default]
    V2,
    /// `client/websocket`: the only path of portals before July 2026. Three messages have other names there.
    Unversioned,
}

/// Why a text is not the API URL of a portal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidApiUrl {
    /// Not a URL.
    #[error("not a URL")]
    NotAUrl,
    /// An unsupported scheme.
    #[error("the scheme must be wss, https, ws or http")]
    Scheme,
    /// The host is missing.
    #[error("the host is missing")]
    Host,
}

impl ApiVersion {
    /// The version to try where this one is not served.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::V2 => Self::Unversioned,
            Self::Unversioned => Self::V2,
        }
    }
}

impl ApiUrl {
    /// The default: the hosted portal.
    pub const DEFAULT: &'static str = "wss://api.firezone.dev/";

    /// The host, without brackets around an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// The explicit port, else that of the scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(443)
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.scheme() == "wss"
    }

    /// The value of the `Host` header: with the port only if it is not that of the scheme.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        match self.0.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// The same portal with the path of the client's WebSocket.
    #[must_use]
    pub fn endpoint(&self, version: ApiVersion) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("client");
            match version {
                ApiVersion::V2 => segments.push("v2").push("websocket"),
                ApiVersion::Unversioned => segments.push("websocket"),
            };
        }
        url
    }
}

impl FromStr for ApiUrl {
    type Err = InvalidApiUrl;

    fn from_str(text: &str) -> Result<Self, InvalidApiUrl> {
        let given = Url::parse(text.trim()).map_err(|_| InvalidApiUrl::NotAUrl)?;
        let scheme = match given.scheme() {
            "http" | "ws" => "ws",
            "https" | "wss" => "wss",
            _ => return Err(InvalidApiUrl::Scheme),
        };
        if given.host_str().is_none_or(str::is_empty) {
            return Err(InvalidApiUrl::Host);
        }
        let mut url = given;
        url.set_scheme(scheme).map_err(|()| InvalidApiUrl::Scheme)?;
        url.set_query(None);
        url.set_fragment(None);
        // Credentials in a URL would appear in logs, and the portal ignores them.
        url.set_username("").map_err(|()| InvalidApiUrl::Host)?;
        url.set_password(None).map_err(|()| InvalidApiUrl::Host)?;
        Ok(Self(url))
    }
}

/// For display: without path and query.
impl fmt::Display for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.authority())
    }
}

impl fmt::Debug for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> String {
        text.parse::<ApiUrl>().unwrap().endpoint(ApiVersion::V2).to_string()
    }

    #[test]
    fn the_path_is_appended_and_a_stale_query_dropped() {
        for (given, expected) in [
            ("wss://api.example.net", "wss://api.example.net/client/v2/websocket"),
            ("wss://api.example.net/", "wss://api.example.net/client/v2/websocket"),
            ("https://api.example.net", "wss://api.example.net/client/v2/websocket"),
            ("https://api.example.net:443/", "wss://api.example.net/client/v2/websocket"),
            ("http://localhost:8081", "ws://localhost:8081/client/v2/websocket"),
            ("ws://localhost:8081/", "ws://localhost:8081/client/v2/websocket"),
            ("wss://api.example.net/firezone", "wss://api.example.net/firezone/client/v2/websocket"),
            ("wss://api.example.net/firezone/", "wss://api.example.net/firezone/client/v2/websocket"),
            ("wss://api.example.net/?token=old#x", "wss://api.example.net/client/v2/websocket"),
            ("ws://[2001:db8::1]:9000/", "ws://[2001:db8::1]:9000/client/v2/websocket"),
        ] {
            assert_eq!(endpoint(given), expected, "{given}");
        }
    }

    #[test]
    fn older_portal_has_an_unversioned_path() {
        let url: ApiUrl = "wss://api.example.net/".parse().unwrap();
        assert_eq!(url.endpoint(ApiVersion::Unversioned).as_str(), "wss://api.example.net/client/websocket");
    }

    #[test]
    fn other_schemes_are_refused() {
        for (given, error) in [
            ("ftp://api.example.net", InvalidApiUrl::Scheme),
            ("file:///etc/passwd", InvalidApiUrl::Scheme),
            ("mailto:someone", InvalidApiUrl::Scheme),
            ("api.example.net", InvalidApiUrl::NotAUrl),
            ("", InvalidApiUrl::NotAUrl),
            ("wss://", InvalidApiUrl::NotAUrl),
        ] {
            assert_eq!(given.parse::<ApiUrl>(), Err(error), "{given}");
        }
    }

    #[test]
    fn host_and_port_are_those_to_dial() {
        for (given, host, port, tls, authority) in [
            ("wss://api.example.net", "api.example.net", 443, true, "api.example.net"),
            ("ws://api.example.net", "api.example.net", 80, false, "api.example.net"),
            ("ws://localhost:8081", "localhost", 8081, false, "localhost:8081"),
            ("ws://[::1]:8081", "::1", 8081, false, "[::1]:8081"),
            ("https://192.0.2.1", "192.0.2.1", 443, true, "192.0.2.1"),
        ] {
            let url: ApiUrl = given.parse().unwrap();
            assert_eq!((url.host(), url.port(), url.is_tls()), (host, port, tls), "{given}");
            assert_eq!(url.authority(), authority);
        }
    }

    #[test]
    fn displayed_url_has_no_path_query_or_credentials() {
        let url: ApiUrl = "wss://kim:secret@api.example.net:8443/prefix?token=x".parse().unwrap();
        assert_eq!(url.to_string(), "wss://api.example.net:8443");
        assert_eq!(format!("{url:?}"), "wss://api.example.net:8443");
        assert!(!url.endpoint(ApiVersion::V2).as_str().contains("secret"));
    }
}
