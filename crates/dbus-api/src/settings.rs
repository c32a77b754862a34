//! `dev.firezone.Client1.Settings`: what the daemon was told, by whom, and what may be changed.

#![allow(missing_docs, reason = "what the proxy macro makes cannot be documented; what we write is")]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zbus::zvariant::{OwnedValue, Type, as_value};

use crate::Error;

/// One setting.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, Type)]
#[serde(default, rename_all = "kebab-case")]
#[zvariant(signature = "dict")]
pub struct Setting {
    /// What it is, as text; empty if nobody said anything and there is no fixed default.
    #[serde(with = "as_value")]
    pub value: String,
    /// Who said so: a flag, a variable, or a file and its line; empty for the default.
    #[serde(with = "as_value")]
    pub source: String,
    /// Whether it cannot be changed here: it is the administrator's, or the administrator has set it.
    #[serde(with = "as_value")]
    pub locked: bool,
    /// When a change counts: `at-once`, `next-start` or `never`.
    #[serde(with = "as_value")]
    pub change: String,
    /// What it is about, in a sentence.
    #[serde(with = "as_value")]
    pub description: String,
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
