//! The daemon's settings: each defined once, configured in several places, and changeable while the daemon runs.
//!
//! This crate owns the values, their sources and which of them are locked. It must not know the effect of a setting. The values
//! of all sources are merged by precedence (arguments, environment, files of the administrator, the bus, the official client),
//! and a service serves and changes them for the bus.
//!
//! * [`setting`] – each setting, defined once
//! * [`args`] – the command line
//! * [`file`], [`imported`] – settings in files
//! * [`values`] – values and their sources
//! * [`config`] – all values, merged and checked
//! * [`stored`] – changes over the bus
//! * [`service`] – the settings while the daemon runs
//!
//! An empty variable is treated as unset: systemd and Docker users set empty variables routinely.

pub mod args;
mod config;
pub mod file;
mod imported;
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
pub use service::{Settings, SettingsError};
pub use setting::TOKEN_PATH;
pub use values::{Problem, Source};
