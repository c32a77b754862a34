//! Requests of users.

use crate::Account;

/// Identifies a request until [`Effect::Reply`](crate::Effect::Reply) answers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RequestId(pub u64);

/// A request that has been authorized already.
#[derive(Debug)]
pub enum Request {
    /// Starts a session.
    SignIn {
        /// The account of the session.
        account: Account,
        /// The user id of the caller.
        uid: u32,
    },
    /// Ends the session.
    SignOut {
        /// The user id of the caller.
        uid: u32,
    },
    /// Rebuilds all connections.
    Reset,
    /// Switches the Internet resource on or off.
    SetInternetResource(bool),
}

/// The reason why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}
