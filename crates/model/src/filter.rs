//! The traffic filters of a resource.

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::json::Object;

/// One kind of permitted traffic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Filter {
    /// TCP to these destination ports.
    Tcp(RangeInclusive<u16>),
    /// UDP to these destination ports.
    Udp(RangeInclusive<u16>),
    /// ICMP and ICMPv6.
    Icmp,
    /// An unknown or malformed filter. It matches nothing, and keeps its list from being empty, because an empty list
    /// permits everything.
    Unknown,
}

/// The filters of one resource. An empty list permits everything; any other list permits only its entries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filters(Vec<Filter>);

/// The protocol and destination port of a packet from the client to the resource.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// TCP with its destination port.
    Tcp(u16),
    /// UDP with its destination port.
    Udp(u16),
    /// ICMP or ICMPv6.
    Icmp,
    /// Any other protocol.
    Other,
}

impl Filters {
    /// Whether the filters permit this traffic.
    #[must_use]
    pub fn permit(&self, protocol: Protocol) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|filter| match (filter, protocol) {
                (Filter::Tcp(ports), Protocol::Tcp(port)) | (Filter::Udp(ports), Protocol::Udp(port)) => {
                    ports.contains(&port)
                }
                (Filter::Icmp, Protocol::Icmp) => true,
                (Filter::Tcp(_) | Filter::Udp(_) | Filter::Icmp | Filter::Unknown, _) => false,
            })
    }
}

impl FromIterator<Filter> for Filters {
    fn from_iter<I: IntoIterator<Item = Filter>>(filters: I) -> Self {
        Self(filters.into_iter().collect())
    }
}

impl Filters {
    /// Parses the member `filters` of `object`.
    ///
    /// An absent or empty list permits everything. A malformed entry becomes [`Filter::Unknown`], so that it never makes a
    /// list empty.
    #[must_use]
    pub fn of(object: &Object<'_>) -> Self {
        let Some(value) = object.raw("filters") else { return Self::default() };
        let Some(entries) = value.as_array() else { return Self(vec![Filter::Unknown]) };
        entries.iter().map(Filter::from_json).collect()
    }
}

impl Filter {
    fn from_json(value: &Value) -> Self {
        match value.get("protocol").and_then(Value::as_str) {
            Some("tcp") => ports(value).map_or(Self::Unknown, Self::Tcp),
            Some("udp") => ports(value).map_or(Self::Unknown, Self::Udp),
            Some("icmp") => Self::Icmp,
            Some(_) | None => Self::Unknown,
        }
    }
}

/// The port range; an absent bound means the lowest or the highest port.
fn ports(filter: &Value) -> Option<RangeInclusive<u16>> {
    let bound = |key, default| match filter.get(key) {
        None => Some(default),
        Some(bound) => bound.as_u64()?.try_into().ok(),
    };
    Some(bound("port_range_start", 0)?..=bound("port_range_end", u16::MAX)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filters(value: Value) -> Filters {
        let resource = json!({ "filters": value });
        Filters::of(&Object::of(&resource).unwrap())
    }

    #[test]
    fn empty_or_absent_filter_list_permits_everything() {
        assert_eq!(filters(json!([])), Filters::default());
        assert_eq!(Filters::of(&Object::of(&json!({})).unwrap()), Filters::default());
        assert!(Filters::default().permit(Protocol::Other));
    }

    #[test]
    fn filter_list_permits_only_its_entries() {
        let it = filters(json!([
            { "protocol": "tcp", "port_range_start": 80, "port_range_end": 443 },
            { "protocol": "udp" },
            { "protocol": "icmp" },
        ]));
        for (protocol, expected) in [
            (Protocol::Tcp(79), false),
            (Protocol::Tcp(80), true),
            (Protocol::Tcp(443), true),
            (Protocol::Tcp(444), false),
            (Protocol::Udp(0), true),
            (Protocol::Udp(65535), true),
            (Protocol::Icmp, true),
            (Protocol::Other, false),
        ] {
            assert_eq!(it.permit(protocol), expected, "{protocol:?}");
        }
    }

    #[test]
    fn malformed_or_unknown_filters_permit_nothing() {
        for malformed in [
            json!([{ "protocol": "sctp" }]),
            json!([{}]),
            json!([null]),
            json!(["tcp"]),
            json!([{ "protocol": "tcp", "port_range_start": "80" }]),
            json!([{ "protocol": "tcp", "port_range_start": 70000 }]),
            json!([{ "protocol": "tcp", "port_range_start": null }]),
            json!([{ "protocol": "tcp", "port_range_start": 90, "port_range_end": 80 }]),
            json!("all"),
            json!({}),
            json!(null),
        ] {
            let it = filters(malformed.clone());
            for protocol in [Protocol::Tcp(80), Protocol::Udp(80), Protocol::Icmp, Protocol::Other] {
                assert!(!it.permit(protocol), "{malformed} permits {protocol:?}");
            }
        }
    }

    #[test]
    fn unknown_filter_does_not_affect_other_entries() {
        let it = filters(json!([{ "protocol": "sctp" }, { "protocol": "icmp" }]));
        assert!(it.permit(Protocol::Icmp) && !it.permit(Protocol::Tcp(80)));
    }
}
