//! Owns a simulated internet for tests: hosts, links, NATs, relays and a portal, in virtual time and from a seed.
//!
//! It must not share code with what it tests: its relay has a STUN implementation of its own.
//! A [`World`] combines two hosts with a [`Net`], which owns the clock and delivers datagrams, and a [`Portal`], which
//! delivers candidates; each host runs a [`Machine`], here a bare `connection::Node`.
//!
//! * `net` – delivery of datagrams; `link` and `nat` – its parts
//! * `relay` – a STUN/TURN server that behaves like the official relays, or like coturn
//! * `portal` – transport of candidates between the hosts
//! * `world` – two nodes, relays and a portal; most tests start with it
//! * `op` – random events; `recovery` – what has to hold after them
//! * `packets`, `units` – shorthands

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod host;
mod link;
mod nat;
mod net;
mod op;
mod packets;
mod portal;
mod recovery;
mod relay;
mod units;
mod world;

pub use host::{Host, Machine};
pub use link::Link;
pub use nat::{Kind as NatKind, Nat};
pub use net::{Losses, Net, Site};
pub use op::Op;
pub use packets::{packet, udp_packet};
pub use portal::Portal;
pub use relay::{Asked, Datagram, Habits, Relay};
pub use units::{address, epoch, ms, secs};
pub use world::{CLIENT, GATEWAY, Side, World, client, credentials_of, gateway};
