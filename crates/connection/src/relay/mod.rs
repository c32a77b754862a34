//! The relays that the portal told us about: which exist, which one serves whom, and whose datagram is whose.

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
mod choice;
pub(crate) mod credentials;
pub(crate) mod stun;
mod transaction;

pub(crate) use allocation::Event;

use self::{allocation::Allocation, credentials::Credentials, stun::Answer};
use crate::{
    Transmit,
    ice::LocalCandidate,
    limits::{FORMER_RELAYS, push_bounded},
};

/// All relays of a node.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    known: BTreeMap<RelayId, Allocation>,
    by_address: BTreeMap<SocketAddr, RelayId>,
    /// Where datagrams may still come from although we do not use the relay any more. Full: the oldest is forgotten.
    former: VecDeque<SocketAddr>,
    events: VecDeque<(RelayId, Event)>,
}

/// What a datagram from a relay was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Received {
    /// Something between us and the relay; dealt with.
    Own,
    /// Something that a peer sent through the relay.
    Relayed {
        /// Through which relay.
        relay: RelayId,
        /// Who sent it.
        peer: SocketAddr,
        /// To which of our addresses.
        relayed: SocketAddr,
    },
    /// Not from a relay, or nothing that a relay sends.
    Foreign,
}

impl Relays {
    /// Takes over what the portal says. Returns the relays that are gone, or began anew.
    pub(crate) fn update(&mut self, remove: &[RelayId], add: &[Relay], rng: &mut StdRng, now: Instant) -> Vec<RelayId> {
        let mut gone = Vec::new();
        for id in remove {
            if self.forget(*id) {
                gone.push(*id);
            }
        }
        let mentioned = merged(add);
        for (id, relay) in &mentioned {
            if let Some(known) = self.known.get_mut(id).filter(|known| is_unchanged(known, relay)) {
                known.revive(rng, now);
                continue;
            }
            if self.forget(*id) {
                gone.push(*id);
            }
            self.introduce(relay, rng, now);
        }
        for (id, allocation) in &mut self.known {
            if !mentioned.contains_key(id) {
                allocation.probe(rng, now);
            }
        }
        gone
    }

    /// Starts all relays over in a new network.
    pub(crate) fn restart(&mut self, rng: &mut StdRng, now: Instant) {
        self.events.clear();
        for allocation in self.known.values_mut() {
            allocation.restart(rng, now);
        }
    }

    /// Gives back what the relays lend us, and forgets them. What has to be sent for that is returned.
    pub(crate) fn give_back(&mut self, rng: &mut StdRng, now: Instant) -> Vec<Transmit> {
        let mut last = Vec::new();
        for (_, mut allocation) in std::mem::take(&mut self.known) {
            allocation.give_back(rng, now);
            last.extend(std::iter::from_fn(|| allocation.poll_transmit()));
        }
        self.by_address.clear();
        self.events.clear();
        last
    }

    /// Removes relays from which nothing can be expected any more.
    pub(crate) fn remove_useless(&mut self) -> Vec<RelayId> {
        let useless: Vec<_> =
            self.known.iter().filter(|(_, allocation)| allocation.is_useless()).map(|(id, _)| *id).collect();
        for id in &useless {
            tracing::info!(relay = %id, "A relay is not used any more because it does not answer or refuses us");
            self.forget(*id);
        }
        useless
    }

    /// Takes a datagram that looks like STUN. Whether it is one from a relay is known afterwards.
    pub(crate) fn handle_stun(
        &mut self,
        local: SocketAddr,
        from: SocketAddr,
        datagram: &[u8],
        rng: &mut StdRng,
        now: Instant,
    ) -> Received {
        let Some(allocation) = self.by_address.get(&from).and_then(|id| self.known.get_mut(id)) else {
            return self.silence(from);
        };
        let Some(answer) = Answer::parse(datagram) else { return Received::Foreign };
        allocation.handle_answer(local, from, &answer, rng, now);
        Received::Own
    }

    /// Takes a message with the number of a channel.
    pub(crate) fn handle_channel_data(&mut self, from: SocketAddr, number: u16, now: Instant) -> Received {
        let Some(id) = self.by_address.get(&from) else { return self.silence(from) };
        match self.known.get_mut(id).and_then(|allocation| allocation.heard_on(number, now)) {
            Some((peer, relayed)) => Received::Relayed { relay: *id, peer, relayed },
            None => Received::Own,
        }
    }

    /// Whether a datagram from `from` can be from a relay.
    pub(crate) fn may_be(&self, from: SocketAddr) -> bool {
        self.by_address.contains_key(&from) || self.former.contains(&from)
    }

    /// Picks a relay for a new connection; `None` if none has answered yet.
    pub(crate) fn choose(&self, rng: &mut StdRng) -> Option<RelayId> {
        let answered: Vec<_> =
            self.known.iter().filter_map(|(id, allocation)| Some((*id, allocation.round_trip()?))).collect();
        choice::choose(&answered, rng)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The candidates of a connection that uses `relay`.
    pub(crate) fn candidates(&self, relay: RelayId) -> Vec<LocalCandidate> {
        let own = self.known.values().flat_map(Allocation::own_candidates);
        let lent = self.known.get(&relay).map(Allocation::relay_candidates).unwrap_or_default();
        own.chain(lent).collect()
    }

    /// Whether `address` is lent to us by `relay`.
    pub(crate) fn lends(&self, relay: RelayId, address: SocketAddr) -> bool {
        self.known.get(&relay).is_some_and(|allocation| allocation.lends(address))
    }

    /// Makes sure that `relay` carries data to `peer`, soon at the latest.
    pub(crate) fn bind_channel(&mut self, relay: RelayId, peer: SocketAddr, rng: &mut StdRng, now: Instant) {
        if let Some(allocation) = self.known.get_mut(&relay) {
            allocation.bind_channel(peer, rng, now);
        }
    }

    /// Where and with which channel number data for `peer` is sent through `relay`. Binds a channel if there is none; what
    /// is sent right behind the request normally arrives after it.
    pub(crate) fn channel_to(
        &mut self,
        relay: RelayId,
        peer: SocketAddr,
        rng: &mut StdRng,
        now: Instant,
    ) -> Option<(SocketAddr, u16)> {
        let allocation = self.known.get_mut(&relay)?;
        if allocation.channel_to(peer, now).is_none() {
            allocation.bind_channel(peer, rng, now);
        }
        let channel = allocation.channel_to(peer, now)?;
        allocation.postpone_keep_alive(now);
        Some(channel)
    }

    pub(crate) fn handle_timeout(&mut self, rng: &mut StdRng, now: Instant) {
        for allocation in self.known.values_mut() {
            allocation.handle_timeout(rng, now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        self.known.values().map(Allocation::poll_timeout).fold(None, Deadline::earliest)
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.known.values_mut().find_map(Allocation::poll_transmit)
    }

    pub(crate) fn poll_event(&mut self) -> Option<(RelayId, Event)> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        self.known.iter_mut().find_map(|(id, allocation)| Some((*id, allocation.poll_event()?)))
    }

    /// What must never be the case, if it is.
    pub(crate) fn broken_invariant(&self) -> Option<&'static str> {
        let owner_is_known = |(address, id): (&SocketAddr, &RelayId)| {
            self.known.get(id).is_some_and(|allocation| allocation.addresses().contains(address))
        };
        if !self.by_address.iter().all(owner_is_known) {
            return Some("an address of a relay that is not known");
        }
        if self.former.len() > FORMER_RELAYS {
            return Some("too many former relays");
        }
        self.known.values().find_map(Allocation::broken_invariant)
    }

    fn introduce(&mut self, relay: &Relay, rng: &mut StdRng, now: Instant) {
        let addresses = addresses(relay);
        if addresses.is_empty() {
            return;
        }
        for address in &addresses {
            self.by_address.insert(*address, relay.id);
        }
        let credentials = Credentials::new(relay.username.clone(), relay.password.clone());
        self.known.insert(relay.id, Allocation::new(addresses, credentials, rng, now));
    }

    fn forget(&mut self, id: RelayId) -> bool {
        let Some(allocation) = self.known.remove(&id) else { return false };
        for address in allocation.addresses() {
            if self.by_address.get(address) == Some(&id) {
                self.by_address.remove(address);
            }
            if !self.former.contains(address) {
                push_bounded(&mut self.former, *address, FORMER_RELAYS);
            }
        }
        self.events.extend(allocation.relay_candidates().into_iter().map(|lent| (id, Event::Lost(lent))));
        true
    }

    fn silence(&self, from: SocketAddr) -> Received {
        if self.former.contains(&from) { Received::Own } else { Received::Foreign }
    }
}

/// One entry per relay, whatever the number and order of the entries. Of two addresses of a family the first counts.
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
    known.addresses() == addresses(relay) && known.credentials().are(&relay.username, &relay.password)
}

#[cfg(test)]
mod tests;
