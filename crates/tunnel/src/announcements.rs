//! Which names are announced to which gateway.
//!
//! Packets to a name carry proxy addresses. Before a gateway can translate them, it needs to know which name they stand
//! for and to resolve that name. [`Announcements`] tracks the state of each name, holds packets while their name is
//! announced for the first time, and repeats announcements that are not answered.
//!
//! A name is announced with its first packet, not with its first DNS query: most names that are resolved on a large
//! network are never used, and a new gateway would have to resolve all of them.

use std::{
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    time::{Duration, Instant},
};

use dns::Domain;
use ip_packet::IpPacket;
use model::{GatewayId, ResourceId};

use crate::held_packets::HeldPackets;

/// Minimum time between two announcements of a name.
const MIN_REPEAT_INTERVAL: Duration = Duration::from_secs(2);
/// Maximum number of held packets per name; the oldest is dropped first.
const MAX_PACKETS: usize = 32;

/// The state of each name on each gateway.
///
/// There is no timer: the next packet or query for a name repeats an unanswered announcement.
#[derive(Debug, Default)]
pub(crate) struct Announcements {
    entries: BTreeMap<Key, State>,
    announcements: VecDeque<Key>,
    /// Packets that were dropped from full queues or because their name failed.
    dropped: u64,
}

/// A name of one resource on one gateway. Two resources with the same name are announced separately.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The name. The first field, so that all keys of one name are adjacent.
    pub(crate) name: Domain,
    /// The gateway that gets the announcement.
    pub(crate) gateway: GatewayId,
    /// The resource that the name belongs to.
    pub(crate) resource: ResourceId,
}

#[derive(Debug)]
enum State {
    /// Announced. With `held`, packets wait for the answer.
    Announced { at: Instant, held: Option<HeldPackets> },
    /// The gateway resolved the name.
    Confirmed { announced_at: Instant },
    /// The gateway could not resolve the name. Packets are sent all the same: it answers them with an ICMP error.
    Failed,
}

impl Announcements {
    /// Handles an outgoing packet to `key`. Returns the packet if it may be sent now.
    pub(crate) fn handle_packet(&mut self, key: Key, packet: IpPacket, now: Instant) -> Option<IpPacket> {
        let mut entry = match self.entries.entry(key) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => {
                let mut held = HeldPackets::new(MAX_PACKETS);
                held.push(packet);
                self.announcements.push_back(entry.key().clone());
                entry.insert(State::Announced { at: now, held: Some(held) });
                return None;
            }
        };
        let State::Announced { at, held } = entry.get_mut() else { return Some(packet) };
        let is_overdue = *at + MIN_REPEAT_INTERVAL <= now;
        let passes = match held {
            Some(held) => {
                held.push(packet);
                None
            }
            None => Some(packet),
        };
        if is_overdue {
            *at = now;
            self.announcements.push_back(entry.key().clone());
        }
        passes
    }

    /// A program resolved `name` again, so its gateways should do so, too. Packets are held only where the name failed
    /// before; existing connections continue.
    pub(crate) fn handle_query(&mut self, name: &Domain, now: Instant) {
        let first = Key { name: name.clone(), gateway: GatewayId::from_u128(0), resource: ResourceId::from_u128(0) };
        let keys = self.entries.range(first..).map(|(key, _)| key).take_while(|key| key.name == *name).cloned();
        let keys = keys.collect();
        self.refresh(keys, now);
    }

    /// Access to `resource` was requested again from the same gateway, which may have forgotten the names as well.
    pub(crate) fn handle_access_renewed(&mut self, gateway: GatewayId, resource: ResourceId, now: Instant) {
        let keys = self.entries.keys().filter(|key| key.gateway == gateway && key.resource == resource).cloned();
        let keys = keys.collect();
        self.refresh(keys, now);
    }

    /// A name that was in use on a lost gateway is used through another one now. No packets are waiting yet.
    pub(crate) fn handle_gateway_replaced(&mut self, key: Key, now: Instant) {
        if !self.entries.contains_key(&key) {
            self.announce(key, Some(HeldPackets::new(MAX_PACKETS)), now);
        }
    }

    /// The gateway reported an address of `name` as unreachable. The name may have no such address; but a gateway also
    /// forgets all names of a client when one of their addresses stood for another name before the client restarted.
    pub(crate) fn handle_unreachable(&mut self, gateway: GatewayId, name: &Domain, now: Instant) {
        let is_affected = |key: &Key, state: &State| {
            key.gateway == gateway
                && key.name == *name
                && matches!(state, State::Confirmed { announced_at } if *announced_at + MIN_REPEAT_INTERVAL <= now)
        };
        let keys = self.entries.iter().filter(|(key, state)| is_affected(key, state)).map(|(key, _)| key.clone());
        let keys = keys.collect();
        self.refresh(keys, now);
    }

    /// The gateway answered an announcement. Returns the packets that may be sent now, in order.
    pub(crate) fn handle_status(&mut self, key: &Key, is_active: bool, now: Instant) -> Vec<IpPacket> {
        let Some(state) = self.entries.get_mut(key) else { return Vec::new() };
        let next = match state {
            _ if !is_active => State::Failed,
            State::Announced { at: announced_at, .. } | State::Confirmed { announced_at } => {
                State::Confirmed { announced_at: *announced_at }
            }
            State::Failed => State::Confirmed { announced_at: now },
        };
        let State::Announced { held: Some(held), .. } = std::mem::replace(state, next) else { return Vec::new() };
        self.dropped += held.dropped();
        if is_active {
            held.into_iter().collect()
        } else {
            self.dropped += held.len() as u64;
            Vec::new()
        }
    }

    /// Forgets the announcements to a removed gateway.
    pub(crate) fn forget_gateway(&mut self, gateway: GatewayId) {
        self.entries.retain(|key, _| key.gateway != gateway);
    }

    /// Forgets the names of a resource that is no longer used through `gateway`.
    pub(crate) fn forget(&mut self, gateway: GatewayId, resource: ResourceId) {
        self.entries.retain(|key, _| key.gateway != gateway || key.resource != resource);
    }

    /// The next name to announce.
    pub(crate) fn poll_announcement(&mut self) -> Option<Key> {
        self.announcements.pop_front()
    }

    /// Returns and resets the number of dropped packets.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    fn refresh(&mut self, keys: Vec<Key>, now: Instant) {
        for key in keys {
            match self.entries.get_mut(&key) {
                Some(State::Announced { at, .. }) if *at + MIN_REPEAT_INTERVAL <= now => {
                    *at = now;
                    self.announcements.push_back(key);
                }
                Some(State::Announced { .. }) | None => {}
                Some(State::Confirmed { .. }) => self.announce(key, None, now),
                Some(State::Failed) => self.announce(key, Some(HeldPackets::new(MAX_PACKETS)), now),
            }
        }
    }

    fn announce(&mut self, key: Key, held: Option<HeldPackets>, now: Instant) {
        self.entries.insert(key.clone(), State::Announced { at: now, held });
        self.announcements.push_back(key);
    }
}

#[cfg(test)]
mod tests {
    use ip_packet::build;

    use super::*;
    use crate::testing::start;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(resource: u128) -> Key {
        Key {
            gateway: GatewayId::from_u128(1),
            resource: ResourceId::from_u128(resource),
            name: "db.corp.example".into(),
        }
    }

    fn packet(number: u16) -> IpPacket {
        build::udp("100.64.0.7:4000".parse().unwrap(), "100.96.0.5:53".parse().unwrap(), &number.to_be_bytes()).unwrap()
    }

    fn count_announcements(announcements: &mut Announcements) -> usize {
        std::iter::from_fn(|| announcements.poll_announcement()).count()
    }

    #[test]
    fn first_packet_announces_the_name_and_waits_for_the_status() {
        let now = start();
        let mut announcements = Announcements::default();

        assert_eq!(announcements.handle_packet(key(1), packet(1), now), None);
        assert_eq!(count_announcements(&mut announcements), 1);
        assert_eq!(announcements.handle_packet(key(1), packet(2), now + SECOND), None);
        assert_eq!(count_announcements(&mut announcements), 0);
        assert_eq!(announcements.handle_packet(key(1), packet(3), now + 2 * SECOND), None);
        assert_eq!(count_announcements(&mut announcements), 1);

        assert_eq!(announcements.handle_status(&key(1), true, now), [packet(1), packet(2), packet(3)]);
        assert_eq!(announcements.handle_packet(key(1), packet(4), now), Some(packet(4)));
    }

    #[test]
    fn unreachable_name_is_announced_again_with_rate_limit() {
        let now = start();
        let name = "db.corp.example".into();
        let mut announcements = Announcements::default();
        assert_eq!(announcements.handle_packet(key(1), packet(1), now), None);
        assert_eq!(count_announcements(&mut announcements), 1);
        assert_eq!(announcements.handle_status(&key(1), true, now), [packet(1)]);

        for (after, expected) in [(SECOND, 0), (2 * SECOND, 1), (2 * SECOND, 0), (3 * SECOND, 0), (4 * SECOND, 1)] {
            announcements.handle_unreachable(GatewayId::from_u128(1), &name, now + after);
            announcements.handle_unreachable(GatewayId::from_u128(2), &name, now + after);
            assert_eq!(count_announcements(&mut announcements), expected, "{after:?}");
            assert!(announcements.handle_packet(key(1), packet(2), now + after).is_some(), "packets are not held");
            assert!(announcements.handle_status(&key(1), true, now + after).is_empty());
        }
    }

    #[test]
    fn query_repeats_an_announcement_after_two_seconds() {
        let now = start();
        let mut announcements = Announcements::default();
        assert_eq!(announcements.handle_packet(key(1), packet(1), now), None);
        assert_eq!(count_announcements(&mut announcements), 1);

        announcements.handle_query(&"db.corp.example".into(), now);
        assert_eq!(count_announcements(&mut announcements), 0);
        announcements.handle_query(&"db.corp.example".into(), now + 2 * SECOND);
        assert_eq!(count_announcements(&mut announcements), 1);
        assert_eq!(announcements.handle_status(&key(1), true, now), [packet(1)], "held packets are kept");
    }

    #[test]
    fn failed_name_passes_packets_until_it_is_queried_again() {
        let now = start();
        let mut announcements = Announcements::default();
        assert_eq!(announcements.handle_packet(key(1), packet(1), now), None);
        assert!(announcements.handle_status(&key(1), false, now).is_empty());
        assert_eq!(announcements.take_dropped(), 1);
        assert_eq!(count_announcements(&mut announcements), 1);

        assert_eq!(announcements.handle_packet(key(1), packet(2), now + 5 * SECOND), Some(packet(2)));
        assert_eq!(count_announcements(&mut announcements), 0);
        announcements.handle_query(&"other.example".into(), now);
        assert_eq!(count_announcements(&mut announcements), 0);

        announcements.handle_query(&"db.corp.example".into(), now + 5 * SECOND);
        assert_eq!(count_announcements(&mut announcements), 1);
        assert_eq!(announcements.handle_packet(key(1), packet(3), now + 5 * SECOND), None);
    }

    #[test]
    fn query_for_a_confirmed_name_announces_it_again_without_holding_packets() {
        let now = start();
        let mut announcements = Announcements::default();
        assert_eq!(announcements.handle_packet(key(1), packet(1), now), None);
        announcements.handle_status(&key(1), true, now);
        assert_eq!(count_announcements(&mut announcements), 1);

        announcements.handle_query(&"db.corp.example".into(), now);

        assert_eq!(count_announcements(&mut announcements), 1);
        assert_eq!(announcements.handle_packet(key(1), packet(2), now), Some(packet(2)));
        assert_eq!(announcements.handle_packet(key(1), packet(3), now + 2 * SECOND), Some(packet(3)));
        assert_eq!(
            count_announcements(&mut announcements),
            1,
            "packets repeat the announcement although they are not held"
        );
    }

    #[test]
    fn second_resource_with_the_same_name_is_announced_separately() {
        let now = start();
        let mut announcements = Announcements::default();
        assert_eq!(announcements.handle_packet(key(1), packet(1), now), None);
        announcements.handle_status(&key(1), true, now);

        assert_eq!(announcements.handle_packet(key(2), packet(2), now), None);

        assert_eq!(count_announcements(&mut announcements), 2);
    }

    #[test]
    fn removing_a_gateway_forgets_its_announcements() {
        let now = start();
        let mut announcements = Announcements::default();
        assert_eq!(announcements.handle_packet(key(1), packet(1), now), None);
        announcements.handle_status(&key(1), true, now);
        assert_eq!(count_announcements(&mut announcements), 1);

        announcements.forget_gateway(key(1).gateway);

        assert_eq!(announcements.handle_packet(key(1), packet(2), now), None);
        assert_eq!(count_announcements(&mut announcements), 1);
    }

    #[test]
    fn more_than_32_held_packets_drop_the_oldest() {
        let now = start();
        let mut announcements = Announcements::default();
        for number in 0..33 {
            assert_eq!(announcements.handle_packet(key(1), packet(number), now), None);
        }

        let sent = announcements.handle_status(&key(1), true, now);

        assert_eq!(sent, (1..33).map(packet).collect::<Vec<_>>());
        assert_eq!(announcements.take_dropped(), 1);
    }

    #[test]
    fn unexpected_status_is_ignored() {
        let mut announcements = Announcements::default();
        assert!(announcements.handle_status(&key(1), true, start()).is_empty());
        assert_eq!(count_announcements(&mut announcements), 0);
    }
}
