//! Channel numbers of one allocation (RFC 8656, section 12): which peer each belongs to, and for how long.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

/// The numbers that may be bound.
const NUMBERS: RangeInclusive<u16> = 0x4000..=0x4FFF;
/// A relay forwards on a channel for this long after it was bound.
const LIFETIME: Duration = Duration::from_secs(600);
/// After its life a binding cools down: number and peer stay tied to each other until then.
const TIED: Duration = Duration::from_secs(900);
/// A channel on which the peer talks to us is bound again after this time.
const REFRESH_AFTER: Duration = Duration::from_secs(300);

/// The channels of one allocation.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    by_number: BTreeMap<u16, Channel>,
    by_peer: BTreeMap<SocketAddr, u16>,
}

#[derive(Debug)]
struct Channel {
    peer: SocketAddr,
    /// When the request that is in flight was made.
    requested: Option<Instant>,
    /// When the relay last confirmed the binding.
    confirmed: Option<Instant>,
    /// When the peer was last heard on it.
    heard: Option<Instant>,
}

/// All numbers are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Exhausted;

impl Channels {
    /// The number on which something can be sent to `peer`: a live one, or one whose request is on the way, because what
    /// is sent right behind the request normally arrives after it took effect.
    pub(crate) fn to(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        let number = *self.by_peer.get(&peer)?;
        let channel = self.by_number.get(&number)?;
        let usable = |since: Option<Instant>| since.is_some_and(|since| now.duration_since(since) < LIFETIME);
        (usable(channel.confirmed) || usable(channel.requested)).then_some(number)
    }

    /// Whose number this is, if the relay has confirmed it. Counts as a sign of life.
    pub(crate) fn heard_on(&mut self, number: u16, now: Instant) -> Option<SocketAddr> {
        let channel = self.by_number.get_mut(&number)?;
        channel.confirmed?;
        channel.heard = Some(now);
        Some(channel.peer)
    }

    /// The number to be requested for `peer`; `None` if there is nothing to be requested, because the last request is
    /// still in flight or was granted not long ago.
    pub(crate) fn request(&mut self, peer: SocketAddr, now: Instant) -> Result<Option<u16>, Exhausted> {
        let number = match self.by_peer.get(&peer) {
            Some(number) => *number,
            None => self.assign(peer, now)?,
        };
        let Some(channel) = self.by_number.get_mut(&number) else { return Ok(None) };
        let is_fresh = channel.confirmed.is_some_and(|confirmed| now.duration_since(confirmed) < REFRESH_AFTER);
        if channel.requested.is_some() || is_fresh {
            return Ok(None);
        }
        channel.requested = Some(now);
        Ok(Some(number))
    }

    /// The relay has bound `number`.
    pub(crate) fn confirm(&mut self, number: u16, now: Instant) {
        if let Some(channel) = self.by_number.get_mut(&number) {
            channel.requested = None;
            channel.confirmed = Some(now);
        }
    }

    /// The relay does not want to bind `number`.
    pub(crate) fn free(&mut self, number: u16) {
        if let Some(channel) = self.by_number.remove(&number) {
            self.by_peer.remove(&channel.peer);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.by_number.clear();
        self.by_peer.clear();
    }

    pub(crate) fn are_none(&self) -> bool {
        self.by_number.is_empty()
    }

    /// What must never be the case, if it is.
    pub(crate) fn broken_invariant(&self) -> Option<&'static str> {
        let is_mutual = self.by_number.iter().all(|(number, it)| self.by_peer.get(&it.peer) == Some(number));
        if !is_mutual || self.by_number.len() != self.by_peer.len() {
            return Some("a channel number is not unique");
        }
        if !self.by_number.keys().all(|number| NUMBERS.contains(number)) {
            return Some("a channel number that no relay accepts");
        }
        None
    }

    /// Peers whose channels have to be bound again.
    pub(crate) fn to_refresh(&self, now: Instant) -> Vec<SocketAddr> {
        self.by_number
            .values()
            .filter(|channel| channel.refresh_due().is_some_and(|due| due <= now))
            .map(|channel| channel.peer)
            .collect()
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.by_number.values().filter_map(Channel::refresh_due).min()
    }

    /// Takes a number that was never used, or else one that nobody is tied to any more.
    fn assign(&mut self, peer: SocketAddr, now: Instant) -> Result<u16, Exhausted> {
        let next = match self.by_number.last_key_value() {
            None => Some(*NUMBERS.start()),
            Some((last, _)) if last < NUMBERS.end() => Some(last + 1),
            Some(_) => None,
        };
        let number = next
            .or_else(|| NUMBERS.into_iter().find(|number| !self.by_number.contains_key(number)))
            .or_else(|| {
                self.by_number.iter().find(|(_, channel)| channel.is_recyclable(now)).map(|(number, _)| *number)
            })
            .ok_or(Exhausted)?;
        self.free(number);
        self.by_number.insert(number, Channel { peer, requested: None, confirmed: None, heard: None });
        self.by_peer.insert(peer, number);
        Ok(number)
    }
}

impl Channel {
    fn heard_since_confirmed(&self) -> bool {
        self.heard >= self.confirmed && self.heard.is_some()
    }

    fn refresh_due(&self) -> Option<Instant> {
        let wanted = self.requested.is_none() && self.heard_since_confirmed();
        self.confirmed.filter(|_| wanted).map(|confirmed| confirmed + REFRESH_AFTER)
    }

    fn is_recyclable(&self, now: Instant) -> bool {
        self.requested.is_none()
            && !self.heard_since_confirmed()
            && self.confirmed.is_none_or(|confirmed| now.duration_since(confirmed) >= TIED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, 9], port))
    }

    fn bound(channels: &mut Channels, port: u16, now: Instant) -> u16 {
        let number = channels.request(peer(port), now).unwrap().unwrap();
        channels.confirm(number, now);
        number
    }

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    #[test]
    fn numbers_are_assigned_in_sequence() {
        let (mut channels, now) = (Channels::default(), epoch());
        assert_eq!(bound(&mut channels, 1, now), 0x4000);
        assert_eq!(bound(&mut channels, 2, now), 0x4001);
        assert_eq!(bound(&mut channels, 3, now), 0x4002);
    }

    #[test]
    fn a_channel_can_be_used_while_its_request_is_on_the_way() {
        let (mut channels, now) = (Channels::default(), epoch());
        assert_eq!(channels.to(peer(1), now), None);
        assert_eq!(channels.request(peer(1), now), Ok(Some(0x4000)));
        assert_eq!(channels.to(peer(1), now), Some(0x4000));
        assert_eq!(channels.request(peer(1), now), Ok(None), "one request at a time");
    }

    #[test]
    fn a_peer_that_is_named_once_more_keeps_its_channel_as_it_is() {
        let (mut channels, now) = (Channels::default(), epoch());
        bound(&mut channels, 1, now);
        assert_eq!(channels.request(peer(1), now + minutes(1)), Ok(None));
        assert_eq!(channels.to(peer(1), now + minutes(1)), Some(0x4000));
        assert_eq!(channels.request(peer(1), now + minutes(5)), Ok(Some(0x4000)));
    }

    #[test]
    fn nothing_is_received_on_a_channel_that_is_not_confirmed() {
        let (mut channels, now) = (Channels::default(), epoch());
        channels.request(peer(1), now).unwrap();
        assert_eq!(channels.heard_on(0x4000, now), None);
        assert_eq!(channels.heard_on(0x4001, now), None);
        channels.confirm(0x4000, now);
        assert_eq!(channels.heard_on(0x4000, now), Some(peer(1)));
    }

    #[test]
    fn a_peer_keeps_its_number_while_it_cools_down() {
        let (mut channels, start) = (Channels::default(), epoch());
        bound(&mut channels, 1, start);
        let later = start + minutes(12);
        assert_eq!(channels.to(peer(1), later), None);
        assert_eq!(channels.request(peer(1), later), Ok(Some(0x4000)));
        assert_eq!(channels.to(peer(1), later), Some(0x4000));
    }

    #[test]
    fn a_number_goes_to_another_peer_only_after_it_has_cooled_down() {
        let (mut channels, start) = (Channels::default(), epoch());
        for port in 1..=4096 {
            bound(&mut channels, port, start);
        }
        channels.heard_on(0x4000, start + minutes(1));
        assert_eq!(channels.request(peer(5000), start + minutes(14)), Err(Exhausted));
        assert_eq!(channels.request(peer(5000), start + minutes(15)), Ok(Some(0x4001)), "0x4000 was in use");
        assert_eq!(channels.to(peer(2), start + minutes(15)), None);
    }

    #[test]
    fn only_channels_with_received_traffic_are_refreshed() {
        let (mut channels, start) = (Channels::default(), epoch());
        bound(&mut channels, 1, start);
        bound(&mut channels, 2, start);
        assert_eq!(channels.due(), None);
        channels.heard_on(0x4001, start + minutes(1));
        assert_eq!(channels.due(), Some(start + minutes(5)));
        assert_eq!(channels.to_refresh(start + minutes(5)), [peer(2)]);
        assert_eq!(channels.request(peer(2), start + minutes(5)), Ok(Some(0x4001)));
        assert_eq!(channels.due(), None, "nothing more while the request is in flight");
        channels.confirm(0x4001, start + minutes(5));
        assert_eq!(channels.due(), None, "nothing received since");
    }
}
