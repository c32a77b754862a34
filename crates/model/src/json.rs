//! Parsing of the portal's JSON.
//!
//! Not derived by `serde` and `serde_with`, which were compared and are looser here: their errors quote the content, which may
//! be a password, and lose the name of the field inside tagged enums; and an `alias` rejects an object that contains
//! both the current and the older name of a member, which the portal sends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::{Map, Value};

use crate::{ClientId, GatewayId, IceCredentials, PresharedKey, PublicKey, RelayId, ResourceId, Secret, SiteId};

/// A value that can be parsed from JSON.
pub trait FromJson: Sized {
    /// Parses the value.
    ///
    /// # Errors
    /// The JSON has another type or an invalid content.
    fn from_json(value: &Value) -> Result<Self, Malformed>;
}

/// A JSON value of the wrong type or with an invalid content. Never contains the content.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}expected {expected}", .field.map(|field| format!("`{field}`: ")).unwrap_or_default())]
pub struct Malformed {
    /// The name of the member, if known.
    pub field: Option<&'static str>,
    /// The expected value.
    pub expected: &'static str,
}

impl Malformed {
    /// Creates the error from the expected value.
    #[must_use]
    pub const fn expected(expected: &'static str) -> Self {
        Self { field: None, expected }
    }

    /// Adds the name of the member, unless a more precise one is known.
    #[must_use]
    pub fn at(self, field: &'static str) -> Self {
        Self { field: self.field.or(Some(field)), ..self }
    }
}

/// The members of a JSON object.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a>(&'a Map<String, Value>);

impl<'a> Object<'a> {
    /// Interprets a value as an object.
    ///
    /// # Errors
    /// The value is not an object.
    pub fn of(value: &'a Value) -> Result<Self, Malformed> {
        value.as_object().map(Self).ok_or(Malformed::expected("an object"))
    }

    /// The member, also if it is `null`.
    #[must_use]
    pub fn raw(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key)
    }

    /// The member; `null` means absent.
    #[must_use]
    pub fn member(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// A member that must be present.
    ///
    /// # Errors
    /// The member is absent or malformed.
    pub fn required<T: FromJson>(&self, key: &'static str) -> Result<T, Malformed> {
        self.optional(key)?.ok_or(Malformed { field: Some(key), expected: "a value" })
    }

    /// A member that must be present under its current or its older name.
    ///
    /// # Errors
    /// The member is absent or malformed.
    pub fn required_or_older<T: FromJson>(&self, key: &'static str, older: &'static str) -> Result<T, Malformed> {
        match self.optional(key)? {
            Some(value) => Ok(value),
            None => self.required(older).map_err(|error| Malformed { field: Some(key), ..error }),
        }
    }

    /// A member that may be absent.
    ///
    /// # Errors
    /// The member is malformed.
    pub fn optional<T: FromJson>(&self, key: &'static str) -> Result<Option<T>, Malformed> {
        self.member(key).map(T::from_json).transpose().map_err(|error| error.at(key))
    }

    /// A member that may be absent or malformed.
    #[must_use]
    pub fn lenient<T: FromJson>(&self, key: &'static str) -> Option<T> {
        self.optional(key).unwrap_or_else(|error| {
            tracing::warn!(%error, "ignoring a malformed member of a message");
            None
        })
    }

    /// The valid entries of a list. An absent list is empty.
    #[must_use]
    pub fn valid_entries<T: FromJson>(&self, key: &'static str) -> Vec<T> {
        let Some(value) = self.member(key) else { return Vec::new() };
        let Some(entries) = value.as_array() else {
            tracing::warn!(field = key, "ignoring a member that is not a list");
            return Vec::new();
        };
        let parse = |entry| {
            T::from_json(entry).map_err(|error| tracing::warn!(list = key, %error, "skipping a malformed entry")).ok()
        };
        entries.iter().filter_map(parse).collect()
    }
}

impl FromJson for String {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        value.as_str().map(str::to_owned).ok_or(Malformed::expected("a text"))
    }
}

impl FromJson for Secret {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        value.as_str().map(Self::from).ok_or(Malformed::expected("a text"))
    }
}

impl FromJson for IceCredentials {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        let object = Object::of(value)?;
        Ok(Self { username: object.required("username")?, password: object.required("password")? })
    }
}

impl FromJson for bool {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        value.as_bool().ok_or(Malformed::expected("true or false"))
    }
}

/// Unix seconds; a time before 1970 becomes 0.
impl FromJson for u64 {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        match (value.as_u64(), value.as_i64()) {
            (Some(number), _) => Ok(number),
            (None, Some(_negative)) => Ok(0),
            (None, None) => Err(Malformed::expected("a whole number")),
        }
    }
}

/// An address, optionally with the prefix length of a single host.
impl FromJson for IpAddr {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        address(value).ok_or(Malformed::expected("an IP address"))
    }
}

impl FromJson for Ipv4Addr {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        match address(value) {
            Some(IpAddr::V4(ip)) => Ok(ip),
            Some(IpAddr::V6(_)) | None => Err(Malformed::expected("an IPv4 address")),
        }
    }
}

impl FromJson for Ipv6Addr {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        match address(value) {
            Some(IpAddr::V6(ip)) => Ok(ip),
            Some(IpAddr::V4(_)) | None => Err(Malformed::expected("an IPv6 address")),
        }
    }
}

/// A network with host bits cleared; a bare address is a network of one host.
impl FromJson for IpNet {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        let text = value.as_str().ok_or(Malformed::expected("a network"))?;
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(|network| network.trunc()).map_err(|_| Malformed::expected("a network"))
    }
}

macro_rules! from_text {
    ($($type:ty => $expected:literal),* $(,)?) => {
        $(impl FromJson for $type {
            fn from_json(value: &Value) -> Result<Self, Malformed> {
                value.as_str().and_then(|text| text.parse().ok()).ok_or(Malformed::expected($expected))
            }
        })*
    };
}

from_text! {
    ResourceId => "a UUID",
    SiteId => "a UUID",
    GatewayId => "a UUID",
    ClientId => "a UUID",
    RelayId => "a UUID",
    PublicKey => "the Base64 text of 32 bytes",
    PresharedKey => "the Base64 text of 32 bytes",
}

fn address(value: &Value) -> Option<IpAddr> {
    let text = value.as_str()?;
    if let Ok(ip) = text.parse() {
        return Some(ip);
    }
    let network: IpNet = text.parse().ok()?;
    (network.prefix_len() == network.max_prefix_len()).then(|| network.addr())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_are_accepted_with_and_without_prefix() {
        for (text, ip) in [
            ("100.64.9.4", Some("100.64.9.4")),
            ("100.64.9.4/32", Some("100.64.9.4")),
            ("fd00:2021:1111::91", Some("fd00:2021:1111::91")),
            ("fd00:2021:1111::91/128", Some("fd00:2021:1111::91")),
            ("100.64.9.4/24", None),
            ("100.64.9.4/33", None),
            ("100.64.9.4/", None),
            ("100.64.9", None),
            ("", None),
        ] {
            assert_eq!(IpAddr::from_json(&json!(text)).ok(), ip.map(|ip| ip.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn host_bits_of_networks_are_cleared() {
        for (text, network) in [
            ("10.40.0.0/16", Some("10.40.0.0/16")),
            ("10.40.7.9/16", Some("10.40.0.0/16")),
            ("10.40.7.9/32", Some("10.40.7.9/32")),
            ("10.40.7.9", Some("10.40.7.9/32")),
            ("2001:db8::1/64", Some("2001:db8::/64")),
            ("10.40.0.0/33", None),
            ("internet", None),
        ] {
            assert_eq!(IpNet::from_json(&json!(text)).ok(), network.map(|it| it.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn keys_are_32_bytes_in_standard_base64() {
        let bytes: [u8; 32] = std::array::from_fn(|i| i as u8);
        let text = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        assert_eq!(PublicKey::from_json(&json!(text)), Ok(PublicKey(bytes)));
        assert_eq!(PublicKey(bytes).to_string(), text);
        for bad in ["", "AAECAwQ=", &text[..43], "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=AAAA"] {
            assert!(PublicKey::from_json(&json!(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn errors_name_the_field_and_not_its_content() {
        let value = json!({ "ipv4": "private.example.net" });
        let error = Object::of(&value).unwrap().required::<Ipv4Addr>("ipv4").unwrap_err();
        assert_eq!(error.to_string(), "`ipv4`: expected an IPv4 address");
    }

    #[test]
    fn malformed_list_entries_are_skipped() {
        let value = json!({ "ids": ["x", "00000000-0000-0000-0000-000000000001", null, 7] });
        let object = Object::of(&value).unwrap();
        assert_eq!(object.valid_entries::<RelayId>("ids"), [RelayId::from_u128(1)]);
        assert!(object.valid_entries::<RelayId>("absent").is_empty());
        let value = json!({ "ids": "not a list" });
        assert!(Object::of(&value).unwrap().valid_entries::<RelayId>("ids").is_empty());
    }

    #[test]
    fn member_is_found_under_its_current_or_older_name() {
        for value in [json!({ "new": "a" }), json!({ "old": "a" }), json!({ "new": "a", "old": "b" })] {
            assert_eq!(Object::of(&value).unwrap().required_or_older::<String>("new", "old"), Ok("a".to_owned()));
        }
        assert!(Object::of(&json!({})).unwrap().required_or_older::<String>("new", "old").is_err());
    }
}
