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
pub(super) struct Keeper {
    kept: Option<Kept>,
    trial: Trial,
}

/// Whether the token is known to be good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Trial {
    #[default]
    Untried,
    /// The daemon has it from us.
    HandedOver,
    /// A session with it has connected.
    Passed,
}

impl Keeper {
    /// Reads what the keyring has.
    pub(super) async fn load(&mut self) -> Option<Whose> {
        self.kept = match read().await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::info!("nothing from the keyring: {error}");
                None
            }
        };
        self.whose()
    }

    pub(super) fn whose(&self) -> Option<Whose> {
        self.kept.as_ref().map(|kept| Whose { account_slug: kept.account_slug.clone() })
    }

    pub(super) fn token(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    /// Keeps what the daemon has been handed over, for as long as the keyring can.
    pub(super) async fn keep(&mut self, kept: Kept) -> Result<(), Failure> {
        let for_keyring = for_keyring(&kept);
        *self = Self { kept: Some(kept), trial: Trial::HandedOver };
        keyring::Keyring::open().await?.keep(&for_keyring).await?;
        Ok(())
    }

    /// The daemon has the token that is kept.
    pub(super) fn is_handed_over(&mut self) {
        self.trial = Trial::HandedOver;
    }

    /// The session has connected: if the existing client has kept its token, that is ours from now on.
    pub(super) async fn is_connected(&mut self) {
        let Some(kept) = self.kept.as_ref().filter(|_| self.trial == Trial::HandedOver) else { return };
        let kept = for_keyring(kept);
        self.trial = Trial::Passed;
        let done = match keyring::Keyring::open().await {
            Ok(keyring) => keyring.take_over(&kept).await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            tracing::info!("what the existing client has kept stays where it is: {error}");
        }
    }

    pub(super) async fn forget(&mut self) -> Result<(), Failure> {
        *self = Self::default();
        match keyring::Keyring::open().await {
            Ok(keyring) => Ok(keyring.forget().await?),
            // Where nothing can be kept, nothing has to be forgotten.
            Err(keyring::Error::Missing) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn for_keyring(kept: &Kept) -> keyring::Kept {
    keyring::Kept {
        token: Zeroizing::new(kept.token.expose().to_owned()),
        account_slug: kept.account_slug.clone(),
        actor_name: kept.actor_name.clone(),
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
