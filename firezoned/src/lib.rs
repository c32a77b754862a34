//! The daemon `firezoned`: its process and its loop. `main.rs` is the entry point; this library makes the modules testable.
//!
//! It owns the process: arguments, token, signals, the notifications to the service manager, and the order of start and
//! stop. It must not decide about sessions (crate `session`) or touch the host itself (crates `host`, `dataplane`,
//! `resolver`, `portal-link`). [`daemon`] connects them: it passes inputs to the session and executes its effects;
//! [`simulation`] does the same with simulated results.

pub mod container;
pub mod daemon;
mod fd_store;
pub mod identity;
mod notify;
mod pending_replies;
pub mod process;
mod signals;
pub mod simulation;
pub mod token;
