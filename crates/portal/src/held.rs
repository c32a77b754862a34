//! Candidates that wait while the portal is away.
//!
//! Candidates are said once and never confirmed, so one that is lost can strand a connection. Everything else that is lost is
//! asked for again by traffic.

use std::collections::{BTreeMap, BTreeSet};

use model::{PeerId, ToPortal};

/// More peers than any gateway selection yields; beyond it new ones are dropped.
const MOST_PEERS: usize = 256;
/// More than a host with many addresses and two relays has; beyond it new ones are dropped.
const MOST_CANDIDATES: usize = 128;

/// What is to be said about each connection once the portal is back.
#[derive(Clone, Debug, Default)]
pub struct Held {
    peers: BTreeMap<PeerId, Changes>,
    /// How much did not fit.
    dropped: u64,
}

#[derive(Clone, Debug, Default)]
struct Changes {
    /// Gathered meanwhile, in the order of gathering, which is by preference.
    added: Vec<String>,
    /// Said earlier and no longer true.
    removed: BTreeSet<String>,
}

impl Held {
    /// Keeps a message if it is about candidates, and gives it back if not.
    pub fn keep(&mut self, message: ToPortal) -> Option<ToPortal> {
        match message {
            ToPortal::NewIceCandidates { peer, candidates } => {
                for candidate in candidates {
                    self.add(peer, candidate);
                }
                None
            }
            ToPortal::InvalidateIceCandidates { peer, candidates } => {
                for candidate in candidates {
                    self.remove(peer, candidate);
                }
                None
            }
            other @ (ToPortal::RequestAuthorization { .. }
            | ToPortal::NoRelays
            | ToPortal::ResolveDevicePoolDomain { .. }) => Some(other),
        }
    }

    /// The connection is gone, and with it everything that could be said about it.
    pub fn forget(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
    }

    /// All connections are gone.
    pub fn clear(&mut self) {
        self.peers.clear();
    }

    /// What to say now, per connection first the new and then the void.
    pub fn take(&mut self) -> Vec<ToPortal> {
        if self.dropped > 0 {
            tracing::debug!(dropped = self.dropped, "more candidates than can be held");
        }
        std::mem::take(self).peers.into_iter().flat_map(|(peer, changes)| changes.messages(peer)).collect()
    }

    fn add(&mut self, peer: PeerId, candidate: String) {
        let Some(changes) = self.changes(peer) else { return };
        if changes.removed.remove(&candidate) || changes.added.contains(&candidate) {
            return;
        }
        if changes.added.len() < MOST_CANDIDATES {
            changes.added.push(candidate);
        } else {
            self.dropped += 1;
        }
    }

    fn remove(&mut self, peer: PeerId, candidate: String) {
        let Some(changes) = self.changes(peer) else { return };
        if let Some(index) = changes.added.iter().position(|added| *added == candidate) {
            changes.added.remove(index);
        } else if changes.removed.len() < MOST_CANDIDATES {
            changes.removed.insert(candidate);
        } else {
            self.dropped += 1;
        }
    }

    fn changes(&mut self, peer: PeerId) -> Option<&mut Changes> {
        if self.peers.len() >= MOST_PEERS && !self.peers.contains_key(&peer) {
            self.dropped += 1;
            return None;
        }
        Some(self.peers.entry(peer).or_default())
    }
}

impl Changes {
    fn messages(self, peer: PeerId) -> impl Iterator<Item = ToPortal> {
        let added = (!self.added.is_empty()).then_some(ToPortal::NewIceCandidates { peer, candidates: self.added });
        let removed = (!self.removed.is_empty())
            .then(|| ToPortal::InvalidateIceCandidates { peer, candidates: self.removed.into_iter().collect() });
        added.into_iter().chain(removed)
    }
}

#[cfg(test)]
mod tests {
    use model::{ClientId, GatewayId};

    use super::*;

    fn gateway() -> PeerId {
        PeerId::Gateway(GatewayId::from_u128(1))
    }

    fn new(peer: PeerId, candidates: &[&str]) -> ToPortal {
        ToPortal::NewIceCandidates { peer, candidates: candidates.iter().map(|&it| it.to_owned()).collect() }
    }

    fn void(peer: PeerId, candidates: &[&str]) -> ToPortal {
        ToPortal::InvalidateIceCandidates { peer, candidates: candidates.iter().map(|&it| it.to_owned()).collect() }
    }

    fn after(messages: impl IntoIterator<Item = ToPortal>) -> Vec<ToPortal> {
        let mut held = Held::default();
        for message in messages {
            assert_eq!(held.keep(message), None);
        }
        held.take()
    }

    #[test]
    fn what_was_gathered_is_said_once_and_in_order() {
        let said = after([new(gateway(), &["b", "a"]), new(gateway(), &["a", "c"])]);
        assert_eq!(said, [new(gateway(), &["b", "a", "c"])]);
    }

    #[test]
    fn added_then_removed_cancels_out() {
        assert_eq!(after([new(gateway(), &["a"]), void(gateway(), &["a"])]), []);
    }

    #[test]
    fn removed_then_added_cancels_out() {
        assert_eq!(after([void(gateway(), &["a"]), new(gateway(), &["a"])]), []);
    }

    #[test]
    fn the_removal_of_one_that_was_said_earlier_is_said() {
        assert_eq!(after([void(gateway(), &["old"])]), [void(gateway(), &["old"])]);
    }

    #[test]
    fn each_connection_has_its_own() {
        let client = PeerId::Client(ClientId::from_u128(2));
        let said = after([new(client, &["c"]), void(gateway(), &["old"]), new(gateway(), &["g"])]);
        assert_eq!(said, [new(gateway(), &["g"]), void(gateway(), &["old"]), new(client, &["c"])]);
    }

    #[test]
    fn a_closed_connection_is_forgotten() {
        let mut held = Held::default();
        held.keep(new(gateway(), &["a"]));
        held.forget(gateway());
        assert_eq!(held.take(), []);
    }

    #[test]
    fn nothing_is_said_twice_and_other_messages_are_not_kept() {
        let mut held = Held::default();
        held.keep(new(gateway(), &["a"]));
        assert_eq!(held.take().len(), 1);
        assert_eq!(held.take(), []);
        assert_eq!(held.keep(ToPortal::NoRelays), Some(ToPortal::NoRelays));
    }

    #[test]
    fn it_is_bounded() {
        let mut held = Held::default();
        for peer in 0..1000 {
            let peer = PeerId::Gateway(GatewayId::from_u128(peer));
            for candidate in 0..200 {
                held.keep(new(peer, &[&candidate.to_string()]));
                held.keep(void(peer, &[&format!("old {candidate}")]));
            }
        }
        assert!(held.peers.len() <= MOST_PEERS);
        assert!(held.peers.values().all(|it| it.added.len() <= MOST_CANDIDATES && it.removed.len() <= MOST_CANDIDATES));
        assert!(held.dropped > 0);
    }
}
