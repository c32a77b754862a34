//! `dev.firezone.Client1.Settings`: what the daemon was told, by whom, and what may be changed.

#![allow(missing_docs, reason = "what the proxy macro makes cannot be documented; what we write is")]

use std::collections::BTreeMap;

use zbus::zvariant::OwnedValue;

use crate::{Error, dictionary::dictionary, vocabulary::vocabulary};

vocabulary! {
    /// When a change of a setting takes effect.
    #[derive(Default)]
    pub enum Change {
        /// At once.
        AtOnce = "at-once",
        /// At the next start of the daemon.
        NextStart = "next-start",
        /// It cannot be changed over the bus.
        #[default]
        Never = "never",
    }
}

dictionary! {
    /// One setting.
    pub struct Setting {
        /// Its value, as text; empty if it is not set and has no fixed default.
        value: String,
        /// Its origin: a flag, a variable, or a file and its line; empty for the default.
        source: String,
        /// Whether it cannot be changed over the bus: it is reserved for the administrator, or the administrator has set it.
        locked: bool,
        /// When a change takes effect.
        change: Change,
        /// A sentence for people.
        description: String,
    }
}

/// What the daemon was told, by whom, and what may be changed.
#[zbus::proxy(
    interface = "dev.firezone.Client1.Settings",
    default_service = "dev.firezone.Client",
    default_path = "/dev/firezone/Client",
    gen_blocking = false
)]
pub trait Settings {
    /// All settings by their keys.
    fn get(&self) -> Result<BTreeMap<String, Setting>, Error>;

    /// Changes settings, all of these or none, and keeps them. Values are texts or truth values.
    fn set(&self, settings: BTreeMap<String, OwnedValue>) -> Result<(), Error>;

    /// Makes these as if nobody had ever changed them here.
    fn reset(&self, keys: Vec<String>) -> Result<(), Error>;

    /// These have been changed here.
    #[zbus(signal)]
    fn changed(&self, keys: Vec<String>) -> zbus::Result<()>;
}
