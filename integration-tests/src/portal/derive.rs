//! Ids, keys and credentials, derived so that both ends of a connection get the same.

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use hmac::{Hmac, Mac as _};
use model::address_plan::{TUNNEL_V4, TUNNEL_V6};
use rand::{RngCore as _, SeedableRng as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// One end of a connection: its id and its WireGuard key as Base64 text.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// The device.
    pub id: Uuid,
    /// Its public key.
    pub key: &'a str,
}

/// ICE credentials of both ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IceCredentials {
    /// Of the end that asked for the connection.
    pub initiator: Credentials,
    /// Of the other.
    pub receiver: Credentials,
}

/// ICE credentials of one end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// User fragment.
    pub username: String,
    /// Password.
    pub password: String,
}

impl Credentials {
    /// As it is sent.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"username": self.username, "password": self.password})
    }
}

/// Cuts both ends' credentials out of one hash. They stay the same as long as both keys do.
#[must_use]
pub fn ice_credentials(initiator: End<'_>, receiver: End<'_>) -> IceCredentials {
    let text = format!("{}:{}:{}:{}", initiator.id, initiator.key, receiver.id, receiver.key);
    let letters: Vec<char> = base32(&Sha256::digest(text)).chars().collect();
    let cut = |range: std::ops::Range<usize>| letters[range].iter().collect();

    IceCredentials {
        initiator: Credentials { username: cut(0..4), password: cut(4..26) },
        receiver: Credentials { username: cut(26..30), password: cut(30..52) },
    }
}

/// The pre-shared key of a client and a gateway, as Base64 text.
#[must_use]
pub fn preshared_key(client: End<'_>, gateway: End<'_>, secrets: [&Secret; 2]) -> String {
    let password = secrets.map(|secret| secret.0).concat();
    let salt = format!("WG_PSK|C_ID:{}|G_ID:{}|C_PK:{}|G_PK:{}", client.id, gateway.id, client.key, gateway.key);

    STANDARD.encode(pbkdf2_once(&password, salt.as_bytes()))
}

/// The pre-shared key of two clients, as Base64 text.
#[must_use]
pub fn preshared_key_of_clients(initiator: End<'_>, target: End<'_>, secrets: [&Secret; 2]) -> String {
    let password = secrets.map(|secret| secret.0).concat();
    let salt =
        format!("WG_PSK_CC|CA_ID:{}|CB_ID:{}|CA_PK:{}|CB_PK:{}", initiator.id, target.id, initiator.key, target.key);

    STANDARD.encode(pbkdf2_once(&password, salt.as_bytes()))
}

/// The id of a relay, from what it said when it joined: a relay that was started anew is another one.
#[must_use]
pub fn relay_id(stamp_secret: &str) -> Uuid {
    let hash = Sha256::digest(stamp_secret);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// User name and password at a relay, for the peer with this WireGuard key (as Base64 text).
#[must_use]
pub fn relay_login(stamp_secret: &str, public_key: &str, expires_at: u64) -> (String, String) {
    relay_login_with_salt(stamp_secret, &STANDARD_NO_PAD.encode(Sha256::digest(public_key)), expires_at)
}

fn relay_login_with_salt(stamp_secret: &str, salt: &str, expires_at: u64) -> (String, String) {
    let password = STANDARD_NO_PAD.encode(Sha256::digest(format!("{expires_at}:{stamp_secret}:{salt}")));
    (format!("{expires_at}:{salt}"), password)
}

/// The id of the device that `who` (an actor or a site) calls `external_id`.
#[must_use]
pub fn device_id(kind: &str, who: &str, external_id: &str) -> Uuid {
    let hash = Sha256::digest(format!("{kind}\0{who}\0{external_id}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// What the portal derives the pre-shared keys of a device from. Kept as Base64 text.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret([u8; 32]);

impl Secret {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        rand::rngs::StdRng::from_os_rng().fill_bytes(&mut bytes);
        Self(bytes)
    }
}

impl TryFrom<String> for Secret {
    type Error = model::key::InvalidKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse::<model::PublicKey>().map(|key| Self(key.0))
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        STANDARD.encode(secret.0)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Random bytes in hexadecimal.
#[must_use]
pub fn random_text(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    rand::rngs::StdRng::from_os_rng().fill_bytes(&mut random);
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The `n`th pair of tunnel addresses. The first address of a range is unused.
#[must_use]
pub fn tunnel_addresses(n: u32) -> (Ipv4Addr, Ipv6Addr) {
    let v4 = u32::from(TUNNEL_V4.network()) + 1 + n;
    let v6 = u128::from(TUNNEL_V6.network()) + 1 + u128::from(n);
    (v4.into(), v6.into())
}

/// PBKDF2-HMAC-SHA256 (RFC 8018, 5.2) with one iteration and one block, which is a single HMAC.
fn pbkdf2_once(password: &[u8], salt: &[u8]) -> [u8; 32] {
    let mut mac = match Hmac::<Sha256>::new_from_slice(password) {
        Ok(mac) => mac,
        Err(error) => unreachable!("HMAC takes keys of any length: {error}"),
    };
    mac.update(salt);
    mac.update(&1u32.to_be_bytes());
    mac.finalize().into_bytes().into()
}

/// Base32 (RFC 4648, 6) in lower case without padding.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

    let (mut text, mut buffer, mut bits) = (String::new(), 0u32, 0);
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(ALPHABET[(buffer >> bits) as usize & 31].into());
        }
    }
    if bits > 0 {
        text.push(ALPHABET[(buffer << (5 - bits)) as usize & 31].into());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const GATEWAY_KEY: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

    fn client() -> End<'static> {
        End { id: "11111111-1111-4111-8111-111111111111".parse().unwrap(), key: CLIENT_KEY }
    }

    fn gateway() -> End<'static> {
        End { id: "22222222-2222-4222-8222-222222222222".parse().unwrap(), key: GATEWAY_KEY }
    }

    #[test]
    fn ice_credentials_match_the_protocol_vectors() {
        let ice = ice_credentials(client(), gateway());

        assert_eq!(
            (ice.initiator.username.as_str(), ice.initiator.password.as_str()),
            ("w7up", "ksqwm66pilnb7skdwwfw3r")
        );
        assert_eq!(
            (ice.receiver.username.as_str(), ice.receiver.password.as_str()),
            ("kwe6", "mzkrj52x5h5ebrfdsh5iyq")
        );
    }

    #[test]
    fn preshared_key_matches_the_protocol_vector() {
        let key = preshared_key(client(), gateway(), [&Secret([0xaa; 32]), &Secret([0xbb; 32])]);

        assert_eq!(key, "q8Vg5uTVUXn/Twe2E0aVaXAOjAh9dKuPDDTFvBSVjjE=");
    }

    #[test]
    fn relay_credentials_match_the_protocol_vectors() {
        let secret = "00112233445566778899aabbccddeeff".repeat(2);
        assert_eq!(
            relay_login(&secret, CLIENT_KEY, 1_800_000_000),
            (
                "1800000000:kF8o3vGOqsBa5vErLDRSdEr69ibaE0PVezlbVE4FGbY".to_owned(),
                "zVr/PcAgmLgJU+mYs7bycmuQFDM3yq8VumHmxYZPHPY".to_owned()
            )
        );
        let shared = "4c98bf59c99b3e467ecd7cf9d6b3e5279645fca59be67bc5bb4af3cf653761ab";
        let (_, password) = relay_login_with_salt(shared, "n23JJ2wKKtt30oXi", 1_892_160_000);
        assert_eq!(password, "00hqldgk5xLeKKOB+xls9mHMVtgqzie9DulfgQwMv68");
        assert_eq!(relay_id(&secret).to_string(), "2a8abfa8-cb99-4629-8437-854193ca6bca");
    }

    #[test]
    fn preshared_keys_differ_between_peers() {
        let secrets = [&Secret([0xaa; 32]), &Secret([0xbb; 32])];
        assert_ne!(preshared_key_of_clients(client(), gateway(), secrets), preshared_key(client(), gateway(), secrets));
        assert_ne!(
            preshared_key_of_clients(client(), gateway(), secrets),
            preshared_key_of_clients(gateway(), client(), secrets)
        );
    }

    #[test]
    fn device_id_is_stable() {
        assert_eq!(device_id("client", "anna", "laptop"), device_id("client", "anna", "laptop"));
        assert_ne!(device_id("client", "anna", "laptop"), device_id("client", "bob", "laptop"));
        assert_ne!(device_id("client", "anna", "laptop"), device_id("gateway", "anna", "laptop"));
    }

    #[test]
    fn tunnel_addresses_are_in_the_peer_ranges() {
        for n in [0, 1, 1000] {
            let (v4, v6) = tunnel_addresses(n);
            assert!(model::address_plan::is_peer(v4.into()));
            assert!(model::address_plan::is_peer(v6.into()));
        }
    }
}
