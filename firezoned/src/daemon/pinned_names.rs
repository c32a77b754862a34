//! The addresses that names were given, from one session to the next.
//!
//! Programs remember addresses for longer than sessions last, so a name keeps its addresses for as long as the daemon
//! lives, and no address ever means another name. Which resources a name belonged to is only true for one person: when
//! somebody else signs in, that is forgotten.

use dns::Assignments;
use sha2::{Digest as _, Sha256};

use session::Account;

/// Names and whose they are.
#[derive(Debug, Default)]
pub(super) struct PinnedNames {
    names: Assignments,
    of: Option<Person>,
}

/// Whom names belong to. The token itself is not kept for longer than its session.
#[derive(Debug, PartialEq, Eq)]
struct Person {
    token: [u8; 32],
    account_and_name: Option<(String, String)>,
}

impl PinnedNames {
    /// The names for a session of `account`.
    pub(super) fn lend(&mut self, account: &Account) -> Assignments {
        let person = Person::of(account);
        if self.of.as_ref().is_some_and(|last| !last.is_same(&person)) {
            self.names.forget_matches();
        }
        self.of = Some(person);
        self.names.clone()
    }

    /// What has become of them when the session ended.
    pub(super) fn keep(&mut self, names: Assignments) {
        self.names = names;
    }
}

impl Person {
    fn of(account: &Account) -> Self {
        Self {
            token: Sha256::digest(account.token.expose()).into(),
            account_and_name: account.slug.clone().zip(account.actor.clone()),
        }
    }

    /// Each sign-in brings a new token, so the account and the name count if both are known.
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
    fn a_person_is_known_by_the_token_or_by_account_and_name() {
        let anna = account("1", Some("acme"), Some("Anna"));
        for (other, is_same) in [
            (account("1", None, None), true),
            (account("2", Some("acme"), Some("Anna")), true),
            (account("2", Some("acme"), Some("Ben")), false),
            (account("2", Some("other"), Some("Anna")), false),
            (account("2", Some("acme"), None), false),
            (account("2", None, None), false),
        ] {
            assert_eq!(Person::of(&anna).is_same(&Person::of(&other)), is_same, "{other:?}");
        }
    }
}
