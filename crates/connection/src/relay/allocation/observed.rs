//! Addresses of this host that a relay observed.

use std::net::SocketAddr;

use crate::ice::LocalCandidate;

/// The addresses of one family in a binding response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ObservedAddresses {
    /// The local address that received the response.
    pub(super) host: SocketAddr,
    /// The source address of the request as the relay saw it.
    pub(super) mapped: Option<SocketAddr>,
}

impl ObservedAddresses {
    pub(super) fn candidates(self) -> impl Iterator<Item = LocalCandidate> {
        let base = self.host;
        let mapped = self.mapped.map(|address| LocalCandidate::ServerReflexive { address, base });
        [Some(LocalCandidate::Host(self.host)), mapped].into_iter().flatten().filter(|it| it.to_candidate().is_some())
    }
}
