//! Which names each gateway knows the addresses of.
//!
//! Packets to a name carry addresses that we invented. Before a gateway can make sense of them it has to be told which
//! name they stand for, and has to have looked that name up. [`Tracker`] remembers how far each name is, holds packets
//! back while their name is announced for the first time, and repeats the announcement when nothing is heard.
//!
//! A name is announced when the first packet for it leaves, not when the application asks for it: most names that are
//! asked for on a large network are never used, and a gateway that is chosen anew would have to look up all of them.

use std::{
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    time::{Duration, Instant},
};

use dns::Domain;
use ip_packet::IpPacket;
use model::{GatewayId, ResourceId};

use crate::access::HeldPackets;

/// An announcement is not repeated sooner.
const REPEAT_AFTER: Duration = Duration::from_secs(2);
/// How many packets wait per name; the oldest make room.
const PACKETS: usize = 32;

/// How far each name is on each gateway.
///
/// There is no timer: an announcement is repeated when a packet or a query for the name comes.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    entries: BTreeMap<Key, State>,
    announcements: VecDeque<Key>,
    /// Packets that had to make room for newer ones, or whose name cannot be used.
    dropped: u64,
}

/// A name, as one resource uses it on one gateway. Two resources with the same name are announced separately.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The name. First, so that all of one name stand together.
    pub(crate) name: Domain,
    /// Who is told.
    pub(crate) gateway: GatewayId,
    /// Because of which resource.
    pub(crate) resource: ResourceId,
}

#[derive(Debug)]
enum State {
    /// Announced. The packets are there if nothing may be sent before the answer.
    Announced { at: Instant, held: Option<HeldPackets> },
    /// The gateway knows the name, as far as we know.
    Confirmed { announced_at: Instant },
    /// The gateway cannot use the name. Packets flow nevertheless: it answers them with an ICMP error.
    Failed,
}

impl Tracker {
    /// A packet to `key` wants to leave. Gives it back if it may.
    pub(crate) fn handle_packet(&mut self, key: Key, packet: IpPacket, now: Instant) -> Option<IpPacket> {
        let mut entry = match self.entries.entry(key) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => {
                let mut held = HeldPackets::new(PACKETS);
                held.push(packet);
                self.announcements.push_back(entry.key().clone());
                entry.insert(State::Announced { at: now, held: Some(held) });
                return None;
            }
        };
        let State::Announced { at, held } = entry.get_mut() else { return Some(packet) };
        let is_overdue = *at + REPEAT_AFTER <= now;
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

    /// An application asked for `name` again, so the gateways that know it should look it up again, too. Packets are
    /// held only where it was not usable before; a connection that works goes on meanwhile.
    pub(crate) fn handle_query(&mut self, name: &Domain, now: Instant) {
        let first = Key { name: name.clone(), gateway: GatewayId::from_u128(0), resource: ResourceId::from_u128(0) };
        let concerned = self.entries.range(first..).map(|(key, _)| key).take_while(|key| key.name == *name).cloned();
        let concerned = concerned.collect();
        self.refresh(concerned, now);
    }

    /// A gateway that knew `resource` had to be asked for it again: it may have forgotten the names as well.
    pub(crate) fn handle_renewal(&mut self, gateway: GatewayId, resource: ResourceId, now: Instant) {
        let concerned = self.entries.keys().filter(|key| key.gateway == gateway && key.resource == resource).cloned();
        let concerned = concerned.collect();
        self.refresh(concerned, now);
    }

    /// A name that was in use on a gateway that is lost is to be used through this one. Nothing is there to be sent yet.
    pub(crate) fn handle_moved(&mut self, key: Key, now: Instant) {
        if !self.entries.contains_key(&key) {
            self.announce(key, Some(HeldPackets::new(PACKETS)), now);
        }
    }

    /// The gateway says that an address of `name` leads nowhere. Perhaps the name has no such address; but a gateway also
    /// forgets all names of ours when one of their addresses meant another name before we were started anew.
    pub(crate) fn handle_unreachable(&mut self, gateway: GatewayId, name: &Domain, now: Instant) {
        let is_concerned = |key: &Key, state: &State| {
            key.gateway == gateway
                && key.name == *name
                && matches!(state, State::Confirmed { announced_at } if *announced_at + REPEAT_AFTER <= now)
        };
        let concerned = self.entries.iter().filter(|(key, state)| is_concerned(key, state)).map(|(key, _)| key.clone());
        let concerned = concerned.collect();
        self.refresh(concerned, now);
    }

    /// The gateway answered. What may be sent now, in order.
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

    /// The gateway is gone, and with it all that it knew.
    pub(crate) fn forget_gateway(&mut self, gateway: GatewayId) {
        self.entries.retain(|key, _| key.gateway != gateway);
    }

    /// The resource is gone, or no longer used through this gateway.
    pub(crate) fn forget(&mut self, gateway: GatewayId, resource: ResourceId) {
        self.entries.retain(|key, _| key.gateway != gateway || key.resource != resource);
    }

    /// The next name to announce.
    pub(crate) fn poll_announcement(&mut self) -> Option<Key> {
        self.announcements.pop_front()
    }

    /// How many packets were dropped since the last time.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    fn refresh(&mut self, concerned: Vec<Key>, now: Instant) {
        for key in concerned {
            match self.entries.get_mut(&key) {
                Some(State::Announced { at, .. }) if *at + REPEAT_AFTER <= now => {
                    *at = now;
                    self.announcements.push_back(key);
                }
                Some(State::Announced { .. }) | None => {}
                Some(State::Confirmed { .. }) => self.announce(key, None, now),
                Some(State::Failed) => self.announce(key, Some(HeldPackets::new(PACKETS)), now),
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

    fn announcements(tracker: &mut Tracker) -> usize {
        std::iter::from_fn(|| tracker.poll_announcement()).count()
    }

    #[test]
    fn the_first_packet_announces_the_name_and_waits_for_the_answer() {
        let now = start();
        let mut tracker = Tracker::default();

        assert_eq!(tracker.handle_packet(key(1), packet(1), now), None);
        assert_eq!(announcements(&mut tracker), 1);
        assert_eq!(tracker.handle_packet(key(1), packet(2), now + SECOND), None);
        assert_eq!(announcements(&mut tracker), 0);
        assert_eq!(tracker.handle_packet(key(1), packet(3), now + 2 * SECOND), None);
        assert_eq!(announcements(&mut tracker), 1);

        assert_eq!(tracker.handle_status(&key(1), true, now), [packet(1), packet(2), packet(3)]);
        assert_eq!(tracker.handle_packet(key(1), packet(4), now), Some(packet(4)));
    }

    #[test]
    fn a_name_that_leads_nowhere_is_announced_again_but_not_with_every_error() {
        let now = start();
        let name = "db.corp.example".into();
        let mut tracker = Tracker::default();
        assert_eq!(tracker.handle_packet(key(1), packet(1), now), None);
        assert_eq!(announcements(&mut tracker), 1);
        assert_eq!(tracker.handle_status(&key(1), true, now), [packet(1)]);

        for (after, expected) in [(SECOND, 0), (2 * SECOND, 1), (2 * SECOND, 0), (3 * SECOND, 0), (4 * SECOND, 1)] {
            tracker.handle_unreachable(GatewayId::from_u128(1), &name, now + after);
            tracker.handle_unreachable(GatewayId::from_u128(2), &name, now + after);
            assert_eq!(announcements(&mut tracker), expected, "{after:?}");
            assert!(tracker.handle_packet(key(1), packet(2), now + after).is_some(), "packets flow meanwhile");
            assert!(tracker.handle_status(&key(1), true, now + after).is_empty());
        }
    }

    #[test]
    fn a_query_repeats_an_announcement_after_two_seconds() {
        let now = start();
        let mut tracker = Tracker::default();
        assert_eq!(tracker.handle_packet(key(1), packet(1), now), None);
        assert_eq!(announcements(&mut tracker), 1);

        tracker.handle_query(&"db.corp.example".into(), now);
        assert_eq!(announcements(&mut tracker), 0);
        tracker.handle_query(&"db.corp.example".into(), now + 2 * SECOND);
        assert_eq!(announcements(&mut tracker), 1);
        assert_eq!(tracker.handle_status(&key(1), true, now), [packet(1)], "what was held is kept");
    }

    #[test]
    fn a_name_that_is_refused_lets_packets_through_until_it_is_asked_for_again() {
        let now = start();
        let mut tracker = Tracker::default();
        assert_eq!(tracker.handle_packet(key(1), packet(1), now), None);
        assert!(tracker.handle_status(&key(1), false, now).is_empty());
        assert_eq!(tracker.take_dropped(), 1);
        assert_eq!(announcements(&mut tracker), 1);

        assert_eq!(tracker.handle_packet(key(1), packet(2), now + 5 * SECOND), Some(packet(2)));
        assert_eq!(announcements(&mut tracker), 0);
        tracker.handle_query(&"other.example".into(), now);
        assert_eq!(announcements(&mut tracker), 0);

        tracker.handle_query(&"db.corp.example".into(), now + 5 * SECOND);
        assert_eq!(announcements(&mut tracker), 1);
        assert_eq!(tracker.handle_packet(key(1), packet(3), now + 5 * SECOND), None);
    }

    #[test]
    fn a_query_for_a_working_name_announces_it_again_while_packets_flow() {
        let now = start();
        let mut tracker = Tracker::default();
        assert_eq!(tracker.handle_packet(key(1), packet(1), now), None);
        tracker.handle_status(&key(1), true, now);
        assert_eq!(announcements(&mut tracker), 1);

        tracker.handle_query(&"db.corp.example".into(), now);

        assert_eq!(announcements(&mut tracker), 1);
        assert_eq!(tracker.handle_packet(key(1), packet(2), now), Some(packet(2)));
        assert_eq!(tracker.handle_packet(key(1), packet(3), now + 2 * SECOND), Some(packet(3)));
        assert_eq!(announcements(&mut tracker), 1, "packets repeat it although they are not held");
    }

    #[test]
    fn a_second_resource_with_the_same_name_is_announced_on_its_own() {
        let now = start();
        let mut tracker = Tracker::default();
        assert_eq!(tracker.handle_packet(key(1), packet(1), now), None);
        tracker.handle_status(&key(1), true, now);

        assert_eq!(tracker.handle_packet(key(2), packet(2), now), None);

        assert_eq!(announcements(&mut tracker), 2);
    }

    #[test]
    fn a_lost_gateway_takes_its_names_with_it() {
        let now = start();
        let mut tracker = Tracker::default();
        assert_eq!(tracker.handle_packet(key(1), packet(1), now), None);
        tracker.handle_status(&key(1), true, now);
        assert_eq!(announcements(&mut tracker), 1);

        tracker.forget_gateway(key(1).gateway);

        assert_eq!(tracker.handle_packet(key(1), packet(2), now), None);
        assert_eq!(announcements(&mut tracker), 1);
    }

    #[test]
    fn the_oldest_of_more_than_32_packets_is_dropped() {
        let now = start();
        let mut tracker = Tracker::default();
        for number in 0..33 {
            assert_eq!(tracker.handle_packet(key(1), packet(number), now), None);
        }

        let sent = tracker.handle_status(&key(1), true, now);

        assert_eq!(sent, (1..33).map(packet).collect::<Vec<_>>());
        assert_eq!(tracker.take_dropped(), 1);
    }

    #[test]
    fn an_answer_that_nobody_waits_for_changes_nothing() {
        let mut tracker = Tracker::default();
        assert!(tracker.handle_status(&key(1), true, start()).is_empty());
        assert_eq!(announcements(&mut tracker), 0);
    }
}
