//! Long-term credentials for a relay (RFC 8489, section 9.2).

use model::Secret;
use stun_codec::rfc5389::attributes::{MessageIntegrity, Realm, Username};

/// The realm of all relays. The portal does not send it.
pub(crate) const REALM: &str = "firezone";

/// User name and password for one relay, and its last nonce.
#[derive(Debug)]
pub(crate) struct Credentials {
    username: String,
    password: Secret,
    nonce: Option<String>,
    first_request: FirstRequest,
    rejected: bool,
}

/// How requests are sent before a nonce is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum FirstRequest {
    /// With integrity, but without nonce. This lets the relay sign the error response that contains the nonce.
    Authenticated,
    /// Without integrity (RFC 8489, section 9.2.3.1), for relays that reject the other form as a bad request.
    Anonymous,
}

impl Credentials {
    pub(crate) fn new(username: String, password: Secret) -> Self {
        Self { username, password, nonce: None, first_request: FirstRequest::Authenticated, rejected: false }
    }

    /// Whether these are the credentials with this user name and password.
    pub(crate) fn matches(&self, username: &str, password: &Secret) -> bool {
        self.username == username && self.password == *password
    }

    pub(crate) fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    pub(crate) fn set_nonce(&mut self, nonce: String) {
        self.nonce = Some(nonce);
    }

    /// Starts over without a nonce.
    pub(crate) fn forget_nonce(&mut self) {
        self.nonce = None;
        self.first_request = FirstRequest::Authenticated;
    }

    /// Sends first requests anonymously from now on. Returns whether this is a change.
    pub(crate) fn start_anonymously(&mut self) -> bool {
        let changed = self.first_request == FirstRequest::Authenticated;
        self.first_request = FirstRequest::Anonymous;
        changed
    }

    /// Whether the next request is authenticated.
    pub(crate) fn should_authenticate(&self) -> bool {
        self.nonce.is_some() || self.first_request == FirstRequest::Authenticated
    }

    /// The relay rejected the credentials; they must not be used again.
    pub(crate) fn reject(&mut self) {
        self.rejected = true;
    }

    pub(crate) fn are_rejected(&self) -> bool {
        self.rejected
    }

    /// User name and realm as attributes. `None` if the user name does not fit into a message.
    pub(crate) fn attributes(&self) -> Option<(Username, Realm)> {
        Some((Username::new(self.username.clone()).ok()?, Realm::new(REALM.to_owned()).ok()?))
    }

    pub(crate) fn password(&self) -> &str {
        self.password.expose()
    }

    /// Whether the integrity attribute was made with the password.
    pub(crate) fn verify(&self, integrity: &MessageIntegrity) -> bool {
        self.attributes().is_some_and(|(username, realm)| {
            integrity.check_long_term_credential(&username, &realm, self.password()).is_ok()
        })
    }
}
