//! Reality for Firezone: network namespaces, a real bus, a real relay, and our own portal and gateway.
//!
//! The stand uses the same doors as users: the programs, the bus, the network. It never reaches into them.

#![forbid(unsafe_code)]

pub mod logs;
pub mod portal;
