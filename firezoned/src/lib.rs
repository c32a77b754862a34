//! The daemon's rooms. `main.rs` is the door; this file exists so that tests can enter by it too.

mod alarm;
pub mod args;
pub mod bus;
pub mod clock;
pub mod config;
pub mod container;
pub mod daemon;
pub mod dataplane;
pub mod dns;
pub mod host;
pub mod identity;
mod kept;
pub mod link;
pub mod logging;
pub mod notify;
pub mod process;
pub mod session;
pub mod settings;
pub mod signals;
pub mod simulation;
pub mod snapshot;
pub mod token;
