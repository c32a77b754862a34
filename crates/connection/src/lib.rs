//! Encrypted connections to peers, over UDP, directly or through relays.
//!
//! A [`Node`] is one pair of UDP sockets' worth of protocol: the relays (STUN and TURN), one ICE agent and one WireGuard
//! tunnel per peer. It turns "this packet, that peer" into datagrams and back. It performs no I/O and has no clock:
//! datagrams, commands and the time go in, datagrams, events and a deadline come out.
//!
//! * `node` – the owner of everything, and the only door

#![forbid(unsafe_code)]

mod node;
mod path;
mod transmit;

pub use node::{NoRelays, Node, Params, Sealed};
pub use path::{Path, Route};
pub use transmit::{Due, Event, Transmit};
