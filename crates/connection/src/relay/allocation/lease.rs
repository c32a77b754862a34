//! The addresses allocated on a relay.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::ice::LocalCandidate;

/// The allocated addresses and their lifetime.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    pub(super) v4: Option<SocketAddr>,
    pub(super) v6: Option<SocketAddr>,
    pub(super) local: SocketAddr,
    pub(super) since: Instant,
    pub(super) lifetime: Duration,
    /// Whether a renewal was requested in the second half of the lifetime.
    pub(super) renewal_tried: bool,
}

impl Lease {
    pub(super) fn candidates(self) -> Vec<LocalCandidate> {
        let local = self.local;
        [self.v4, self.v6].into_iter().flatten().map(|address| LocalCandidate::Relayed { address, local }).collect()
    }

    pub(super) fn address_of_family(self, ip: IpAddr) -> Option<SocketAddr> {
        if ip.is_ipv4() { self.v4 } else { self.v6 }
    }

    pub(super) fn half_life(self) -> Instant {
        self.since + self.lifetime / 2
    }

    pub(super) fn expiry(self) -> Instant {
        self.since + self.lifetime
    }
}
