//! Records with one definition for two forms: a dictionary (`a{sv}`) on the bus, an object in JSON.
//!
//! The field's name is its key in JSON. Its key on the bus is the same word, or is written in brackets behind the name.
//! Missing and unknown keys are accepted in both forms, because the contract grows.

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, MapAccess},
    ser::SerializeMap,
};
use zbus::zvariant::{Type, as_value};

/// Defines such a record. `as CODEC` behind a type replaces [`Plain`].
macro_rules! dictionary {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident {
            $($(#[$doc:meta])* $field:ident $([$key:literal])?: $type:ty $(as $codec:ident)?,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, PartialEq, Eq, Debug, Default)]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)+
        }

        impl zbus::zvariant::Type for $name {
            const SIGNATURE: &'static zbus::zvariant::Signature =
                <std::collections::BTreeMap<String, zbus::zvariant::OwnedValue> as zbus::zvariant::Type>::SIGNATURE;
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use $crate::dictionary::{Codec, codec, key};
                let is_json = serializer.is_human_readable();
                let mut map = serializer.serialize_map(None)?;
                $(
                    if is_json {
                        <codec!($($codec)?) as Codec<$type>>::to_json(&mut map, stringify!($field), &self.$field)?;
                    } else {
                        <codec!($($codec)?) as Codec<$type>>::to_bus(&mut map, key!($field $($key)?), &self.$field)?;
                    }
                )+
                serde::ser::SerializeMap::end(map)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields {
                    is_json: bool,
                }

                impl<'de> serde::de::Visitor<'de> for Fields {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a dictionary")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        use $crate::dictionary::{Codec, codec, key};
                        let mut it = $name::default();
                        while let Some(key) = map.next_key::<String>()? {
                            match (self.is_json, key.as_str()) {
                                $(
                                    (true, stringify!($field)) => {
                                        it.$field = <codec!($($codec)?) as Codec<$type>>::from_json(&mut map)?;
                                    }
                                    (false, key!($field $($key)?)) => {
                                        it.$field = <codec!($($codec)?) as Codec<$type>>::from_bus(&mut map)?;
                                    }
                                )+
                                (true, _) => drop(map.next_value::<serde::de::IgnoredAny>()?),
                                (false, _) => drop(map.next_value::<zbus::zvariant::OwnedValue>()?),
                            }
                        }
                        Ok(it)
                    }
                }

                let is_json = deserializer.is_human_readable();
                deserializer.deserialize_map(Fields { is_json })
            }
        }
    };
}

/// The codec of a field.
macro_rules! codec {
    () => {
        $crate::dictionary::Plain
    };
    ($codec:ident) => {
        $crate::dictionary::$codec
    };
}

/// The key of a field on the bus.
macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

pub(crate) use {codec, dictionary, key};

/// How a field is written in both forms, and read.
pub(crate) trait Codec<T: Serialize + DeserializeOwned> {
    fn to_bus<M: SerializeMap>(map: &mut M, key: &str, field: &T) -> Result<(), M::Error>;

    fn from_bus<'de, A: MapAccess<'de>>(map: &mut A) -> Result<T, A::Error>;

    fn to_json<M: SerializeMap>(map: &mut M, key: &str, field: &T) -> Result<(), M::Error> {
        map.serialize_entry(key, field)
    }

    fn from_json<'de, A: MapAccess<'de>>(map: &mut A) -> Result<T, A::Error> {
        map.next_value()
    }
}

/// The value itself. `None` is absent on the bus, and `null` in JSON.
pub(crate) struct Plain;

/// `None` is the empty text in both forms.
pub(crate) struct EmptyIfNone;

/// An empty list is absent on the bus, and an empty list in JSON.
pub(crate) struct AbsentIfEmpty;

/// Absent in JSON.
pub(crate) struct BusOnly;

impl<T: Type + Serialize + DeserializeOwned + 'static> Codec<Option<T>> for Plain {
    fn to_bus<M: SerializeMap>(map: &mut M, key: &str, field: &Option<T>) -> Result<(), M::Error> {
        field.as_ref().map_or(Ok(()), |field| map.serialize_entry(key, &as_value::Serialize(field)))
    }

    fn from_bus<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<T>, A::Error> {
        value(map).map(Some)
    }
}

impl<T: Type + Serialize + DeserializeOwned + 'static> Codec<Vec<T>> for Plain {
    fn to_bus<M: SerializeMap>(map: &mut M, key: &str, field: &Vec<T>) -> Result<(), M::Error> {
        map.serialize_entry(key, &as_value::Serialize(field))
    }

    fn from_bus<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Vec<T>, A::Error> {
        value(map)
    }
}

/// Makes [`Plain`] the codec of a type that is neither optional nor a list.
macro_rules! plain {
    ($($type:ty),+) => {
        $(
            impl $crate::dictionary::Codec<$type> for $crate::dictionary::Plain {
                fn to_bus<M: serde::ser::SerializeMap>(map: &mut M, key: &str, field: &$type) -> Result<(), M::Error> {
                    map.serialize_entry(key, &zbus::zvariant::as_value::Serialize(field))
                }

                fn from_bus<'de, A: serde::de::MapAccess<'de>>(map: &mut A) -> Result<$type, A::Error> {
                    $crate::dictionary::value(map)
                }
            }
        )+
    };
}

pub(crate) use plain;

plain!(String, u64, bool);

impl<T> Codec<Option<T>> for EmptyIfNone
where
    T: Serialize + DeserializeOwned + AsRef<str> + for<'a> From<&'a str>,
{
    fn to_bus<M: SerializeMap>(map: &mut M, key: &str, field: &Option<T>) -> Result<(), M::Error> {
        map.serialize_entry(key, &as_value::Serialize(&text(field)))
    }

    fn from_bus<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<T>, A::Error> {
        value::<String, _>(map).map(|text| none_if_empty(&text))
    }

    fn to_json<M: SerializeMap>(map: &mut M, key: &str, field: &Option<T>) -> Result<(), M::Error> {
        map.serialize_entry(key, text(field))
    }

    fn from_json<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<T>, A::Error> {
        map.next_value::<String>().map(|text| none_if_empty(&text))
    }
}

impl<T: Type + Serialize + DeserializeOwned + 'static> Codec<Vec<T>> for AbsentIfEmpty {
    fn to_bus<M: SerializeMap>(map: &mut M, key: &str, field: &Vec<T>) -> Result<(), M::Error> {
        if field.is_empty() { Ok(()) } else { Plain::to_bus(map, key, field) }
    }

    fn from_bus<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Vec<T>, A::Error> {
        Plain::from_bus(map)
    }
}

impl<T: Serialize + DeserializeOwned> Codec<T> for BusOnly
where
    Plain: Codec<T>,
{
    fn to_bus<M: SerializeMap>(map: &mut M, key: &str, field: &T) -> Result<(), M::Error> {
        Plain::to_bus(map, key, field)
    }

    fn from_bus<'de, A: MapAccess<'de>>(map: &mut A) -> Result<T, A::Error> {
        Plain::from_bus(map)
    }

    fn to_json<M: SerializeMap>(_map: &mut M, _key: &str, _field: &T) -> Result<(), M::Error> {
        Ok(())
    }
}

/// The value of the key that was just read, without its variant.
pub(crate) fn value<'de, T: Type + Deserialize<'de> + 'static, A: MapAccess<'de>>(map: &mut A) -> Result<T, A::Error> {
    map.next_value::<as_value::Deserialize<'de, T>>().map(|it| it.0)
}

/// The word, or nothing if the text is empty.
pub(crate) fn none_if_empty<T: for<'a> From<&'a str>>(text: &str) -> Option<T> {
    (!text.is_empty()).then(|| T::from(text))
}

fn text<T: AsRef<str>>(field: &Option<T>) -> &str {
    field.as_ref().map_or("", AsRef::as_ref)
}

#[cfg(test)]
mod tests {
    use zbus::zvariant::{LE, serialized::Context, to_bytes};

    use crate::{
        Gateway, Reason, Resource, State, Status,
        resources::{Condition, Refusal},
        status::PathKind,
    };

    fn status() -> Status {
        Status {
            generation: 7,
            state: State::Connecting,
            reason: None,
            actor_name: Some("Anna".to_owned()),
            portal_error: Some(Reason::PortalTls),
            gateways: Some(vec![Gateway {
                path: PathKind::Direct,
                last_handshake_seconds: Some(3),
                round_trip_microseconds: Some(4),
                ..Gateway::default()
            }]),
            ..Status::default()
        }
    }

    #[test]
    fn a_record_survives_the_bus() {
        for sent in [status(), Status::default()] {
            let bytes = to_bytes(Context::new_dbus(LE, 0), &sent).unwrap();
            let (received, _): (Status, _) = bytes.deserialize().unwrap();
            assert_eq!(received, sent);
        }
    }

    #[test]
    fn keys_on_the_bus_and_in_json_are_those_of_the_contract() {
        use std::collections::BTreeMap;
        use zbus::zvariant::OwnedValue;

        let bytes = to_bytes(Context::new_dbus(LE, 0), &status()).unwrap();
        let (received, _): (BTreeMap<String, OwnedValue>, _) = bytes.deserialize().unwrap();
        let keys: Vec<&str> = received.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            ["actor-name", "gateways", "generation", "portal", "portal-error", "reason", "state", "warnings"]
        );
        assert_eq!(String::try_from(received["reason"].clone()).unwrap(), "");

        let json = serde_json::to_value(status()).unwrap();
        let gateway = serde_json::json!({
            "id": "", "path": "direct", "last_handshake_seconds": 3, "sent_bytes": null, "received_bytes": null
        });
        assert_eq!(json["gateways"][0], gateway);
        let some = (&json["reason"], &json["portal_error"], &json["account_slug"], json.get("generation"));
        assert_eq!(some, (&"".into(), &"portal_tls".into(), &serde_json::Value::Null, None));
    }

    #[test]
    fn an_empty_list_of_conditions_is_absent_on_the_bus_only() {
        let open = Resource { refusal: Some(Refusal::Forbidden), ..Resource::default() };
        let closed = Resource { violated: vec![Condition::RemoteIp], ..open.clone() };
        for (sent, json) in [(open, "[]"), (closed, "[\"remote_ip\"]")] {
            let bytes = to_bytes(Context::new_dbus(LE, 0), &sent).unwrap();
            let is_there = bytes.windows(b"violated".len()).any(|it| it == b"violated");
            assert_eq!(is_there, !sent.violated.is_empty());
            assert_eq!(bytes.deserialize::<Resource>().unwrap().0, sent);
            assert_eq!(serde_json::to_value(&sent).unwrap()["violated"].to_string(), json);
        }
    }

    #[test]
    fn unknown_keys_and_words_are_accepted_in_json() {
        let json = r#"{"state":"dreaming","new":{"a":[1]},"reason":"","gateways":null}"#;
        let status: Status = serde_json::from_str(json).unwrap();
        assert_eq!(status, Status { state: State::Other("dreaming".to_owned()), ..Status::default() });
    }
}
