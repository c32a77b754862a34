//! A believable internet without sockets, for tests only.
//!
//! Time is virtual, luck comes from seeds: a minute of protocol takes a millisecond, and "seed 7 fails" is a complete bug
//! report. Nothing here shares code with what it judges; the relay has its own idea of STUN.
//!
//! * `net` – hosts, what lies between them, and the only clock; `link` and `nat` are its parts
//! * `relay` – a STUN/TURN server with the habits of the official ones, and on demand with those of coturn
//! * `portal` – carries candidates from one host to the other, unless it is out
//! * `world` – two nodes, relays and a portal: where most stories begin
//! * `op` – everything that can happen to a world, at random; `packets` – something to send
//!
//! What lives on a host is a [`Machine`]: here a bare `connection::Node`, elsewhere perhaps a whole tunnel.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod host;
mod link;
mod nat;
mod net;
mod op;
mod packets;
mod portal;
mod relay;
mod world;

pub use host::{Host, Machine};
pub use link::Link;
pub use nat::{Kind as NatKind, Nat};
pub use net::{Losses, Net, Site};
pub use op::Op;
pub use packets::{packet, udp_packet};
pub use portal::Portal;
pub use relay::{Asked, Datagram, Habits, Relay};
pub use world::{CLIENT, GATEWAY, Side, World, address, client, credentials_of, epoch, gateway, ms, secs};
