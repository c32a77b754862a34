//! Who we are to all our peers.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use model::PublicKey;
use rand::Rng;
use x25519_dalek::StaticSecret;

use super::{
    Number, Refused,
    gate::{Gate, Verdict},
    initiation::Introduction,
    message::{Kind, TIMESTAMP, number_at},
    noise::{Key, agree},
    timestamp::Timestamps,
};

/// Our key, what must never repeat as long as it lives, and the guard in front of it.
pub(crate) struct Identity {
    private: StaticSecret,
    public: PublicKey,
    timestamps: Timestamps,
    gate: Gate,
}

/// Where a WireGuard message belongs.
#[derive(Debug)]
pub(crate) enum Addressee {
    /// To the connection with this number.
    Number(Number),
    /// To the connection with the owner of the key in here.
    Introduced(Box<Introduction>),
    /// To nobody, but this has to be answered.
    CookieReply(Vec<u8>),
}

impl Identity {
    /// A fresh key. `unix_now` is the time since the Unix epoch at `now`.
    pub(crate) fn new(rng: &mut impl Rng, now: Instant, unix_now: Duration) -> Self {
        Self::with_timestamps(Timestamps::new(now, unix_now), rng)
    }

    /// Another key of the same node.
    pub(crate) fn renewed(&self, rng: &mut impl Rng) -> Self {
        Self::with_timestamps(self.timestamps, rng)
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        self.public
    }

    /// The key itself.
    pub(crate) fn private(&self) -> &StaticSecret {
        &self.private
    }

    /// What only we and the owner of `peer` know. `None` if anybody could.
    pub(crate) fn agree(&self, peer: &PublicKey) -> Option<Key> {
        agree(&self.private, peer)
    }

    /// A timestamp later than all before.
    pub(crate) fn timestamp(&mut self, now: Instant) -> [u8; TIMESTAMP] {
        self.timestamps.next(now)
    }

    /// Finds out whose a message is.
    pub(crate) fn addressee(
        &mut self,
        from: IpAddr,
        datagram: &[u8],
        rng: &mut impl Rng,
        now: Instant,
    ) -> Result<Addressee, Refused> {
        let kind = Kind::of(datagram).ok_or(Refused::Malformed)?;
        if matches!(kind, Kind::Initiation | Kind::Response) {
            match self.gate.judge(from, datagram, rng, now) {
                Verdict::Admitted => {}
                Verdict::Later(reply) => return Ok(Addressee::CookieReply(reply)),
                Verdict::Foreign => return Err(Refused::Forged),
            }
        }
        match kind.receiver() {
            Some(place) => Ok(Addressee::Number(Number::of_index(number_at(datagram, place)))),
            None => Introduction::read(datagram, &self.private, &self.public)
                .map(|introduction| Addressee::Introduced(Box::new(introduction)))
                .ok_or(Refused::Forged),
        }
    }

    fn with_timestamps(timestamps: Timestamps, rng: &mut impl Rng) -> Self {
        let private = StaticSecret::from(rng.random::<[u8; 32]>());
        let public = PublicKey(*x25519_dalek::PublicKey::from(&private).as_bytes());
        Self { gate: Gate::new(&public), private, public, timestamps }
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("public", &self.public).finish_non_exhaustive()
    }
}
