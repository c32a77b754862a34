//! Counters of dropped packets, by reason.

use connection::Drops;

/// Why a packet was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// Sent to a multicast group.
    Multicast,
    /// Sent before the portal assigned the interface addresses.
    NoInterface,
    /// Sent from an address other than this client's: traffic of other hosts is not routed.
    ForeignSource,
    /// Sent to this client's own address.
    OwnAddress,
    /// Sent to a sentinel that is not in use.
    Resolver,
    /// Neither TCP, UDP nor an ICMP echo, nor an ICMP error about a known flow.
    Protocol,
    /// Sent to an address that belongs to no resource.
    NoResource,
    /// Rejected by the filters of the resource; the sender got an ICMP error.
    Filtered,
    /// The connection to the peer is closed.
    NoConnection,
    /// Dropped from a full queue, or held until its connection or request failed.
    Expired,
    /// Received from an unknown peer.
    UnknownPeer,
    /// Received from a source address that the peer may not use.
    SpoofedSource,
    /// Received for an address other than this client's.
    ForeignDestination,
    /// Received from another client without a grant for it; the sender got an ICMP error.
    NotGranted,
    /// A new flow with another client while the maximum number of flows is reached.
    TooManyFlows,
    /// An unreadable or unexpected control message.
    Message,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 16] = [
        Self::Multicast,
        Self::NoInterface,
        Self::ForeignSource,
        Self::OwnAddress,
        Self::Resolver,
        Self::Protocol,
        Self::NoResource,
        Self::Filtered,
        Self::NoConnection,
        Self::Expired,
        Self::UnknownPeer,
        Self::SpoofedSource,
        Self::ForeignDestination,
        Self::NotGranted,
        Self::TooManyFlows,
        Self::Message,
    ];

    /// Its name in status output and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Multicast => "multicast",
            Self::NoInterface => "no_interface",
            Self::ForeignSource => "foreign_source",
            Self::OwnAddress => "own_address",
            Self::Resolver => "resolver",
            Self::Protocol => "protocol",
            Self::NoResource => "no_resource",
            Self::Filtered => "filtered",
            Self::NoConnection => "no_connection",
            Self::Expired => "expired",
            Self::UnknownPeer => "unknown_peer",
            Self::SpoofedSource => "spoofed_source",
            Self::ForeignDestination => "foreign_destination",
            Self::NotGranted => "not_granted",
            Self::TooManyFlows => "too_many_flows",
            Self::Message => "message",
        }
    }
}

/// Number of dropped packets, by reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DropCounters([u64; DropReason::ALL.len()]);

impl DropCounters {
    /// Number of packets that were dropped for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or_default()
    }

    /// All reasons with their counters.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.into_iter().map(|reason| (reason, self.dropped(reason)))
    }

    pub(crate) fn add(&mut self, reason: DropReason, packets: u64) {
        if let Some(counter) = self.0.get_mut(reason as usize) {
            *counter = counter.saturating_add(packets);
        }
    }
}

/// The counters of dropped datagrams, with their names in status output and metrics.
pub(crate) fn datagram_drops(drops: &Drops) -> [(&'static str, u64); 9] {
    let Drops {
        too_long,
        unrecognized,
        unknown_peer,
        forged,
        replayed,
        unknown_session,
        unsolicited,
        malformed,
        rate_limited,
    } = *drops;
    [
        ("datagram_too_long", too_long),
        ("datagram_unrecognized", unrecognized),
        ("datagram_unknown_peer", unknown_peer),
        ("datagram_forged", forged),
        ("datagram_replayed", replayed),
        ("datagram_unknown_session", unknown_session),
        ("datagram_unsolicited", unsolicited),
        ("datagram_malformed", malformed),
        ("datagram_rate_limited", rate_limited),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_drop_reason_has_its_own_counter() {
        let mut counters = DropCounters::default();
        for (count, reason) in (1..).zip(DropReason::ALL) {
            counters.add(reason, count);
        }
        assert_eq!(counters.iter().map(|(_, count)| count).collect::<Vec<_>>(), (1..=16).collect::<Vec<_>>());
    }
}
