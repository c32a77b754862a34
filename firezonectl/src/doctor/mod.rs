//! What may be wrong on this machine, as named checks. Works without a daemon, and needs no privileges.
//!
//! * [`facts`] – what is found: files below `/proc`, `/sys`, `/etc` and `/run`, and what the client has learnt
//! * [`checks`] – what it means, from the facts alone

pub mod checks;
pub mod facts;

use serde::Serialize;

pub use facts::Facts;

/// How a check has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// `FZ001` and so on; never reused.
    pub id: &'static str,
    /// What it is about.
    pub name: &'static str,
    /// How it has ended.
    pub result: Verdict,
    /// What was found.
    pub evidence: String,
    /// What follows from it; empty if all is well.
    pub effect: &'static str,
    /// What to do about it; empty if there is nothing to do.
    pub remedy: &'static str,
}
