//! The first message of a handshake: ours in flight, and that of a peer.

use std::time::Instant;

use model::PublicKey;
use rand::Rng;
use x25519_dalek::StaticSecret;

use super::{
    Identity,
    cookie::CookieJar,
    message::{INITIATION, INITIATION_LENGTH, TIMESTAMP, bytes_at, initiation, number_at, put},
    noise::{Key, Noise, agree},
};

/// An initiation of ours that waits for a response.
pub(crate) struct Pending {
    pub(crate) index: u32,
    pub(crate) ephemeral: StaticSecret,
    pub(crate) noise: Noise,
}

/// An initiation of which we know who claims to have sent it.
pub(crate) struct Introduction {
    /// The claimed sender.
    pub(crate) peer: PublicKey,
    /// The sender's index of the session to be.
    pub(crate) sender: u32,
    pub(crate) ephemeral: PublicKey,
    pub(crate) noise: Noise,
    timestamp: [u8; TIMESTAMP + 16],
}

impl Pending {
    /// Begins a handshake with `peer`. `shared` is what our static keys agree on.
    pub(crate) fn begin(
        index: u32,
        peer: &PublicKey,
        shared: &Key,
        identity: &mut Identity,
        jar: &mut CookieJar,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Option<(Self, Vec<u8>)> {
        let ephemeral = StaticSecret::from(rng.random::<[u8; 32]>());
        let public = PublicKey(*x25519_dalek::PublicKey::from(&ephemeral).as_bytes());
        let mut message = vec![0; INITIATION_LENGTH];
        put(&mut message, 0, &[INITIATION]);
        put(&mut message, initiation::SENDER, &index.to_le_bytes());
        put(&mut message, initiation::EPHEMERAL.start, &public.0);
        put(&mut message, initiation::STATIC.start, &identity.public_key().0);
        put(&mut message, initiation::TIMESTAMP.start, &identity.timestamp(now));

        let mut noise = Noise::with(peer);
        noise.mix_ephemeral(&public);
        let key = noise.mix_key_for_next(&*agree(&ephemeral, peer)?);
        noise.seal(&key, message.get_mut(initiation::STATIC)?)?;
        let key = noise.mix_key_for_next(shared);
        noise.seal(&key, message.get_mut(initiation::TIMESTAMP)?)?;
        jar.sign(&mut message, now);
        Some((Self { index, ephemeral, noise }, message))
    }
}

impl Introduction {
    /// Reads who sent this initiation. `None` if it was not made for us.
    pub(crate) fn read(message: &[u8], private: &StaticSecret, public: &PublicKey) -> Option<Self> {
        let ephemeral = PublicKey(bytes_at(message, initiation::EPHEMERAL));
        let mut noise = Noise::with(public);
        noise.mix_ephemeral(&ephemeral);
        let key = noise.mix_key_for_next(&*agree(private, &ephemeral)?);
        let peer = PublicKey(noise.open(&key, message.get(initiation::STATIC)?)?);
        let timestamp = bytes_at(message, initiation::TIMESTAMP);
        Some(Self { peer, sender: number_at(message, initiation::SENDER), ephemeral, noise, timestamp })
    }

    /// Whether the claim is true, by what our static keys agree on; and when the initiation was made.
    pub(crate) fn prove(&mut self, shared: &Key) -> Option<[u8; TIMESTAMP]> {
        let key = self.noise.mix_key_for_next(shared);
        self.noise.open(&key, &self.timestamp)
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("index", &self.index).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Introduction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Introduction").field("peer", &self.peer).finish_non_exhaustive()
    }
}
