//! Encrypted connections to peers, over UDP, directly or through relays.
//!
//! A [`Node`] is one pair of UDP sockets' worth of protocol: the relays (STUN and TURN), one ICE agent and one WireGuard
//! tunnel per peer. It turns "this packet, that peer" into datagrams and back. It performs no I/O and has no clock:
//! datagrams, commands and the time go in, datagrams, events and a deadline come out.
//!
//! * `node` – the owner of everything, and the only door
//! * `demux` – what kind of message a datagram is
//! * `peer` – one connection and its life; `way` – where its datagrams go
//! * `doubt` – what happens when a direct path dies without a word
//! * `past` – what is remembered of a peer from one connection to the next
//! * `relay` – the STUN/TURN client
//! * `ice` – candidates and connectivity checks

#![forbid(unsafe_code)]

mod demux;
mod doubt;
mod early;
mod ice;
mod limits;
mod node;
mod outbox;
mod past;
mod path;
mod peer;
#[cfg(test)]
mod recorded;
mod relay;
#[cfg(test)]
mod testing;
mod transmit;
mod way;

pub use node::{Drops, NoRelays, Node, Params, Sealed};
pub use path::{Path, Route};
pub use peer::Failure;
pub use transmit::{Event, Transmit};
