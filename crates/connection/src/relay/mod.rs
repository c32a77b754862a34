//! The relays that the portal lists: allocations, channels, and the messages between us and them.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Instant,
};

use model::{Deadline, Relay, RelayId};
use rand::rngs::StdRng;

mod allocation;
pub(crate) mod channel_data;
mod channels;
pub(crate) mod credentials;
mod selection;
pub(crate) mod stun;
mod transaction;

pub(crate) use allocation::Event;

use self::{allocation::Allocation, credentials::Credentials, stun::Response};
use crate::{
    ice::LocalCandidate,
    limits::{MAX_FORMER_RELAYS, push_bounded},
    transmit::Transmit,
};

/// All relays of a node.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    allocations: BTreeMap<RelayId, Allocation>,
    by_address: BTreeMap<SocketAddr, RelayId>,
    /// Addresses of relays that are no longer used, but may still send. Full: the oldest is forgotten.
    former: VecDeque<SocketAddr>,
    events: VecDeque<(RelayId, Event)>,
}

/// The result of a datagram from the address of a relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Received {
    /// A message of the relay itself, which was handled.
    Consumed,
    /// A message of a peer, forwarded by the relay.
    Relayed {
        /// The relay.
        relay: RelayId,
        /// The peer's address.
        peer: SocketAddr,
        /// The allocated address that it was sent to.
        relayed: SocketAddr,
    },
    /// Not from a relay, or not a message that relays send.
    NotFromRelay,
}

impl Relays {
    /// Applies the portal's list. Returns the relays that were removed or restarted.
    pub(crate) fn update(&mut self, remove: &[RelayId], add: &[Relay], rng: &mut StdRng, now: Instant) -> Vec<RelayId> {
        let mut removed = Vec::new();
        for id in remove {
            if self.remove(*id) {
                removed.push(*id);
            }
        }
        let mentioned = merged(add);
        for (id, relay) in &mentioned {
            if let Some(known) = self.allocations.get_mut(id).filter(|known| is_unchanged(known, relay)) {
                known.revive(rng, now);
                continue;
            }
            if self.remove(*id) {
                removed.push(*id);
            }
            self.insert(relay, rng, now);
        }
        for (id, allocation) in &mut self.allocations {
            if !mentioned.contains_key(id) {
                allocation.probe(rng, now);
            }
        }
        removed
    }

    /// Starts all relays over in a new network.
    pub(crate) fn restart(&mut self, rng: &mut StdRng, now: Instant) {
        self.events.clear();
        for allocation in self.allocations.values_mut() {
            allocation.restart(rng, now);
        }
    }

    /// Deletes the allocations on all relays, and removes the relays. Returns the datagrams to send.
    pub(crate) fn release(&mut self, rng: &mut StdRng, now: Instant) -> Vec<Transmit> {
        let mut last = Vec::new();
        for (_, mut allocation) in std::mem::take(&mut self.allocations) {
            allocation.release(rng, now);
            last.extend(std::iter::from_fn(|| allocation.poll_transmit()));
        }
        self.by_address.clear();
        self.events.clear();
        last
    }

    /// Removes relays that cannot be used. Returns them.
    pub(crate) fn remove_unusable(&mut self) -> Vec<RelayId> {
        let useless: Vec<_> =
            self.allocations.iter().filter(|(_, allocation)| allocation.is_unusable()).map(|(id, _)| *id).collect();
        for id in &useless {
            tracing::info!(relay = %id, "A relay is no longer used because it does not respond or rejects our requests");
            self.remove(*id);
        }
        useless
    }

    /// Handles a datagram that looks like STUN and may be from a relay.
    pub(crate) fn handle_stun(
        &mut self,
        local: SocketAddr,
        from: SocketAddr,
        datagram: &[u8],
        rng: &mut StdRng,
        now: Instant,
    ) -> Received {
        let Some(allocation) = self.by_address.get(&from).and_then(|id| self.allocations.get_mut(id)) else {
            return self.unknown_source(from);
        };
        let Some(answer) = Response::parse(datagram) else { return Received::NotFromRelay };
        allocation.handle_response(local, from, &answer, rng, now);
        Received::Consumed
    }

    /// Handles a ChannelData message.
    pub(crate) fn handle_channel_data(&mut self, from: SocketAddr, number: u16, now: Instant) -> Received {
        let Some(id) = self.by_address.get(&from) else { return self.unknown_source(from) };
        match self.allocations.get_mut(id).and_then(|allocation| allocation.note_received(number, now)) {
            Some((peer, relayed)) => Received::Relayed { relay: *id, peer, relayed },
            None => Received::Consumed,
        }
    }

    /// Whether `from` is an address of a present or former relay.
    pub(crate) fn is_relay_address(&self, from: SocketAddr) -> bool {
        self.by_address.contains_key(&from) || self.former.contains(&from)
    }

    /// Selects a relay for a connection; `None` if none has responded yet.
    pub(crate) fn select(&self, rng: &mut StdRng) -> Option<RelayId> {
        let answered: Vec<_> =
            self.allocations.iter().filter_map(|(id, allocation)| Some((*id, allocation.round_trip()?))).collect();
        selection::select(&answered, rng)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.allocations.is_empty()
    }

    /// The candidates of a connection that uses `relay`.
    pub(crate) fn candidates(&self, relay: RelayId) -> Vec<LocalCandidate> {
        let own = self.allocations.values().flat_map(Allocation::own_candidates);
        let relayed = self.allocations.get(&relay).map(Allocation::relay_candidates).unwrap_or_default();
        own.chain(relayed).collect()
    }

    /// Whether `address` is allocated for us on `relay`.
    pub(crate) fn owns_relayed_address(&self, relay: RelayId, address: SocketAddr) -> bool {
        self.allocations.get(&relay).is_some_and(|allocation| allocation.owns_relayed_address(address))
    }

    /// Ensures that `relay` has, or soon gets, a channel to `peer`.
    pub(crate) fn bind_channel(&mut self, relay: RelayId, peer: SocketAddr, rng: &mut StdRng, now: Instant) {
        if let Some(allocation) = self.allocations.get_mut(&relay) {
            allocation.bind_channel(peer, rng, now);
        }
    }

    /// The relay address and the channel number for data to `peer`. Binds a channel if there is none; data sent right after
    /// the request normally arrives after it.
    pub(crate) fn channel_to(
        &mut self,
        relay: RelayId,
        peer: SocketAddr,
        rng: &mut StdRng,
        now: Instant,
    ) -> Option<(SocketAddr, u16)> {
        let allocation = self.allocations.get_mut(&relay)?;
        if allocation.channel_to(peer, now).is_none() {
            allocation.bind_channel(peer, rng, now);
        }
        let channel = allocation.channel_to(peer, now)?;
        allocation.postpone_keep_alive(now);
        Some(channel)
    }

    pub(crate) fn handle_timeout(&mut self, rng: &mut StdRng, now: Instant) {
        for allocation in self.allocations.values_mut() {
            allocation.handle_timeout(rng, now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        self.allocations.values().map(Allocation::poll_timeout).fold(None, Deadline::earliest)
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.allocations.values_mut().find_map(Allocation::poll_transmit)
    }

    pub(crate) fn poll_event(&mut self) -> Option<(RelayId, Event)> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        self.allocations.iter_mut().find_map(|(id, allocation)| Some((*id, allocation.poll_event()?)))
    }

    /// The first broken invariant.
    pub(crate) fn broken_invariant(&self) -> Option<&'static str> {
        let owner_is_known = |(address, id): (&SocketAddr, &RelayId)| {
            self.allocations.get(id).is_some_and(|allocation| allocation.addresses().contains(address))
        };
        if !self.by_address.iter().all(owner_is_known) {
            return Some("an address of an unknown relay");
        }
        if self.former.len() > MAX_FORMER_RELAYS {
            return Some("too many former relays");
        }
        self.allocations.values().find_map(Allocation::broken_invariant)
    }

    fn insert(&mut self, relay: &Relay, rng: &mut StdRng, now: Instant) {
        let addresses = addresses(relay);
        if addresses.is_empty() {
            return;
        }
        for address in &addresses {
            self.by_address.insert(*address, relay.id);
        }
        let credentials = Credentials::new(relay.username.clone(), relay.password.clone());
        self.allocations.insert(relay.id, Allocation::new(addresses, credentials, rng, now));
    }

    fn remove(&mut self, id: RelayId) -> bool {
        let Some(allocation) = self.allocations.remove(&id) else { return false };
        for address in allocation.addresses() {
            if self.by_address.get(address) == Some(&id) {
                self.by_address.remove(address);
            }
            if !self.former.contains(address) {
                push_bounded(&mut self.former, *address, MAX_FORMER_RELAYS);
            }
        }
        self.events
            .extend(allocation.relay_candidates().into_iter().map(|relayed| (id, Event::CandidateLost(relayed))));
        true
    }

    fn unknown_source(&self, from: SocketAddr) -> Received {
        if self.former.contains(&from) { Received::Consumed } else { Received::NotFromRelay }
    }
}

/// Merges the entries of each relay. Of two addresses of a family, the first is used.
fn merged(relays: &[Relay]) -> BTreeMap<RelayId, Relay> {
    let mut merged = BTreeMap::<_, Relay>::new();
    for relay in relays {
        merged
            .entry(relay.id)
            .and_modify(|known| {
                known.v4 = known.v4.or(relay.v4);
                known.v6 = known.v6.or(relay.v6);
            })
            .or_insert_with(|| relay.clone());
    }
    merged
}

fn addresses(relay: &Relay) -> Vec<SocketAddr> {
    let v4 = relay.v4.map(SocketAddr::V4);
    let v6 = relay.v6.map(SocketAddr::V6);
    [v4, v6].into_iter().flatten().collect()
}

fn is_unchanged(known: &Allocation, relay: &Relay) -> bool {
    known.addresses() == addresses(relay) && known.credentials().matches(&relay.username, &relay.password)
}

#[cfg(test)]
mod tests;
