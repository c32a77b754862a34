//! The state that follows the current one.

use crate::{Account, AccountToKeep, Reason};

/// What follows when a state ends.
#[derive(Debug)]
pub(super) enum Next {
    /// No session. The reason is set unless a user asked for it.
    SignedOut(Option<Reason>),
    /// An attempt to connect.
    Connect(Attempt),
    /// An attempt to connect, later.
    Wait {
        account: Account,
        reason: Reason,
        /// The number of earlier failures in a row.
        failures: u32,
    },
    /// The end of the daemon.
    Stop,
}

/// An attempt to connect.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) account: Account,
    /// The number of failed attempts in a row.
    pub(super) failures: u32,
    /// The reason of the last failure.
    pub(super) last_failure: Option<Reason>,
}

impl Attempt {
    /// The first attempt with an account.
    pub(super) fn first(account: Account) -> Self {
        Self { account, failures: 0, last_failure: None }
    }
}

impl Next {
    pub(super) fn account_to_keep(&self) -> AccountToKeep<'_> {
        match self {
            Self::SignedOut(_) => AccountToKeep::None,
            Self::Connect(Attempt { account, .. }) | Self::Wait { account, .. } => AccountToKeep::Account(account),
            Self::Stop => AccountToKeep::Unchanged,
        }
    }
}
