//! The state that a handshake transforms: a chaining key and a hash of all that was said (Noise protocol, revision 34,
//! section 5.2; WireGuard's white paper, section 5.4).

use blake2::{Blake2s256, Blake2sMac, Digest as _, digest::consts::U16};
use hmac::{Mac as _, SimpleHmac};
use model::PublicKey;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use super::message::{MAC, TAG};

const CONSTRUCTION: &[u8] = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const IDENTIFIER: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";

/// A secret of 32 bytes; wiped on drop.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// What both sides of a handshake have in common so far.
#[derive(Clone)]
pub(crate) struct Noise {
    chain: Key,
    hash: [u8; 32],
}

impl Noise {
    /// A handshake with the owner of `responder` begins.
    pub(crate) fn with(responder: &PublicKey) -> Self {
        let chain = hash(&[CONSTRUCTION]);
        let mut this = Self { hash: hash(&[&chain, IDENTIFIER]), chain: Key::new(chain) };
        this.mix(&responder.0);
        this
    }

    /// Takes something that both know into the hash.
    pub(crate) fn mix(&mut self, data: &[u8]) {
        self.hash = hash(&[&self.hash, data]);
    }

    /// Takes an ephemeral public key into both.
    pub(crate) fn mix_ephemeral(&mut self, ephemeral: &PublicKey) {
        self.mix(&ephemeral.0);
        self.mix_key(&ephemeral.0);
    }

    /// Takes a shared secret into the chaining key.
    pub(crate) fn mix_key(&mut self, secret: &[u8; 32]) {
        let [chain] = derive(&self.chain, secret);
        self.chain = chain;
    }

    /// The same, and returns a key for what follows.
    pub(crate) fn mix_key_for_next(&mut self, secret: &[u8; 32]) -> Key {
        let [chain, key] = derive(&self.chain, secret);
        self.chain = chain;
        key
    }

    /// Takes the pre-shared key into both, and returns a key for what follows.
    pub(crate) fn mix_preshared_key(&mut self, secret: &[u8; 32]) -> Key {
        let [chain, mixed, key] = derive(&self.chain, secret);
        self.chain = chain;
        self.mix(&*mixed);
        key
    }

    /// Encrypts all but the last 16 bytes of `place` into `place`, and takes the result into the hash.
    pub(crate) fn seal(&mut self, key: &Key, place: &mut [u8]) -> Option<()> {
        let (plaintext, end) = place.split_at_mut_checked(place.len().checked_sub(TAG)?)?;
        let tag = aead(key)?.seal_in_place_separate_tag(first_nonce(), Aad::from(self.hash), plaintext).ok()?;
        end.copy_from_slice(tag.as_ref());
        self.mix(place);
        Some(())
    }

    /// Decrypts what [`seal`](Self::seal) made. `None` if it was somebody else.
    pub(crate) fn open<const N: usize>(&mut self, key: &Key, sealed: &[u8]) -> Option<[u8; N]> {
        let mut place = Zeroizing::new(sealed.to_vec());
        let plaintext = aead(key)?.open_in_place(first_nonce(), Aad::from(self.hash), &mut place).ok()?;
        let plaintext = (&*plaintext).try_into().ok()?;
        self.mix(sealed);
        Some(plaintext)
    }

    /// The keys of the session: that of the initiator for sending, and that of the responder.
    pub(crate) fn split(self) -> [Key; 2] {
        derive(&self.chain, &[])
    }
}

impl std::fmt::Debug for Noise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Noise")
    }
}

/// BLAKE2s of all parts in a row.
pub(crate) fn hash(parts: &[&[u8]]) -> [u8; 32] {
    parts.iter().fold(Blake2s256::new(), |hash, part| hash.chain_update(part)).finalize().into()
}

/// Keyed BLAKE2s of 16 bytes. All keys that we use have a length that it takes.
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; MAC] {
    <Blake2sMac<U16> as blake2::digest::Mac>::new_from_slice(key)
        .map(|mac| parts.iter().fold(mac, |mac, part| mac.chain_update(part)).finalize().into_bytes().into())
        .unwrap_or_default()
}

/// What only the owners of the two keys can compute. `None` for a key of low order, with which anybody could.
pub(crate) fn agree(ours: &StaticSecret, theirs: &PublicKey) -> Option<Key> {
    let shared = ours.diffie_hellman(&theirs.0.into());
    shared.was_contributory().then(|| Key::new(shared.to_bytes()))
}

/// The key derivation of WireGuard: HKDF (RFC 5869) with BLAKE2s.
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

/// The cipher with this key. The copy inside is not wiped on drop, which the library does not offer.
pub(crate) fn aead(key: &Key) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, &**key).ok().map(LessSafeKey::new)
}

fn first_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_low_order_are_refused() {
        assert!(agree(&StaticSecret::from([7; 32]), &PublicKey([0; 32])).is_none());
        assert!(agree(&StaticSecret::from([7; 32]), &PublicKey([9; 32])).is_some());
    }

    /// The values with which the white paper's construction begins.
    #[test]
    fn a_handshake_begins_with_the_known_hash_of_its_name() {
        assert_eq!(hash(&[CONSTRUCTION])[..4], [96, 226, 109, 174]);
    }
}
