//! What the main thread and the D-Bus thread send each other.

use std::fmt;

use model::Secret;

use crate::model::{TokenOwner, Update};

/// A request of the main thread.
#[derive(Debug)]
pub(crate) enum Request {
    /// Sign in with a new token, and store it.
    SignIn(Box<StoredToken>),
    /// Sign in with the stored token.
    Connect,
    /// End the session, and delete the token.
    SignOut,
    /// Delete the token: the portal no longer accepts it.
    ForgetToken,
    /// Switch the Internet resource on or off.
    SetInternetResource(bool),
    /// Change a setting of the daemon, or reset it to its default.
    ChangeSetting(String, Option<String>),
    /// Whether the window is visible, so that paths must be kept up to date.
    WatchPaths(bool),
    /// Run the checks: in the daemon, or in this process if the daemon is not running.
    RunChecks,
    /// Have the daemon write a report.
    CollectReport,
    /// Read the whole state again, because something other than the daemon has changed.
    Refresh,
}

/// What happened, for the main thread.
#[derive(Debug)]
pub(crate) enum Event {
    /// The state of the daemon has changed.
    Update(Update),
    /// Whether a token is stored, and its owner.
    Token(Option<TokenOwner>),
    /// A complete diagnostic report, as JSON.
    ReportCollected(String),
    /// A request failed.
    Failed(Failure),
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The daemon is not running.
    #[error("the service is not running")]
    NotRunning,
    /// This user has no permission.
    #[error("not permitted")]
    NotPermitted,
    /// The daemon does not accept the token.
    #[error("the token was rejected")]
    TokenRejected,
    /// No token is stored.
    #[error("no token is stored")]
    NoToken,
    /// A value is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The administrator has locked the setting.
    #[error("{0}")]
    Locked(String),
    /// The token could not be stored in the keyring. The sign-in itself is not affected.
    #[error("the token is not stored: {0}")]
    TokenNotStored(#[source] keyring::Error),
    /// The token could not be deleted from the keyring. It is not used again.
    #[error("the token is not deleted: {0}")]
    TokenNotDeleted(#[source] keyring::Error),
    /// Any other failure.
    #[error("{0}")]
    Other(String),
}

/// A token with its account and actor.
#[derive(Clone)]
pub(crate) struct StoredToken {
    /// The token.
    pub(crate) token: Secret,
    /// The account.
    pub(crate) account_slug: Option<String>,
    /// The name of the actor.
    pub(crate) actor_name: Option<String>,
}

impl fmt::Debug for StoredToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredToken(..)")
    }
}
