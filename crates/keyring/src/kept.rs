//! What is kept: the token, and whom it signs in.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A token, and whom it signs in.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept {
    /// The token, complete.
    pub token: Zeroizing<String>,
    /// The account, as in the address of its sign-in page.
    pub account_slug: Option<String>,
    /// Who signed in.
    pub actor_name: Option<String>,
}

/// The secret of our item.
#[derive(Serialize, Deserialize)]
struct Format<'a> {
    token: std::borrow::Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account_slug: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor_name: Option<String>,
}

impl Kept {
    pub(crate) fn to_secret(&self) -> Zeroizing<Vec<u8>> {
        let format = Format {
            token: self.token.as_str().into(),
            account_slug: self.account_slug.clone(),
            actor_name: self.actor_name.clone(),
        };
        // Strings always serialize; what could not be would be no token.
        Zeroizing::new(serde_json::to_vec(&format).unwrap_or_default())
    }

    pub(crate) fn from_secret(secret: &[u8]) -> Option<Self> {
        let Format { token, account_slug, actor_name } = serde_json::from_slice(secret).ok()?;
        let token = Zeroizing::new(token.into_owned());
        (!token.is_empty()).then_some(Self { token, account_slug, actor_name })
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back() {
        let kept = Kept {
            token: Zeroizing::new("nonce.fragment".to_owned()),
            account_slug: Some("example".to_owned()),
            actor_name: None,
        };
        assert_eq!(Kept::from_secret(&kept.to_secret()), Some(kept.clone()));
        assert_eq!(format!("{kept:?}"), "Kept(..)");
    }

    #[test]
    fn what_makes_no_sense_is_nothing() {
        for secret in ["", "{", r#"{"token":""}"#, r#"{"account_slug":"example"}"#, "plain.token", "[1]"] {
            assert_eq!(Kept::from_secret(secret.as_bytes()), None, "{secret}");
        }
    }
}
