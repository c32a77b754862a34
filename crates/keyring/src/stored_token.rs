//! The stored token, and its encoding as the secret of our keyring item.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A token with its account and actor.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// The complete token.
    pub token: Zeroizing<String>,
    /// The account, as in the address of its sign-in page.
    pub account_slug: Option<String>,
    /// The name of the actor who signed in.
    pub actor_name: Option<String>,
}

/// The JSON document stored as the item's secret.
#[derive(Serialize, Deserialize)]
struct Record<'a> {
    token: std::borrow::Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account_slug: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor_name: Option<String>,
}

impl StoredToken {
    pub(crate) fn to_secret(&self) -> Zeroizing<Vec<u8>> {
        let record = Record {
            token: self.token.as_str().into(),
            account_slug: self.account_slug.clone(),
            actor_name: self.actor_name.clone(),
        };
        // Serializing strings cannot fail. An empty secret would be read back as no token.
        Zeroizing::new(serde_json::to_vec(&record).unwrap_or_default())
    }

    pub(crate) fn from_secret(secret: &[u8]) -> Option<Self> {
        let Record { token, account_slug, actor_name } = serde_json::from_slice(secret).ok()?;
        let token = Zeroizing::new(token.into_owned());
        (!token.is_empty()).then_some(Self { token, account_slug, actor_name })
    }
}

impl fmt::Debug for StoredToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_token_survives_a_round_trip() {
        let stored = StoredToken {
            token: Zeroizing::new("nonce.fragment".to_owned()),
            account_slug: Some("example".to_owned()),
            actor_name: None,
        };
        assert_eq!(StoredToken::from_secret(&stored.to_secret()), Some(stored.clone()));
        assert_eq!(format!("{stored:?}"), "StoredToken(..)");
    }

    #[test]
    fn invalid_secret_is_no_token() {
        for secret in ["", "{", r#"{"token":""}"#, r#"{"account_slug":"example"}"#, "plain.token", "[1]"] {
            assert_eq!(StoredToken::from_secret(secret.as_bytes()), None, "{secret}");
        }
    }
}
