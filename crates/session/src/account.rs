//! The account of a session, and who controls the session.

use model::Secret;

/// The account that a session belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Authenticates the session to the portal.
    pub token: Secret,
    /// The account's short name, for display.
    pub slug: Option<String>,
    /// The name of the user who signed in, for display.
    pub actor: Option<String>,
}

/// Who controls the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Users, over the bus. A token that the portal rejects is discarded.
    User,
    /// The administrator, by a service token. A rejected token is tried again at long intervals, because an administrator
    /// of the portal may correct the cause.
    Service,
}

/// The account that the next process of the daemon should sign in with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccountToKeep<'a> {
    /// None: no user is signed in, or the user is signing out.
    None,
    /// This account.
    Account(&'a Account),
    /// The same as before: the daemon stops, which signs no user in or out.
    Unchanged,
}
