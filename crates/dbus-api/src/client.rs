//! `dev.firezone.Client1`: the session and its status.

#![allow(missing_docs, reason = "what the proxy macro makes cannot be documented; what we write is")]

use std::collections::BTreeMap;

use zbus::zvariant::{OwnedFd, OwnedValue};

use crate::{Error, State, Status, dictionary::dictionary, vocabulary::vocabulary};

/// Options without any key: those of methods that may get some later.
pub type NoOptions = BTreeMap<String, OwnedValue>;

vocabulary! {
    /// What polkit says about an action of the caller.
    pub enum Permission {
        /// Permitted.
        Yes = "yes",
        /// Denied.
        No = "no",
        /// Permitted after authentication.
        Challenge = "challenge",
    }
}

dictionary! {
    /// Names that accompany a token. For display only: the daemon decides nothing by them.
    pub struct SignInOptions {
        /// The account, as in the address of its sign-in page.
        account_slug["account-slug"]: Option<String>,
        /// The actor name.
        actor_name["actor-name"]: Option<String>,
    }
}

/// The session and its status.
///
/// Properties can be read by everybody and say no more than whether the machine is connected. Whatever concerns
/// people, names or addresses is the answer of a method that asks polkit first.
#[zbus::proxy(
    interface = "dev.firezone.Client1",
    default_service = "dev.firezone.Client",
    default_path = "/dev/firezone/Client",
    gen_blocking = false
)]
pub trait Client {
    /// Starts a session. Returns as soon as the request is accepted; progress is `State`.
    ///
    /// `token` is the read end of a pipe or a sealed memfd. It is read once, at most 64 KiB, and trimmed. The same
    /// token again, while its session lasts, changes nothing; another one replaces the session.
    fn sign_in(&self, token: OwnedFd, options: SignInOptions) -> Result<(), Error>;

    /// Ends the session, if there is one. Returns as soon as the request is accepted.
    fn sign_out(&self, options: NoOptions) -> Result<(), Error>;

    /// Rebuilds all connections, as after a change of network. Does nothing without a session.
    fn reset(&self, options: NoOptions) -> Result<(), Error>;

    /// The private part of the state.
    fn get_status(&self, options: NoOptions) -> Result<Status, Error>;

    /// What the caller may do: for each action `yes`, `no`, or `challenge` if a password would help.
    fn get_permissions(&self) -> Result<BTreeMap<String, Permission>, Error>;

    /// The daemon's version.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> zbus::Result<String>;

    /// Where the session is.
    #[zbus(property)]
    fn state(&self) -> zbus::Result<State>;

    /// Why the state is what it is, or empty; see [`crate::Reason::published`].
    #[zbus(property)]
    fn reason(&self) -> zbus::Result<String>;

    /// Whether the Internet resource is switched on. It is used only if the portal grants it.
    #[zbus(property)]
    fn internet_resource_active(&self) -> zbus::Result<bool>;

    /// What `GetStatus` says has changed. Numbers only grow.
    #[zbus(signal)]
    fn status_changed(&self, generation: u64) -> zbus::Result<()>;
}
