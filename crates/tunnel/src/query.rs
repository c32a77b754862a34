//! Identifies DNS queries between the tunnel and its owner.

/// The id of a DNS query that waits for its [`Event::Decided`](crate::Event::Decided).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);
