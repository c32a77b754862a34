//! What may be wrong on this machine, as named checks, and a report of it for whoever helps.
//!
//! The command line looks by itself when the daemon is dead; the daemon looks when it is asked over the bus, and sees
//! more. Both use the same checks, which are functions of facts.
//!
//! * [`facts`] – what files below `/proc`, `/sys`, `/etc` and `/run` say; reading only, no privileges
//! * [`neighbours`], [`rules`] – what other services and the kernel say
//! * [`containers`] – networks of containers, and what the packet filter makes of their questions
//! * [`portal`] – whether the portal answers, where nobody tells who knows
//! * [`look`] – all of these at once
//! * [`checks`] – what all of that means, from the facts alone
//! * [`journal`] – what a daemon that is dead has logged
//! * [`report`] – everything that helps, and nothing that is private

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod checks;
pub mod containers;
pub mod facts;
mod firewall;
pub mod journal;
mod log;
mod look;
pub mod neighbours;
pub mod portal;
mod redaction;
pub mod report;
pub mod rules;

use serde::{Deserialize, Serialize};

pub use facts::{Facts, Whereabouts};
pub use log::LogLine;
pub use look::{look, look_from_outside};
pub use report::{LogFrom, Material, Report};

/// How a check has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All is well.
    Ok,
    /// Something may not work.
    Warning,
    /// Something does not work.
    Failed,
    /// It cannot be told.
    Skipped,
}

/// One check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Check {
    /// `FZ001` and so on; never reused.
    pub id: String,
    /// What it is about.
    pub name: String,
    /// How it has ended.
    pub result: Verdict,
    /// What was found.
    pub evidence: String,
    /// What follows from it; empty if all is well.
    pub effect: String,
    /// What to do about it; empty if there is nothing to do.
    pub remedy: String,
}

impl Verdict {
    /// As on the bus.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl From<&str> for Verdict {
    /// A word that this version does not know says nothing.
    fn from(word: &str) -> Self {
        [Self::Ok, Self::Warning, Self::Failed].into_iter().find(|it| it.as_str() == word).unwrap_or(Self::Skipped)
    }
}

impl From<Check> for dbus_api::Check {
    fn from(it: Check) -> Self {
        let Check { id, name, result, evidence, effect, remedy } = it;
        Self { id, name, result: result.as_str().to_owned(), evidence, effect, remedy }
    }
}

impl From<dbus_api::Check> for Check {
    fn from(it: dbus_api::Check) -> Self {
        let dbus_api::Check { id, name, result, evidence, effect, remedy } = it;
        Self { id, name, result: result.as_str().into(), evidence, effect, remedy }
    }
}
