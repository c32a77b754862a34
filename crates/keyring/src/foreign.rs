//! What the existing client leaves behind: a token in the keyring, and beside it files that say whom it signs in.
//!
//! Its older and newer versions use other collections, labels and further attributes; this one attribute is common to
//! both. Its token counts only together with `actor_name.txt`: without that file it was signed out.

use std::{env, fs, path::PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::Kept;

pub(crate) const ATTRIBUTES: [(&str, &str); 1] = [("username", "dev.firezone.client/token")];

/// Where its files are, below the user's data.
const DIRECTORY: &str = "dev.firezone.client/data";

/// Whom its token signs in.
pub(crate) struct Actor {
    name: Option<String>,
    account_slug: Option<String>,
}

#[derive(Deserialize)]
struct SessionData {
    account_slug: String,
    actor_name: String,
}

/// Whom its token signs in, if it is signed in at all.
pub(crate) fn actor() -> Option<Actor> {
    let directory = data_home()?.join(DIRECTORY);
    let name = fs::read_to_string(directory.join("actor_name.txt")).ok()?;
    let session = fs::read(directory.join("session_data.json")).ok();
    read_actor(&name, session.as_deref())
}

/// A session file that is there must make sense.
fn read_actor(name: &str, session: Option<&[u8]>) -> Option<Actor> {
    match session {
        Some(session) => {
            let SessionData { account_slug, actor_name } = serde_json::from_slice(session).ok()?;
            Some(Actor { name: meaningful(&actor_name), account_slug: meaningful(&account_slug) })
        }
        None => Some(Actor { name: meaningful(name), account_slug: None }),
    }
}

pub(crate) fn kept(secret: &[u8], actor: &Actor) -> Option<Kept> {
    let token = std::str::from_utf8(secret).ok()?.trim();
    (!token.is_empty()).then(|| Kept {
        token: Zeroizing::new(token.to_owned()),
        account_slug: actor.account_slug.clone(),
        actor_name: actor.name.clone(),
    })
}

fn meaningful(text: &str) -> Option<String> {
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
    fn a_token_is_taken_over_with_whom_it_signs_in() {
        let actor = read_actor("Kim\n", Some(br#"{"account_slug":"example","actor_name":"Kim Doe"}"#)).unwrap();
        let kept = kept(b"nonce.fragment\n", &actor).unwrap();
        assert_eq!(kept.token.as_str(), "nonce.fragment");
        assert_eq!((kept.account_slug.as_deref(), kept.actor_name.as_deref()), (Some("example"), Some("Kim Doe")));
    }

    #[test]
    fn files_of_older_versions_name_the_actor_alone() {
        let actor = read_actor("Kim", None).unwrap();
        assert_eq!((actor.name.as_deref(), actor.account_slug), (Some("Kim"), None));
    }

    #[test]
    fn a_broken_session_file_means_signed_out() {
        assert!(read_actor("Kim", Some(b"{")).is_none());
    }

    #[test]
    fn no_token_is_none() {
        let actor = read_actor("Kim", None).unwrap();
        assert_eq!(kept(b" \n", &actor), None);
        assert_eq!(kept(&[0xff, 0xfe], &actor), None);
    }
}
