//! The daemon: the loop, and what it knows of its own process. `main.rs` is the entry point; this file exists so that tests can
//! reach the modules.
//!
//! It owns the order of things: arguments, token, logs, the loop, the end. It decides nothing about sessions (crate
//! `session`) and does nothing to the host itself (crates `host`, `dataplane`, `resolver`, `portal-link`); it carries the
//! session's effects to them and their results back.

pub mod container;
pub mod daemon;
mod fd_store;
pub mod identity;
mod notify;
pub mod process;
mod signals;
pub mod simulation;
pub mod token;
