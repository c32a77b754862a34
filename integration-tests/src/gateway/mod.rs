//! A development gateway: the other end of tunnels, next to private servers.
//!
//! It has a network namespace of its own, forwards with the kernel, and shares no decision with the client that it is there
//! to judge; only the way to an encrypted connection is the same library, in the other role.
//!
//! * [`run`](fn@run) – the loop: sockets, TUN device, timers
//! * `link` – the WebSocket to the portal; `message` – its messages
//! * `state` – connected clients, and the effect of packets and messages
//! * `client` – the grants of one client; `nat` – its DNS resources; `pattern` – the names that belong to them
//! * `udp`, `tun`, `names` – sockets, device and look-ups

mod client;
mod link;
mod message;
mod names;
mod nat;
mod pattern;
mod run;
mod state;
mod tun;
mod udp;

pub use self::run::run;
pub use link::Login;
