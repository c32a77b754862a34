//! Which packets may leave, through which gateway, and which may come in.
//!
//! Nothing in here performs I/O or looks at a clock: packets, datagrams, messages of the portal and the time go in;
//! packets, datagrams, events and a deadline come out. Start reading at [`Tunnel`]. It owns small machines and is the
//! only one that sees two of them at once:
//!
//! * `resources` – what the portal says we may reach
//! * `routing`   – which of them a packet is for
//! * `access`    – through which gateway we may use it, and the asking if we may not yet
//! * `pools`     – other clients that we may reach
//! * `peers`     – gateways and other clients, their addresses, and what they may send us
//! * `nat`       – which names each gateway knows the addresses of
//! * `outbound`, `inbound` – the decision about one packet, made of the above
//! * `control`   – the messages that we exchange with gateways
//! * `sites`, `told`, `counters` – what our owner gets to know; `epoch` – how it tells us the time
//!
//! Names are decided by the crate `dns`, encryption and paths belong to the crate `connection`.

#![forbid(unsafe_code)]

mod access;
mod control;
mod counters;
mod epoch;
mod inbound;
mod nat;
mod outbound;
mod peers;
mod pools;
mod prefixes;
mod relay_plea;
mod resources;
mod routing;
mod sites;
#[cfg(test)]
mod testing;
mod told;
mod tunnel;

pub use connection::{Path, Transmit};
pub use counters::{Counters, Reason};
pub use told::InterfaceConfig;
pub use tunnel::{Event, MatchView, NameAnswer, NameView, NamesView, PathView, QueryId, Tunnel};
