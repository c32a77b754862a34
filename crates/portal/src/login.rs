//! The upgrade request: identity of the device, token, and headers.

use std::fmt::Write as _;

use ::url::Url;
use model::{PublicKey, Secret};
use sha2::{Digest as _, Sha256};

use crate::{ApiUrl, ApiVersion, UserAgent};

/// The portal rejects longer fields.
const MAX_FIELD_CHARS: usize = 255;

/// A serial number that many boards report, so it identifies no device.
const PLACEHOLDER_SERIAL: &str = "123456789";

/// The values that are the same for all connections of a session.
#[derive(Clone, Debug)]
pub struct Login {
    /// The API URL of the portal.
    pub portal: ApiUrl,
    /// The token of the user or service account.
    pub token: Secret,
    /// The identity of the device, see [`external_id`].
    pub external_id: String,
    /// The display name of the device. The portal uses it only for new devices.
    pub name: String,
    /// The value of the `User-Agent` header.
    pub user_agent: UserAgent,
    /// The serial number in the firmware (SMBIOS), for administrators who verify devices by it.
    pub device_serial: Option<String>,
    /// The UUID in the firmware (SMBIOS), for the same purpose.
    pub device_uuid: Option<String>,
}

/// One upgrade request: the URL, and the headers in addition to those of every WebSocket.
#[derive(Clone, Debug)]
pub struct Request {
    /// With path and query. Contains no secret, but identifies the device.
    pub url: Url,
    /// The value of `Host`.
    pub host: String,
    /// The value of `User-Agent`.
    pub user_agent: String,
    /// The value of `X-Authorization`; `None` without a token, which the portal then reports.
    pub authorization: Option<Secret>,
}

impl Login {
    /// The request for a connection with the WireGuard key `public_key`.
    #[must_use]
    pub fn request(&self, version: ApiVersion, public_key: PublicKey) -> Request {
        let mut url = self.portal.endpoint(version);
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("external_id", &bounded(&self.external_id));
            query.append_pair("name", &bounded(&self.name));
            if let Some(serial) = self.device_serial.as_deref().filter(|serial| *serial != PLACEHOLDER_SERIAL) {
                query.append_pair("device_serial", &bounded(serial));
            }
            if let Some(uuid) = &self.device_uuid {
                query.append_pair("device_uuid", &bounded(uuid));
            }
            query.append_pair("public_key", &public_key.to_string());
        }
        Request {
            url,
            host: self.portal.authority(),
            user_agent: self.user_agent.to_string(),
            authorization: bearer(&self.token),
        }
    }
}

/// The identity that the portal knows a device by, derived from the stored id.
///
/// An id that is a UUID in any of the usual spellings is hashed as it is spelled. All other ids are hashes already, or were
/// chosen by an administrator, and are returned unchanged.
#[must_use]
pub fn external_id(stored: &str) -> String {
    if uuid::Uuid::try_parse(stored).is_err() {
        return stored.to_owned();
    }
    Sha256::digest(stored.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The value of the token header: printable ASCII only. Pasted tokens contain line breaks, even in the middle.
fn bearer(token: &Secret) -> Option<Secret> {
    let mut value = zeroize::Zeroizing::new(String::with_capacity(token.expose().len() + 8));
    value.push_str("Bearer ");
    value.extend(token.expose().chars().filter(char::is_ascii_graphic));
    (value.len() > "Bearer ".len()).then(|| Secret::from(value.as_str()))
}

fn bounded(text: &str) -> String {
    text.trim().chars().take(MAX_FIELD_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user_agent::SystemInfo;

    fn login() -> Login {
        Login {
            portal: "wss://api.example.net/".parse().unwrap(),
            token: ".SFMyNTY.x.y".into(),
            external_id: "my-box".to_owned(),
            name: "Kim's laptop".to_owned(),
            user_agent: UserAgent::new(&SystemInfo::default(), "0.1.0"),
            device_serial: None,
            device_uuid: None,
        }
    }

    fn counting_key() -> PublicKey {
        PublicKey(std::array::from_fn(|i| i as u8))
    }

    #[test]
    fn the_query_is_form_encoded_with_the_key_last() {
        let request = login().request(ApiVersion::V2, counting_key());
        assert_eq!(
            request.url.as_str(),
            "wss://api.example.net/client/v2/websocket?external_id=my-box&name=Kim%27s+laptop\
             &public_key=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8%3D"
        );
        assert_eq!(request.host, "api.example.net");
    }

    #[test]
    fn firmware_identifiers_are_sent_except_the_placeholder_serial() {
        let mut login = login();
        login.device_serial = Some("PF2ABCDE".to_owned());
        login.device_uuid = Some("4c4c4544-0000-4000-8000-000000000000".to_owned());
        let url = login.request(ApiVersion::V2, counting_key()).url;
        let keys: Vec<_> = url.query_pairs().map(|(key, _)| key.into_owned()).collect();
        assert_eq!(keys, ["external_id", "name", "device_serial", "device_uuid", "public_key"]);

        login.device_serial = Some(PLACEHOLDER_SERIAL.to_owned());
        assert!(!login.request(ApiVersion::V2, counting_key()).url.as_str().contains("device_serial"));
    }

    #[test]
    fn fields_are_trimmed_and_cut_at_255_characters() {
        let mut login = login();
        login.name = format!("  {}  ", "ü".repeat(300));
        let url = login.request(ApiVersion::V2, counting_key()).url;
        let name = url.query_pairs().find(|(key, _)| key == "name").unwrap().1.into_owned();
        assert_eq!(name, "ü".repeat(255));
    }

    #[test]
    fn token_header_contains_no_whitespace() {
        for (token, header) in [
            ("part1\npart2", "Bearer part1part2"),
            (" .SFMyNTY.x.y \r\n", "Bearer .SFMyNTY.x.y"),
            ("to ken", "Bearer token"),
        ] {
            let request = Login { token: token.into(), ..login() }.request(ApiVersion::V2, counting_key());
            assert_eq!(request.authorization.unwrap().expose(), header);
            assert!(!request.url.as_str().contains("token"));
        }
        assert!(
            Login { token: " \n".into(), ..login() }.request(ApiVersion::V2, counting_key()).authorization.is_none()
        );
    }

    #[test]
    fn debug_output_of_a_login_contains_no_token() {
        let login = login();
        let shown = format!("{login:?} {:?}", login.request(ApiVersion::V2, counting_key()));
        assert!(!shown.contains("SFMyNTY"), "{shown}");
    }

    #[test]
    fn uuid_ids_are_hashed_as_spelled() {
        for (stored, sent) in [
            (
                "0b9a3c1e-5d44-4f0b-9a67-3c5e1d2f7a81",
                "cd4d68f590c1e89540d848a18c42bf776cc728ce68bea3eae8b039efc2f8d153",
            ),
            (
                "6d2a3f60-3c0b-4c5e-9d0e-0a1b2c3d4e5f",
                "4454ebcacd79d2dd45eb15d06f40ea7ad6517a2f1caff2f32553c8132ce07f53",
            ),
            (
                "6D2A3F60-3C0B-4C5E-9D0E-0A1B2C3D4E5F",
                "6892cc7bfa11da08dc48d058dea4d3ab8d03e34520ea8402890f1f64ff2193e8",
            ),
            ("6d2a3f603c0b4c5e9d0e0a1b2c3d4e5f", "352e69b64862da57a98a4259b9244b3f9284cd36351cc63fd1b8d0c7806b4c06"),
        ] {
            assert_eq!(external_id(stored), sent, "{stored}");
        }
        for other_spelling in
            ["{6d2a3f60-3c0b-4c5e-9d0e-0a1b2c3d4e5f}", "urn:uuid:6d2a3f60-3c0b-4c5e-9d0e-0a1b2c3d4e5f"]
        {
            assert_eq!(external_id(other_spelling).len(), 64);
        }
    }

    #[test]
    fn other_ids_are_sent_unchanged() {
        for id in ["cd4d68f590c1e89540d848a18c42bf776cc728ce68bea3eae8b039efc2f8d153", "my-box", "my laptop"] {
            assert_eq!(external_id(id), id);
        }
    }
}
