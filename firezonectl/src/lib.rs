//! The command line of Firezone: asks the daemon, shows the answer, exits.
//!
//! Three layers that do not know each other's details: [`args`] (what was typed), [`commands`] (ask the daemon, build
//! an answer), [`output`] (show it). Only [`client`] knows the daemon's bus,
//! only `callback` the desktop's, and only `main.rs` the exit code of the process.

#![forbid(unsafe_code)]

pub mod args;
mod callback;
pub mod client;
pub mod commands;
pub mod failure;
pub mod output;
mod status_watch;
mod token;
