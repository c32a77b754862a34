//! Keys and credentials of connections.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, de::Error as _};
use zeroize::Zeroizing;

use crate::Secret;

/// A WireGuard public key: 32 bytes; as text standard Base64 with padding, 44 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// A WireGuard pre-shared key; zeroized on drop, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PresharedKey(Zeroizing<[u8; 32]>);

/// Short-term ICE credentials of one side, derived by the portal from the keys of both sides.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct IceCredentials {
    /// The user fragment. Opaque.
    pub username: String,
    /// The password. Opaque.
    pub password: Secret,
}

/// The text is not standard Base64 of 32 bytes.
#[derive(Debug, thiserror::Error)]
#[error("not a key: expected the Base64 text of 32 bytes")]
pub struct InvalidKey;

impl PresharedKey {
    /// The bytes of the key, for the WireGuard handshake.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for PresharedKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl std::str::FromStr for PresharedKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        decode(text).map(Self)
    }
}

impl std::str::FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        decode(text).map(|bytes| Self(*bytes))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey(..)")
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for PresharedKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Secret::deserialize(deserializer)?;
        decode(text.expose()).map(Self).map_err(D::Error::custom)
    }
}

fn decode(text: &str) -> Result<Zeroizing<[u8; 32]>, InvalidKey> {
    let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| InvalidKey)?);
    let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| InvalidKey)?;
    Ok(Zeroizing::new(bytes))
}
