//! The addresses of names, from one session to the next.
//!
//! Programs cache addresses for longer than a session, so a name keeps its addresses for the lifetime of the daemon, and no
//! address is ever reused for another name. The resources that a name belongs to depend on the user: they are forgotten
//! when another user signs in.

use dns::Assignments;
use sha2::{Digest as _, Sha256};

use session::Account;

/// Addresses of names, and the user of the last session.
#[derive(Debug, Default)]
pub(super) struct NameAddresses {
    names: Assignments,
    user: Option<User>,
}

/// Identifies a user. The token itself is not kept for longer than its session.
#[derive(Debug, PartialEq, Eq)]
struct User {
    token: [u8; 32],
    account_and_name: Option<(String, String)>,
}

impl NameAddresses {
    /// The addresses for a session of `account`.
    pub(super) fn for_session(&mut self, account: &Account) -> Assignments {
        let user = User::of(account);
        if self.user.as_ref().is_some_and(|last| !last.is_same(&user)) {
            self.names.forget_matches();
        }
        self.user = Some(user);
        self.names.clone()
    }

    /// Keeps the addresses of the session that has ended.
    pub(super) fn store(&mut self, names: Assignments) {
        self.names = names;
    }
}

impl User {
    fn of(account: &Account) -> Self {
        Self {
            token: Sha256::digest(account.token.expose()).into(),
            account_and_name: account.slug.clone().zip(account.actor.clone()),
        }
    }

    /// Each sign-in brings a new token, so the account and the name identify the user if both are known.
    fn is_same(&self, other: &Self) -> bool {
        self.token == other.token || self.account_and_name.is_some() && self.account_and_name == other.account_and_name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(token: &str, slug: Option<&str>, actor: Option<&str>) -> Account {
        Account { token: token.into(), slug: slug.map(str::to_owned), actor: actor.map(str::to_owned) }
    }

    #[test]
    fn user_is_identified_by_the_token_or_by_account_and_name() {
        let first = account("1", Some("acme"), Some("Anna"));
        for (other, is_same) in [
            (account("1", None, None), true),
            (account("2", Some("acme"), Some("Anna")), true),
            (account("2", Some("acme"), Some("Ben")), false),
            (account("2", Some("other"), Some("Anna")), false),
            (account("2", Some("acme"), None), false),
            (account("2", None, None), false),
        ] {
            assert_eq!(User::of(&first).is_same(&User::of(&other)), is_same, "{other:?}");
        }
    }
}
