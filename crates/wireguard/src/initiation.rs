//! The first handshake message: those that we send, and those that peers send to us.

use std::time::Instant;

use model::PublicKey;
use rand::Rng;
use x25519_dalek::StaticSecret;

use crate::{
    cookie::CookieJar,
    message::{INITIATION, INITIATION_LENGTH, TAG, TIMESTAMP, bytes_at, initiation, u32_at, write_at},
    noise::{Key, SymmetricState, diffie_hellman},
};

/// An initiation that we sent and that waits for its response.
pub(crate) struct SentInitiation {
    pub(crate) index: u32,
    pub(crate) ephemeral: StaticSecret,
    pub(crate) noise: SymmetricState,
}

/// A received initiation whose sender is named, but not proven yet.
pub struct ReceivedInitiation {
    pub(crate) peer: PublicKey,
    /// The sender's index of the future session.
    pub(crate) sender_index: u32,
    pub(crate) ephemeral: PublicKey,
    pub(crate) noise: SymmetricState,
    encrypted_timestamp: [u8; TIMESTAMP + TAG],
}

/// What an initiation says about its sender.
pub(crate) struct Sender<'a> {
    /// The sender's static public key.
    pub(crate) public: &'a PublicKey,
    /// The Diffie-Hellman result of the static keys of both sides.
    pub(crate) shared: &'a Key,
    /// Later than the timestamps of all earlier initiations.
    pub(crate) timestamp: [u8; TIMESTAMP],
}

impl SentInitiation {
    /// Starts a handshake with `peer`. Returns the message to send with its state.
    pub(crate) fn new(
        index: u32,
        peer: &PublicKey,
        sender: Sender<'_>,
        jar: &mut CookieJar,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Option<(Self, Vec<u8>)> {
        let ephemeral = StaticSecret::from(rng.random::<[u8; 32]>());
        let public = PublicKey(*x25519_dalek::PublicKey::from(&ephemeral).as_bytes());
        let mut message = vec![0; INITIATION_LENGTH];
        write_at(&mut message, 0, &[INITIATION]);
        write_at(&mut message, initiation::SENDER, &index.to_le_bytes());
        write_at(&mut message, initiation::EPHEMERAL.start, &public.0);
        write_at(&mut message, initiation::STATIC.start, &sender.public.0);
        write_at(&mut message, initiation::TIMESTAMP.start, &sender.timestamp);

        let mut noise = SymmetricState::new(peer);
        noise.mix_ephemeral(&public);
        let key = noise.mix_key_and_derive(&*diffie_hellman(&ephemeral, peer)?);
        noise.encrypt_and_hash(&key, message.get_mut(initiation::STATIC)?)?;
        let key = noise.mix_key_and_derive(sender.shared);
        noise.encrypt_and_hash(&key, message.get_mut(initiation::TIMESTAMP)?)?;
        jar.append_macs(&mut message, now);
        Some((Self { index, ephemeral, noise }, message))
    }
}

impl ReceivedInitiation {
    /// Decrypts the sender's public key. `None` if the message was not encrypted for us.
    pub(crate) fn decrypt(message: &[u8], private: &StaticSecret, public: &PublicKey) -> Option<Self> {
        let ephemeral = PublicKey(bytes_at(message, initiation::EPHEMERAL));
        let mut noise = SymmetricState::new(public);
        noise.mix_ephemeral(&ephemeral);
        let key = noise.mix_key_and_derive(&*diffie_hellman(private, &ephemeral)?);
        let peer = PublicKey(noise.decrypt_and_hash(&key, message.get(initiation::STATIC)?)?);
        let encrypted_timestamp = bytes_at(message, initiation::TIMESTAMP);
        let sender_index = u32_at(message, initiation::SENDER);
        Some(Self { peer, sender_index, ephemeral, noise, encrypted_timestamp })
    }

    /// The public key that the sender claims to own.
    #[must_use]
    pub fn peer(&self) -> &PublicKey {
        &self.peer
    }

    /// Proves that the sender owns its static key. Returns the timestamp of the message; `None` if the proof fails.
    /// `shared` is the Diffie-Hellman result of the static keys of both sides.
    pub(crate) fn authenticate(&mut self, shared: &Key) -> Option<[u8; TIMESTAMP]> {
        let key = self.noise.mix_key_and_derive(shared);
        self.noise.decrypt_and_hash(&key, &self.encrypted_timestamp)
    }
}

impl std::fmt::Debug for SentInitiation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SentInitiation").field("index", &self.index).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ReceivedInitiation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceivedInitiation").field("peer", &self.peer).finish_non_exhaustive()
    }
}
