//! Protection against handshake floods: answering a handshake message costs far more than sending a forged one.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use model::PublicKey;
use rand::Rng;

use crate::{
    cookie::MacKeys,
    message::MAC,
    noise::{Key, mac},
};

/// Handshake messages per second that are processed without a cookie.
const MAX_HANDSHAKES_PER_SECOND: u64 = 100;
const COUNTING_INTERVAL: Duration = Duration::from_secs(1);
/// Lifetime of the secret that cookies are derived from.
const COOKIE_SECRET_LIFETIME: Duration = Duration::from_secs(128);

/// Checks each handshake message before anything else does. One per key, for all peers.
pub(crate) struct HandshakeLimiter {
    mac_keys: MacKeys,
    /// The start of the counting interval, and the handshake messages since then.
    counted: Option<(Instant, u64)>,
    secret: Key,
    secret_since: Option<Instant>,
}

/// Whether a handshake message is processed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    /// It is processed.
    Admitted,
    /// It is discarded, and this cookie reply is sent to its sender.
    CookieRequired(Vec<u8>),
    /// It was not made for our key, and is discarded.
    Invalid,
}

impl HandshakeLimiter {
    /// For handshake messages to the owner of `key`.
    pub(crate) fn new(key: &PublicKey) -> Self {
        Self { mac_keys: MacKeys::new(key), counted: None, secret: Key::default(), secret_since: None }
    }

    /// `from` is the peer's address, not that of a relay in between.
    pub(crate) fn admit(&mut self, from: IpAddr, message: &[u8], rng: &mut impl Rng, now: Instant) -> Admission {
        if !self.mac_keys.verify_mac1(message) {
            return Admission::Invalid;
        }
        let cookie = self.cookie(from, rng, now);
        if self.is_below_limit(now) || MacKeys::verify_mac2(message, &cookie) {
            return Admission::Admitted;
        }
        self.mac_keys.cookie_reply(message, cookie, rng.random()).map_or(Admission::Invalid, Admission::CookieRequired)
    }

    /// Counts one more message. Returns whether the limit of this interval was not reached before.
    fn is_below_limit(&mut self, now: Instant) -> bool {
        let current = self.counted.filter(|(since, _)| now.saturating_duration_since(*since) < COUNTING_INTERVAL);
        let (since, count) = current.unwrap_or((now, 0));
        self.counted = Some((since, count + 1));
        count < MAX_HANDSHAKES_PER_SECOND
    }

    fn cookie(&mut self, from: IpAddr, rng: &mut impl Rng, now: Instant) -> [u8; MAC] {
        let is_fresh = |since| now.saturating_duration_since(since) < COOKIE_SECRET_LIFETIME;
        if !self.secret_since.is_some_and(is_fresh) {
            self.secret = Key::new(rng.random());
            self.secret_since = Some(now);
        }
        match from {
            IpAddr::V4(ip) => mac(&*self.secret, &[&ip.octets()]),
            IpAddr::V6(ip) => mac(&*self.secret, &[&ip.octets()]),
        }
    }
}
