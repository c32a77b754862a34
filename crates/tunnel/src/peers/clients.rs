//! Other clients of the same account.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use model::{ClientId, Filters, ResourceId, message::InboundGrant};

use super::{flows::Flows, grants::Grants, identity::Identity};
use crate::send_queue::SendQueue;

/// All clients that we have a connection with, or are making one.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    clients: BTreeMap<ClientId, Client>,
    by_address: BTreeMap<IpAddr, ClientId>,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    identity: Identity,
    /// For people.
    name: Option<String>,
    /// Whether packets can travel.
    is_connected: bool,
    /// What waits for the connection.
    pub(crate) queue: SendQueue,
    /// What it may send unasked.
    pub(crate) grants: Grants,
    /// What we talk about.
    pub(crate) flows: Flows,
}

impl Clients {
    /// The client, made if there is none. What it was granted outlives a new key, but not its conversations if it got other
    /// addresses.
    pub(crate) fn upsert(&mut self, id: ClientId, identity: Identity, name: Option<String>) -> &mut Client {
        let addresses = identity.addresses();
        if self.clients.get(&id).is_some_and(|known| known.identity.addresses() != addresses) {
            self.by_address.retain(|_, owner| *owner != id);
        }
        self.by_address.extend(addresses.map(|address| (address, id)));
        let client = self.clients.entry(id).or_insert_with(|| Client {
            identity: identity.clone(),
            name: None,
            is_connected: false,
            queue: SendQueue::default(),
            grants: Grants::default(),
            flows: Flows::default(),
        });
        if client.identity.addresses() != addresses {
            client.flows.clear();
        }
        if client.identity != identity {
            client.is_connected = false;
            client.identity = identity;
        }
        client.name = name.or(client.name.take());
        client
    }

    /// Whether this client is known under just this identity.
    pub(crate) fn is_known_as(&self, id: ClientId, identity: &Identity) -> bool {
        self.clients.get(&id).is_some_and(|known| known.identity == *identity)
    }

    /// Forgets a client.
    pub(crate) fn remove(&mut self, id: ClientId) -> Option<Client> {
        self.by_address.retain(|_, owner| *owner != id);
        self.clients.remove(&id)
    }

    /// A client that we know.
    pub(crate) fn client(&self, id: ClientId) -> Option<&Client> {
        self.clients.get(&id)
    }

    /// A client that we know.
    pub(crate) fn client_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        self.clients.get_mut(&id)
    }

    /// The client that has this address in the tunnel.
    pub(crate) fn with_address(&self, address: IpAddr) -> Option<(ClientId, &Client)> {
        let id = self.by_address.get(&address)?;
        Some((*id, self.clients.get(id)?))
    }

    /// All clients that we know.
    pub(crate) fn ids(&self) -> BTreeSet<ClientId> {
        self.clients.keys().copied().collect()
    }

    /// The clients that packets can travel to.
    pub(crate) fn connected(&self) -> impl Iterator<Item = (ClientId, &Client)> {
        self.clients.iter().filter(|(_, client)| client.is_connected).map(|(id, client)| (*id, client))
    }

    /// What a resource lets in has changed.
    pub(crate) fn set_filters(&mut self, resource: ResourceId, filters: &Filters) {
        self.clients.values_mut().for_each(|client| client.grants.set_filters(resource, filters));
    }

    /// These grants and no others are valid. `deadline` reads their times.
    pub(crate) fn resync(&mut self, grants: &[InboundGrant], deadline: impl Fn(u64) -> Instant) {
        for (id, client) in &mut self.clients {
            let its = grants.iter().filter(|grant| grant.client == *id);
            client.grants.resync(&its.map(|grant| (grant.resource, deadline(grant.expires_at))).collect());
        }
    }

    /// Takes back grants and forgets conversations that are over.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for client in self.clients.values_mut() {
            client.grants.handle_timeout(now);
            client.flows.handle_timeout(now);
        }
    }

    /// When something is over.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let due = |client: &Client| [client.grants.poll_timeout(), client.flows.poll_timeout()];
        self.clients.values().flat_map(due).flatten().min()
    }
}

impl Client {
    /// Packets can travel from now on.
    pub(crate) fn connected(&mut self) {
        self.is_connected = true;
    }

    /// What people call it.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether this is one of its addresses in the tunnel.
    pub(crate) fn owns(&self, address: IpAddr) -> bool {
        self.identity.has_address(address)
    }

    /// Its addresses in the tunnel.
    pub(crate) fn addresses(&self) -> [IpAddr; 2] {
        self.identity.addresses()
    }
}

impl Clients {
    /// All clients that have one of these addresses.
    pub(crate) fn owners(&self, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) -> BTreeSet<ClientId> {
        let addresses = ipv4.map(IpAddr::V4).into_iter().chain(ipv6.map(IpAddr::V6));
        addresses.filter_map(|address| self.by_address.get(&address)).copied().collect()
    }
}
