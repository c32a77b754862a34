//! Who we are to a relay: the long-term credentials of RFC 8489, section 9.2.

use model::Secret;
use stun_codec::rfc5389::attributes::{MessageIntegrity, Realm, Username};

/// The realm of all relays. The portal does not send it.
pub(crate) const REALM: &str = "firezone";

/// User name and password for one relay, and the nonce it gave us last.
#[derive(Debug)]
pub(crate) struct Credentials {
    username: String,
    password: Secret,
    nonce: Option<String>,
    opening: Opening,
    refused: bool,
}

/// How to authenticate a request for which we have no nonce yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Opening {
    /// With everything but the nonce. That lets a relay authenticate its refusal, which contains the nonce.
    Named,
    /// Not at all, as RFC 8489 section 9.2.3.1 has it. For relays that take the other kind for a bad request.
    Anonymous,
}

impl Credentials {
    pub(crate) fn new(username: String, password: Secret) -> Self {
        Self { username, password, nonce: None, opening: Opening::Named, refused: false }
    }

    /// Whether these are the credentials that `username` and `password` make.
    pub(crate) fn are(&self, username: &str, password: &Secret) -> bool {
        self.username == username && self.password == *password
    }

    pub(crate) fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    pub(crate) fn set_nonce(&mut self, nonce: String) {
        self.nonce = Some(nonce);
    }

    /// Starts over, as with a relay that has never heard of us.
    pub(crate) fn forget_nonce(&mut self) {
        self.nonce = None;
        self.opening = Opening::Named;
    }

    /// The relay wants the first request to be anonymous. Returns whether it was not so before.
    pub(crate) fn open_anonymously(&mut self) -> bool {
        let changed = self.opening == Opening::Named;
        self.opening = Opening::Anonymous;
        changed
    }

    /// Whether the next request says who we are.
    pub(crate) fn name_us(&self) -> bool {
        self.nonce.is_some() || self.opening == Opening::Named
    }

    /// The relay does not accept them; they must not be used again.
    pub(crate) fn refuse(&mut self) {
        self.refused = true;
    }

    pub(crate) fn are_refused(&self) -> bool {
        self.refused
    }

    /// User name and realm as attributes. `None` if the portal gave us a user name that no message can carry.
    pub(crate) fn attributes(&self) -> Option<(Username, Realm)> {
        Some((Username::new(self.username.clone()).ok()?, Realm::new(REALM.to_owned()).ok()?))
    }

    pub(crate) fn password(&self) -> &str {
        self.password.expose()
    }

    /// Whether somebody who knows the password made this integrity attribute.
    pub(crate) fn verify(&self, integrity: &MessageIntegrity) -> bool {
        self.attributes().is_some_and(|(username, realm)| {
            integrity.check_long_term_credential(&username, &realm, self.password()).is_ok()
        })
    }
}
