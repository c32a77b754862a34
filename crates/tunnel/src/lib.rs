//! Decides about packets: which resource and peer an outgoing packet is for, and which incoming packets are accepted.
//!
//! This crate performs no I/O and reads no clock: packets, datagrams, portal messages and the time go in; packets,
//! datagrams, events and a deadline come out. [`Tunnel`] is the coordinator: it owns the state machines below and is the
//! only one that uses several of them at once.
//!
//! * `resources` – the resources that the portal listed
//! * `routing` – which resource a packet is for
//! * `access` – through which gateway a resource may be used, and pending requests for access
//! * `pools` – members of static device pools
//! * `peers` – connected gateways and clients: addresses, permitted sources, grants and flows
//! * `announcements` – which names are announced to which gateway
//! * `outbound`, `inbound` – the decision about one packet, based on all of the above
//! * `control` – the control messages exchanged with gateways
//! * `held_packets`, `send_queue` – packets that wait for access or a connection
//! * `sites`, `published`, `counters` – the state reported to the owner of the tunnel
//! * `wall_clock`, `prefixes`, `query`, `relay_request_limiter` – small helpers
//!
//! Names are decided by the crate `dns`; encryption and network paths belong to the crate `connection`.

#![forbid(unsafe_code)]

mod access;
mod announcements;
mod control;
mod counters;
mod held_packets;
mod inbound;
mod outbound;
mod peers;
mod pools;
mod prefixes;
mod published;
mod query;
mod relay_request_limiter;
mod resources;
mod routing;
mod send_queue;
mod sites;
#[cfg(test)]
mod testing;
mod tunnel;
mod wall_clock;

pub use connection::{PathInfo, Transmit};
pub use counters::{DropCounters, DropReason};
pub use published::InterfaceConfig;
pub use query::QueryId;
pub use tunnel::{DnsView, Event, MatchView, NameAnswer, NameExplanation, PathView, Tunnel};
