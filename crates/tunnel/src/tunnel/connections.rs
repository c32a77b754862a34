//! Events of the connection layer, and the end of connections with peers of both kinds.

use std::time::Instant;

use connection::Event as ConnectionEvent;
use ip_packet::control;
use model::{PeerId, ToPortal};

use super::{Event, Tunnel};
use crate::access::Target;

impl Tunnel {
    /// Handles an event of the connection layer.
    pub(super) fn handle_connection_event(&mut self, event: ConnectionEvent, now: Instant) {
        match event {
            ConnectionEvent::Candidates { peer, candidates } => {
                self.events.push_back(Event::ToPortal(ToPortal::NewIceCandidates { peer, candidates }));
            }
            ConnectionEvent::InvalidateCandidates { peer, candidates } => {
                self.events.push_back(Event::ToPortal(ToPortal::InvalidateIceCandidates { peer, candidates }));
            }
            ConnectionEvent::Established(peer) => {
                tracing::debug!(%peer, "connected");
                self.handle_established(peer, now);
            }
            ConnectionEvent::SessionReady(peer) => self.send_held(peer, now),
            ConnectionEvent::Failed(peer, reason) => {
                tracing::debug!(%peer, ?reason, "the connection failed");
                self.handle_failed(peer, now);
            }
            ConnectionEvent::Closed(peer) => self.forget_peer(peer),
            ConnectionEvent::NewKeyNeeded(_) => self.events.push_back(Event::NewKeyNeeded),
            ConnectionEvent::NoRelays => {
                if self.relay_requests.handle_last_relay_lost(now) {
                    self.events.push_back(Event::ToPortal(ToPortal::NoRelays));
                }
            }
        }
    }

    /// Closes a connection with a goodbye.
    pub(super) fn close_peer(&mut self, peer: PeerId, now: Instant) {
        self.node.close(peer, &control::goodbye(), now);
        self.forget_peer(peer);
    }

    /// Removes a closed connection and all access that depended on it.
    pub(super) fn forget_peer(&mut self, peer: PeerId) {
        match peer {
            PeerId::Gateway(gateway) => self.forget_gateway(gateway),
            PeerId::Client(client) => self.forget_client(client),
        }
    }

    fn handle_established(&mut self, id: PeerId, now: Instant) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        peer.set_connected();
        match id {
            PeerId::Gateway(gateway) => self.update_site_status(gateway),
            PeerId::Client(_) => self.published_devices.mark_stale(),
        }
        self.send_held(id, now);
    }

    fn handle_failed(&mut self, peer: PeerId, now: Instant) {
        match peer {
            PeerId::Gateway(gateway) => {
                for resource in self.lose_gateway(gateway, now) {
                    self.request_access(Target::Resource(resource));
                }
            }
            PeerId::Client(client) => self.forget_client(client),
        }
    }
}
