//! The command line of Firezone: asks the daemon, shows the answer, exits.
//!
//! Three layers that do not know each other's details: [`args`] (what was typed), [`commands`] (ask the daemon, build
//! an answer), [`output`] (show it). Only [`client`] knows the bus, and only `main.rs` the exit code of the process.

#![forbid(unsafe_code)]

pub mod args;
pub mod client;
pub mod commands;
pub mod doctor;
pub mod failure;
pub mod output;
mod status_watch;
mod token;
