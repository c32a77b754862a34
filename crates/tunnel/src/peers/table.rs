//! The table of all peers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Instant,
};

use model::{ClientId, Filters, GatewayId, PeerId, ResourceId, message::InboundGrant};

use super::{client::Client, gateway::Gateway, identity::Identity};
use crate::send_queue::SendQueue;

/// All peers with a connection or a connection attempt.
#[derive(Debug, Default)]
pub(crate) struct PeerTable {
    peers: BTreeMap<PeerId, Peer>,
    by_address: BTreeMap<IpAddr, PeerId>,
}

/// One peer.
#[derive(Debug)]
pub(crate) struct Peer {
    identity: Identity,
    is_connected: bool,
    /// Packets and messages that wait for the connection.
    pub(crate) queue: SendQueue,
    /// The state of its kind.
    pub(crate) kind: PeerKind,
}

/// The state that only one kind of peers has.
#[derive(Debug)]
pub(crate) enum PeerKind {
    /// A gateway.
    Gateway(Gateway),
    /// Another client.
    Client(Client),
}

impl PeerTable {
    /// Adds a peer or updates its identity. A client's grants survive a new key; its flows survive unless it has other
    /// addresses.
    pub(crate) fn upsert(&mut self, id: PeerId, identity: Identity) -> &mut Peer {
        let addresses = identity.addresses();
        if self.peers.get(&id).is_some_and(|known| known.addresses() != addresses) {
            self.by_address.retain(|_, owner| *owner != id);
        }
        self.by_address.extend(addresses.map(|address| (address, id)));
        let peer = self.peers.entry(id).or_insert_with(|| Peer::new(id, identity.clone()));
        peer.set_identity(identity);
        peer
    }

    /// Removes a peer.
    pub(crate) fn remove(&mut self, id: PeerId) -> Option<Peer> {
        self.by_address.retain(|_, owner| *owner != id);
        self.peers.remove(&id)
    }

    /// A known peer.
    pub(crate) fn get(&self, id: PeerId) -> Option<&Peer> {
        self.peers.get(&id)
    }

    /// A known peer.
    pub(crate) fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(&id)
    }

    /// A known gateway.
    pub(crate) fn gateway_mut(&mut self, id: GatewayId) -> Option<&mut Gateway> {
        match &mut self.get_mut(PeerId::Gateway(id))?.kind {
            PeerKind::Gateway(gateway) => Some(gateway),
            PeerKind::Client(_) => None,
        }
    }

    /// A known gateway.
    pub(crate) fn gateway(&self, id: GatewayId) -> Option<&Gateway> {
        match &self.get(PeerId::Gateway(id))?.kind {
            PeerKind::Gateway(gateway) => Some(gateway),
            PeerKind::Client(_) => None,
        }
    }

    /// A known client.
    pub(crate) fn client_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        match &mut self.get_mut(PeerId::Client(id))?.kind {
            PeerKind::Client(client) => Some(client),
            PeerKind::Gateway(_) => None,
        }
    }

    /// A known client.
    pub(crate) fn client(&self, id: ClientId) -> Option<&Client> {
        match &self.get(PeerId::Client(id))?.kind {
            PeerKind::Client(client) => Some(client),
            PeerKind::Gateway(_) => None,
        }
    }

    /// The peer that has this address in the tunnel.
    pub(crate) fn owner(&self, address: IpAddr) -> Option<PeerId> {
        self.by_address.get(&address).copied()
    }

    /// The ids of all peers.
    pub(crate) fn ids(&self) -> Vec<PeerId> {
        self.peers.keys().copied().collect()
    }

    /// The ids of all gateways.
    pub(crate) fn gateway_ids(&self) -> BTreeSet<GatewayId> {
        self.peers.keys().filter_map(gateway_id).collect()
    }

    /// The gateways with an established connection.
    pub(crate) fn connected_gateways(&self) -> impl Iterator<Item = GatewayId> {
        self.peers.iter().filter(|(_, peer)| peer.is_connected).filter_map(|(id, _)| gateway_id(id))
    }

    /// The clients with an established connection.
    pub(crate) fn connected_clients(&self) -> impl Iterator<Item = (ClientId, &Peer, &Client)> {
        self.peers.iter().filter(|(_, peer)| peer.is_connected).filter_map(|(id, peer)| match (id, &peer.kind) {
            (PeerId::Client(id), PeerKind::Client(client)) => Some((*id, peer, client)),
            (PeerId::Client(_) | PeerId::Gateway(_), PeerKind::Client(_) | PeerKind::Gateway(_)) => None,
        })
    }

    /// Changes the filters of all clients' grants for a resource.
    pub(crate) fn set_filters(&mut self, resource: ResourceId, filters: &Filters) {
        self.clients_mut().for_each(|(_, client)| client.grants.set_filters(resource, filters));
    }

    /// Keeps only the listed grants of all clients. `deadline` converts their expiry.
    pub(crate) fn resync_grants(&mut self, grants: &[InboundGrant], deadline: impl Fn(u64) -> Instant) {
        for (id, client) in self.clients_mut() {
            let listed = grants.iter().filter(|grant| grant.client == id);
            client.grants.resync(&listed.map(|grant| (grant.resource, deadline(grant.expires_at))).collect());
        }
    }

    /// Removes expired grants and flows.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.clients_mut().for_each(|(_, client)| client.handle_timeout(now));
    }

    /// When the next grant or flow expires.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let deadline = |peer: &Peer| match &peer.kind {
            PeerKind::Client(client) => client.poll_timeout(),
            PeerKind::Gateway(_) => None,
        };
        self.peers.values().filter_map(deadline).min()
    }

    fn clients_mut(&mut self) -> impl Iterator<Item = (ClientId, &mut Client)> {
        self.peers.iter_mut().filter_map(|(id, peer)| match (id, &mut peer.kind) {
            (PeerId::Client(id), PeerKind::Client(client)) => Some((*id, client)),
            (PeerId::Client(_) | PeerId::Gateway(_), PeerKind::Client(_) | PeerKind::Gateway(_)) => None,
        })
    }
}

impl Peer {
    fn new(id: PeerId, identity: Identity) -> Self {
        let kind = match id {
            PeerId::Gateway(_) => PeerKind::Gateway(Gateway::default()),
            PeerId::Client(_) => PeerKind::Client(Client::default()),
        };
        Self { identity, is_connected: false, queue: SendQueue::default(), kind }
    }

    /// Whether the peer has exactly this identity.
    pub(crate) fn has_identity(&self, identity: &Identity) -> bool {
        self.identity == *identity
    }

    /// Marks the connection as established.
    pub(crate) fn set_connected(&mut self) {
        self.is_connected = true;
    }

    /// Its addresses in the tunnel: IPv4, IPv6.
    pub(crate) fn addresses(&self) -> [IpAddr; 2] {
        self.identity.addresses()
    }

    /// Its address in the tunnel, of the same family as `like`.
    pub(crate) fn address(&self, like: IpAddr) -> IpAddr {
        let [v4, v6] = self.addresses();
        if like.is_ipv4() { v4 } else { v6 }
    }

    /// Whether the peer may send packets with this source.
    pub(crate) fn may_send_from(&self, source: IpAddr) -> bool {
        self.identity.has_address(source)
            || match &self.kind {
                PeerKind::Gateway(gateway) => gateway.may_send_from(source),
                PeerKind::Client(_) => false,
            }
    }

    fn set_identity(&mut self, identity: Identity) {
        if self.identity == identity {
            return;
        }
        if self.addresses() != identity.addresses()
            && let PeerKind::Client(client) = &mut self.kind
        {
            client.flows.clear();
        }
        self.is_connected = false;
        self.identity = identity;
    }
}

fn gateway_id(id: &PeerId) -> Option<GatewayId> {
    match id {
        PeerId::Gateway(id) => Some(*id),
        PeerId::Client(_) => None,
    }
}
