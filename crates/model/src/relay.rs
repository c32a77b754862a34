//! STUN/TURN relays as the portal lists them.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

use serde_json::Value;

use crate::{
    RelayId, Secret,
    json::{FromJson, Malformed, Object},
};

/// One relay, with the addresses of both families.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relay {
    /// The id, which changes when the relay restarts.
    pub id: RelayId,
    /// The IPv4 address and port.
    pub v4: Option<SocketAddrV4>,
    /// The IPv6 address and port.
    pub v6: Option<SocketAddrV6>,
    /// TURN user name. Opaque; contains a colon.
    pub username: String,
    /// TURN password. Opaque.
    pub password: Secret,
}

/// One entry of the portal's list: the address of a relay in one family.
struct Entry(Relay);

impl Relay {
    /// Parses the list `key` of `object`. A relay with both families has two entries with the same id, in either order.
    #[must_use]
    pub fn list(object: &Object<'_>, key: &'static str) -> Vec<Self> {
        let mut relays: Vec<Self> = Vec::new();
        for Entry(entry) in object.valid_entries(key) {
            match relays.iter_mut().find(|relay| relay.id == entry.id) {
                None => relays.push(entry),
                Some(relay) => relay.merge(entry),
            }
        }
        relays
    }

    fn merge(&mut self, other: Self) {
        if (&self.username, &self.password) != (&other.username, &other.password) {
            tracing::warn!(relay = %self.id, "skipping a relay entry with different credentials");
            return;
        }
        if (self.v4.is_some() && other.v4.is_some()) || (self.v6.is_some() && other.v6.is_some()) {
            tracing::warn!(relay = %self.id, "skipping a second relay address of the same family");
        }
        self.v4 = self.v4.or(other.v4);
        self.v6 = self.v6.or(other.v6);
    }
}

impl FromJson for Entry {
    fn from_json(value: &Value) -> Result<Self, Malformed> {
        let object = Object::of(value)?;
        if object.required::<String>("type")? != "turn" {
            return Err(Malformed::expected("`turn`").at("type"));
        }
        let address: SocketAddr = object
            .required::<String>("addr")?
            .parse()
            .map_err(|_| Malformed::expected("an IP address with port").at("addr"))?;
        let (v4, v6) = match address {
            SocketAddr::V4(v4) => (Some(v4), None),
            SocketAddr::V6(v6) => (None, Some(v6)),
        };
        Ok(Self(Relay {
            id: object.required("id")?,
            v4,
            v6,
            username: object.required("username")?,
            password: object.required("password")?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(id: u128, addr: &str, password: &str) -> Value {
        json!({ "id": RelayId::from_u128(id), "type": "turn", "addr": addr, "username": "1800000000:salt",
            "password": password, "expires_at": 1_800_000_000 })
    }

    fn list(entries: &[Value]) -> Vec<Relay> {
        let value = json!({ "relays": entries });
        Relay::list(&Object::of(&value).unwrap(), "relays")
    }

    fn relay(id: u128, v4: Option<&str>, v6: Option<&str>) -> Relay {
        Relay {
            id: RelayId::from_u128(id),
            v4: v4.map(|it| it.parse().unwrap()),
            v6: v6.map(|it| it.parse().unwrap()),
            username: "1800000000:salt".to_owned(),
            password: "secret".into(),
        }
    }

    #[test]
    fn relay_entries_of_both_families_are_merged_in_either_order() {
        let v4 = entry(1, "203.0.113.9:3478", "secret");
        let v6 = entry(1, "[2001:db8::9]:3478", "secret");
        let other = entry(2, "198.51.100.7:3478", "secret");
        let both = relay(1, Some("203.0.113.9:3478"), Some("[2001:db8::9]:3478"));
        let second = relay(2, Some("198.51.100.7:3478"), None);
        assert_eq!(list(&[v4.clone(), v6.clone(), other.clone()]), [both.clone(), second.clone()]);
        assert_eq!(list(&[v6, other, v4]), [both, second]);
    }

    #[test]
    fn relay_with_one_family_is_accepted() {
        assert_eq!(list(&[entry(1, "203.0.113.9:3478", "secret")]), [relay(1, Some("203.0.113.9:3478"), None)]);
        assert_eq!(list(&[entry(1, "[2001:db8::9]:3478", "secret")]), [relay(1, None, Some("[2001:db8::9]:3478"))]);
    }

    #[test]
    fn second_address_of_a_family_and_other_credentials_are_skipped() {
        let first = entry(1, "203.0.113.9:3478", "secret");
        let only = relay(1, Some("203.0.113.9:3478"), None);
        assert_eq!(list(&[first.clone(), entry(1, "203.0.113.10:3478", "secret")]), std::slice::from_ref(&only));
        assert_eq!(list(&[first, entry(1, "[2001:db8::9]:3478", "other")]), [only]);
    }

    #[test]
    fn unknown_relay_types_and_malformed_entries_are_skipped() {
        let good = entry(1, "203.0.113.9:3478", "secret");
        let mut stun = entry(2, "203.0.113.10:3478", "secret");
        stun["type"] = json!("stun");
        let mut nameless = entry(3, "203.0.113.11:3478", "secret");
        nameless["username"] = Value::Null;
        let no_port = entry(4, "203.0.113.12", "secret");
        assert_eq!(list(&[stun, nameless, good, no_port, json!("relay")]), [relay(1, Some("203.0.113.9:3478"), None)]);
    }
}
