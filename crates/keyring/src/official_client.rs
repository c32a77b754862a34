//! The token that the official client stores in the keyring, and the files beside it that name account and actor.
//!
//! Old and new versions of that client use different collections, labels and additional attributes; the attribute
//! below is common to both. Its token is valid only together with `actor_name.txt`: without that file the client was
//! signed out.

use std::{env, fs, path::PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::StoredToken;

pub(crate) const ATTRIBUTES: [(&str, &str); 1] = [("username", "dev.firezone.client/token")];

/// Directory of its files, below the user's data directory.
const DIRECTORY: &str = "dev.firezone.client/data";

/// Account and actor of its token.
pub(crate) struct Actor {
    name: Option<String>,
    account_slug: Option<String>,
}

#[derive(Deserialize)]
struct SessionData {
    account_slug: String,
    actor_name: String,
}

/// Reads account and actor; `None` if the client was signed out.
pub(crate) fn actor() -> Option<Actor> {
    let directory = data_home()?.join(DIRECTORY);
    let name = fs::read_to_string(directory.join("actor_name.txt")).ok()?;
    let session = fs::read(directory.join("session_data.json")).ok();
    read_actor(&name, session.as_deref())
}

/// A session file that exists must be valid.
fn read_actor(name: &str, session: Option<&[u8]>) -> Option<Actor> {
    match session {
        Some(session) => {
            let SessionData { account_slug, actor_name } = serde_json::from_slice(session).ok()?;
            Some(Actor { name: non_empty(&actor_name), account_slug: non_empty(&account_slug) })
        }
        None => Some(Actor { name: non_empty(name), account_slug: None }),
    }
}

pub(crate) fn stored(secret: &[u8], actor: &Actor) -> Option<StoredToken> {
    let token = std::str::from_utf8(secret).ok()?.trim();
    (!token.is_empty()).then(|| StoredToken {
        token: Zeroizing::new(token.to_owned()),
        account_slug: actor.account_slug.clone(),
        actor_name: actor.name.clone(),
    })
}

fn non_empty(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn data_home() -> Option<PathBuf> {
    let explicit = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    explicit.or_else(|| Some(env::home_dir()?.join(".local/share")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_read_with_account_and_actor() {
        let actor = read_actor("Kim\n", Some(br#"{"account_slug":"example","actor_name":"Kim Doe"}"#)).unwrap();
        let stored = stored(b"nonce.fragment\n", &actor).unwrap();
        assert_eq!(stored.token.as_str(), "nonce.fragment");
        assert_eq!((stored.account_slug.as_deref(), stored.actor_name.as_deref()), (Some("example"), Some("Kim Doe")));
    }

    #[test]
    fn missing_session_file_leaves_the_account_unknown() {
        let actor = read_actor("Kim", None).unwrap();
        assert_eq!((actor.name.as_deref(), actor.account_slug), (Some("Kim"), None));
    }

    #[test]
    fn invalid_session_file_means_signed_out() {
        assert!(read_actor("Kim", Some(b"{")).is_none());
    }

    #[test]
    fn empty_or_invalid_secret_is_no_token() {
        let actor = read_actor("Kim", None).unwrap();
        assert_eq!(stored(b" \n", &actor), None);
        assert_eq!(stored(&[0xff, 0xfe], &actor), None);
    }
}
