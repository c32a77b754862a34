//! The symmetric state of a handshake: a chaining key and a hash of the transcript (Noise protocol, revision 34, section
//! 5.2; WireGuard's white paper, section 5.4).

use blake2::{Blake2s256, Blake2sMac, Digest as _, digest::consts::U16};
use hmac::{Mac as _, SimpleHmac};
use model::PublicKey;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use crate::message::{MAC, TAG};

const CONSTRUCTION: &[u8] = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const IDENTIFIER: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";

/// A secret of 32 bytes; zeroized on drop.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// The state that both sides of a handshake share so far.
#[derive(Clone)]
pub(crate) struct SymmetricState {
    chain: Key,
    hash: [u8; 32],
}

impl SymmetricState {
    /// The state at the start of a handshake with the owner of `responder`.
    pub(crate) fn new(responder: &PublicKey) -> Self {
        let chain = hash(&[CONSTRUCTION]);
        let mut this = Self { hash: hash(&[&chain, IDENTIFIER]), chain: Key::new(chain) };
        this.mix_hash(&responder.0);
        this
    }

    /// Mixes data that both sides know into the hash.
    pub(crate) fn mix_hash(&mut self, data: &[u8]) {
        self.hash = hash(&[&self.hash, data]);
    }

    /// Mixes an ephemeral public key into the hash and the chaining key.
    pub(crate) fn mix_ephemeral(&mut self, ephemeral: &PublicKey) {
        self.mix_hash(&ephemeral.0);
        self.mix_key(&ephemeral.0);
    }

    /// Mixes a shared secret into the chaining key.
    pub(crate) fn mix_key(&mut self, secret: &[u8; 32]) {
        let [chain] = derive(&self.chain, secret);
        self.chain = chain;
    }

    /// Mixes a shared secret into the chaining key, and derives the key for the next field.
    pub(crate) fn mix_key_and_derive(&mut self, secret: &[u8; 32]) -> Key {
        let [chain, key] = derive(&self.chain, secret);
        self.chain = chain;
        key
    }

    /// Mixes the pre-shared key into the hash and the chaining key, and derives the key for the next field.
    pub(crate) fn mix_preshared_key(&mut self, secret: &[u8; 32]) -> Key {
        let [chain, mixed, key] = derive(&self.chain, secret);
        self.chain = chain;
        self.mix_hash(&*mixed);
        key
    }

    /// Encrypts `field` in place, writes the tag to its last 16 bytes, and mixes the result into the hash.
    pub(crate) fn encrypt_and_hash(&mut self, key: &Key, field: &mut [u8]) -> Option<()> {
        let (plaintext, end) = field.split_at_mut_checked(field.len().checked_sub(TAG)?)?;
        let tag = aead(key)?.seal_in_place_separate_tag(zero_nonce(), Aad::from(self.hash), plaintext).ok()?;
        end.copy_from_slice(tag.as_ref());
        self.mix_hash(field);
        Some(())
    }

    /// Decrypts a field made by [`encrypt_and_hash`](Self::encrypt_and_hash). `None` if authentication fails.
    pub(crate) fn decrypt_and_hash<const N: usize>(&mut self, key: &Key, encrypted: &[u8]) -> Option<[u8; N]> {
        let mut buffer = Zeroizing::new(encrypted.to_vec());
        let plaintext = aead(key)?.open_in_place(zero_nonce(), Aad::from(self.hash), &mut buffer).ok()?;
        let plaintext = (&*plaintext).try_into().ok()?;
        self.mix_hash(encrypted);
        Some(plaintext)
    }

    /// The transport keys: the initiator's sending key, then the responder's.
    pub(crate) fn split(self) -> [Key; 2] {
        derive(&self.chain, &[])
    }
}

impl std::fmt::Debug for SymmetricState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SymmetricState")
    }
}

/// BLAKE2s of the concatenated parts.
pub(crate) fn hash(parts: &[&[u8]]) -> [u8; 32] {
    parts.iter().fold(Blake2s256::new(), |hash, part| hash.chain_update(part)).finalize().into()
}

/// Keyed BLAKE2s with 16 bytes of output. Every key in this crate has a valid length.
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; MAC] {
    <Blake2sMac<U16> as blake2::digest::Mac>::new_from_slice(key)
        .map(|mac| parts.iter().fold(mac, |mac, part| mac.chain_update(part)).finalize().into_bytes().into())
        .unwrap_or_default()
}

/// The X25519 shared secret. `None` for a public key of low order, whose result is the same for all private keys.
pub(crate) fn diffie_hellman(ours: &StaticSecret, theirs: &PublicKey) -> Option<Key> {
    let shared = ours.diffie_hellman(&theirs.0.into());
    shared.was_contributory().then(|| Key::new(shared.to_bytes()))
}

/// WireGuard's key derivation: HKDF (RFC 5869) with HMAC-BLAKE2s.
fn derive<const N: usize>(chain: &Key, input: &[u8]) -> [Key; N] {
    let secret = hmac(&**chain, &[input]);
    let mut keys = [(); N].map(|()| Key::default());
    let mut previous = Key::default();
    for (key, number) in keys.iter_mut().zip(1_u8..) {
        *key = if number == 1 { hmac(&*secret, &[&[number]]) } else { hmac(&*secret, &[&*previous, &[number]]) };
        previous = key.clone();
    }
    keys
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    SimpleHmac::<Blake2s256>::new_from_slice(key)
        .map(|mac| parts.iter().fold(mac, |mac, part| mac.chain_update(part)).finalize().into_bytes().into())
        .map(Key::new)
        .unwrap_or_default()
}

/// The cipher with this key. The library does not zeroize its copy on drop.
pub(crate) fn aead(key: &Key) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, &**key).ok().map(LessSafeKey::new)
}

fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_of_low_order_is_rejected() {
        assert!(diffie_hellman(&StaticSecret::from([7; 32]), &PublicKey([0; 32])).is_none());
        assert!(diffie_hellman(&StaticSecret::from([7; 32]), &PublicKey([9; 32])).is_some());
    }

    /// The first bytes are published in the reference implementations.
    #[test]
    fn initial_hash_matches_the_reference_value() {
        assert_eq!(hash(&[CONSTRUCTION])[..4], [96, 226, 109, 174]);
    }
}
