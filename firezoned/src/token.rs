//! What may we be? A token in the environment or in a file makes this a service; otherwise people sign in.

use std::path::PathBuf;

use model::Secret;

/// Whose token it is that we use.
#[derive(Debug)]
pub enum Mode {
    /// The machine's own: nobody may sign in or out.
    Service(Secret),
    /// None yet: people bring theirs.
    User,
}

/// What the environment said about tokens.
#[derive(Debug, Default)]
pub struct Environment {
    /// `FIREZONE_TOKEN`.
    token: Option<Secret>,
    /// `FIREZONE_TOKEN_PATH`.
    path: Option<PathBuf>,
    /// `CREDENTIALS_DIRECTORY`.
    credentials: Option<PathBuf>,
}

/// Why no token can be used although there is one.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file is there but cannot be read.
    #[error("{0}")]
    Unreadable(PathBuf),
}

/// Takes the token out of the environment. To be called first in `main`, before any thread exists.
#[must_use]
pub fn take_from_env() -> Environment {
    Environment::default()
}

/// Looks for a token in the environment, then in the file. Called again on SIGHUP.
pub fn find(environment: &Environment) -> Result<Mode, TokenError> {
    Ok(environment.token.clone().map_or(Mode::User, Mode::Service))
}
