//! The state of another client.

use std::time::Instant;

use super::{flows::Flows, grants::Grants};

/// What is known about another client, besides its identity.
#[derive(Debug, Default)]
pub(crate) struct Client {
    name: Option<String>,
    /// The flows that it may initiate.
    pub(crate) grants: Grants,
    /// The current flows with it.
    pub(crate) flows: Flows,
}

impl Client {
    /// Its display name.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Sets its display name; `None` keeps the known one.
    pub(crate) fn set_name(&mut self, name: Option<String>) {
        self.name = name.or(self.name.take());
    }

    /// Removes expired grants and flows.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.grants.handle_timeout(now);
        self.flows.handle_timeout(now);
    }

    /// When the next grant or flow expires.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.grants.poll_timeout(), self.flows.poll_timeout()].into_iter().flatten().min()
    }
}
