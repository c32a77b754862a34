//! `dev.firezone.Client1`: the session and its status.

#![allow(missing_docs, reason = "what the proxy macro makes cannot be documented; what we write is")]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zbus::zvariant::{OwnedFd, OwnedValue, Type, as_value};

use crate::{Error, Status};

/// Options without any key: those of methods that may learn some one day.
pub type NoOptions = BTreeMap<String, OwnedValue>;

/// What may be said along with a token. For display only: the daemon decides nothing by it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, Type)]
#[serde(default, rename_all = "kebab-case")]
#[zvariant(signature = "dict")]
pub struct SignInOptions {
    /// The account, as in the address of its sign-in page.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub account_slug: Option<String>,
    /// Who signed in.
    #[serde(with = "as_value::optional", skip_serializing_if = "Option::is_none")]
    pub actor_name: Option<String>,
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
    fn get_permissions(&self) -> Result<BTreeMap<String, String>, Error>;

    /// The daemon's version.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> zbus::Result<String>;

    /// One of [`crate::State`].
    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;

    /// Why the state is what it is: a code for programs, or empty.
    #[zbus(property)]
    fn reason(&self) -> zbus::Result<String>;

    /// Whether the Internet resource is switched on. It is used only if the portal grants it.
    #[zbus(property)]
    fn internet_resource_active(&self) -> zbus::Result<bool>;

    /// What `GetStatus` says has changed. Numbers only grow.
    #[zbus(signal)]
    fn status_changed(&self, generation: u64) -> zbus::Result<()>;
}
