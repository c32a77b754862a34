//! The daemon's rooms. `main.rs` is the door; this file exists so that tests can enter by it too.

pub mod bus;
pub mod clock;
pub mod daemon;
pub mod dataplane;
pub mod dns;
pub mod host;
pub mod identity;
pub mod link;
pub mod session;
pub mod snapshot;
pub mod token;
