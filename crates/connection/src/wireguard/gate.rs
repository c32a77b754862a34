//! Who may make us compute: a handshake costs us far more than it costs whoever sends rubbish.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use model::PublicKey;
use rand::Rng;

use super::{
    cookie::Labels,
    message::MAC,
    noise::{Key, mac},
};
use crate::limits::HANDSHAKES_PER_SECOND;

/// How often the secret changes from which cookies are made.
const SECRET_LIFETIME: Duration = Duration::from_secs(128);
const WINDOW: Duration = Duration::from_secs(1);

/// Looks at each handshake message first. One for all tunnels of a node.
pub(crate) struct Gate {
    labels: Labels,
    /// When counting began, and how many messages were admitted since.
    admitted: Option<(Instant, u64)>,
    secret: Key,
    secret_since: Option<Instant>,
}

/// What is done with a handshake message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It may be looked at.
    Admitted,
    /// Not before it carries the cookie that this answer brings.
    Later(Vec<u8>),
    /// It was not made for us.
    Foreign,
}

impl Gate {
    /// In front of the owner of `key`.
    pub(crate) fn new(key: &PublicKey) -> Self {
        Self { labels: Labels::of(key), admitted: None, secret: Key::default(), secret_since: None }
    }

    /// `from` is the sender as it is seen behind all relays.
    pub(crate) fn judge(&mut self, from: IpAddr, message: &[u8], rng: &mut impl Rng, now: Instant) -> Verdict {
        if !self.labels.fit(message) {
            return Verdict::Foreign;
        }
        let cookie = self.cookie(from, rng, now);
        if self.is_calm(now) || Labels::carries(message, &cookie) {
            return Verdict::Admitted;
        }
        self.labels.reply(message, cookie, rng.random()).map_or(Verdict::Foreign, Verdict::Later)
    }

    /// Counts one more message. Returns whether there were few within this second.
    fn is_calm(&mut self, now: Instant) -> bool {
        let current = self.admitted.filter(|(since, _)| now.saturating_duration_since(*since) < WINDOW);
        let (since, count) = current.unwrap_or((now, 0));
        self.admitted = Some((since, count + 1));
        count < HANDSHAKES_PER_SECOND
    }

    fn cookie(&mut self, from: IpAddr, rng: &mut impl Rng, now: Instant) -> [u8; MAC] {
        let is_fresh = |since| now.saturating_duration_since(since) < SECRET_LIFETIME;
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
