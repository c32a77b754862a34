//! Connections with other clients that could not be made for lack of a relay.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use model::{ClientId, message::DeviceAccess};

/// How long a connection waits for a relay: by then the other side has timed out.
const RELAY_WAIT_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum number of waiting connections.
const MAX_POSTPONED: usize = 64;

/// Connections that wait for a relay, with their deadlines.
///
/// The other client cannot make the portal repeat the authorization, so the connection is made as soon as a relay is
/// available.
#[derive(Debug, Default)]
pub(super) struct PostponedConnections(BTreeMap<ClientId, (DeviceAccess, Instant)>);

impl PostponedConnections {
    /// Adds a connection, unless too many wait already.
    pub(super) fn insert(&mut self, access: DeviceAccess, now: Instant) {
        if self.0.len() < MAX_POSTPONED || self.0.contains_key(&access.client_id) {
            self.0.insert(access.client_id, (access, now + RELAY_WAIT_TIMEOUT));
        }
    }

    /// Removes and returns all connections.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (DeviceAccess, Instant)> + use<> {
        std::mem::take(&mut self.0).into_values()
    }

    /// Sets the deadline of a connection, if it is waiting.
    pub(super) fn set_expiry(&mut self, client: ClientId, expires_at: Instant) {
        if let Some((_, at)) = self.0.get_mut(&client) {
            *at = expires_at;
        }
    }

    /// Removes a connection.
    pub(super) fn remove(&mut self, client: ClientId) {
        self.0.remove(&client);
    }

    /// Removes all connections.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Removes the connections that timed out.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.0.retain(|_, (_, expires_at)| now < *expires_at);
    }

    /// When the next connection times out.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.values().map(|(_, expires_at)| *expires_at).min()
    }
}
