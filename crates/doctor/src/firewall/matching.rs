//! Whether a packet is what a rule is about.

use std::net::Ipv4Addr;

use serde_json::Value;

/// Whether something is so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Truth {
    Yes,
    No,
    Perhaps,
}

/// A question about a name: the first packet of a machine behind an interface to an address of ours, UDP over IPv4.
#[derive(Clone, Debug)]
pub(crate) struct Packet<'a> {
    /// Where it comes in.
    pub(crate) interface: &'a str,
    /// From which network: its address and the length of its prefix.
    pub(crate) from: (Ipv4Addr, u8),
    /// Which address of ours it is for.
    pub(crate) to: Ipv4Addr,
}

/// Something about the packet that rules ask for.
pub(super) enum Property {
    /// It is called so; numbers are words, too.
    Words(Vec<String>),
    /// It is an address in this network, and it could be any.
    Network(Ipv4Addr, u8),
    /// Several of these at once.
    All(Vec<Property>),
    /// Packets of this kind have no such thing.
    Nothing,
    /// Nobody knows.
    Unknown,
}

impl Truth {
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Perhaps,
        }
    }

    fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }

    pub(super) fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Perhaps => Self::Perhaps,
        }
    }
}

impl Packet<'_> {
    /// What the left side of a rule asks for.
    pub(super) fn property(&self, left: &Value) -> Property {
        let words = |words: &[&str]| Property::Words(words.iter().map(|it| (*it).to_owned()).collect());
        if let Some(all) = left["concat"].as_array() {
            return Property::All(all.iter().map(|it| self.property(it)).collect());
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let Some(key) = left["meta"]["key"].as_str() {
            return match key {
                "iif" | "iifname" => words(&[self.interface]),
                "iifkind" => words(&["bridge"]),
                "l4proto" => words(&["udp", "17"]),
                "nfproto" => words(&["ipv4", "2"]),
                "protocol" => words(&["ip", "8"]),
                "pkttype" => words(&["host", "unicast"]),
                _ => Property::Unknown,
            };
        }
        if let Some(key) = left["ct"]["key"].as_str() {
            return match key {
                "state" => words(&["new"]),
                "direction" => words(&["original"]),
                // Nobody has sent it elsewhere.
                "status" => words(&[]),
                _ => Property::Unknown,
            };
        }
        if left["fib"]["result"] == "type" && left["fib"]["flags"] == serde_json::json!(["daddr"]) {
            return words(&["local"]);
        }
        match (text(&left["payload"]["protocol"]).as_str(), text(&left["payload"]["field"]).as_str()) {
            ("ip", "protocol") => words(&["udp", "17"]),
            ("ip", "version") => words(&["4"]),
            ("ip", "saddr") => Property::Network(self.from.0, self.from.1),
            ("ip", "daddr") => Property::Network(self.to, 32),
            ("udp" | "th", "dport") => words(&["53", "domain"]),
            ("ip6" | "tcp" | "icmp" | "icmpv6" | "sctp" | "dccp" | "udplite", _) => Property::Nothing,
            _ => Property::Unknown,
        }
    }
}

/// Whether what the packet has is one of what the right side of a rule lists. `set` knows named sets.
pub(super) fn is_one_of<'a>(property: &Property, right: &'a Value, set: &dyn Fn(&str) -> Option<&'a Value>) -> Truth {
    let any = |list: &'a [Value]| list.iter().fold(Truth::No, |all, it| all.or(is_one_of(property, it, set)));
    if let Value::String(name) = right
        && let Some(name) = name.strip_prefix('@')
    {
        return match set(name) {
            Some(Value::Array(list)) => any(list),
            // Empty, or not there.
            Some(Value::Null) => Truth::No,
            Some(_) | None => Truth::Perhaps,
        };
    }
    if let Some(list) = right.as_array().or_else(|| right["set"].as_array()) {
        return any(list);
    }
    if let Some(element) = right["elem"].get("val") {
        // What is set for a while may have gone.
        return is_one_of(property, element, set).and(Truth::Perhaps);
    }
    match property {
        Property::Unknown => Truth::Perhaps,
        Property::Nothing => Truth::No,
        Property::All(all) => match right["concat"].as_array() {
            Some(list) if list.len() == all.len() => {
                all.iter().zip(list).fold(Truth::Yes, |is, (it, right)| is.and(is_one_of(it, right, set)))
            }
            _ => Truth::Perhaps,
        },
        Property::Words(words) => is_called(words, right),
        Property::Network(address, length) => is_in(*address, *length, right),
    }
}

fn is_called(words: &[String], right: &Value) -> Truth {
    let truth = |is: bool| if is { Truth::Yes } else { Truth::No };
    let number = || words.iter().find_map(|it| it.parse::<u64>().ok());
    match right {
        Value::String(text) => match text.strip_suffix('*') {
            Some(beginning) => truth(words.iter().any(|it| it.starts_with(beginning))),
            None => truth(words.iter().any(|it| it == text)),
        },
        Value::Number(it) => match number() {
            Some(number) => truth(it.as_u64() == Some(number)),
            None => Truth::Perhaps,
        },
        _ => match (right["range"][0].as_u64(), right["range"][1].as_u64(), number()) {
            (Some(from), Some(to), Some(number)) => truth((from..=to).contains(&number)),
            _ => Truth::Perhaps,
        },
    }
}

/// Compares networks as the ranges of their addresses.
fn is_in(address: Ipv4Addr, length: u8, right: &Value) -> Truth {
    let range = |address: Ipv4Addr, length: u8| {
        let host = u32::MAX.checked_shr(length.into()).unwrap_or_default();
        (address.to_bits() & !host, address.to_bits() | host)
    };
    let parse = |value: &Value| value.as_str()?.parse::<Ipv4Addr>().ok();
    let prefix = &right["prefix"];
    let theirs = match (parse(right), parse(&prefix["addr"]), prefix["len"].as_u64()) {
        (Some(one), ..) => Some(range(one, 32)),
        (_, Some(address), Some(length)) => u8::try_from(length).ok().map(|length| range(address, length)),
        _ => match (parse(&right["range"][0]), parse(&right["range"][1])) {
            (Some(from), Some(to)) => Some((from.to_bits(), to.to_bits())),
            _ => None,
        },
    };
    let ours = range(address, length);
    match theirs {
        Some((from, to)) if from <= ours.0 && ours.1 <= to => Truth::Yes,
        Some((from, to)) if ours.1 < from || to < ours.0 => Truth::No,
        _ => Truth::Perhaps,
    }
}
