//! The allocation of one client on a relay.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

/// Lifetime of a channel after it was bound.
const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);
/// Time after that during which neither number nor peer can be bound otherwise.
const REBIND_DELAY: Duration = Duration::from_secs(300);

/// Allocated addresses and their channels.
#[derive(Debug)]
pub(super) struct Allocation {
    pub(super) username: String,
    pub(super) port: u16,
    pub(super) v4: bool,
    pub(super) v6: bool,
    pub(super) expires: Instant,
    channels: BTreeMap<u16, Channel>,
}

#[derive(Debug)]
struct Channel {
    peer: SocketAddr,
    bound: Instant,
}

impl Allocation {
    pub(super) fn new(username: &str, port: u16, v4: bool, v6: bool, expires: Instant) -> Self {
        Self { username: username.to_owned(), port, v4, v6, expires, channels: BTreeMap::new() }
    }

    pub(super) fn has_family_of(&self, ip: IpAddr) -> bool {
        if ip.is_ipv4() { self.v4 } else { self.v6 }
    }

    /// Binds a channel. Returns `false` if its number or peer is bound otherwise.
    pub(super) fn bind(&mut self, number: u16, peer: SocketAddr, now: Instant) -> bool {
        self.channels.retain(|_, channel| now.duration_since(channel.bound) < CHANNEL_LIFETIME + REBIND_DELAY);
        let conflicts = |(other, channel): (&u16, &Channel)| (*other == number) != (channel.peer == peer);
        if self.channels.iter().any(conflicts) {
            return false;
        }
        self.channels.insert(number, Channel { peer, bound: now });
        true
    }

    pub(super) fn peer(&self, number: u16, now: Instant) -> Option<SocketAddr> {
        self.channels.get(&number).filter(|channel| channel.is_active(now)).map(|channel| channel.peer)
    }

    pub(super) fn channel(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        self.channels
            .iter()
            .find(|(_, channel)| channel.peer == peer && channel.is_active(now))
            .map(|(number, _)| *number)
    }
}

impl Channel {
    fn is_active(&self, now: Instant) -> bool {
        now.duration_since(self.bound) < CHANNEL_LIFETIME
    }
}
