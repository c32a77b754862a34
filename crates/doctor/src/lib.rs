//! What may be wrong on this machine, as named checks, and a report of it for whoever helps.
//!
//! The command line looks by itself when the daemon is dead; the daemon looks when it is asked over the bus, and sees
//! more. Both use the same checks, which are functions of facts.
//!
//! * [`facts`] – what files below `/proc`, `/sys`, `/etc` and `/run` say; reading only, no privileges
//! * [`neighbours`], [`unit`], [`rules`] – what other services and the kernel say
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
mod unit;

pub use dbus_api::{Check, Verdict};
pub use facts::{Facts, Whereabouts};
pub use log::LogLine;
pub use look::{look, look_from_outside};
pub use report::{LogFrom, Material, Report};
