//! Changes of ICE candidates while the portal is unreachable.
//!
//! Candidates are sent once and never confirmed, so a lost one can leave a connection without a path. All other messages
//! are caused again by traffic.

use std::collections::{BTreeMap, BTreeSet};

use model::{PeerId, ToPortal};

/// More than a client connects to at a time. Changes for further peers are dropped.
const MAX_PEERS: usize = 256;
/// For each peer. More than a host with many addresses and two relays has. Further candidates are dropped.
const MAX_CANDIDATES: usize = 128;

/// The net changes for each peer, to be sent after the next join.
#[derive(Clone, Debug, Default)]
pub struct PendingCandidates {
    peers: BTreeMap<PeerId, Changes>,
    /// Number of changes that were dropped because of the limits.
    dropped: u64,
}

#[derive(Clone, Debug, Default)]
struct Changes {
    /// New candidates in order of preference.
    added: Vec<String>,
    /// Candidates that were signalled earlier and are no longer valid.
    removed: BTreeSet<String>,
}

impl PendingCandidates {
    /// Records the changes of a message about candidates; returns any other message.
    pub fn absorb(&mut self, message: ToPortal) -> Option<ToPortal> {
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

    /// Discards all changes.
    pub fn clear(&mut self) {
        self.peers.clear();
    }

    /// Takes the messages to send: for each peer first the new candidates, then the invalid ones.
    pub fn take(&mut self) -> Vec<ToPortal> {
        if self.dropped > 0 {
            tracing::debug!(dropped = self.dropped, "too many candidates were pending");
        }
        std::mem::take(self).peers.into_iter().flat_map(|(peer, changes)| changes.messages(peer)).collect()
    }

    fn add(&mut self, peer: PeerId, candidate: String) {
        let Some(changes) = self.changes(peer) else { return };
        if changes.removed.remove(&candidate) || changes.added.contains(&candidate) {
            return;
        }
        if changes.added.len() < MAX_CANDIDATES {
            changes.added.push(candidate);
        } else {
            self.dropped += 1;
        }
    }

    fn remove(&mut self, peer: PeerId, candidate: String) {
        let Some(changes) = self.changes(peer) else { return };
        if let Some(index) = changes.added.iter().position(|added| *added == candidate) {
            changes.added.remove(index);
        } else if changes.removed.len() < MAX_CANDIDATES {
            changes.removed.insert(candidate);
        } else {
            self.dropped += 1;
        }
    }

    fn changes(&mut self, peer: PeerId) -> Option<&mut Changes> {
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&peer) {
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

    fn invalid(peer: PeerId, candidates: &[&str]) -> ToPortal {
        ToPortal::InvalidateIceCandidates { peer, candidates: candidates.iter().map(|&it| it.to_owned()).collect() }
    }

    fn after(messages: impl IntoIterator<Item = ToPortal>) -> Vec<ToPortal> {
        let mut pending = PendingCandidates::default();
        for message in messages {
            assert_eq!(pending.absorb(message), None);
        }
        pending.take()
    }

    #[test]
    fn new_candidates_are_sent_once_in_order() {
        let sent = after([new(gateway(), &["b", "a"]), new(gateway(), &["a", "c"])]);
        assert_eq!(sent, [new(gateway(), &["b", "a", "c"])]);
    }

    #[test]
    fn added_then_removed_cancels_out() {
        assert_eq!(after([new(gateway(), &["a"]), invalid(gateway(), &["a"])]), []);
    }

    #[test]
    fn removed_then_added_cancels_out() {
        assert_eq!(after([invalid(gateway(), &["a"]), new(gateway(), &["a"])]), []);
    }

    #[test]
    fn removal_of_a_signalled_candidate_is_sent() {
        assert_eq!(after([invalid(gateway(), &["old"])]), [invalid(gateway(), &["old"])]);
    }

    #[test]
    fn changes_are_kept_per_peer() {
        let client = PeerId::Client(ClientId::from_u128(2));
        let sent = after([new(client, &["c"]), invalid(gateway(), &["old"]), new(gateway(), &["g"])]);
        assert_eq!(sent, [new(gateway(), &["g"]), invalid(gateway(), &["old"]), new(client, &["c"])]);
    }

    #[test]
    fn take_empties_the_changes_and_other_messages_pass_through() {
        let mut pending = PendingCandidates::default();
        pending.absorb(new(gateway(), &["a"]));
        assert_eq!(pending.take().len(), 1);
        assert_eq!(pending.take(), []);
        assert_eq!(pending.absorb(ToPortal::NoRelays), Some(ToPortal::NoRelays));
    }

    #[test]
    fn peers_and_candidates_are_bounded() {
        let mut pending = PendingCandidates::default();
        for peer in 0..1000 {
            let peer = PeerId::Gateway(GatewayId::from_u128(peer));
            for candidate in 0..200 {
                pending.absorb(new(peer, &[&candidate.to_string()]));
                pending.absorb(invalid(peer, &[&format!("old {candidate}")]));
            }
        }
        assert!(pending.peers.len() <= MAX_PEERS);
        assert!(
            pending.peers.values().all(|it| it.added.len() <= MAX_CANDIDATES && it.removed.len() <= MAX_CANDIDATES)
        );
        assert!(pending.dropped > 0);
    }
}
