//! Owns encrypted connections to peers over UDP, directly or through relays: *this packet, that peer* ⇄ datagrams.
//!
//! It must not know resources, names, sockets or the clock: datagrams, commands and the time go in; datagrams, events and a
//! deadline come out.
//! A [`Node`] owns everything for one pair of UDP sockets: the relays (STUN and TURN), and for each peer a connection that
//! combines an ICE agent, which chooses the path, with WireGuard sessions, which encrypt the packets for it.
//!
//! * `node` – the owner of everything, and the only entry; `params`, `event`, `transmit`, `path_info`, `drops` – its
//!   arguments and results
//! * `demux` – recognizes STUN messages
//! * `peer` – one connection and its life; `path` – where its datagrams are sent
//! * `direct_path_monitor` – detects a direct path that no longer works
//! * `peer_history` – what is kept about a peer after its connection; `early_candidates` – what arrives before it
//! * `relay` – the STUN/TURN client
//! * `ice` – candidates and connectivity checks
//! * `outbox` – datagrams ready to be sent

#![forbid(unsafe_code)]

mod demux;
mod direct_path_monitor;
mod drops;
mod early_candidates;
mod event;
mod ice;
mod limits;
mod node;
mod outbox;
mod params;
mod path;
mod path_info;
mod peer;
mod peer_history;
#[cfg(test)]
mod recorded_messages;
mod relay;
#[cfg(test)]
mod testing;
mod transmit;

pub use drops::Drops;
pub use event::{Event, Failure};
pub use node::Node;
pub use params::{NoRelays, Params, Sealed};
pub use path_info::{PathInfo, PathKind};
pub use transmit::Transmit;
