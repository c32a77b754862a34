//! The token: in memory for this session, and in the keyring for the next.

use std::fmt;

use model::Secret;
use zeroize::Zeroizing;

use super::{Failure, Whose};

/// A token and whom it signs in.
#[derive(Clone)]
pub struct Kept {
    /// The token.
    pub token: Secret,
    /// The account.
    pub account_slug: Option<String>,
    /// The person.
    pub actor_name: Option<String>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(..)")
    }
}

/// Keeps at most one token. A keyring that fails costs a remark: the session works, but the next start asks again.
#[derive(Debug, Default)]
pub(super) struct Keeper(Option<Kept>);

impl Keeper {
    /// Reads what the keyring has.
    pub(super) async fn load(&mut self) -> Option<Whose> {
        self.0 = match read().await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::info!("nothing from the keyring: {error}");
                None
            }
        };
        self.whose()
    }

    pub(super) fn whose(&self) -> Option<Whose> {
        self.0.as_ref().map(|kept| Whose { account_slug: kept.account_slug.clone() })
    }

    pub(super) fn token(&self) -> Option<&Kept> {
        self.0.as_ref()
    }

    /// Keeps it, for as long as the keyring can.
    pub(super) async fn keep(&mut self, kept: Kept) -> Result<(), Failure> {
        let for_keyring = keyring::Kept {
            token: Zeroizing::new(kept.token.expose().to_owned()),
            account_slug: kept.account_slug.clone(),
            actor_name: kept.actor_name.clone(),
        };
        self.0 = Some(kept);
        keyring::Keyring::open().await?.keep(&for_keyring).await?;
        Ok(())
    }

    pub(super) async fn forget(&mut self) -> Result<(), Failure> {
        self.0 = None;
        match keyring::Keyring::open().await {
            Ok(keyring) => Ok(keyring.forget().await?),
            // Where nothing can be kept, nothing has to be forgotten.
            Err(keyring::Error::Missing) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

async fn read() -> Result<Option<Kept>, keyring::Error> {
    let kept = keyring::Keyring::open().await?.read().await?;
    Ok(kept.map(|kept| Kept {
        token: Secret::from(kept.token.as_str()),
        account_slug: kept.account_slug,
        actor_name: kept.actor_name,
    }))
}
