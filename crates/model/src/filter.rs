//! Which traffic a resource lets through (`tunnel.md` 2.2).

use std::ops::RangeInclusive;

/// One thing that is let through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Filter {
    /// TCP to these destination ports.
    Tcp(RangeInclusive<u16>),
    /// UDP to these destination ports.
    Udp(RangeInclusive<u16>),
    /// ICMP and ICMPv6.
    Icmp,
    /// A filter that this version does not understand. It keeps its list from being empty, because an empty list
    /// permits everything, and matches nothing itself.
    Unknown,
}

/// The filters of one resource. An empty list permits everything; any other permits only what it names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filters(Vec<Filter>);

/// What a filter looks at: the destination of the direction client → resource.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// TCP with its destination port.
    Tcp(u16),
    /// UDP with its destination port.
    Udp(u16),
    /// ICMP or ICMPv6.
    Icmp,
    /// Anything else.
    Other,
}

impl Filters {
    /// Whether traffic of this kind is let through.
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
