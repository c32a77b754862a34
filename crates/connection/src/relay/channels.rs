//! The channels of one allocation (RFC 8656, section 12): the peer and lifetime of each number.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

/// Valid channel numbers.
const CHANNEL_NUMBERS: RangeInclusive<u16> = 0x4000..=0x4FFF;
/// How long a relay forwards on a channel after it was bound.
const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);
/// Time after the binding during which neither number nor peer may be bound otherwise.
const REBIND_DELAY: Duration = Duration::from_secs(900);
/// A channel that receives data is bound again after this time.
const REFRESH_INTERVAL: Duration = Duration::from_secs(300);

/// The channels of one allocation.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    by_id: BTreeMap<u16, Channel>,
    by_peer: BTreeMap<SocketAddr, u16>,
}

#[derive(Debug)]
struct Channel {
    peer: SocketAddr,
    /// When the pending request was sent.
    requested: Option<Instant>,
    /// When the relay last confirmed the binding.
    confirmed: Option<Instant>,
    /// When data was last received on it.
    last_received: Option<Instant>,
}

/// All channel numbers are in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Exhausted;

impl Channels {
    /// The number for data to `peer`: a bound one, or one whose request is pending, because data sent right after the request
    /// normally arrives after it.
    pub(crate) fn number_for(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        let number = *self.by_peer.get(&peer)?;
        let channel = self.by_id.get(&number)?;
        let usable = |since: Option<Instant>| since.is_some_and(|since| now.duration_since(since) < CHANNEL_LIFETIME);
        (usable(channel.confirmed) || usable(channel.requested)).then_some(number)
    }

    /// The peer of this number, if the relay has confirmed it. Records that data was received.
    pub(crate) fn note_received(&mut self, number: u16, now: Instant) -> Option<SocketAddr> {
        let channel = self.by_id.get_mut(&number)?;
        channel.confirmed?;
        channel.last_received = Some(now);
        Some(channel.peer)
    }

    /// The number to request for `peer`; `None` if the last request is pending or was confirmed recently.
    pub(crate) fn request(&mut self, peer: SocketAddr, now: Instant) -> Result<Option<u16>, Exhausted> {
        let number = match self.by_peer.get(&peer) {
            Some(number) => *number,
            None => self.assign(peer, now)?,
        };
        let Some(channel) = self.by_id.get_mut(&number) else { return Ok(None) };
        let is_fresh = channel.confirmed.is_some_and(|confirmed| now.duration_since(confirmed) < REFRESH_INTERVAL);
        if channel.requested.is_some() || is_fresh {
            return Ok(None);
        }
        channel.requested = Some(now);
        Ok(Some(number))
    }

    /// The relay has bound `number`.
    pub(crate) fn confirm(&mut self, number: u16, now: Instant) {
        if let Some(channel) = self.by_id.get_mut(&number) {
            channel.requested = None;
            channel.confirmed = Some(now);
        }
    }

    /// The relay rejected the binding of `number`.
    pub(crate) fn free(&mut self, number: u16) {
        if let Some(channel) = self.by_id.remove(&number) {
            self.by_peer.remove(&channel.peer);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.by_id.clear();
        self.by_peer.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The first broken invariant.
    pub(crate) fn broken_invariant(&self) -> Option<&'static str> {
        let is_mutual = self.by_id.iter().all(|(number, it)| self.by_peer.get(&it.peer) == Some(number));
        if !is_mutual || self.by_id.len() != self.by_peer.len() {
            return Some("a channel number is not unique");
        }
        if !self.by_id.keys().all(|number| CHANNEL_NUMBERS.contains(number)) {
            return Some("an invalid channel number");
        }
        None
    }

    /// Peers whose channels have to be bound again.
    pub(crate) fn peers_to_refresh(&self, now: Instant) -> Vec<SocketAddr> {
        self.by_id
            .values()
            .filter(|channel| channel.refresh_due().is_some_and(|due| due <= now))
            .map(|channel| channel.peer)
            .collect()
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.by_id.values().filter_map(Channel::refresh_due).min()
    }

    /// Assigns a number that was never used, or else one whose binding time has passed.
    fn assign(&mut self, peer: SocketAddr, now: Instant) -> Result<u16, Exhausted> {
        let next = match self.by_id.last_key_value() {
            None => Some(*CHANNEL_NUMBERS.start()),
            Some((last, _)) if last < CHANNEL_NUMBERS.end() => Some(last + 1),
            Some(_) => None,
        };
        let number = next
            .or_else(|| CHANNEL_NUMBERS.into_iter().find(|number| !self.by_id.contains_key(number)))
            .or_else(|| self.by_id.iter().find(|(_, channel)| channel.is_recyclable(now)).map(|(number, _)| *number))
            .ok_or(Exhausted)?;
        self.free(number);
        self.by_id.insert(number, Channel { peer, requested: None, confirmed: None, last_received: None });
        self.by_peer.insert(peer, number);
        Ok(number)
    }
}

impl Channel {
    fn received_since_confirmed(&self) -> bool {
        self.last_received >= self.confirmed && self.last_received.is_some()
    }

    fn refresh_due(&self) -> Option<Instant> {
        let wanted = self.requested.is_none() && self.received_since_confirmed();
        self.confirmed.filter(|_| wanted).map(|confirmed| confirmed + REFRESH_INTERVAL)
    }

    fn is_recyclable(&self, now: Instant) -> bool {
        self.requested.is_none()
            && !self.received_since_confirmed()
            && self.confirmed.is_none_or(|confirmed| now.duration_since(confirmed) >= REBIND_DELAY)
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
    fn channel_is_usable_for_sending_while_its_request_is_pending() {
        let (mut channels, now) = (Channels::default(), epoch());
        assert_eq!(channels.number_for(peer(1), now), None);
        assert_eq!(channels.request(peer(1), now), Ok(Some(0x4000)));
        assert_eq!(channels.number_for(peer(1), now), Some(0x4000));
        assert_eq!(channels.request(peer(1), now), Ok(None), "one request at a time");
    }

    #[test]
    fn repeated_request_for_a_peer_keeps_its_channel() {
        let (mut channels, now) = (Channels::default(), epoch());
        bound(&mut channels, 1, now);
        assert_eq!(channels.request(peer(1), now + minutes(1)), Ok(None));
        assert_eq!(channels.number_for(peer(1), now + minutes(1)), Some(0x4000));
        assert_eq!(channels.request(peer(1), now + minutes(5)), Ok(Some(0x4000)));
    }

    #[test]
    fn data_on_an_unconfirmed_channel_is_rejected() {
        let (mut channels, now) = (Channels::default(), epoch());
        channels.request(peer(1), now).unwrap();
        assert_eq!(channels.note_received(0x4000, now), None);
        assert_eq!(channels.note_received(0x4001, now), None);
        channels.confirm(0x4000, now);
        assert_eq!(channels.note_received(0x4000, now), Some(peer(1)));
    }

    #[test]
    fn peer_keeps_its_channel_number_during_the_rebind_delay() {
        let (mut channels, start) = (Channels::default(), epoch());
        bound(&mut channels, 1, start);
        let later = start + minutes(12);
        assert_eq!(channels.number_for(peer(1), later), None);
        assert_eq!(channels.request(peer(1), later), Ok(Some(0x4000)));
        assert_eq!(channels.number_for(peer(1), later), Some(0x4000));
    }

    #[test]
    fn channel_number_is_reassigned_only_after_the_rebind_delay() {
        let (mut channels, start) = (Channels::default(), epoch());
        for port in 1..=4096 {
            bound(&mut channels, port, start);
        }
        channels.note_received(0x4000, start + minutes(1));
        assert_eq!(channels.request(peer(5000), start + minutes(14)), Err(Exhausted));
        assert_eq!(channels.request(peer(5000), start + minutes(15)), Ok(Some(0x4001)), "0x4000 was in use");
        assert_eq!(channels.number_for(peer(2), start + minutes(15)), None);
    }

    #[test]
    fn only_channels_with_received_traffic_are_refreshed() {
        let (mut channels, start) = (Channels::default(), epoch());
        bound(&mut channels, 1, start);
        bound(&mut channels, 2, start);
        assert_eq!(channels.due(), None);
        channels.note_received(0x4001, start + minutes(1));
        assert_eq!(channels.due(), Some(start + minutes(5)));
        assert_eq!(channels.peers_to_refresh(start + minutes(5)), [peer(2)]);
        assert_eq!(channels.request(peer(2), start + minutes(5)), Ok(Some(0x4001)));
        assert_eq!(channels.due(), None, "nothing more while the request is in flight");
        channels.confirm(0x4001, start + minutes(5));
        assert_eq!(channels.due(), None, "nothing received since");
    }
}
