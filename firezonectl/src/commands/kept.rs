//! The token that is kept in the user's keyring. A keyring that is missing or locked is worth a remark, never more.

use keyring::{Error, Keyring, StoredToken};

use super::Surroundings;

/// What is kept, if anything is.
pub(super) async fn read(around: &mut Surroundings<'_>) -> Option<StoredToken> {
    if !around.has_keyring {
        return None;
    }
    let found = match Keyring::open().await {
        Ok(keyring) => keyring.read().await,
        Err(error) => Err(error),
    };
    found.unwrap_or_else(|error| {
        around.out.remark(&format!("{error}, so no token is found there"));
        None
    })
}

/// Keeps this, in place of what was kept.
pub(super) async fn keep(around: &mut Surroundings<'_>, kept: &StoredToken) {
    if !around.has_keyring {
        return;
    }
    let done = match Keyring::open().await {
        Ok(keyring) => keyring.store(kept).await,
        Err(error) => Err(error),
    };
    if let Err(error) = done {
        around.out.remark(&format!("{error}, so the token is not kept"));
    }
}

/// A session with this token has connected: what the existing client has kept is ours from now on.
pub(super) async fn take_over(around: &mut Surroundings<'_>, kept: &StoredToken) {
    if !around.has_keyring {
        return;
    }
    let done = match Keyring::open().await {
        Ok(keyring) => keyring.migrate(kept).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(()) | Err(Error::Unavailable) => {}
        Err(error) => around.out.remark(&format!("{error}, so the token stays where the other client keeps it")),
    }
}

/// Forgets what is kept. Where there is no keyring there is nothing to forget.
pub(super) async fn forget(around: &mut Surroundings<'_>) {
    if !around.has_keyring {
        return;
    }
    let done = match Keyring::open().await {
        Ok(keyring) => keyring.delete().await,
        Err(error) => Err(error),
    };
    match done {
        Ok(()) | Err(Error::Unavailable) => {}
        Err(error) => around.out.remark(&format!("{error}, so a token that is kept there stays")),
    }
}
