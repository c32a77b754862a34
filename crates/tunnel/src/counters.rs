//! Why packets were dropped, counted.

/// Why a packet went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Sent to a group.
    Multicast,
    /// The portal has not told us our own addresses yet.
    NoInterface,
    /// Sent from an address that is not ours: we do not route for others.
    ForeignSource,
    /// Sent to ourselves.
    OwnAddress,
    /// Sent to a resolver's address past the resolver.
    Resolver,
    /// Neither TCP nor UDP nor an echo, nor an error about a conversation that we know: no peer could do anything with it.
    Protocol,
    /// Sent to an address that is nobody's.
    NoResource,
    /// The filters of the resource forbid it; the application was told.
    Filtered,
    /// The connection to the gateway ended meanwhile.
    NoConnection,
    /// It had waited for too long in a queue that was full, or what it waited for never came.
    Expired,
    /// Received from somebody whom we do not know (any more).
    UnknownPeer,
    /// Received from a gateway that may not speak for this source.
    SpoofedSource,
    /// Received for an address that is not ours.
    ForeignDestination,
    /// Received from another client that has no grant for it; it was told.
    NotGranted,
    /// Part of one conversation more with another client than we can remember.
    TooManyFlows,
    /// A message between peers that we cannot read or did not expect.
    Message,
}

impl Reason {
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

    /// Its name in status output.
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

/// How many packets were dropped, by reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters([u64; Reason::ALL.len()]);

impl Counters {
    /// How many were dropped for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or_default()
    }

    /// All reasons with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().map(|reason| (reason, self.dropped(reason)))
    }

    pub(crate) fn count(&mut self, reason: Reason, packets: u64) {
        if let Some(counter) = self.0.get_mut(reason as usize) {
            *counter = counter.saturating_add(packets);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_counter() {
        let mut counters = Counters::default();
        for (count, reason) in (1..).zip(Reason::ALL) {
            counters.count(reason, count);
        }
        assert_eq!(counters.iter().map(|(_, count)| count).collect::<Vec<_>>(), (1..=16).collect::<Vec<_>>());
    }
}
