//! The daemon's settings: each defined once, said in several places, and changed while the daemon runs.
//!
//! It owns who said what and what that locks: arguments, the environment, files of the administrator, the bus, and the client
//! that was here before, in this order. It must not know what a setting does. The parts, in the order of a setting's life:
//!
//! * [`setting`] – each setting, defined once
//! * [`args`] – the command line
//! * [`file`], [`inherited`] – what files say
//! * [`values`] – what was said, and by whom
//! * [`config`] – all of it, checked and put together
//! * [`stored`] – what is changed over the bus
//! * [`service`] – the settings while the daemon runs
//!
//! An empty variable is one that is not set: systemd and Docker users set empty variables routinely.

pub mod args;
mod config;
pub mod file;
mod inherited;
#[cfg(test)]
mod manual;
mod service;
pub mod setting;
pub mod stored;
#[cfg(test)]
mod tests;
mod values;

pub use args::Args;
pub use config::{Config, InvalidConfig, Value};
pub use service::{Refused, Settings, word};
pub use values::{Mistake, Source};

/// Where this machine's token is, unless a setting names another place.
pub const TOKEN_PATH: &str = "/etc/dev.firezone.client/token";
